//! Batch normalization. Its statistics need the whole batch, so the walk calls its parts between levels.

use crate::params::Params;
use crate::simd::vectorized;

/// Weight of a new batch in the running statistics (PyTorch's default).
pub(crate) const MOMENTUM: f32 = 0.1;

/// Pixels summed in f32 before the sum goes to f64.
const BLOCK: usize = 64;

/// A batch normalization node.
pub(crate) struct BatchNorm {
    pub(crate) node: usize,
    pub(crate) input: usize,
    channels: usize,
    /// Added to the variance.
    eps: f32,
    /// Index of `weight`; `bias`, `running_mean` and `running_var` follow.
    param: usize,
    mean: Vec<f32>,
    /// `1 / sqrt(var + eps)`.
    inverse_std: Vec<f32>,
    /// Backward: mean of the gradient; mean of gradient times `x - mean`, over the variance.
    grad_mean: Vec<f32>,
    grad_slope: Vec<f32>,
}

/// Mean and summed squared deviation of each channel over some pixels.
#[derive(Clone, Default)]
pub(crate) struct BatchStatistics {
    count: f64,
    mean: Vec<f64>,
    deviation: Vec<f64>,
    block: Vec<f32>,
    total: Vec<f64>,
    tile_mean: Vec<f64>,
    rounded: Vec<f32>,
}

/// Sums of the backward pass over some pixels, per channel: gradient, gradient times `x - mean`.
#[derive(Clone, Default)]
pub(crate) struct GradSums {
    plain: Vec<f64>,
    weighted: Vec<f64>,
    block: Vec<f32>,
}

impl BatchStatistics {
    pub(crate) fn clear(&mut self, channels: usize) {
        self.count = 0.0;
        for values in [&mut self.mean, &mut self.deviation, &mut self.total, &mut self.tile_mean] {
            values.clear();
            values.resize(channels, 0.0);
        }
        self.block.resize(channels, 0.0);
    }

    /// Adds the pixels of `x`: their own mean first, their deviations from it, then both are merged
    /// (Chan, Golub, LeVeque 1979), so that a large mean does not hide a small variance.
    pub(crate) fn add(&mut self, x: &[f32]) {
        let channels = self.mean.len();
        let count = (x.len() / channels) as f64;
        self.tile_mean.fill(0.0);
        sum_blocks(x, &mut self.block, &mut self.tile_mean, |value, _| value);
        self.tile_mean.iter_mut().for_each(|m| *m /= count);
        self.rounded.clear();
        self.rounded.extend(self.tile_mean.iter().map(|m| *m as f32));
        self.total.fill(0.0);
        let rounded = &self.rounded;
        sum_blocks(x, &mut self.block, &mut self.total, |value, c| {
            (value - rounded[c]) * (value - rounded[c])
        });
        for c in 0..channels {
            let rounding = f64::from(self.rounded[c]) - self.tile_mean[c];
            let deviation = self.total[c] - count * rounding * rounding;
            self.merge_channel(c, count, self.tile_mean[c], deviation);
        }
        self.count += count;
    }

    /// Adds the pixels that `other` has seen.
    pub(crate) fn merge(&mut self, other: &BatchStatistics) {
        if other.count > 0.0 {
            for c in 0..self.mean.len() {
                self.merge_channel(c, other.count, other.mean[c], other.deviation[c]);
            }
            self.count += other.count;
        }
    }

    /// Values of each channel.
    pub(crate) fn count(&self) -> f64 {
        self.count
    }

    fn merge_channel(&mut self, c: usize, count: f64, mean: f64, deviation: f64) {
        let (total, delta) = (self.count + count, mean - self.mean[c]);
        self.mean[c] += delta * count / total;
        self.deviation[c] += deviation + delta * delta * self.count * count / total;
    }
}

/// Adds `f(x, channel)` of each channel to `total`, in f32 over short blocks of pixels.
#[inline(always)]
fn sum_blocks(x: &[f32], block: &mut [f32], total: &mut [f64], f: impl Fn(f32, usize) -> f32) {
    let channels = block.len();
    vectorized(
        #[inline(always)]
        || {
            for pixels in x.chunks(BLOCK * channels) {
                block.fill(0.0);
                for pixel in pixels.chunks_exact(channels) {
                    for c in 0..channels {
                        block[c] += f(pixel[c], c);
                    }
                }
                total.iter_mut().zip(&*block).for_each(|(t, b)| *t += f64::from(*b));
            }
        },
    );
}

impl GradSums {
    pub(crate) fn clear(&mut self, channels: usize) {
        for values in [&mut self.plain, &mut self.weighted] {
            values.clear();
            values.resize(channels, 0.0);
        }
        self.block.resize(2 * channels, 0.0);
    }

    fn merge(&mut self, other: &GradSums) {
        self.plain.iter_mut().zip(&other.plain).for_each(|(a, b)| *a += b);
        self.weighted.iter_mut().zip(&other.weighted).for_each(|(a, b)| *a += b);
    }
}

impl BatchNorm {
    pub(crate) fn new(node: usize, input: usize, channels: usize, eps: f32, param: usize) -> Self {
        let zeros = vec![0.0; channels];
        BatchNorm {
            node,
            input,
            channels,
            eps,
            param,
            mean: zeros.clone(),
            inverse_std: zeros.clone(),
            grad_mean: zeros.clone(),
            grad_slope: zeros,
        }
    }

    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// Whether the parameter `index` is its weight or bias.
    pub(crate) fn owns(&self, index: usize) -> bool {
        (self.param..self.param + 2).contains(&index)
    }

    /// Takes the batch's statistics and moves the running ones towards them (unbiased variance).
    pub(crate) fn use_batch(&mut self, statistics: &BatchStatistics, params: &mut Params) {
        let count = statistics.count;
        for c in 0..self.channels {
            let variance = statistics.deviation[c].max(0.0) / count;
            self.mean[c] = statistics.mean[c] as f32;
            self.inverse_std[c] = (1.0 / (variance + f64::from(self.eps)).sqrt()) as f32;
            let unbiased = statistics.deviation[c].max(0.0) / (count - 1.0).max(1.0);
            let mut blend = |index: usize, new: f64| {
                let old = &mut params.entries[index].value[c];
                *old = (1.0 - MOMENTUM) * *old + MOMENTUM * new as f32;
            };
            blend(self.param + 2, statistics.mean[c]);
            blend(self.param + 3, unbiased);
        }
    }

    /// Takes the running statistics.
    pub(crate) fn use_running(&mut self, params: &Params) {
        self.mean.copy_from_slice(params.value(self.param + 2));
        for (inverse, var) in self.inverse_std.iter_mut().zip(params.value(self.param + 3)) {
            *inverse = (1.0 / (f64::from(*var) + f64::from(self.eps)).sqrt()) as f32;
        }
    }

    /// `y = (x - mean) * (weight * inverse_std) + bias`, plus `shortcut` where there is one.
    pub(crate) fn forward(
        &self,
        params: &Params,
        x: &[f32],
        shortcut: Option<&[f32]>,
        y: &mut [f32],
        factors: &mut Vec<f32>,
    ) {
        let c = self.channels;
        self.write_factors(params, factors);
        let (factors, mean, bias) =
            (&factors[..c], &self.mean[..c], &params.value(self.param + 1)[..c]);
        let pixels = x.chunks_exact(c).zip(y.chunks_exact_mut(c));
        vectorized(
            #[inline(always)]
            || match shortcut {
                None => {
                    for (x, y) in pixels {
                        for i in 0..c {
                            y[i] = (x[i] - mean[i]) * factors[i] + bias[i];
                        }
                    }
                }
                Some(shortcut) => {
                    for ((x, y), shortcut) in pixels.zip(shortcut.chunks_exact(c)) {
                        for i in 0..c {
                            y[i] = (x[i] - mean[i]) * factors[i] + bias[i] + shortcut[i];
                        }
                    }
                }
            },
        );
    }

    /// `weight * inverse_std`.
    fn write_factors(&self, params: &Params, factors: &mut Vec<f32>) {
        factors.clear();
        let weights = params.value(self.param).iter().zip(&self.inverse_std);
        factors.extend(weights.map(|(w, s)| w * s));
    }

    /// Adds the pixels of `x` and of the output's gradient `gy` to `sums`.
    pub(crate) fn sum_gradient(&self, x: &[f32], gy: &[f32], sums: &mut GradSums) {
        let c = self.channels;
        let mean = &self.mean[..c];
        let GradSums { plain, weighted, block } = sums;
        vectorized(
            #[inline(always)]
            || {
                for (x, gy) in x.chunks(BLOCK * c).zip(gy.chunks(BLOCK * c)) {
                    block.fill(0.0);
                    let (sum, product) = block.split_at_mut(c);
                    let product = &mut product[..c];
                    for (x, gy) in x.chunks_exact(c).zip(gy.chunks_exact(c)) {
                        for i in 0..c {
                            sum[i] += gy[i];
                            product[i] += gy[i] * (x[i] - mean[i]);
                        }
                    }
                    plain.iter_mut().zip(&*sum).for_each(|(t, s)| *t += f64::from(*s));
                    weighted.iter_mut().zip(&*product).for_each(|(t, s)| *t += f64::from(*s));
                }
            },
        );
    }

    /// Ends the sums over the batch of `count` pixels: gradients of weight and bias.
    pub(crate) fn finish_sums<'a>(
        &mut self,
        sums: impl Iterator<Item = &'a GradSums>,
        count: usize,
        params: &mut Params,
    ) {
        let mut total = GradSums::default();
        total.clear(self.channels);
        sums.for_each(|s| total.merge(s));
        for c in 0..self.channels {
            let inverse = f64::from(self.inverse_std[c]);
            params.entries[self.param].grad[c] = (total.weighted[c] * inverse) as f32;
            params.entries[self.param + 1].grad[c] = total.plain[c] as f32;
            self.grad_mean[c] = (total.plain[c] / count as f64) as f32;
            self.grad_slope[c] = (total.weighted[c] / count as f64 * inverse * inverse) as f32;
        }
    }

    /// Gradient of `x`, after [`BatchNorm::finish_sums`].
    pub(crate) fn backward(
        &self,
        params: &Params,
        x: &[f32],
        gy: &[f32],
        gx: &mut [f32],
        first: bool,
        factors: &mut Vec<f32>,
    ) {
        let c = self.channels;
        self.write_factors(params, factors);
        let (factors, mean) = (&factors[..c], &self.mean[..c]);
        let (grad_mean, grad_slope) = (&self.grad_mean[..c], &self.grad_slope[..c]);
        vectorized(
            #[inline(always)]
            || {
                let pixels = x.chunks_exact(c).zip(gy.chunks_exact(c)).zip(gx.chunks_exact_mut(c));
                for ((x, gy), gx) in pixels {
                    for i in 0..c {
                        let centred = gy[i] - grad_mean[i] - (x[i] - mean[i]) * grad_slope[i];
                        let g = factors[i] * centred;
                        gx[i] = if first { g } else { gx[i] + g };
                    }
                }
            },
        );
    }
}
