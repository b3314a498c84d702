//! Latent weights: their signs and scales in the forward pass, and a straight-through estimator.
//!
//! A new estimator is one file here, a variant of [`WeightEstimator`] and its line in `WeightEstimator::binarizer`.

mod clip;
mod identity;
mod scale;

use onebit_model::WeightScale;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use clip::ClipWeight;
pub use identity::Identity;

use super::BadSetting;
use scale::Share;

/// What stands for the derivative of a latent weight's sign.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WeightEstimator {
    /// 1 where `|w| <= bound`, else 0 (ReActNet and Bi-Real Net: bound 1).
    Clip(ClipWeight),
    /// 1 everywhere.
    Identity,
}

impl Default for WeightEstimator {
    fn default() -> Self {
        WeightEstimator::Clip(ClipWeight { bound: 1.0 })
    }
}

impl WeightEstimator {
    /// What the estimator's own file says of it.
    pub(crate) fn binarizer(&self) -> &dyn WeightBinarizer {
        match self {
            WeightEstimator::Clip(clip) => clip,
            WeightEstimator::Identity => &Identity,
        }
    }
}

/// From latent weights to signs, and back with their gradients.
pub(crate) trait WeightBinarizer {
    /// Signs of latent weights, +1 or -1; the packer takes the same.
    fn forward(&self, latent: &[f32], signs: &mut [f32]) {
        for (sign, latent) in signs.iter_mut().zip(latent) {
            *sign = if *latent > 0.0 { 1.0 } else { -1.0 };
        }
    }

    /// Turns the gradient of a filter's scaled signs into that of its latent weights.
    fn backward(&self, pass: WeightBackward<'_>);

    /// # Errors
    /// The settings make no sense.
    fn validate(&self) -> Result<(), BadSetting>;
}

/// The backward pass of one filter's weights.
pub(crate) struct WeightBackward<'a> {
    latent: &'a [f32],
    signs: &'a [f32],
    share: Share,
    /// Gradient of the scaled signs, which becomes that of the latent weights.
    gradient: &'a mut [f32],
}

impl WeightBackward<'_> {
    /// `through` gives what the estimator lets through of a gradient at a latent weight.
    #[inline(always)]
    fn straight_through(self, through: impl Fn(f32, f32) -> f32) {
        let WeightBackward { latent, signs, share: Share { factor, shared }, gradient } = self;
        for ((gradient, latent), sign) in gradient.iter_mut().zip(latent).zip(signs) {
            *gradient = through(*latent, factor * *gradient) + shared * sign;
        }
    }
}

/// The weights of one binary convolution, as they are multiplied with.
pub(crate) struct BinaryWeights {
    estimator: WeightEstimator,
    scale_kind: WeightScale,
    /// +-1 for each weight, one filter after the other.
    pub(crate) signs: Vec<f32>,
    /// What the sums of each filter are multiplied with.
    pub(crate) scales: Vec<f32>,
}

impl BinaryWeights {
    pub(crate) fn new(
        estimator: WeightEstimator,
        scale_kind: WeightScale,
        weights: usize,
        filters: usize,
    ) -> Self {
        let (signs, scales) = (vec![0.0; weights], vec![1.0; filters]);
        BinaryWeights { estimator, scale_kind, signs, scales }
    }

    /// Whether the scales are parameters.
    pub(crate) fn has_learned_scales(&self) -> bool {
        self.scale_kind == WeightScale::Learned
    }

    fn filter_len(&self) -> usize {
        self.signs.len() / self.scales.len()
    }

    /// Signs and scales of the latent weights; `learned` has the scales that are parameters, where they are.
    pub(crate) fn forward(&mut self, latent: &[f32], learned: &[f32]) {
        self.estimator.binarizer().forward(latent, &mut self.signs);
        scale::forward(self.scale_kind, latent, learned, &mut self.scales);
    }

    /// Turns the gradient of the scaled signs into that of the latent weights, and writes that of learned scales, for
    /// which there is room in `learned` where they are parameters.
    pub(crate) fn backward(&self, latent: &[f32], gradient: &mut [f32], learned: &mut [f32]) {
        let len = self.filter_len();
        let filters = gradient.chunks_exact_mut(len).zip(latent.chunks_exact(len));
        for (o, (gradient, latent)) in filters.enumerate() {
            let signs = &self.signs[o * len..][..len];
            let sum = scale::gradient(self.scale_kind, gradient, signs);
            if let Some(learned) = learned.get_mut(o) {
                *learned = sum;
            }
            let share = Share::of(self.scale_kind, self.scales[o], sum, len);
            let pass = WeightBackward { latent, signs, share, gradient };
            self.estimator.binarizer().backward(pass);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a binarizer makes of a gradient of 1 at a latent weight.
    pub(super) fn derivative(binarizer: &dyn WeightBinarizer, latent: f32) -> f32 {
        let mut gradient = [1.0];
        let mut signs = [0.0];
        binarizer.forward(&[latent], &mut signs);
        let share = Share { factor: 1.0, shared: 0.0 };
        binarizer.backward(WeightBackward {
            latent: &[latent],
            signs: &signs,
            share,
            gradient: &mut gradient,
        });
        gradient[0]
    }

    #[test]
    fn zero_is_binarized_to_minus_one_as_the_packer_does() {
        let mut signs = [0.0; 4];
        Identity.forward(&[-0.5, 0.0, -0.0, 1e-30], &mut signs);
        assert_eq!(signs, [-1.0, -1.0, -1.0, 1.0]);
    }
}
