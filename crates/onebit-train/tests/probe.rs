//! The probe against closed forms and against naive loops in f64.

#![allow(clippy::unwrap_used)]

use std::f64::consts::PI;

use onebit_data::random::{Key, Stream};
use onebit_model::arch::{self, Builder, Config, Method, Task};
use onebit_model::file::Weights;
use onebit_model::{
    Data, Geometry, Graph, NodeId, Op, PadValue, Shift, Slope, Tensor, Threshold, Verified,
    WeightScale, infer,
};
use onebit_train::checkpoint::TrainingStage;
use onebit_train::probe::{Linearity, Probe, ProbedLayer};
use onebit_train::{Net, NetConfig};

/// Largest difference to naive sums in f64: the maps themselves are f32.
const ROUNDING: f64 = 1e-5;

/// Largest difference of the Gaussian measures to their limits. `r2` is the mean of 64 channels over 4,096 pixels: each
/// has the standard error 2 r (1 - r^2) / sqrt(4096) < 0.012, their mean less than 0.0015 if they were independent;
/// that the fan-in is 1,024 and not infinite adds (1 - 2/pi) / 1024.
const SAMPLING: f64 = 0.008;

fn normals(index: u64, len: usize) -> Vec<f32> {
    let key = Key { seed: 5, epoch: 0, index, stream: Stream::SYNTHETIC };
    key.normals().take(len).collect()
}

/// Weights whose tensors `value` gives by name and length.
fn weights(graph: Verified<Graph>, value: impl Fn(&str, usize) -> Vec<f32>) -> Verified<Weights> {
    let shapes = infer::shapes(&graph).unwrap();
    let nodes = graph.ids().flat_map(|id| {
        let node = &graph.nodes[id.0];
        let params = graph.params(id, &shapes).into_iter();
        params.map(|param| (node.param_name(param.suffix), param))
    });
    let tensors = nodes.map(|(name, param)| {
        let data = Data::F32(value(&name, param.len()));
        (name, Tensor { shape: param.shape, data })
    });
    let tensors = tensors.collect();
    Verified::<Weights>::new(Weights { graph: graph.into_inner(), tensors }).unwrap()
}

/// The image itself, binarized and convolved.
fn one_convolution(input: [usize; 3], threshold: Threshold, geometry: Geometry) -> Verified<Graph> {
    let (mut b, image) = Builder::new("one", &Task::unnamed(input, 2));
    let bits = b.add("sign", Op::Sign { threshold }, &[image]);
    let y = b.conv_bin("one", bits, geometry, PadValue::Zero, WeightScale::L1Detached);
    Verified::<Graph>::new(b.classifier(y)).unwrap()
}

fn measured(weights: &Verified<Weights>, stage: TrainingStage, images: &[f32]) -> Vec<ProbedLayer> {
    let mut probe = Probe::new(weights, stage).unwrap();
    probe.add(images);
    probe.layers()
}

fn assert_near(what: &str, found: Option<f64>, expected: f64, tolerance: f64) {
    let found = found.unwrap_or_else(|| panic!("{what} is absent"));
    assert!((found - expected).abs() <= tolerance, "{what} is {found}, not {expected}");
}

/// One layer of 64 channels on 16 images of 1024x16x16 values, and weights, that `shape` makes of normal ones.
fn independent(stage: TrainingStage, shape: impl Fn(f32) -> f32) -> ProbedLayer {
    let graph = one_convolution([1024, 16, 16], Threshold::Zero, Geometry::same(64, 1, 1, 1));
    let weights = weights(graph, |_, len| normals(1, len));
    let images: Vec<f32> = normals(2, 16 * 1024 * 256).into_iter().map(shape).collect();
    measured(&weights, stage, &images).remove(0)
}

#[test]
fn gaussian_activations_and_weights() {
    let layer = independent(TrainingStage::BinaryWeights, |x| x);
    assert_near("qe_weights", layer.qe_weights, 1.0 - 2.0 / PI, SAMPLING);
    assert_near("qe_activations", layer.qe_activations, 1.0 - 2.0 / PI, SAMPLING);
    assert_near("r2", layer.r2, 4.0 / (PI * PI), SAMPLING);
    assert_eq!((layer.channels, layer.constant_channels), (64, 0));
}

#[test]
fn gaussian_activations_with_real_weights() {
    let layer = independent(TrainingStage::RealWeights, |x| x);
    assert_near("r2", layer.r2, 2.0 / PI, SAMPLING);
}

#[test]
fn linearity_is_what_quantization_leaves_of_independent_activations() {
    // Two magnitudes, 1 and 3, equally often: (mean |x|)^2 / mean x^2 = 4 / 5.
    let two = |x: f32| if x.abs() > 0.674_49 { 3.0 } else { 1.0_f32 }.copysign(x);
    let layer = independent(TrainingStage::BinaryWeights, two);
    assert_near("qe_activations", layer.qe_activations, 0.2, SAMPLING);
    let left = (1.0 - layer.qe_activations.unwrap()) * (1.0 - layer.qe_weights.unwrap());
    assert_near("r2", layer.r2, left, SAMPLING);
}

#[test]
fn what_is_binary_already_loses_nothing() {
    let graph = one_convolution([16, 8, 8], Threshold::Zero, Geometry::same(4, 3, 1, 1));
    let weights = weights(graph, |_, len| {
        normals(1, len).into_iter().map(|w| 0.25_f32.copysign(w)).collect()
    });
    let images: Vec<f32> =
        normals(2, 4 * 16 * 64).into_iter().map(|x| 3.0_f32.copysign(x)).collect();
    let layer = measured(&weights, TrainingStage::BinaryWeights, &images).remove(0);
    for (what, found, expected) in [
        ("qe_weights", layer.qe_weights, 0.0),
        ("qe_activations", layer.qe_activations, 0.0),
        ("r2", layer.r2, 1.0),
    ] {
        assert_near(what, found, expected, ROUNDING);
    }
}

#[test]
fn channels_that_are_the_same_everywhere_are_counted() {
    let graph = one_convolution([8, 6, 6], Threshold::Zero, Geometry::same(3, 1, 1, 1));
    // The second of three filters: z is alpha times a sum of bits, but r is zero.
    let weights = weights(graph, |name, len| {
        let mut values = normals(1, len);
        if name == "one.conv.weight" {
            values[8..16].fill(0.0);
        }
        values
    });
    let layer = measured(&weights, TrainingStage::BinaryWeights, &normals(2, 3 * 8 * 36)).remove(0);
    assert_eq!((layer.channels, layer.constant_channels), (3, 1));
    assert!(layer.r2.unwrap() > 0.1);
    let layer = measured(&weights, TrainingStage::BinaryWeights, &vec![0.5; 8 * 36]).remove(0);
    assert_eq!((layer.r2, layer.constant_channels), (None, 3));
    assert_near("qe_activations", layer.qe_activations, 0.0, ROUNDING);
}

/// Real convolution of NHWC maps with zero padding, `weight` OHWI.
fn convolve(x: &[f64], [c, h, w]: [usize; 3], weight: &[f64], g: Geometry) -> Vec<f64> {
    let (own, outputs) = (c / g.groups, g.out_channels / g.groups);
    let side = |extent| g.output_extent(extent).unwrap();
    let mut y = Vec::new();
    for image in x.chunks_exact(c * h * w) {
        for (oy, ox) in (0..side(h)).flat_map(|y| (0..side(w)).map(move |x| (y, x))) {
            for o in 0..g.out_channels {
                let mut sum = 0.0;
                for (ky, kx, i) in (0..g.kernel * g.kernel * own)
                    .map(|t| (t / own / g.kernel, t / own % g.kernel, t % own))
                {
                    let (py, px) = (oy * g.stride + ky, ox * g.stride + kx);
                    let inside = (g.padding..g.padding + h).contains(&py)
                        && (g.padding..g.padding + w).contains(&px);
                    if inside {
                        let channel = o / outputs * own + i;
                        let pixel = (py - g.padding) * w + px - g.padding;
                        let tap = (o * g.kernel * g.kernel + ky * g.kernel + kx) * own + i;
                        sum += image[pixel * c + channel] * weight[tap];
                    }
                }
                y.push(sum);
            }
        }
    }
    y
}

/// Squared correlation of channel `c` of two maps.
fn correlation(a: &[f64], b: &[f64], channels: usize, c: usize) -> f64 {
    let pick = |map: &[f64]| map.iter().skip(c).step_by(channels).copied().collect::<Vec<_>>();
    let (a, b) = (pick(a), pick(b));
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (ma, mb) = (mean(&a), mean(&b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(&b).map(|(a, b)| f(a - ma, b - mb)).sum()
    };
    sum(&|a, b| a * b).powi(2) / (sum(&|a, _| a * a) * sum(&|_, b| b * b))
}

#[test]
fn strides_groups_and_thresholds_as_naive_loops_have_them() {
    let geometry = Geometry { out_channels: 6, kernel: 3, stride: 2, padding: 1, groups: 2 };
    let input = [4, 7, 9];
    let weights = weights(one_convolution(input, Threshold::Static, geometry), |name, len| {
        normals(name.len() as u64, len)
    });
    let sign = |v: f64| if v > 0.0 { 1.0 } else { -1.0 };
    let doubles = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let floats = |name: &str| match &weights.tensors[name].data {
        Data::F32(values) => doubles(values),
        _ => panic!("{name}"),
    };
    let (threshold, w) = (floats("sign.threshold"), floats("one.conv.weight"));
    let images = normals(2, 5 * 4 * 63);
    let u: Vec<f64> =
        doubles(&images).iter().enumerate().map(|(i, x)| x - threshold[i % 4]).collect();
    let alpha: Vec<f64> =
        w.chunks(18).map(|f| f.iter().map(|w| w.abs()).sum::<f64>() / 18.0).collect();
    let binary: Vec<f64> = w.iter().enumerate().map(|(i, w)| alpha[i / 18] * sign(*w)).collect();
    let bits: Vec<f64> = u.iter().map(|u| sign(*u)).collect();
    let (z, r) = (convolve(&bits, input, &binary, geometry), convolve(&u, input, &w, geometry));
    let r2 = (0..6).map(|c| correlation(&z, &r, 6, c)).sum::<f64>() / 6.0;
    let error = |v: &[f64], q: &[f64]| {
        let squares = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>();
        squares(&mut v.iter().zip(q).map(|(v, q)| v - q)) / squares(&mut v.iter().copied())
    };
    let beta = u.iter().map(|u| u.abs()).sum::<f64>() / u.len() as f64;
    let q: Vec<f64> = bits.iter().map(|bit| beta * bit).collect();

    let layer = measured(&weights, TrainingStage::BinaryWeights, &images).remove(0);
    assert_near("qe_weights", layer.qe_weights, error(&w, &binary), ROUNDING);
    assert_near("qe_activations", layer.qe_activations, error(&u, &q), ROUNDING);
    assert_near("r2", layer.r2, r2, ROUNDING);
    assert_eq!(layer.linearity, None, "4 x 5 pixels are no whole fraction of 7 x 9");
}

/// A block whose convolution BN silences, so that the sum is its input, with a ReLU behind it.
fn silent_block(channels: usize) -> Verified<Weights> {
    let (mut b, image) = Builder::new("silent", &Task::unnamed([channels, 16, 16], 2));
    let bits = b.add("sign", Op::Sign { threshold: Threshold::Zero }, &[image]);
    let geometry = Geometry::same(channels, 3, 1, 1);
    let y = b.conv_bin("block", bits, geometry, PadValue::Zero, WeightScale::L1Detached);
    let y = b.batch_norm("block", y);
    let y = b.add("add", Op::Add, &[y, image]);
    let relu = Op::Prelu { slope: Slope::Relu, shift: Shift::None };
    let y: NodeId = b.add("relu", relu, &[y]);
    weights(Verified::<Graph>::new(b.classifier(y)).unwrap(), |name, len| match name {
        "block.bn.weight" | "block.bn.bias" => vec![0.0; len],
        "block.bn.running_var" => vec![1.0; len],
        _ => normals(name.len() as u64, len),
    })
}

#[test]
fn a_rectifier_lowers_the_linearity_of_its_block() {
    let images = normals(2, 32 * 8 * 256);
    let layer = measured(&silent_block(8), TrainingStage::BinaryWeights, &images).remove(0);
    let Linearity { before_module, after_module, block, .. } = layer.linearity.unwrap();
    assert_near("before", before_module, 1.0, ROUNDING);
    // Of max(x, 0) for normal x, cov(x, max(x, 0))^2 / var(max(x, 0)) = (1/4) / (1/2 - 1/(2 pi)); 65,536 values have a
    // standard error of about 0.002.
    assert_near("after", after_module, PI / (2.0 * (PI - 1.0)), 0.01);
    assert_eq!(after_module, block);
}

#[test]
fn too_few_pixels_for_a_fit_give_no_linearity() {
    let one_image = normals(2, 300 * 256);
    let layer = measured(&silent_block(300), TrainingStage::BinaryWeights, &one_image).remove(0);
    let expected = Linearity {
        features: 300,
        pixels: 256,
        before_module: None,
        after_module: None,
        block: None,
    };
    assert_eq!(layer.linearity, Some(expected));
    assert!(layer.r2.is_some());
}

/// A network of an architecture, as it is before training, with `change` applied to each parameter.
fn network(method: Method, change: impl Fn(&str, &mut [f32])) -> Verified<Weights> {
    let config = Config {
        widths: Some(vec![8, 16]),
        blocks: Some(vec![1, 1]),
        ..Config::new("resnet-small", method)
    };
    let graph = arch::build(&config, &Task::unnamed([1, 12, 12], 3)).unwrap();
    let mut net = Net::new(graph, NetConfig::new(4), 7).unwrap();
    net.params.entries.iter_mut().for_each(|entry| change(&entry.name, &mut entry.value));
    Verified::<Weights>::new(net.weights()).unwrap()
}

#[test]
fn offsets_of_the_hyper_function_move_the_threshold() {
    // A head whose weights are 0 gives the offset 2 sigmoid(bias) - 1 whatever they read.
    let (bias, offset) = (0.4_f32, 2.0 / (1.0 + (-0.4_f32).exp()) - 1.0);
    let dynamic = network(Method::Dybnn, |name, values| {
        if name.ends_with("sign_hyper.bias") {
            values.fill(bias);
        }
    });
    let moved = network(Method::Reactnet, |name, values| {
        if name.ends_with(".threshold") {
            values.fill(offset);
        }
        let same = dynamic.tensors.get(name).filter(|_| !name.ends_with(".threshold"));
        if let Some(Tensor { data: Data::F32(same), .. }) = same {
            values.copy_from_slice(same);
        }
    });
    let images = normals(2, 70 * 144);
    let dynamic = measured(&dynamic, TrainingStage::BinaryWeights, &images);
    for (a, b) in dynamic.iter().zip(&measured(&moved, TrainingStage::BinaryWeights, &images)) {
        assert_near("qe_activations", a.qe_activations, b.qe_activations.unwrap(), ROUNDING);
        assert_near("r2", a.r2, b.r2.unwrap(), ROUNDING);
    }
}

#[test]
fn neither_batches_nor_threads_change_the_measures() {
    let weights = network(Method::Ftbnn, |_, _| {});
    let images = normals(2, 150 * 144);
    let run = |threads: usize, images_at_once: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut probe = Probe::new(&weights, TrainingStage::BinaryWeights).unwrap();
            images.chunks(images_at_once * 144).for_each(|images| probe.add(images));
            probe.layers()
        })
    };
    let whole = run(1, 150);
    assert_eq!(run(3, 150), whole);
    assert_eq!(whole.len(), 2);
    for (a, b) in whole.iter().zip(&run(2, 7)) {
        assert_near("r2", a.r2, b.r2.unwrap(), ROUNDING);
        let block = |layer: &ProbedLayer| layer.linearity.unwrap().after_module;
        assert_near("block", block(a), block(b).unwrap(), ROUNDING);
        assert!(a.linearity.unwrap().before_module.is_some());
    }
}
