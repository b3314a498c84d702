//! DyBNN's hyper function in two halves: statistics of each channel and a hidden layer, then a layer with
//! a scaled tanh.

use onebit_model::op::HYPER_STD_EPS;
use onebit_model::{HyperRange, Precision, Shape, Statistics, quantization};

use super::{Backward, Forward, Layer, Pass};
use crate::params::Params;
use crate::simd::vectorized;

/// A linear layer that acts with its weights as a packed file holds them. Their gradient goes to the unrounded weights
/// (straight-through).
struct Stored {
    precision: Precision,
    inputs: usize,
    outputs: usize,
    /// Index of `weight` `[outputs, inputs]`; `bias` `[outputs]` follows.
    param: usize,
    /// The rounded weights, if they are.
    rounded: Vec<f32>,
}

impl Stored {
    fn new(precision: Precision, inputs: usize, outputs: usize, param: usize) -> Self {
        Stored { precision, inputs, outputs, param, rounded: Vec::new() }
    }

    fn prepare(&mut self, params: &Params) {
        if self.precision == Precision::I8 {
            let rows = quantization::quantize(params.value(self.param), self.inputs);
            self.rounded = quantization::expand(&rows.integers, &rows.scale);
        }
    }

    fn weight<'a>(&'a self, params: &'a Params) -> &'a [f32] {
        match self.precision {
            Precision::F32 => params.value(self.param),
            Precision::I8 => &self.rounded,
        }
    }

    fn forward(&self, params: &Params, x: &[f32], y: &mut [f32]) {
        affine(self.weight(params), params.value(self.param + 1), x, y);
    }

    /// Adds to the gradients of weight and bias.
    fn backward(&self, grads: &mut [Vec<f32>], x: &[f32], gy: &[f32]) {
        add_outer(&mut grads[self.param], gy, x);
        add(&mut grads[self.param + 1], gy);
    }
}

/// The first half: statistics, a linear layer, ReLU.
pub(crate) struct HyperTrunk {
    statistics: Statistics,
    x: Shape,
    layer: Stored,
}

impl HyperTrunk {
    pub(crate) fn new(
        statistics: Statistics,
        precision: Precision,
        x: Shape,
        y: Shape,
        param: usize,
    ) -> Self {
        let layer = Stored::new(precision, statistics.count() * x.channels, y.len(), param);
        HyperTrunk { statistics, x, layer }
    }

    /// Statistics `[S*C]` of one image.
    fn measure(&self, x: &[f32], statistics: &mut [f32]) {
        let (mean, second) = statistics.split_at_mut(self.x.channels);
        vectorized(
            #[inline(always)]
            || average(x, mean, |v, _| v, &[]),
        );
        match self.statistics {
            Statistics::Mean => {}
            Statistics::MeanStd => {
                let mean = &*mean;
                vectorized(
                    #[inline(always)]
                    || average(x, second, |v, m| (v - m) * (v - m), mean),
                );
                second.iter_mut().for_each(|v| *v = (*v + HYPER_STD_EPS).sqrt());
            }
            Statistics::MeanThird => vectorized(
                #[inline(always)]
                || average(x, second, |v, _| v * v * v, &[]),
            ),
        }
    }

    /// Hidden units `[H]` of one image.
    fn units(&self, params: &Params, statistics: &[f32], hidden: &mut [f32]) {
        self.layer.forward(params, statistics, hidden);
        // A NaN must survive to be seen by the loss.
        hidden.iter_mut().for_each(|h| *h = if *h > 0.0 || h.is_nan() { *h } else { 0.0 });
    }

    /// Gradient of the map from those of the statistics `gs`, added to `gx`.
    fn spread(&self, x: &[f32], statistics: &[f32], gs: &[f32], gx: &mut [f32]) {
        let (c, factor) = (self.x.channels, 1.0 / self.x.pixels() as f32);
        let (mean, second) = statistics.split_at(c);
        let (g_mean, g_second) = gs.split_at(c);
        let kind = self.statistics;
        vectorized(
            #[inline(always)]
            || {
                for (gx, x) in gx.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
                    for i in 0..c {
                        let own = match kind {
                            Statistics::Mean => 0.0,
                            Statistics::MeanStd => g_second[i] * (x[i] - mean[i]) / second[i],
                            Statistics::MeanThird => 3.0 * g_second[i] * x[i] * x[i],
                        };
                        gx[i] += (g_mean[i] + own) * factor;
                    }
                }
            },
        );
    }
}

impl Layer for HyperTrunk {
    fn prepare(&mut self, params: &Params, _: Pass) {
        self.layer.prepare(params);
    }

    fn forward(&self, io: Forward<'_>) {
        let statistics = &mut io.workspace.vectors;
        statistics.resize(self.layer.inputs, 0.0);
        let images = io.x.chunks_exact(self.x.len()).zip(io.y.chunks_exact_mut(self.layer.outputs));
        for (x, y) in images {
            self.measure(x, statistics);
            self.units(io.params, statistics, y);
        }
    }

    fn backward(&self, io: Backward<'_>) {
        let (s, h) = (self.layer.inputs, self.layer.outputs);
        io.workspace.vectors.resize(2 * (s + h), 0.0);
        let (forward, gradients) = io.workspace.vectors.split_at_mut(s + h);
        let (statistics, hidden) = forward.split_at_mut(s);
        let (gs, gh) = gradients.split_at_mut(s);
        let mut gx = io.gx.into_buffer();
        let images = io.x.chunks_exact(self.x.len()).zip(io.gy.chunks_exact(h));
        for (image, (x, gy)) in images.enumerate() {
            self.measure(x, statistics);
            self.units(io.params, statistics, hidden);
            for ((gh, gy), unit) in gh.iter_mut().zip(gy).zip(&*hidden) {
                *gh = if *unit > 0.0 { *gy } else { 0.0 };
            }
            self.layer.backward(io.grads, statistics, gh);
            if let Some(gx) = &mut gx {
                transposed(self.layer.weight(io.params), gh, gs);
                self.spread(x, statistics, gs, &mut gx[image * self.x.len()..][..self.x.len()]);
            }
        }
    }
}

/// The second half: a linear layer, then `lambda * tanh(v / 2)` where outputs have a range.
pub(crate) struct HyperHead {
    range: HyperRange,
    layer: Stored,
}

impl HyperHead {
    pub(crate) fn new(
        range: HyperRange,
        precision: Precision,
        x: Shape,
        y: Shape,
        param: usize,
    ) -> Self {
        HyperHead { range, layer: Stored::new(precision, x.len(), y.len(), param) }
    }
}

impl Layer for HyperHead {
    fn prepare(&mut self, params: &Params, _: Pass) {
        self.layer.prepare(params);
    }

    fn forward(&self, io: Forward<'_>) {
        let Stored { inputs, outputs, .. } = self.layer;
        for (x, y) in io.x.chunks_exact(inputs).zip(io.y.chunks_exact_mut(outputs)) {
            self.layer.forward(io.params, x, y);
            if let HyperRange::Sigmoid { lambda } = self.range {
                y.iter_mut().for_each(|v| *v = lambda * (2.0 * sigmoid(*v) - 1.0));
            }
        }
    }

    fn backward(&self, io: Backward<'_>) {
        let Stored { inputs, outputs, .. } = self.layer;
        io.workspace.vectors.resize(2 * outputs, 0.0);
        let (raw, gv) = io.workspace.vectors.split_at_mut(outputs);
        let mut gx = io.gx.into_buffer();
        let images = io.x.chunks_exact(inputs).zip(io.gy.chunks_exact(outputs));
        for (image, (x, gy)) in images.enumerate() {
            gv.copy_from_slice(gy);
            if let HyperRange::Sigmoid { lambda } = self.range {
                self.layer.forward(io.params, x, raw);
                for (g, v) in gv.iter_mut().zip(&*raw) {
                    let s = sigmoid(*v);
                    *g *= 2.0 * lambda * s * (1.0 - s);
                }
            }
            self.layer.backward(io.grads, x, gv);
            if let Some(gx) = &mut gx {
                add_transposed(
                    self.layer.weight(io.params),
                    gv,
                    &mut gx[image * inputs..][..inputs],
                );
            }
        }
    }
}

/// The logistic function; exactly 1/2 at 0.
fn sigmoid(v: f32) -> f32 {
    1.0 / (1.0 + (-v).exp())
}

/// Mean over the pixels of `f(x, per_channel)`.
#[inline(always)]
fn average(x: &[f32], out: &mut [f32], f: impl Fn(f32, f32) -> f32, per_channel: &[f32]) {
    let c = out.len();
    let factor = 1.0 / (x.len() / c) as f32;
    out.fill(0.0);
    for pixel in x.chunks_exact(c) {
        if per_channel.is_empty() {
            out.iter_mut().zip(pixel).for_each(|(o, &v)| *o += f(v, 0.0));
        } else {
            let values = out.iter_mut().zip(pixel).zip(per_channel);
            values.for_each(|((o, &v), &m)| *o += f(v, m));
        }
    }
    out.iter_mut().for_each(|o| *o *= factor);
}

/// `out = weight * x + bias`, `weight` `[out, x]`.
fn affine(weight: &[f32], bias: &[f32], x: &[f32], out: &mut [f32]) {
    for ((o, row), b) in out.iter_mut().zip(weight.chunks_exact(x.len())).zip(bias) {
        *o = row.iter().zip(x).fold(*b, |sum, (w, x)| sum + w * x);
    }
}

/// `out = weight^T * g`.
fn transposed(weight: &[f32], g: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    add_transposed(weight, g, out);
}

/// `out += weight^T * g`.
fn add_transposed(weight: &[f32], g: &[f32], out: &mut [f32]) {
    for (row, g) in weight.chunks_exact(out.len()).zip(g) {
        out.iter_mut().zip(row).for_each(|(o, w)| *o += w * g);
    }
}

/// `gw += g x^T`.
fn add_outer(gw: &mut [f32], g: &[f32], x: &[f32]) {
    for (row, g) in gw.chunks_exact_mut(x.len()).zip(g) {
        row.iter_mut().zip(x).for_each(|(w, x)| *w += g * x);
    }
}

fn add(total: &mut [f32], part: &[f32]) {
    total.iter_mut().zip(part).for_each(|(t, p)| *t += p);
}
