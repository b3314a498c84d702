//! The straight-through estimator of BinaryNet and XNOR-Net for weights: 1 up to a bound.

use onebit_model::quote::number;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BadSetting, WeightBackward, WeightBinarizer};

/// 1 where `|w| <= bound`, else 0 (ReActNet and Bi-Real Net: bound 1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "Clip", deny_unknown_fields)]
pub struct ClipWeight {
    /// Largest absolute latent weight with a gradient.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub bound: f32,
}

impl WeightBinarizer for ClipWeight {
    fn backward(&self, pass: WeightBackward<'_>) {
        pass.straight_through(
            #[inline(always)]
            |latent, gradient| if latent.abs() <= self.bound { gradient } else { 0.0 },
        );
    }

    fn validate(&self) -> Result<(), BadSetting> {
        let ClipWeight { bound } = *self;
        BadSetting::unless_positive([bound], "a bound above 0", || {
            format!("clip with bound {}", number(bound))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::derivative;
    use super::*;
    use crate::binarize::gradient_test;

    #[test]
    fn is_the_derivative_of_a_clamp() {
        let clip = ClipWeight { bound: 0.8 };
        let bound = f64::from(clip.bound);
        gradient_test::check(
            |w| w.clamp(-bound, bound),
            |w| derivative(&clip, w),
            &[-bound, bound],
        );
    }
}
