//! The scale of each filter: none, learned (XNOR-Net++), or the mean size of its latent weights (XNOR-Net, Bi-Real Net).

use onebit_model::{WeightScale, bits};

/// What the gradient of a filter's latent weights is made of, given that of its scaled signs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share {
    /// Times the gradient of the scaled signs, as far as the estimator lets it through.
    pub(super) factor: f32,
    /// Times the sign: what a scale that depends on the latent weights sends back.
    pub(super) shared: f32,
}

impl Share {
    /// Of a filter of `len` weights with this scale, whose gradients times signs sum to `sum`. A detached scale is not in
    /// the gradient at all: ReActNet's published code passes that of the scaled signs to the latent weights as it is.
    pub(super) fn of(kind: WeightScale, scale: f32, sum: f32, len: usize) -> Self {
        match kind {
            WeightScale::None | WeightScale::L1Detached => Share { factor: 1.0, shared: 0.0 },
            WeightScale::Learned => Share { factor: scale, shared: 0.0 },
            WeightScale::L1Grad => Share { factor: scale, shared: sum / len as f32 },
        }
    }
}

/// The scale of each filter.
pub(super) fn forward(kind: WeightScale, latent: &[f32], learned: &[f32], scales: &mut [f32]) {
    let filter = latent.len() / scales.len();
    match kind {
        WeightScale::None => scales.fill(1.0),
        WeightScale::Learned => scales.copy_from_slice(learned),
        WeightScale::L1Detached | WeightScale::L1Grad => {
            for (scale, filter) in scales.iter_mut().zip(latent.chunks_exact(filter)) {
                *scale = bits::mean_abs(filter) as f32;
            }
        }
    }
}

/// Gradient of a filter's scale: the sum of gradients times signs; 0 where nothing is sent to it.
pub(super) fn gradient(kind: WeightScale, gradient: &[f32], signs: &[f32]) -> f32 {
    match kind {
        WeightScale::None | WeightScale::L1Detached => 0.0,
        WeightScale::Learned | WeightScale::L1Grad => {
            gradient.iter().zip(signs).map(|(g, w)| g * w).sum()
        }
    }
}
