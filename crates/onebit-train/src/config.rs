//! How a network is trained, apart from its graph and its data.

use crate::binarize::{Estimator, WeightEstimator};

/// How a network is trained, apart from its graph.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetConfig {
    /// Most images of a step.
    pub batch: usize,
    /// Stands for the derivative of the activations' sign.
    pub activation: Estimator,
    /// Stands for the derivative of the weights' sign.
    pub weight: WeightEstimator,
    /// Whether binary convolutions use signs (else the latent weights: the first of two stages).
    pub binarize_weights: bool,
}

impl NetConfig {
    /// The settings of ReActNet for steps of at most `batch` images.
    #[must_use]
    pub fn new(batch: usize) -> Self {
        NetConfig {
            batch,
            activation: Estimator::default(),
            weight: WeightEstimator::default(),
            binarize_weights: true,
        }
    }
}
