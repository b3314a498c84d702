//! Sign of activations with a static or dynamic threshold per channel.

use onebit_model::{Shape, Threshold, bits};

use super::{Backward, Forward, Layer, offsets};
use crate::binarize::Estimator;
use crate::params::Params;
use crate::simd::vectorized;

pub(crate) struct Sign {
    threshold: Threshold,
    x: Shape,
    param: usize,
    estimator: Estimator,
}

impl Sign {
    pub(crate) fn new(threshold: Threshold, x: Shape, param: usize, estimator: Estimator) -> Self {
        Sign { threshold, x, param, estimator }
    }

    /// Threshold of every channel for one image.
    fn thresholds(&self, params: &Params, offsets: &[f32], out: &mut [f32]) {
        let own = if self.threshold == Threshold::Zero { &[] } else { params.value(self.param) };
        thresholds(self.threshold, own, offsets, out);
    }
}

/// Threshold of every channel for one image, from the parameter and the offsets that `kind` has.
pub(crate) fn thresholds(kind: Threshold, own: &[f32], offsets: &[f32], out: &mut [f32]) {
    match kind {
        Threshold::Zero => out.fill(0.0),
        Threshold::Static => out.copy_from_slice(own),
        Threshold::Dynamic => {
            for ((t, s), d) in out.iter_mut().zip(own).zip(offsets) {
                *t = s + d;
            }
        }
    }
}

impl Layer for Sign {
    fn forward(&self, io: Forward<'_>) {
        let c = self.x.channels;
        let words = self.x.pixels() * bits::words(c);
        io.workspace.vectors.resize(c, 0.0);
        let thresholds = &mut io.workspace.vectors[..c];
        for image in 0..io.images {
            self.thresholds(io.params, offsets(io.x2, image, c), thresholds);
            let x = &io.x[image * self.x.len()..][..self.x.len()];
            let y = &mut io.y_bits[image * words..][..words];
            vectorized(
                #[inline(always)]
                || binarize(x, thresholds, y),
            );
        }
    }

    fn backward(&self, io: Backward<'_>) {
        let (c, len) = (self.x.channels, self.x.len());
        io.workspace.vectors.resize(2 * c, 0.0);
        let (thresholds, sums) = io.workspace.vectors.split_at_mut(c);
        let sums = &mut sums[..c];
        let (gx, first) = (io.gx.data, io.gx.first);
        let mut g_offsets = io.gx2.into_buffer();
        for image in 0..io.images {
            self.thresholds(io.params, offsets(io.x2, image, c), thresholds);
            sums.fill(0.0);
            let x = &io.x[image * len..][..len];
            let gy = &io.gy[image * len..][..len];
            let gx = &mut gx[image * len..][..len];
            // One loop for each estimator, so that none decides at every value.
            match self.estimator {
                Estimator::ApproxSign => {
                    straight_through(x, thresholds, gy, gx, first, sums, |u| {
                        Estimator::ApproxSign.derivative(u)
                    });
                }
                Estimator::Clip { bound } => {
                    straight_through(x, thresholds, gy, gx, first, sums, |u| {
                        Estimator::Clip { bound }.derivative(u)
                    });
                }
                Estimator::Ede { k, t } => {
                    straight_through(x, thresholds, gy, gx, first, sums, |u| {
                        Estimator::Ede { k, t }.derivative(u)
                    });
                }
            }
            if self.threshold != Threshold::Zero {
                let grad = &mut io.grads[self.param];
                grad.iter_mut().zip(&*sums).for_each(|(g, s)| *g -= s);
            }
            if let Some(g) = &mut g_offsets {
                g[image * c..][..c].iter_mut().zip(&*sums).for_each(|(g, s)| *g -= s);
            }
        }
    }
}

#[inline(always)]
fn binarize(x: &[f32], thresholds: &[f32], y: &mut [u64]) {
    let c = thresholds.len();
    for (pixel, words) in x.chunks_exact(c).zip(y.chunks_exact_mut(bits::words(c))) {
        let values = pixel.chunks(bits::WORD_BITS).zip(thresholds.chunks(bits::WORD_BITS));
        for (word, (values, thresholds)) in words.iter_mut().zip(values) {
            let mut packed = 0u64;
            for (i, (x, t)) in values.iter().zip(thresholds).enumerate() {
                packed |= u64::from(x > t) << i;
            }
            *word = packed;
        }
    }
}

/// `gx = gy * derivative(x - threshold)` (written or added), and its sum over the pixels.
#[inline(always)]
fn straight_through(
    x: &[f32],
    thresholds: &[f32],
    gy: &[f32],
    gx: &mut [f32],
    first: bool,
    sums: &mut [f32],
    derivative: impl Fn(f32) -> f32,
) {
    let c = thresholds.len();
    vectorized(
        #[inline(always)]
        || {
            let pixels = x.chunks_exact(c).zip(gy.chunks_exact(c));
            for ((x, gy), gx) in pixels.zip(gx.chunks_exact_mut(c)) {
                let values = x.iter().zip(gy).zip(thresholds).zip(gx).zip(sums.iter_mut());
                for ((((x, gy), t), gx), sum) in values {
                    let u = gy * derivative(x - t);
                    *gx = if first { u } else { *gx + u };
                    *sum += u;
                }
            }
        },
    );
}
