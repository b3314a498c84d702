//! An exported network, run by a program that knows nothing of ours (RTen), computes what the engine computes.

#![allow(clippy::unwrap_used)]

mod back;
mod networks;

use std::collections::BTreeMap;

use onebit_engine::{Engine, Options};
use onebit_model::arch::{Config, Method, Stem, Task};
use onebit_model::{
    Geometry, Graph, HyperRange, Model, Node, NodeId, Op, PadValue, Precision, Preprocessing,
    Shift, Slope, Statistics, Threshold, Verified, WeightScale, bits,
};
use onebit_pack::agreement::Report;
use onebit_pack::export::to_onnx;
use onebit_pack::int8_layers::{self, Layers, Quantized, Ranges};
use onebit_pack::{Agreement, Disagreement, Observed, lower};
use onebit_testing::{Random, balance_signs, balanced_weights, random_seed};
use rten::{ModelOptions, Value};

use networks::{INPUT, build, configs};

/// Images for each network.
const IMAGES: usize = 2;
/// Share of all images in which rounding may flip a sign; these sizes give about one of a thousand.
const MAX_FLIPPED_SHARE: f64 = 0.02;

#[test]
fn every_network_computes_the_same_elsewhere() {
    let mut random = Random(random_seed());
    let (mut images, mut flipped) = (0, 0);
    for config in configs() {
        let model = balanced(&config, &mut random);
        let report = compare(&model, INPUT, &mut random);
        let report = report.unwrap_or_else(|error| panic!("{error}\n{config:?}"));
        images += report.images;
        flipped += report.flipped_images;
    }
    assert!(flipped as f64 <= MAX_FLIPPED_SHARE * images as f64, "{flipped} of {images} images");
}

#[test]
fn a_network_can_be_exported_for_another_size() {
    let mut random = Random(random_seed());
    let config = Config { groups: Some(2), ..Config::new("resnet20", Method::Dybnn) };
    let model = balanced(&config, &mut random);
    compare(&model, [3, 24, 20], &mut random).unwrap();
}

/// The output is a map, nodes have the names that ONNX's input and output have, and a linear layer is in the middle.
#[test]
fn unusual_graphs_compute_the_same_elsewhere() {
    let mut random = Random(random_seed());
    let (statistics, precision) = (Statistics::MeanStd, Precision::I8);
    let (geometry, pad) = (Geometry::same(2, 3, 1, 1), PadValue::One);
    let nodes: [(&str, Op, &[usize]); 8] = [
        ("image", Op::Input { channels: 3, height: 6, width: 5 }, &[]),
        ("logits", Op::AvgPool { kernel: 3, stride: 2 }, &[0]),
        ("input", Op::Prelu { slope: Slope::Relu, shift: Shift::None }, &[1]),
        ("middle", Op::Linear { out_features: 6 }, &[2]),
        ("trunk", Op::HyperTrunk { statistics, hidden: 3, precision }, &[3]),
        ("head", Op::HyperHead { outputs: 3, range: HyperRange::Raw, precision }, &[4]),
        ("sign", Op::Sign { threshold: Threshold::Dynamic }, &[1, 5]),
        ("last", Op::ConvBin { geometry, pad, scale: WeightScale::None }, &[6]),
    ];
    let nodes = nodes.map(|(name, op, inputs)| {
        let inputs = inputs.iter().map(|&input| NodeId(input)).collect();
        Node { name: name.to_owned(), op, inputs }
    });
    let task = Task::unnamed([3, 6, 5], 2 * 2 * 2);
    let graph = Graph {
        arch: "unusual".to_owned(),
        normalization: task.normalization,
        preprocessing: Preprocessing::default(),
        classes: task.classes,
        nodes: nodes.into(),
    };
    let graph = Verified::<Graph>::new(graph).unwrap();
    let model = lower(&balanced_weights(graph, &mut random)).unwrap();
    compare(&model, [3, 6, 5], &mut random).unwrap();
}

/// The convolution of the image and the classifier of 8 bits.
#[test]
fn eight_bit_layers_compute_the_same_elsewhere() {
    let mut random = Random(random_seed());
    for stem in [Stem::Full, Stem::Small] {
        let config = Config { stem: Some(stem), ..Config::new("resnet20", Method::Reactnet) };
        let model = balanced(&config, &mut random);
        let output = int8_layers::features(&model);
        let engine = Engine::new(&model, Options { output, ..Options::default() }).unwrap();
        let mut ranges = Ranges::new(engine.classes());
        ranges.add(&run(&engine, &image(INPUT, &mut random)).logits);
        let Quantized { model, nodes, .. } =
            int8_layers::quantize(&model, Layers::All, Some(&ranges)).unwrap();
        assert_eq!(nodes.len(), 2, "{nodes:?}");
        compare_rounded(&model, &mut random);
    }
}

/// As [`compare`], for a classifier whose input is rounded: where it sits between two integers, either may be taken.
fn compare_rounded(model: &Verified<Model>, random: &mut Random) {
    let images: Vec<Vec<f32>> = (0..IMAGES).map(|_| image(INPUT, random)).collect();
    let engine = Engine::new(model, Options::default()).unwrap();
    let last = model.graph.nodes.last().unwrap();
    let (integers, scale) = model.integers(last, "weight");
    let largest = integers.chunks(integers.len() / scale.len()).zip(scale).map(|(row, scale)| {
        row.iter().fold(0.0f32, |most, &q| most.max(scale * f32::from(q).abs()))
    });
    let step = largest.fold(0.0, f32::max);
    for (elsewhere, image) in run_elsewhere(model, INPUT, &images).iter().zip(&images) {
        let ours = run(&engine, image);
        let signs = |o: &Observed| o.signs.iter().cloned().collect::<BTreeMap<_, _>>();
        if signs(elsewhere) != signs(&ours) {
            continue;
        }
        for (a, b) in elsewhere.logits.iter().zip(&ours.logits) {
            assert!((a - b).abs() <= step + 1e-4, "{a} {b}, a step is {step}");
        }
    }
}

fn balanced(config: &Config, random: &mut Random) -> Verified<Model> {
    let model = lower(&balanced_weights(build(config), random)).unwrap();
    let image: Vec<f64> = image(INPUT, random).into_iter().map(f64::from).collect();
    balance_signs(model, INPUT, &image)
}

/// An NHWC image of noise.
fn image([channels, height, width]: [usize; 3], random: &mut Random) -> Vec<f32> {
    random.floats(channels * height * width, -1.7, 1.7)
}

/// Runs both on a batch of images of the size `input`.
fn compare(
    model: &Verified<Model>,
    input: [usize; 3],
    random: &mut Random,
) -> Result<Report, Disagreement> {
    let [channels, height, width] = input;
    let mut graph = model.graph.clone();
    graph.nodes[0].op = Op::Input { channels, height, width };
    let images: Vec<Vec<f32>> = (0..IMAGES).map(|_| image(input, random)).collect();
    let engine =
        Engine::new(model, Options { input: Some([height, width]), ..Options::default() }).unwrap();
    let mut agreement = Agreement::new(&graph).unwrap();
    let expected = images.iter().map(|image| run(&engine, image));
    for (elsewhere, ours) in run_elsewhere(model, input, &images).iter().zip(expected) {
        agreement.image(elsewhere, &ours);
    }
    agreement.verdict()
}

fn run(engine: &Engine, image: &[f32]) -> Observed {
    let mut observed = Observed { logits: vec![0.0; engine.classes()], signs: Vec::new() };
    let signs = &mut observed.signs;
    let mut observer = |node: &str, bits: &[u64]| signs.push((node.to_string(), bits.to_vec()));
    let mut scratch = engine.scratch().unwrap();
    engine.run_observed(image, &mut observed.logits, &mut scratch, &mut observer).unwrap();
    observed
}

fn run_elsewhere(model: &Verified<Model>, input: [usize; 3], images: &[Vec<f32>]) -> Vec<Observed> {
    let onnx = to_onnx(model, Some(input)).unwrap();
    let program = ModelOptions::with_all_ops().enable_optimization(false).load(onnx.bytes).unwrap();
    let [channels, height, width] = input;
    let batch = images.iter().flat_map(|image| planes(image, channels)).collect();
    let batch = Value::from_shape(&[images.len(), channels, height, width], batch).unwrap();
    let is_sign = |node: &&Node| matches!(node.op, Op::Sign { .. });
    let signs: Vec<&str> =
        model.graph.nodes.iter().filter(is_sign).map(|node| node.name.as_str()).collect();
    let outputs: Vec<_> =
        ["logits"].iter().chain(&signs).map(|name| program.node_id(name).unwrap()).collect();
    let input = program.node_id("input").unwrap();
    let mut values = program.run(vec![(input, batch.into())], &outputs, None).unwrap().into_iter();
    let ([n, classes], logits) = values.next().unwrap().into_shape_vec::<f32, 2>().unwrap();
    assert_eq!(n, images.len());
    let logits = logits.chunks(classes).map(<[f32]>::to_vec);
    let mut observed: Vec<_> = logits.map(|logits| Observed { logits, signs: vec![] }).collect();
    for (name, value) in signs.iter().zip(values) {
        let ([n, channels, ..], values) = value.into_shape_vec::<f32, 4>().unwrap();
        for (observed, map) in observed.iter_mut().zip(values.chunks(values.len() / n)) {
            assert!(map.iter().all(|v| v.abs() == 1.0), "{name} is not +-1");
            observed.signs.push(((*name).to_string(), packed(map, channels)));
        }
    }
    observed
}

/// NHWC to NCHW.
fn planes(pixels: &[f32], channels: usize) -> Vec<f32> {
    (0..channels).flat_map(|c| pixels.iter().skip(c).step_by(channels).copied()).collect()
}

/// Bits of a map of +-1 whose channels are planes, pixel by pixel.
fn packed(map: &[f32], channels: usize) -> Vec<u64> {
    let pixels = map.len() / channels;
    let mut words = vec![0; pixels * bits::words(channels)];
    for (pixel, words) in words.chunks_mut(bits::words(channels)).enumerate() {
        let values: Vec<f32> = map.iter().skip(pixel).step_by(pixels).copied().collect();
        bits::pack(&values, words);
    }
    words
}
