//! Every operation against what PyTorch computed (scripts/fixtures/ops.py).

#[path = "../../tests/common/mod.rs"]
mod fixture;

use onebit_model::op::BATCH_NORM_EPS;
use onebit_model::op::Role;
use onebit_model::{
    Geometry, HyperRange, Op, PadValue, Precision, Shape, Shift, Slope, Statistics, Threshold,
    WeightScale, quantization,
};

use self::fixture::Fixture;
use super::batch_norm::BatchNorm;
use super::hyper::{HyperHead, HyperTrunk};
use super::test_support::{Inputs, Outcome, normalize, pack, run, run_both};
use crate::NetConfig;
use crate::binarize::{Clip, Ede, Estimator};
use crate::params::{Parameter, Params};

/// Largest difference to PyTorch's float64 results, relative to the largest value of a tensor.
const TOLERANCE: f32 = 2e-5;

impl Fixture {
    fn get(&self, name: &str) -> &[f32] {
        self.tensors.get(name).map_or(&[], |t| &t.1)
    }

    /// Images and shape of an NHWC tensor (or `[N, C]`).
    fn map(&self, name: &str) -> (usize, Shape) {
        match self.tensors[name].0[..] {
            [n, h, w, c] => (n, Shape::float(c, h, w)),
            [n, c] => (n, Shape::float(c, 1, 1)),
            ref other => panic!("{}: {name} has the shape {other:?}", self.name),
        }
    }

    fn params(&self, names: &[&str]) -> Params {
        let parameter = |name: &&str| {
            let (shape, value) = self.tensors[*name].clone();
            let grad = vec![0.0; value.len()];
            Parameter { name: name.to_string(), shape, role: Role::Float, value, grad }
        };
        Params { entries: names.iter().map(parameter).collect() }
    }

    fn assert_close(&self, what: &str, found: &[f32]) {
        self.assert_within(what, found, TOLERANCE);
    }

    fn assert_within(&self, what: &str, found: &[f32], tolerance: f32) {
        let expected = self.get(what);
        assert_eq!(found.len(), expected.len(), "{}: length of {what}", self.name);
        let scale = expected.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
        for (i, (f, e)) in found.iter().zip(expected).enumerate() {
            let difference = (f - e).abs();
            assert!(difference <= tolerance * scale, "{}: {what}[{i}] is {f}, not {e}", self.name);
        }
    }
}

fn simple<'a>(f: &'a Fixture, images: usize) -> Inputs<'a> {
    let x = f.get("x");
    Inputs { images, x, x_bits: &[], x2: &[], gy: f.get("gy"), gx_len: x.len(), bit_channels: None }
}

fn geometry(f: &Fixture, out_channels: usize) -> Geometry {
    Geometry {
        out_channels,
        kernel: f.attribute("kernel"),
        stride: f.attribute("stride"),
        padding: f.attribute("padding"),
        groups: f.attribute("groups"),
    }
}

#[test]
fn conv_equals_pytorch() {
    for f in Fixture::all("conv_k") {
        let (images, x) = f.map("x");
        let (_, y) = f.map("y");
        let layer = super::conv::Conv::new(geometry(&f, y.channels), x, y, 0);
        let out = run(layer, f.params(&["weight"]), &simple(&f, images));
        f.assert_close("y", &out.y);
        f.assert_close("gx", &out.gx);
        f.assert_close("g_weight", &out.params.entries[0].grad);
    }
}

#[test]
fn conv_bin_equals_pytorch() {
    for f in Fixture::all("conv_bin") {
        let (images, x) = f.map("x");
        let (_, y) = f.map("y");
        let pad = if f.word("pad_value") == "1" { PadValue::One } else { PadValue::Zero };
        let scale = match f.word("scale") {
            "l1" => WeightScale::L1Detached,
            "l1_grad" => WeightScale::L1Grad,
            "learned" => WeightScale::Learned,
            "none" => WeightScale::None,
            other => panic!("scale {other}"),
        };
        let kind = super::conv_bin::Kind { geometry: geometry(&f, y.channels), pad, scale };
        let layer = super::conv_bin::ConvBin::new(kind, x, y, 0, &NetConfig::new(images));
        let learned = scale == WeightScale::Learned;
        let names: &[&str] = if learned { &["weight", "scale"] } else { &["weight"] };
        let packed = pack(f.get("x"), x.channels);
        let inputs = Inputs { x: &[], x_bits: &packed, ..simple(&f, images) };
        let out = run(layer, f.params(names), &inputs);
        f.assert_close("y", &out.y);
        f.assert_close("gx", &out.gx);
        f.assert_close("g_weight", &out.params.entries[0].grad);
        if learned {
            f.assert_close("g_scale", &out.params.entries[1].grad);
        }
    }
}

#[test]
fn sign_equals_pytorch() {
    for f in Fixture::all("sign") {
        let (images, x) = f.map("x");
        let estimator = match f.word("estimator") {
            "approx_sign" => Estimator::ApproxSign,
            "clip" => Estimator::Clip(Clip { bound: f.attribute("bound") }),
            "ede" => Estimator::Ede(Ede { k: f.attribute("k"), t: f.attribute("t") }),
            other => panic!("estimator {other}"),
        };
        let dynamic = f.word("threshold") == "dynamic";
        let threshold = if dynamic { Threshold::Dynamic } else { Threshold::Static };
        let layer = super::sign::Sign::new(threshold, x, 0, estimator);
        let inputs =
            Inputs { x2: f.get("d"), bit_channels: Some(x.channels), ..simple(&f, images) };
        let out = run(layer, f.params(&["threshold"]), &inputs);
        assert_eq!(out.y, f.get("y"), "{}", f.name);
        f.assert_close("gx", &out.gx);
        f.assert_close("g_threshold", &out.params.entries[0].grad);
        f.assert_close("g_d", &out.gx2);
    }
}

#[test]
fn prelu_equals_pytorch() {
    for f in Fixture::all("prelu") {
        let (images, x) = f.map("x");
        let slope = match f.word("slope") {
            "relu" => Slope::Relu,
            "prelu" => Slope::Negative,
            "fprelu" => Slope::Both,
            other => panic!("slope {other}"),
        };
        let shift = match f.word("shift") {
            "none" => Shift::None,
            "static" => Shift::Static,
            "dynamic" => Shift::Dynamic,
            other => panic!("shift {other}"),
        };
        let names: Vec<&str> =
            Op::Prelu { slope, shift }.params(x).iter().map(|p| p.suffix).collect();
        let layer = super::prelu::Prelu::new(slope, shift, x, 0);
        let inputs = Inputs { x2: f.get("d"), ..simple(&f, images) };
        let out = run(layer, f.params(&names), &inputs);
        f.assert_close("y", &out.y);
        f.assert_close("gx", &out.gx);
        f.assert_close("g_d", &out.gx2);
        for entry in &out.params.entries {
            f.assert_close(&format!("g_{}", entry.name), &entry.grad);
        }
    }
}

#[test]
fn pooling_equals_pytorch() {
    for f in Fixture::all("max_pool").into_iter().chain(Fixture::all("avg_pool")) {
        let (images, x) = f.map("x");
        let (_, y) = f.map("y");
        let (kernel, stride) = (f.attribute("kernel"), f.attribute("stride"));
        let out = if f.word("op") == "max_pool" {
            let layer = super::pool::MaxPool::new(kernel, stride, f.attribute("padding"), x, y);
            run(layer, Params::default(), &simple(&f, images))
        } else {
            let layer = super::pool::AvgPool::new(kernel, stride, x, y);
            run(layer, Params::default(), &simple(&f, images))
        };
        f.assert_close("y", &out.y);
        f.assert_close("gx", &out.gx);
    }
    for f in Fixture::all("global_avg_pool") {
        let (images, x) = f.map("x");
        let out = run(super::pool::GlobalAvgPool::new(x), Params::default(), &simple(&f, images));
        f.assert_close("y", &out.y);
        f.assert_close("gx", &out.gx);
    }
}

#[test]
fn linear_and_shuffle_and_concat_equal_pytorch() {
    for f in Fixture::all("linear") {
        let (images, x) = f.map("x");
        let (_, y) = f.map("y");
        let layer = super::linear::Linear::new(x, y, 0);
        let out = run(layer, f.params(&["weight", "bias"]), &simple(&f, images));
        f.assert_close("y", &out.y);
        f.assert_close("gx", &out.gx);
        f.assert_close("g_weight", &out.params.entries[0].grad);
        f.assert_close("g_bias", &out.params.entries[1].grad);
    }
    for f in Fixture::all("channel_shuffle") {
        let (images, x) = f.map("x");
        let layer = super::shuffle::ChannelShuffle::new(f.attribute("groups"), x);
        let out = run(layer, Params::default(), &simple(&f, images));
        f.assert_close("y", &out.y);
        f.assert_close("gx", &out.gx);
    }
    for f in Fixture::all("concat") {
        let (images, left) = f.map("x0");
        let layer = super::concat::Concat::new(left, f.map("x1").1);
        let (x, x2) = (f.get("x0"), f.get("x1"));
        let inputs = Inputs {
            images,
            x,
            x_bits: &[],
            x2,
            gy: f.get("gy"),
            gx_len: x.len(),
            bit_channels: None,
        };
        let out = run(layer, Params::default(), &inputs);
        f.assert_close("y", &out.y);
        f.assert_close("gx0", &out.gx);
        f.assert_close("gx1", &out.gx2);
    }
}

#[test]
fn hyper_equals_pytorch() {
    for f in Fixture::all("hyper") {
        let (images, x) = f.map("x");
        let (_, y) = f.map("y");
        let statistics = match f.word("statistics") {
            "mean" => Statistics::Mean,
            "mean_std" => Statistics::MeanStd,
            "mean_third" => Statistics::MeanThird,
            other => panic!("statistics {other}"),
        };
        let range = match f.word("output") {
            "raw" => HyperRange::Raw,
            _ => HyperRange::Sigmoid { lambda: f.attribute("lambda") },
        };
        let hidden = Shape::float(f.attribute("hidden"), 1, 1);
        let layers = (
            HyperTrunk::new(statistics, Precision::F32, x, hidden, 0),
            HyperHead::new(range, Precision::F32, hidden, y, 2),
        );
        let params = f.params(&["w1", "b1", "w2", "b2"]);
        let out = run_both(layers, &params, &simple(&f, images), hidden.channels);
        f.assert_close("y", &out.y);
        f.assert_close("gx", &out.gx);
        for entry in &out.params.entries {
            f.assert_close(&format!("g_{}", entry.name), &entry.grad);
        }
    }
}

#[test]
fn eight_bit_hyper_functions_act_and_send_gradients_as_the_rounded_weights_do() {
    for f in Fixture::all("hyper_mean") {
        let (images, x) = f.map("x");
        let (_, y) = f.map("y");
        let hidden = Shape::float(f.attribute("hidden"), 1, 1);
        let range = HyperRange::Sigmoid { lambda: 0.5 };
        let statistics = match f.word("statistics") {
            "mean" => Statistics::Mean,
            "mean_std" => Statistics::MeanStd,
            _ => Statistics::MeanThird,
        };
        let layers = |precision| {
            let trunk = HyperTrunk::new(statistics, precision, x, hidden, 0);
            (trunk, HyperHead::new(range, precision, hidden, y, 2))
        };
        let params = f.params(&["w1", "b1", "w2", "b2"]);
        let mut rounded = params.clone();
        for (index, columns) in [(0, statistics.count() * x.channels), (2, hidden.channels)] {
            let weight = &mut rounded.entries[index].value;
            let rows = quantization::quantize(weight, columns);
            *weight = quantization::expand(&rows.integers, &rows.scale);
        }
        assert_ne!(params, rounded, "{}", f.name);
        let inputs = simple(&f, images);
        let found = run_both(layers(Precision::I8), &params, &inputs, hidden.channels);
        let expected = run_both(layers(Precision::F32), &rounded, &inputs, hidden.channels);
        assert_eq!((found.y, found.gx), (expected.y, expected.gx), "{}", f.name);
        for (found, expected) in found.params.entries.iter().zip(&expected.params.entries) {
            assert_eq!(found.grad, expected.grad, "{} {}", f.name, found.name);
        }
    }
}

#[test]
fn batch_norm_equals_pytorch() {
    for f in Fixture::all("batch_norm") {
        let (images, shape) = f.map("x");
        // PyTorch's own float32 differs from its float64 by as much where the mean is 80 deviations.
        let tolerance = if f.name.ends_with("far_mean") { 2e-4 } else { TOLERANCE };
        let params = f.params(&["weight", "bias", "running_mean", "running_var"]);
        let mut norm = BatchNorm::new(1, 0, shape.channels, BATCH_NORM_EPS, 0);
        let mut y = vec![0.0; f.get("x").len()];
        norm.use_running(&params);
        norm.forward(&params, f.get("x"), None, &mut y, &mut Vec::new());
        f.assert_within("y_eval", &y, tolerance);
        let out = normalize(norm, params, &simple(&f, images), shape);
        let params = out.params;
        f.assert_within("y", &out.y, tolerance);
        f.assert_within("gx", &out.gx, tolerance);
        f.assert_within("g_weight", &params.entries[0].grad, tolerance);
        f.assert_within("g_bias", &params.entries[1].grad, tolerance);
        f.assert_within("running_mean_after", params.value(2), tolerance);
        f.assert_within("running_var_after", params.value(3), tolerance);
    }
}

/// Weights, their binary form and the gradients of both; zero packs as -1 here and has no sign in PyTorch.
#[test]
fn conv_bin_of_the_worked_example() {
    let weight = [0.2, -0.4, 0.1, -0.1, 1.5, -0.5, 0.0, 0.25];
    let binary = [0.2, -0.2, 0.2, -0.2, 0.5625, -0.5625, -0.5625, 0.5625];
    let (g_binary, g_weight) =
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [1.0, 2.0, 3.0, 4.0, 0.0, 6.0, 7.0, 8.0]);
    // Four images with orthogonal signs show every single weight and reach every single gradient.
    let x: [[f32; 4]; 4] = [
        [1.0, 1.0, 1.0, 1.0],
        [1.0, -1.0, 1.0, -1.0],
        [1.0, 1.0, -1.0, -1.0],
        [1.0, -1.0, -1.0, 1.0],
    ];
    let dot = |x: &[f32; 4], row: &[f32]| x.iter().zip(row).map(|(a, b)| a * b).sum::<f32>();
    let gy: Vec<f32> =
        x.iter().flat_map(|x| g_binary.chunks(4).map(move |g| dot(x, g) / 4.0)).collect();
    let geometry = Geometry { out_channels: 2, kernel: 1, stride: 1, padding: 0, groups: 1 };
    let kind =
        super::conv_bin::Kind { geometry, pad: PadValue::Zero, scale: WeightScale::L1Detached };
    let (one, two) = (Shape::float(4, 1, 1), Shape::float(2, 1, 1));
    let layer = super::conv_bin::ConvBin::new(kind, one, two, 0, &NetConfig::new(4));
    let packed = pack(x.as_flattened(), 4);
    let inputs = Inputs {
        images: 4,
        x: &[],
        x_bits: &packed,
        x2: &[],
        gy: &gy,
        gx_len: 16,
        bit_channels: None,
    };
    let out = run(layer, parameters(&[&weight]), &inputs);
    for (o, binary) in binary.chunks(4).enumerate() {
        for (i, &expected) in binary.iter().enumerate() {
            let found: f32 = x.iter().enumerate().map(|(n, x)| x[i] * out.y[2 * n + o]).sum();
            assert!((found / 4.0 - expected).abs() <= TOLERANCE, "weight {o}, {i}: {found}");
        }
    }
    assert_eq!(out.params.entries[0].grad, g_weight);
}

/// RPReLU with the slope 0.25, shifted by -0.1 at the input and by -0.2 at the output.
#[test]
fn rprelu_of_the_worked_example() {
    for (x, y) in [(-1.0, -0.425), (-0.1, -0.2), (0.0, -0.1), (0.5, 0.4)] {
        let params = parameters(&[&[0.25], &[-0.1], &[-0.2]]);
        let out = rectified(Slope::Negative, Shift::Static, params, x);
        assert!((out.y[0] - y).abs() <= TOLERANCE, "{x} gives {}, not {y}", out.y[0]);
    }
}

/// FPReLU with the slopes 1.5 above zero and 0.25 below.
#[test]
fn fprelu_of_the_worked_example() {
    let points = [
        (-2.0, -0.5, 0.25, 0.0, -2.0),
        (-0.5, -0.125, 0.25, 0.0, -0.5),
        (0.5, 0.75, 1.5, 0.5, 0.0),
        (2.0, 3.0, 1.5, 2.0, 0.0),
    ];
    for (x, y, gx, g_pos, g_neg) in points {
        let out = rectified(Slope::Both, Shift::None, parameters(&[&[1.5], &[0.25]]), x);
        let grads: Vec<f32> = out.params.entries.iter().map(|p| p.grad[0]).collect();
        assert_eq!((out.y[0], out.gx[0], &grads[..]), (y, gx, &[g_pos, g_neg][..]), "at {x}");
    }
}

fn rectified(slope: Slope, shift: Shift, params: Params, x: f32) -> Outcome {
    let layer = super::prelu::Prelu::new(slope, shift, Shape::float(1, 1, 1), 0);
    let inputs = Inputs {
        images: 1,
        x: &[x],
        x_bits: &[],
        x2: &[],
        gy: &[1.0],
        gx_len: 1,
        bit_channels: None,
    };
    run(layer, params, &inputs)
}

fn parameters(values: &[&[f32]]) -> Params {
    let parameter = |value: &&[f32]| Parameter {
        name: String::new(),
        shape: vec![value.len()],
        role: Role::Float,
        value: value.to_vec(),
        grad: vec![0.0; value.len()],
    };
    Params { entries: values.iter().map(parameter).collect() }
}
