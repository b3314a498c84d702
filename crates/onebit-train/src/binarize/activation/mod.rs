//! Activations: a bit for each value above its channel's threshold, and a straight-through estimator.
//!
//! A new estimator is one file here, a variant of [`Estimator`] and its line in `Estimator::surrogate`.

mod approx_sign;
mod clip;
mod ede;

use onebit_model::bits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use approx_sign::ApproxSign;
pub use clip::Clip;
pub use ede::Ede;

use super::BadSetting;
use crate::simd::vectorized;

/// Derivative used for `sign(u)` in the backward pass; the forward value is exactly +-1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// `2 - 2|u|` inside [-1, 1], else 0 (Bi-Real Net, section 3.2).
    #[default]
    ApproxSign,
    /// 1 where `|u| <= bound`, else 0 (BinaryNet with bound 1; QuickNet 1.25).
    Clip(Clip),
    /// `k t (1 - tanh^2(t u))` (IR-Net, section 3.3).
    Ede(Ede),
}

impl Estimator {
    /// The derivative at `u`.
    #[must_use]
    pub fn derivative(self, u: f32) -> f32 {
        self.surrogate().derivative(u)
    }

    /// What the estimator's own file says of it.
    pub(crate) fn surrogate(&self) -> &dyn Surrogate {
        match self {
            Estimator::ApproxSign => &ApproxSign,
            Estimator::Clip(clip) => clip,
            Estimator::Ede(ede) => ede,
        }
    }
}

/// What stands for the sign in the backward pass.
pub(crate) trait Surrogate {
    /// The function whose derivative is used, which tests differentiate.
    #[cfg(test)]
    fn value(&self, u: f64) -> f64;

    /// Its derivative.
    fn derivative(&self, u: f32) -> f32;

    /// # Errors
    /// The settings make no sense.
    fn validate(&self) -> Result<(), BadSetting>;

    /// `gx = gy * derivative(x - threshold)` (written or added), and adds it up over the pixels. One loop for each
    /// estimator, so that none decides at every value.
    fn backward(&self, pass: SignBackward<'_>) {
        straight_through(
            pass,
            #[inline(always)]
            |u| self.derivative(u),
        );
    }
}

/// The backward pass of one image's signs. Maps are `[pixels, channels]`.
pub(crate) struct SignBackward<'a> {
    /// What was binarized.
    pub(crate) x: &'a [f32],
    /// For each channel.
    pub(crate) thresholds: &'a [f32],
    /// Gradient of the signs.
    pub(crate) gy: &'a [f32],
    /// Where the gradient of `x` goes.
    pub(crate) gx: &'a mut [f32],
    /// Whether `gx` holds no earlier contribution.
    pub(crate) first: bool,
    /// For each channel, what is sent to `gx` is added here.
    pub(crate) sums: &'a mut [f32],
}

/// A bit for each value of `x` above its channel's threshold; every pixel starts a new word of `y`.
pub(crate) fn forward(x: &[f32], thresholds: &[f32], y: &mut [u64]) {
    vectorized(
        #[inline(always)]
        || signs(x, thresholds, y),
    );
}

#[inline(always)]
fn signs(x: &[f32], thresholds: &[f32], y: &mut [u64]) {
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

#[inline(always)]
fn straight_through(pass: SignBackward<'_>, derivative: impl Fn(f32) -> f32) {
    let SignBackward { x, thresholds, gy, gx, first, sums } = pass;
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
