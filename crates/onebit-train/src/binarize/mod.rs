//! Straight-through estimators: what stands for the derivative of the sign.
//!
//! A new estimator is one file here and one variant of [`Estimator`].

mod approx_sign;
mod clip;
mod ede;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Derivative used for `sign(u)` in the backward pass; the forward value is exactly +-1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Estimator {
    /// `2 - 2|u|` inside [-1, 1], else 0 (Bi-Real Net, section 3.2).
    #[default]
    ApproxSign,
    /// 1 where `|u| <= bound`, else 0 (BinaryNet with bound 1; QuickNet 1.25).
    Clip {
        /// Largest absolute input with a gradient.
        #[schemars(extend("exclusiveMinimum" = 0))]
        bound: f32,
    },
    /// `k t (1 - tanh^2(t u))` (IR-Net, section 3.3).
    Ede {
        /// Height.
        #[schemars(extend("exclusiveMinimum" = 0))]
        k: f32,
        /// Sharpness.
        #[schemars(extend("exclusiveMinimum" = 0))]
        t: f32,
    },
}

impl Estimator {
    /// The derivative at `u`.
    #[inline(always)]
    #[must_use]
    pub fn derivative(self, u: f32) -> f32 {
        match self {
            Estimator::ApproxSign => approx_sign::derivative(u),
            Estimator::Clip { bound } => clip::derivative(u, bound),
            Estimator::Ede { k, t } => ede::derivative(u, k, t),
        }
    }
}

/// What stands for the derivative of a latent weight's sign.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WeightEstimator {
    /// 1 where `|w| <= bound`, else 0 (ReActNet and Bi-Real Net: bound 1).
    Clip {
        /// Largest absolute latent weight with a gradient.
        #[schemars(extend("exclusiveMinimum" = 0))]
        bound: f32,
    },
    /// 1 everywhere.
    Identity,
}

impl Default for WeightEstimator {
    fn default() -> Self {
        WeightEstimator::Clip { bound: 1.0 }
    }
}

impl WeightEstimator {
    pub(crate) fn bound(self) -> f32 {
        match self {
            WeightEstimator::Clip { bound } => bound,
            WeightEstimator::Identity => f32::INFINITY,
        }
    }
}
