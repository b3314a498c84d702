//! DyBNN's hyper function: statistics of each channel, two small linear layers, a bounded output.

use onebit_model::op::HYPER_STD_EPS;
use onebit_model::{HyperRange, Shape, Statistics};

use super::{Backward, Forward, Layer};
use crate::params::Params;
use crate::simd::vectorized;

/// Attributes of a hyper function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) statistics: Statistics,
    pub(crate) hidden: usize,
    pub(crate) range: HyperRange,
}

pub(crate) struct Hyper {
    kind: Kind,
    x: Shape,
    outputs: usize,
    /// Index of `w1`; `b1`, `w2`, `b2` follow.
    param: usize,
}

/// What is computed for one image on the way to its outputs.
struct Values<'a> {
    /// `[S*C]`
    statistics: &'a mut [f32],
    /// `[H]`, after the ReLU
    hidden: &'a mut [f32],
    /// `[outputs]`, before the bound
    raw: &'a mut [f32],
}

impl Hyper {
    pub(crate) fn new(kind: Kind, x: Shape, y: Shape, param: usize) -> Self {
        Hyper { kind, x, outputs: y.len(), param }
    }

    fn statistics_len(&self) -> usize {
        self.kind.statistics.count() * self.x.channels
    }

    fn values_len(&self) -> usize {
        self.statistics_len() + self.kind.hidden + self.outputs
    }

    fn values<'a>(&self, buffer: &'a mut [f32]) -> Values<'a> {
        let (statistics, rest) = buffer.split_at_mut(self.statistics_len());
        let (hidden, rest) = rest.split_at_mut(self.kind.hidden);
        Values { statistics, hidden, raw: &mut rest[..self.outputs] }
    }

    /// Everything up to the bound, for one image.
    fn run(&self, params: &Params, x: &[f32], values: &mut Values<'_>) {
        let c = self.x.channels;
        let (mean, second) = values.statistics.split_at_mut(c);
        vectorized(
            #[inline(always)]
            || average(x, mean, |v, _| v, &[]),
        );
        match self.kind.statistics {
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
        affine(
            params.value(self.param),
            params.value(self.param + 1),
            values.statistics,
            values.hidden,
        );
        values.hidden.iter_mut().for_each(|h| *h = h.max(0.0));
        affine(
            params.value(self.param + 2),
            params.value(self.param + 3),
            values.hidden,
            values.raw,
        );
    }

    /// Turns gradients of the outputs into those of the raw outputs, in place.
    fn unbound(&self, raw: &[f32], g: &mut [f32]) {
        if let HyperRange::Sigmoid { lambda } = self.kind.range {
            for (g, v) in g.iter_mut().zip(raw) {
                let s = sigmoid(*v);
                *g *= 2.0 * lambda * s * (1.0 - s);
            }
        }
    }

    /// Gradient of the map from those of the statistics `gs`, added to `gx`.
    fn spread(&self, x: &[f32], statistics: &[f32], gs: &[f32], gx: &mut [f32]) {
        let (c, factor) = (self.x.channels, 1.0 / self.x.pixels() as f32);
        let (mean, second) = statistics.split_at(c);
        let (g_mean, g_second) = gs.split_at(c);
        let kind = self.kind.statistics;
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

impl Layer for Hyper {
    fn forward(&self, io: Forward<'_>) {
        io.workspace.vectors.resize(self.values_len(), 0.0);
        let mut values = self.values(&mut io.workspace.vectors);
        let images = io.x.chunks_exact(self.x.len()).zip(io.y.chunks_exact_mut(self.outputs));
        for (x, y) in images {
            self.run(io.params, x, &mut values);
            match self.kind.range {
                HyperRange::Raw => y.copy_from_slice(values.raw),
                HyperRange::Sigmoid { lambda } => {
                    for (y, v) in y.iter_mut().zip(&*values.raw) {
                        *y = lambda * (2.0 * sigmoid(*v) - 1.0);
                    }
                }
            }
        }
    }

    fn backward(&self, io: Backward<'_>) {
        let (p, s, h) = (self.param, self.statistics_len(), self.kind.hidden);
        let values_len = self.values_len();
        io.workspace.vectors.resize(2 * values_len, 0.0);
        let (forward, gradients) = io.workspace.vectors.split_at_mut(values_len);
        let mut values = self.values(forward);
        let Values { statistics: gs, hidden: gh, raw: gv } = self.values(gradients);
        let mut gx = io.gx.into_buffer();
        for (image, x) in io.x.chunks_exact(self.x.len()).enumerate() {
            self.run(io.params, x, &mut values);
            gv.copy_from_slice(&io.gy[image * self.outputs..][..self.outputs]);
            self.unbound(values.raw, gv);
            add_outer(&mut io.grads[p + 2], gv, values.hidden);
            add(&mut io.grads[p + 3], gv);
            transposed(io.params.value(p + 2), gv, &mut gh[..h]);
            gh.iter_mut().zip(&*values.hidden).for_each(|(g, h)| {
                if *h <= 0.0 {
                    *g = 0.0;
                }
            });
            add_outer(&mut io.grads[p], gh, values.statistics);
            add(&mut io.grads[p + 1], gh);
            transposed(io.params.value(p), gh, &mut gs[..s]);
            if let Some(gx) = &mut gx {
                let gx = &mut gx[image * self.x.len()..][..self.x.len()];
                self.spread(x, values.statistics, gs, gx);
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
