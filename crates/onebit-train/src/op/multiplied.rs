//! The weights of a binary convolution or layer: what the forward pass multiplies with, and the way back to the latent ones.

use onebit_model::WeightScale;

use crate::NetConfig;
use crate::binarize::weight::BinaryWeights;
use crate::params::Params;

/// What the forward pass multiplies with.
pub(super) enum Multiplied {
    Signs(BinaryWeights),
    /// The latent weights, in a stage with real ones.
    Latent(Vec<f32>),
}

impl Multiplied {
    /// For so many `weights` of so many `filters`.
    pub(super) fn new(
        config: &NetConfig,
        scale: WeightScale,
        weights: usize,
        filters: usize,
    ) -> Self {
        match config.binarize_weights {
            true => Multiplied::Signs(BinaryWeights::new(config.weight, scale, weights, filters)),
            false => Multiplied::Latent(vec![0.0; weights]),
        }
    }

    /// Takes the latent weights of the parameter `param`, and a learned scale, which follows it.
    pub(super) fn prepare(&mut self, params: &Params, param: usize) {
        let latent = params.value(param);
        match self {
            Multiplied::Signs(weights) => {
                let learned = match weights.has_learned_scales() {
                    true => params.value(param + 1),
                    false => &[],
                };
                weights.forward(latent, learned);
            }
            Multiplied::Latent(weights) => weights.copy_from_slice(latent),
        }
    }

    /// The weights, and the scale of each filter, where there is one.
    pub(super) fn parts(&self) -> (&[f32], Option<&[f32]>) {
        match self {
            Multiplied::Signs(weights) => (&weights.signs, Some(&weights.scales)),
            Multiplied::Latent(weights) => (weights, None),
        }
    }

    /// From the gradient of the binarized weights to that of the latent ones, and of a learned scale.
    pub(super) fn finish(&self, params: &mut Params, param: usize) {
        let Multiplied::Signs(weights) = self else { return };
        let (entry, behind) = params.entries[param..].split_first_mut().expect("the weight");
        let learned = match weights.has_learned_scales() {
            true => &mut *behind[0].grad,
            false => &mut [],
        };
        weights.backward(&entry.value, &mut entry.grad, learned);
    }
}
