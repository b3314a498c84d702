//! Writes a packed model with random weights that behave like trained ones: signs that change from pixel to pixel,
//! and another class for another image.
//!
//! `random_model ARCH|JSON IMAGES.npy OUTPUT.onebit [INT8.onebit]`, where JSON is the `[network]` section of a recipe, and IMAGES
//! holds float32 `[N, channels, height, width]`: thresholds are fitted to the first image, the classifier
//! to all of them. INT8 is the same network with 8-bit first and last layers, measured on the images.

#![allow(clippy::unwrap_used)]

use std::env;
use std::path::Path;

use onebit_data::read_npy_f32;
use onebit_engine::{Engine, Options};
use onebit_model::arch::{self, Config, Task};
use onebit_model::{Data, Model, Normalization, Verified, file};
use onebit_pack::int8_layers::{self, Layers, Ranges};
use onebit_pack::{lower, write_atomic};
use onebit_testing::{Random, balance_signs, balanced_weights};

const SEED: u64 = 1;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [network, images, output, int8 @ ..] = arguments.as_slice() else {
        panic!("expected ARCH|JSON IMAGES.npy OUTPUT.onebit [INT8.onebit]");
    };
    let config: Config = match network.starts_with('{') {
        true => serde_json::from_str(network).unwrap(),
        false => Config::named(network),
    };
    let architecture = arch::find(&config.arch).unwrap();
    let images = images_nhwc(Path::new(images), architecture.input);
    let mut random = Random(SEED);
    let graph = arch::build(&config, &task(architecture.input, architecture.classes)).unwrap();
    let model = lower(&balanced_weights(graph, &mut random)).unwrap();
    let first: Vec<f64> = images[0].iter().map(|&x| f64::from(x)).collect();
    let model = centre_logits(balance_signs(model, architecture.input, &first), &images);
    write_atomic(Path::new(output), &file::write_model(&model).unwrap()).unwrap();
    if let [int8] = int8 {
        let model = rounded(&model, &images);
        write_atomic(Path::new(int8), &file::write_model(&model).unwrap()).unwrap();
    }
}

/// The network with 8-bit layers, for classifiers that read a vector.
fn rounded(model: &Verified<Model>, images: &[Vec<f32>]) -> Verified<Model> {
    let engine = front(model);
    let mut ranges = Ranges::new(engine.classes());
    let (mut scratch, mut values) = (engine.scratch().unwrap(), vec![0.0; engine.classes()]);
    for image in images {
        engine.run(image, &mut values, &mut scratch).unwrap();
        ranges.add(&values);
    }
    int8_layers::quantize(model, Layers::All, Some(&ranges)).unwrap().model
}

/// The network up to what its classifier reads.
fn front(model: &Verified<Model>) -> Engine {
    let output = int8_layers::features(model);
    Engine::new(model, Options { output, ..Options::default() }).unwrap()
}

/// Classes named by their numbers, and the normalization that is customary for ImageNet.
fn task(input: [usize; 3], classes: usize) -> Task {
    Task { normalization: Normalization::imagenet(), ..Task::unnamed(input, classes) }
}

fn images_nhwc(path: &Path, [channels, height, width]: [usize; 3]) -> Vec<Vec<f32>> {
    let (shape, values) = read_npy_f32(path).unwrap();
    assert_eq!(shape[1..], [channels, height, width], "{} for this network", path.display());
    let pixels = height * width;
    let nhwc = |image: &[f32]| {
        let pixel = |p| (0..channels).map(move |c| c * pixels + p);
        (0..pixels).flat_map(pixel).map(|at| image[at]).collect()
    };
    values.chunks(channels * pixels).map(nhwc).collect()
}

/// Turns the classifier's weights away from the mean of its inputs over the images: otherwise all images have nearly
/// the same logits.
fn centre_logits(model: Verified<Model>, images: &[Vec<f32>]) -> Verified<Model> {
    let mean = mean_features(&model, images);
    let mut model = model.into_inner();
    let name = model.graph.nodes.last().unwrap().param_name("weight");
    let Some(Data::F32(weight)) = model.tensors.get_mut(&name).map(|tensor| &mut tensor.data)
    else {
        panic!("the last node is no linear layer");
    };
    let length: f64 = mean.iter().map(|m| m * m).sum();
    for row in weight.chunks_mut(mean.len()) {
        let dot: f64 = row.iter().zip(&mean).map(|(&w, m)| f64::from(w) * m).sum();
        row.iter_mut().zip(&mean).for_each(|(w, m)| *w -= (dot / length * m) as f32);
    }
    Verified::<Model>::new(model).unwrap()
}

/// Mean of what the last node reads.
fn mean_features(model: &Verified<Model>, images: &[Vec<f32>]) -> Vec<f64> {
    let engine = front(model);
    let features = engine.classes();
    let (mut scratch, mut values) = (engine.scratch().unwrap(), vec![0.0; features]);
    let mut mean = vec![0.0; features];
    for image in images {
        engine.run(image, &mut values, &mut scratch).unwrap();
        let share = 1.0 / images.len() as f64;
        mean.iter_mut().zip(&values).for_each(|(mean, &x)| *mean += share * f64::from(x));
    }
    mean
}
