//! The graph node by node in f64, from the definitions of the operations alone.

use std::collections::BTreeMap;

use onebit_model::infer::shapes_for;
use onebit_model::{
    Geometry, HyperRange, Model, Node, Op, PadValue, Shape, Shift, Slope, Statistics, Threshold,
    Verified, bits,
};

/// What an interpreted network says about an engine's signs and logits.
pub(crate) struct Report {
    pub(crate) logits: Vec<f64>,
    /// Signs that differ although their value is further than the margin from its threshold.
    pub(crate) wrong_signs: Vec<String>,
    /// Signs compared.
    pub(crate) compared: usize,
    /// Signs closer to their threshold than the margin, but not exactly on it (as after a ReLU).
    pub(crate) close: usize,
}

/// Interprets a model for an image. The bits that the engine gave are checked, then used, so that a sign on
/// its threshold does not hide what follows.
pub(crate) fn interpret(
    model: &Verified<Model>,
    input: [usize; 3],
    image: &[f32],
    signs: &BTreeMap<String, Vec<u64>>,
    margin: f64,
) -> Report {
    let shapes = shapes_for(&model.graph, input).unwrap();
    let mut values: Vec<Vec<f64>> = Vec::new();
    let mut report = Report { logits: Vec::new(), wrong_signs: Vec::new(), compared: 0, close: 0 };
    for (id, node) in model.graph.nodes.iter().enumerate() {
        let of = |i: usize| (&values[node.inputs[i].0][..], shapes[node.inputs[i].0]);
        let value = match node.op {
            Op::Input { .. } => image.iter().map(|&v| f64::from(v)).collect(),
            Op::Sign { threshold } => {
                let offsets = (threshold == Threshold::Dynamic).then(|| of(1).0);
                let words = &signs[&node.name];
                sign(model, node, of(0), offsets, words, margin, &mut report)
            }
            _ => {
                let inputs: Vec<(&[f64], Shape)> = (0..node.inputs.len()).map(of).collect();
                compute(model, node, &inputs, shapes[id])
            }
        };
        assert_eq!(value.len(), shapes[id].len(), "{}", node.name);
        values.push(value);
    }
    report.logits = values.pop().unwrap();
    report
}

fn sign(
    model: &Verified<Model>,
    node: &Node,
    (x, shape): (&[f64], Shape),
    offsets: Option<&[f64]>,
    words: &[u64],
    margin: f64,
    report: &mut Report,
) -> Vec<f64> {
    let thresholds = model.floats(node, "threshold");
    let pixel_words = bits::words(shape.channels);
    assert_eq!(words.len(), shape.pixels() * pixel_words, "{}", node.name);
    let mut value = Vec::new();
    for (pixel, words) in x.chunks(shape.channels).zip(words.chunks(pixel_words)) {
        assert_eq!(words[pixel_words - 1] & !bits::tail_mask(shape.channels), 0, "tail bits");
        for (c, &x) in pixel.iter().enumerate() {
            let own = thresholds.get(c).map_or(0.0, |&t| f64::from(t));
            let above = x - own - offsets.map_or(0.0, |d| d[c]);
            let engine = f64::from(bits::value(words, c));
            report.compared += 1;
            if above.abs() <= margin {
                report.close += usize::from(above != 0.0);
            } else if (above > 0.0) != (engine > 0.0) {
                report.wrong_signs.push(format!("{} channel {c}: {above}", node.name));
            }
            value.push(engine);
        }
    }
    value
}

fn compute(
    model: &Verified<Model>,
    node: &Node,
    inputs: &[(&[f64], Shape)],
    out: Shape,
) -> Vec<f64> {
    let (x, shape) = inputs[0];
    let floats =
        |suffix| -> Vec<f64> { model.floats(node, suffix).iter().map(|&v| f64::from(v)).collect() };
    let c = shape.channels;
    let per_channel = |f: &dyn Fn(f64, usize) -> f64| -> Vec<f64> {
        x.iter().enumerate().map(|(i, &v)| f(v, i % c)).collect()
    };
    match node.op {
        Op::Conv { geometry } => convolve(x, shape, out, &geometry, &floats("weight"), 0.0),
        Op::ConvBin { geometry, pad, .. } => {
            let inputs = c / geometry.groups;
            let taps = model.words(node, "weight").chunks(bits::words(inputs));
            let weight: Vec<f64> =
                taps.flat_map(|tap| (0..inputs).map(|i| f64::from(bits::value(tap, i)))).collect();
            let padded = if pad == PadValue::One { 1.0 } else { 0.0 };
            convolve(x, shape, out, &geometry, &weight, padded)
        }
        Op::Affine => {
            let (scale, shift) = (floats("scale"), floats("shift"));
            per_channel(&|v, c| v * scale[c] + shift[c])
        }
        Op::Prelu { slope, shift } => {
            let (pos, neg) = (floats("slope_pos"), floats("slope_neg"));
            let (shift_x, shift_y) = (floats("shift_x"), floats("shift_y"));
            let offset = |i: usize| if shift == Shift::Dynamic { inputs[1].0[i] } else { 0.0 };
            per_channel(&|v, i| {
                let own = |s: &[f64]| if shift == Shift::None { 0.0 } else { s[i] };
                let v = v - (own(&shift_x) + offset(i));
                let slope = match (slope, v > 0.0) {
                    (Slope::Both, true) => pos[i],
                    (_, true) => 1.0,
                    (Slope::Relu, false) => 0.0,
                    (_, false) => neg[i],
                };
                slope * v + own(&shift_y) + offset(c + i)
            })
        }
        Op::Add => x.iter().zip(inputs[1].0).map(|(a, b)| a + b).collect(),
        Op::Concat => {
            let (other, other_shape) = inputs[1];
            let pixels = x.chunks(c).zip(other.chunks(other_shape.channels));
            pixels.flat_map(|(a, b)| a.iter().chain(b).copied()).collect()
        }
        Op::ChannelShuffle { groups } => {
            let moved = |i: usize| i / c * c + i % c % groups * (c / groups) + i % c / groups;
            (0..x.len()).map(|i| x[moved(i)]).collect()
        }
        Op::AvgPool { kernel, stride } => pool(x, shape, out, [kernel, stride, 0], |taps| {
            taps.iter().sum::<f64>() / taps.len() as f64
        }),
        Op::MaxPool { kernel, stride, padding } => {
            pool(x, shape, out, [kernel, stride, padding], |taps| {
                taps.iter().copied().fold(f64::NEG_INFINITY, f64::max)
            })
        }
        Op::GlobalAvgPool => moments(x, c, |v, _| v),
        Op::Linear { .. } => linear(x, &floats("weight"), &floats("bias")),
        Op::Hyper { statistics, range, .. } => {
            let mut s = moments(x, c, |v, _| v);
            let mean = s.clone();
            match statistics {
                Statistics::Mean => {}
                Statistics::MeanStd => {
                    let variance = moments(x, c, |v, i| (v - mean[i]).powi(2));
                    s.extend(variance.iter().map(|v| (v + 1e-5).sqrt()));
                }
                Statistics::MeanThird => s.extend(moments(x, c, |v, _| v.powi(3))),
            }
            let mut hidden = linear(&s, &floats("w1"), &floats("b1"));
            hidden.iter_mut().for_each(|v| *v = v.max(0.0));
            let mut y = linear(&hidden, &floats("w2"), &floats("b2"));
            if let HyperRange::Sigmoid { lambda } = range {
                let bounded = |v: f64| f64::from(lambda) * (2.0 / (1.0 + (-v).exp()) - 1.0);
                y.iter_mut().for_each(|v| *v = bounded(*v));
            }
            y
        }
        Op::Input { .. } | Op::BatchNorm | Op::Sign { .. } => unreachable!("{}", node.name),
    }
}

fn convolve(
    x: &[f64],
    shape: Shape,
    out: Shape,
    geometry: &Geometry,
    weight: &[f64],
    padded: f64,
) -> Vec<f64> {
    let Geometry { kernel: k, stride, padding, groups, out_channels } = *geometry;
    let inputs = shape.channels / groups;
    let mut y = Vec::with_capacity(out.len());
    for oy in 0..out.height {
        for ox in 0..out.width {
            for o in 0..out_channels {
                let first = o / (out_channels / groups) * inputs;
                let mut sum = 0.0;
                for (ky, kx) in (0..k * k).map(|tap| (tap / k, tap % k)) {
                    let iy = (oy * stride + ky) as isize - padding as isize;
                    let ix = (ox * stride + kx) as isize - padding as isize;
                    let inside = (0..shape.height as isize).contains(&iy)
                        && (0..shape.width as isize).contains(&ix);
                    for i in 0..inputs {
                        let w = weight[((o * k + ky) * k + kx) * inputs + i];
                        let at = (iy * shape.width as isize + ix) as usize;
                        sum += w * if inside { x[at * shape.channels + first + i] } else { padded };
                    }
                }
                y.push(sum);
            }
        }
    }
    y
}

fn pool(
    x: &[f64],
    shape: Shape,
    out: Shape,
    [k, stride, padding]: [usize; 3],
    f: impl Fn(&[f64]) -> f64,
) -> Vec<f64> {
    let mut y = Vec::with_capacity(out.len());
    for oy in 0..out.height {
        for ox in 0..out.width {
            for c in 0..shape.channels {
                let mut taps = Vec::new();
                for (ky, kx) in (0..k * k).map(|tap| (tap / k, tap % k)) {
                    let (iy, ix) = (oy * stride + ky, ox * stride + kx);
                    if (padding..padding + shape.height).contains(&iy)
                        && (padding..padding + shape.width).contains(&ix)
                    {
                        let at = (iy - padding) * shape.width + ix - padding;
                        taps.push(x[at * shape.channels + c]);
                    }
                }
                y.push(f(&taps));
            }
        }
    }
    y
}

fn moments(x: &[f64], channels: usize, f: impl Fn(f64, usize) -> f64) -> Vec<f64> {
    let pixels = x.len() / channels;
    let sum = |c: usize| (0..pixels).map(|p| f(x[p * channels + c], c)).sum::<f64>();
    (0..channels).map(|c| sum(c) / pixels as f64).collect()
}

fn linear(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let rows = weight.chunks(x.len()).zip(bias);
    rows.map(|(row, b)| row.iter().zip(x).map(|(w, v)| w * v).sum::<f64>() + b).collect()
}
