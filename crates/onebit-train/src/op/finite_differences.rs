//! Every backward pass against central differences of an independent definition in f64.
//!
//! A sign has no useful derivative: there the definition is the surrogate whose derivative the estimator is.

use onebit_data::random::{Key, Stream};
use onebit_model::op::{BATCH_NORM_EPS, Param, Role, window_extent};
use onebit_model::{
    Geometry, HyperRange, Op, PadValue, Precision, Shape, Shift, Slope, Statistics, Threshold,
    WeightScale,
};

use super::hyper::{HyperHead, HyperTrunk};
use super::test_support::{Inputs, Outcome, normalize, pack, run, run_both};
use super::{
    Layer, batch_norm, concat, conv, conv_bin, linear, linear_bin, pool, prelu, shuffle, sign,
};
use crate::NetConfig;
use crate::binarize::{Clip, ClipWeight, Ede, Estimator, WeightEstimator};
use crate::params::{Parameter, Params};

/// Half the distance of the two points of a difference.
const STEP: f64 = 1e-6;
/// Largest difference of an f32 result to the f64 one, relative to the largest value of a tensor.
const TOLERANCE: f64 = 2e-5;

/// Where a definition is evaluated.
#[derive(Clone)]
struct Point {
    x: Vec<f64>,
    x2: Vec<f64>,
    params: Vec<Vec<f64>>,
}

/// One operation with its inputs and parameters.
struct Case {
    name: String,
    images: usize,
    x: Vec<f32>,
    x2: Vec<f32>,
    params: Vec<Vec<f32>>,
    gy: Vec<f32>,
}

impl Case {
    /// Inputs of the shapes `x` and `x2` and parameters drawn from a normal distribution.
    fn new(name: impl Into<String>, images: usize, shapes: [usize; 3], params: &[usize]) -> Self {
        let [x, x2, y] = shapes;
        let draw = |len: usize, index: usize| -> Vec<f32> {
            let key = Key { seed: 11, epoch: 0, index: index as u64, stream: Stream::SYNTHETIC };
            key.normals().take(len).collect()
        };
        Case {
            name: name.into(),
            images,
            x: draw(images * x, 0),
            x2: draw(images * x2, 1),
            gy: draw(images * y, 2),
            params: params.iter().enumerate().map(|(i, &len)| draw(len, 3 + i)).collect(),
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        let (x, x2, gy) = (&self.x, &self.x2, &self.gy);
        Inputs { images: self.images, x, x_bits: &[], x2, gy, gx_len: x.len(), bit_channels: None }
    }

    fn params(&self) -> Params {
        let parameter = |value: &Vec<f32>| Parameter {
            name: String::new(),
            shape: vec![value.len()],
            role: Role::Float,
            value: value.clone(),
            grad: vec![0.0; value.len()],
        };
        Params { entries: self.params.iter().map(parameter).collect() }
    }

    fn point(&self) -> Point {
        let params = self.params.iter().map(|p| doubles(p)).collect();
        Point { x: doubles(&self.x), x2: doubles(&self.x2), params }
    }

    /// Checks outputs and gradients of `layer` against `definition`.
    fn check(&self, layer: impl Layer, definition: impl Fn(&Point) -> Vec<f64>) {
        let outcome = run(layer, self.params(), &self.inputs());
        self.check_output(&outcome, &definition);
        self.check_gradients(&outcome, &definition);
    }

    fn check_output(&self, outcome: &Outcome, definition: &dyn Fn(&Point) -> Vec<f64>) {
        self.close("y", &outcome.y, &definition(&self.point()));
    }

    fn check_gradients(&self, outcome: &Outcome, definition: &dyn Fn(&Point) -> Vec<f64>) {
        self.close("gx", &outcome.gx, &self.differences(definition, &|p| &mut p.x));
        self.close("gx2", &outcome.gx2, &self.differences(definition, &|p| &mut p.x2));
        for (i, entry) in outcome.params.entries.iter().enumerate() {
            let expected = self.differences(definition, &|p| &mut p.params[i]);
            self.close(&format!("gradient of parameter {i}"), &entry.grad, &expected);
        }
    }

    /// Derivatives of `sum(gy * definition)` by every element of one of its arguments.
    fn differences(
        &self,
        definition: &dyn Fn(&Point) -> Vec<f64>,
        argument: &dyn Fn(&mut Point) -> &mut Vec<f64>,
    ) -> Vec<f64> {
        let mut point = self.point();
        let mut loss = |index: usize, value: f64| {
            let old = core::mem::replace(&mut argument(&mut point)[index], value);
            let terms = definition(&point).into_iter().zip(&self.gy);
            let sum: f64 = terms.map(|(y, &gy)| y * f64::from(gy)).sum();
            argument(&mut point)[index] = old;
            sum
        };
        let centre = argument(&mut self.point()).clone();
        let slope = |(i, &v): (usize, &f64)| (loss(i, v + STEP) - loss(i, v - STEP)) / (2.0 * STEP);
        centre.iter().enumerate().map(slope).collect()
    }

    fn close(&self, what: &str, found: &[f32], expected: &[f64]) {
        assert_eq!(found.len(), expected.len(), "{}: length of {what}", self.name);
        let scale = expected.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
        for (i, (&f, e)) in found.iter().zip(expected).enumerate() {
            let difference = (f64::from(f) - e).abs();
            assert!(difference <= TOLERANCE * scale, "{}: {what}[{i}] is {f}, not {e}", self.name);
        }
    }
}

fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// Window and groups of the convolutions tried: kernel, stride, padding, groups.
const WINDOWS: [[usize; 4]; 6] =
    [[3, 1, 1, 1], [3, 2, 1, 1], [1, 1, 0, 1], [3, 1, 1, 2], [3, 2, 0, 4], [5, 1, 2, 1]];

/// Input, output and window of a convolution of 8 (or 12) channels to 4.
fn convolution([kernel, stride, padding, groups]: [usize; 4]) -> (Shape, Shape, Geometry) {
    let geometry = Geometry { out_channels: 4, kernel, stride, padding, groups };
    let x = Shape::float(if groups == 1 { 12 } else { 8 }, 3, 5);
    let extent = |input| geometry.output_extent(input).unwrap();
    (x, Shape::float(4, extent(x.height), extent(x.width)), geometry)
}

/// `y[o] = sum(w[o] * x)` over the window; taps outside the map count as `pad`.
fn convolve(g: Geometry, x: Shape, y: Shape, pad: f64, map: &[f64], weight: &[f64]) -> Vec<f64> {
    let (inputs, outputs) = (x.channels / g.groups, g.out_channels / g.groups);
    let value = |image: usize, row: usize, column: usize, c: usize| {
        let (row, column) = (row.checked_sub(g.padding), column.checked_sub(g.padding));
        match (row.filter(|&r| r < x.height), column.filter(|&c| c < x.width)) {
            (Some(r), Some(q)) => map[((image * x.height + r) * x.width + q) * x.channels + c],
            _ => pad,
        }
    };
    let images = map.len() / x.len();
    let mut out = Vec::new();
    for (image, oy) in pairs(images, y.height) {
        for (ox, o) in pairs(y.width, g.out_channels) {
            let mut sum = 0.0;
            for (ky, kx) in pairs(g.kernel, g.kernel) {
                for i in 0..inputs {
                    let c = o / outputs * inputs + i;
                    let w = weight[((o * g.kernel + ky) * g.kernel + kx) * inputs + i];
                    sum += w * value(image, oy * g.stride + ky, ox * g.stride + kx, c);
                }
            }
            out.push(sum);
        }
    }
    out
}

fn pairs(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).flat_map(move |r| (0..columns).map(move |c| (r, c)))
}

#[test]
fn conv() {
    for window in WINDOWS {
        let (x, y, geometry) = convolution(window);
        let weights = geometry.weight_shape(x.channels).iter().product();
        let case = Case::new(format!("{window:?}"), 2, [x.len(), 0, y.len()], &[weights]);
        let layer = conv::Conv::new(geometry, x, y, 0);
        case.check(layer, |p| convolve(geometry, x, y, 0.0, &p.x, &p.params[0]));
    }
}

/// The map is linear in `x`, and the latent weights act through their clip: what the forward pass multiplies with
/// moves with `clamp(latent)` from `sign(latent)`, or from `alpha sign(latent)` where alpha has no gradient.
#[test]
fn conv_bin() {
    use WeightScale::{L1Detached, L1Grad, Learned, None};
    for scale in [None, L1Detached, L1Grad, Learned] {
        for window in WINDOWS {
            check_conv_bin(window, PadValue::Zero, scale, 1.0);
        }
        check_conv_bin(WINDOWS[0], PadValue::One, scale, 0.5);
        check_conv_bin(WINDOWS[3], PadValue::One, scale, f64::INFINITY);
    }
}

fn check_conv_bin(window: [usize; 4], pad: PadValue, scale: WeightScale, bound: f64) {
    let (x, y, geometry) = convolution(window);
    let kind = conv_bin::Kind { geometry, pad, scale };
    let layer = |config: &NetConfig| conv_bin::ConvBin::new(kind, x, y, 0, config);
    check_binary((x, y, kind), x.channels, bound, layer);
}

/// A layer is a 1x1 convolution of one pixel that holds the whole map.
#[test]
fn linear_bin() {
    use WeightScale::{L1Detached, L1Grad, Learned, None};
    for (scale, bound) in [(None, 1.0), (L1Detached, 0.5), (L1Grad, 1.0), (Learned, f64::INFINITY)]
    {
        let (map, y) = (Shape::float(12, 3, 5), Shape::float(4, 1, 1));
        let geometry = Geometry { out_channels: 4, kernel: 1, stride: 1, padding: 0, groups: 1 };
        let kind = conv_bin::Kind { geometry, pad: PadValue::Zero, scale };
        let layer = |config: &NetConfig| linear_bin::LinearBin::new(scale, map, y, 0, config);
        check_binary((Shape::float(map.len(), 1, 1), y, kind), map.channels, bound, layer);
    }
}

/// Checks a layer that is this convolution of signs, packed with so many channels to a pixel.
fn check_binary<L: Layer + 'static>(
    (x, y, kind): (Shape, Shape, conv_bin::Kind),
    channels: usize,
    bound: f64,
    layer: impl Fn(&NetConfig) -> L,
) {
    let conv_bin::Kind { geometry, pad, scale } = kind;
    let weights = geometry.weight_shape(x.channels).iter().product::<usize>();
    let mut lens = vec![weights];
    lens.extend((scale == WeightScale::Learned).then_some(geometry.out_channels));
    let name = format!("{kind:?} {bound}");
    let mut case = Case::new(name, 2, [x.len(), 0, y.len()], &lens);
    case.x.iter_mut().for_each(|v| *v = v.signum());
    let latent = doubles(&case.params[0]);
    let filter = weights / geometry.out_channels;
    let pad_value = if pad == PadValue::One { 1.0 } else { 0.0 };
    let alphas = |w: &[f64]| -> Vec<f64> {
        w.chunks(filter).map(|f| f.iter().map(|v| v.abs()).sum::<f64>() / filter as f64).collect()
    };
    let definition = |p: &Point| {
        let clipped = |w: f64| w.clamp(-bound, bound);
        let moved = p.params[0].iter().zip(&latent).map(|(w, l)| clipped(*w) - clipped(*l));
        let fixed = alphas(&latent);
        let start = |i: usize| match scale {
            WeightScale::L1Detached => fixed[i / filter] * latent[i].signum(),
            WeightScale::None | WeightScale::L1Grad | WeightScale::Learned => latent[i].signum(),
        };
        let binary: Vec<f64> = moved.enumerate().map(|(i, m)| start(i) + m).collect();
        let factors = match scale {
            WeightScale::None | WeightScale::L1Detached => vec![1.0; geometry.out_channels],
            WeightScale::L1Grad => alphas(&p.params[0]),
            WeightScale::Learned => p.params[1].clone(),
        };
        let sums = convolve(geometry, x, y, pad_value, &p.x, &binary);
        sums.iter().enumerate().map(|(i, s)| s * factors[i % factors.len()]).collect()
    };
    let weight = match bound.is_finite() {
        true => WeightEstimator::Clip(ClipWeight { bound: bound as f32 }),
        false => WeightEstimator::Identity,
    };
    let config = NetConfig { weight, ..NetConfig::new(2) };
    let packed = pack(&case.x, channels);
    let inputs = Inputs { x: &[], x_bits: &packed, ..case.inputs() };
    let outcome = run(layer(&config), case.params(), &inputs);
    case.check_output(&outcome, &definition);
    case.check_gradients(&outcome, &definition);
}

#[test]
fn conv_bin_with_real_weights() {
    let (x, y, geometry) = convolution(WINDOWS[0]);
    let weights = geometry.weight_shape(x.channels).iter().product();
    let mut case = Case::new("real weights", 2, [x.len(), 0, y.len()], &[weights]);
    case.x.iter_mut().for_each(|v| *v = v.signum());
    let scale = WeightScale::L1Detached;
    let kind = conv_bin::Kind { geometry, pad: PadValue::Zero, scale };
    let config = NetConfig { binarize_weights: false, ..NetConfig::new(2) };
    let packed = pack(&case.x, x.channels);
    let inputs = Inputs { x: &[], x_bits: &packed, ..case.inputs() };
    let outcome = run(conv_bin::ConvBin::new(kind, x, y, 0, &config), case.params(), &inputs);
    let definition = |p: &Point| convolve(geometry, x, y, 0.0, &p.x, &p.params[0]);
    case.check_output(&outcome, &definition);
    case.check_gradients(&outcome, &definition);
}

#[test]
fn batch_norm() {
    let (images, shape) = (3, Shape::float(5, 3, 4));
    let mut case = Case::new("batch norm", images, [shape.len(), 0, shape.len()], &[5, 5, 5, 5]);
    case.x.iter_mut().enumerate().for_each(|(i, v)| *v = *v * 0.7 + (i % 5) as f32);
    let norm = batch_norm::BatchNorm::new(1, 0, 5, BATCH_NORM_EPS, 0);
    let outcome = normalize(norm, case.params(), &case.inputs(), shape);
    let definition = |p: &Point| {
        let channel = |c: usize| p.x.iter().skip(c).step_by(5);
        let count = (images * shape.pixels()) as f64;
        let means: Vec<f64> = (0..5).map(|c| channel(c).sum::<f64>() / count).collect();
        let deviation = |c: usize| {
            let squares = channel(c).map(|v| (v - means[c]).powi(2)).sum::<f64>();
            (squares / count + f64::from(BATCH_NORM_EPS)).sqrt()
        };
        let deviations: Vec<f64> = (0..5).map(deviation).collect();
        let y = |(i, v): (usize, &f64)| {
            let c = i % 5;
            (v - means[c]) / deviations[c] * p.params[0][c] + p.params[1][c]
        };
        p.x.iter().enumerate().map(y).collect()
    };
    case.check_output(&outcome, &definition);
    case.close("gx", &outcome.gx, &case.differences(&definition, &|p| &mut p.x));
    for i in 0..2 {
        let expected = case.differences(&definition, &|p| &mut p.params[i]);
        case.close(
            &format!("gradient of parameter {i}"),
            &outcome.params.entries[i].grad,
            &expected,
        );
    }
}

#[test]
fn sign() {
    let estimators = [
        Estimator::ApproxSign,
        Estimator::Clip(Clip { bound: 1.25 }),
        Estimator::Clip(Clip { bound: 0.5 }),
        Estimator::Ede(Ede { k: 1.5, t: 0.75 }),
    ];
    for (estimator, threshold) in estimators
        .into_iter()
        .flat_map(|e| [Threshold::Zero, Threshold::Static, Threshold::Dynamic].map(|t| (e, t)))
    {
        let (images, x) = (2, Shape::float(70, 2, 3));
        let c = x.channels;
        let offsets = if threshold == Threshold::Dynamic { c } else { 0 };
        let lens: &[usize] = if threshold == Threshold::Zero { &[] } else { &[c] };
        let name = format!("{estimator:?} {threshold:?}");
        let case = Case::new(name, images, [x.len(), offsets, x.len()], lens);
        let inputs = Inputs { bit_channels: Some(c), ..case.inputs() };
        let outcome = run(sign::Sign::new(threshold, x, 0, estimator), case.params(), &inputs);
        let centred = |p: &Point| -> Vec<f64> {
            let at = |i: usize| {
                let fixed = p.params.first().map_or(0.0, |t| t[i % c]);
                let moved = if offsets == 0 { 0.0 } else { p.x2[i / x.len() * c + i % c] };
                fixed + moved
            };
            p.x.iter().enumerate().map(|(i, v)| v - at(i)).collect()
        };
        let bit = |u: &f64| if *u > 0.0 { 1.0 } else { -1.0 };
        case.check_output(&outcome, &|p| centred(p).iter().map(bit).collect());
        case.check_gradients(&outcome, &|p| {
            centred(p).into_iter().map(|u| estimator.surrogate().value(u)).collect()
        });
    }
}

#[test]
fn prelu() {
    for slope in [Slope::Relu, Slope::Negative, Slope::Both] {
        for shift in [Shift::None, Shift::Static, Shift::Dynamic] {
            let (images, x) = (2, Shape::float(19, 2, 3));
            let c = x.channels;
            let params = Op::Prelu { slope, shift }.params(x);
            let lens: Vec<usize> = params.iter().map(Param::len).collect();
            let offsets = if shift == Shift::Dynamic { 2 * c } else { 0 };
            let name = format!("{slope:?} {shift:?}");
            let case = Case::new(name, images, [x.len(), offsets, x.len()], &lens);
            case.check(prelu::Prelu::new(slope, shift, x, 0), |p| {
                let value = |suffix: &str, c: usize| {
                    params.iter().position(|p| p.suffix == suffix).map(|i| p.params[i][c])
                };
                let y = |(i, v): (usize, &f64)| {
                    let (image, c_i) = (i / x.len(), i % c);
                    let offset = |half: usize| match offsets {
                        0 => 0.0,
                        _ => p.x2[image * offsets + half * c + c_i],
                    };
                    let u = v - value("shift_x", c_i).unwrap_or(0.0) - offset(0);
                    let above = value("slope_pos", c_i).unwrap_or(1.0);
                    let below = value("slope_neg", c_i).unwrap_or(0.0);
                    above * u.max(0.0)
                        + below * u.min(0.0)
                        + value("shift_y", c_i).unwrap_or(0.0)
                        + offset(1)
                };
                p.x.iter().enumerate().map(y).collect()
            });
        }
    }
}

#[test]
fn pools() {
    let x = Shape::float(3, 6, 7);
    let images = 2;
    for (kernel, stride, padding) in [(2, 2, 0), (3, 2, 1), (3, 1, 0)] {
        let extent = |input| window_extent(input, kernel, stride, padding).unwrap();
        let y = Shape::float(3, extent(x.height), extent(x.width));
        let name = format!("kernel {kernel}, stride {stride}, padding {padding}");
        let case = Case::new(name, images, [x.len(), 0, y.len()], &[]);
        let windows = |p: &Point, combine: fn(f64, f64) -> f64, start: f64| {
            let mut out = Vec::new();
            for (image, oy) in pairs(images, y.height) {
                for (ox, c) in pairs(y.width, 3) {
                    let inside = |(ky, kx): (usize, usize)| {
                        let row = (oy * stride + ky).checked_sub(padding)?;
                        let column = (ox * stride + kx).checked_sub(padding)?;
                        let at = ((image * x.height + row) * x.width + column) * 3 + c;
                        (row < x.height && column < x.width).then(|| p.x[at])
                    };
                    let taps = pairs(kernel, kernel).filter_map(inside);
                    out.push(taps.fold(start, combine));
                }
            }
            out
        };
        let max = pool::MaxPool::new(kernel, stride, padding, x, y);
        case.check(max, |p| windows(p, f64::max, f64::NEG_INFINITY));
        if padding == 0 {
            let area = (kernel * kernel) as f64;
            case.check(pool::AvgPool::new(kernel, stride, x, y), |p| {
                windows(p, |sum, v| sum + v, 0.0).iter().map(|sum| sum / area).collect()
            });
        }
    }
    let case = Case::new("global", images, [x.len(), 0, 3], &[]);
    case.check(pool::GlobalAvgPool::new(x), |p| means(x, &p.x, &|v, _| v));
}

/// Mean over the pixels of each image and channel of `f(value, image * channels + channel)`.
fn means(x: Shape, map: &[f64], f: &dyn Fn(f64, usize) -> f64) -> Vec<f64> {
    let mean = |(image, c): (usize, usize)| {
        let values = map[image * x.len()..][..x.len()].iter().skip(c).step_by(x.channels);
        values.map(|&v| f(v, image * x.channels + c)).sum::<f64>() / x.pixels() as f64
    };
    pairs(map.len() / x.len(), x.channels).map(mean).collect()
}

#[test]
fn linear() {
    let (x, y) = (Shape::float(7, 1, 1), Shape::float(5, 1, 1));
    let case = Case::new("linear", 3, [7, 0, 5], &[35, 5]);
    case.check(linear::Linear::new(x, y, 0), |p| {
        p.x.chunks(7).flat_map(|x| affine(x, &p.params[0], &p.params[1])).collect()
    });
}

fn affine(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let rows = weight.chunks(x.len()).zip(bias);
    rows.map(|(row, b)| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + b).collect()
}

#[test]
fn shuffle_concat_and_add() {
    let x = Shape::float(6, 2, 2);
    let case = Case::new("shuffle", 2, [x.len(), 0, x.len()], &[]);
    case.check(shuffle::ChannelShuffle::new(3, x), |p| {
        let from = |i: usize| i / 6 * 6 + i % 3 * 2 + i % 6 / 3;
        (0..p.x.len()).map(|i| p.x[from(i)]).collect()
    });
    let right = Shape::float(2, 2, 2);
    let case = Case::new("concat", 2, [x.len(), right.len(), x.len() + right.len()], &[]);
    case.check(concat::Concat::new(x, right), |p| {
        p.x.chunks(6).zip(p.x2.chunks(2)).flat_map(|(l, r)| [l, r].concat()).collect()
    });
    let case = Case::new("add", 2, [x.len(); 3], &[]);
    case.check(concat::Add, |p| p.x.iter().zip(&p.x2).map(|(a, b)| a + b).collect());
}

#[test]
fn hyper() {
    for statistics in [Statistics::Mean, Statistics::MeanStd, Statistics::MeanThird] {
        for range in [HyperRange::Sigmoid { lambda: 0.5 }, HyperRange::Raw] {
            let (x, hidden) = (Shape::float(5, 3, 2), Shape::float(8, 1, 1));
            let y = Shape::float(10, 1, 1);
            let lens = [8 * 5 * statistics.count(), 8, 10 * 8, 10];
            let case =
                Case::new(format!("{statistics:?} {range:?}"), 3, [x.len(), 0, y.len()], &lens);
            let layers = (
                HyperTrunk::new(statistics, Precision::F32, x, hidden, 0),
                HyperHead::new(range, Precision::F32, hidden, y, 2),
            );
            let definition = |p: &Point| {
                let first = means(x, &p.x, &|v, _| v);
                let second = match statistics {
                    Statistics::Mean => Vec::new(),
                    Statistics::MeanStd => {
                        let squares = means(x, &p.x, &|v, i| (v - first[i]).powi(2));
                        squares.iter().map(|v| (v + 1e-5).sqrt()).collect()
                    }
                    Statistics::MeanThird => means(x, &p.x, &|v, _| v.powi(3)),
                };
                let bounded = |v: f64| match range {
                    HyperRange::Sigmoid { lambda } => f64::from(lambda) * (v / 2.0).tanh(),
                    HyperRange::Raw => v,
                };
                let outputs = |image: usize| {
                    let of_image = |s: &[f64]| s.chunks(5).nth(image).unwrap_or(&[]).to_vec();
                    let s = [of_image(&first), of_image(&second)].concat();
                    let h = affine(&s, &p.params[0], &p.params[1]);
                    let h: Vec<f64> = h.iter().map(|v| v.max(0.0)).collect();
                    affine(&h, &p.params[2], &p.params[3]).into_iter().map(bounded)
                };
                (0..3).flat_map(outputs).collect()
            };
            let outcome = run_both(layers, &case.params(), &case.inputs(), hidden.channels);
            case.check_output(&outcome, &definition);
            case.check_gradients(&outcome, &definition);
        }
    }
}
