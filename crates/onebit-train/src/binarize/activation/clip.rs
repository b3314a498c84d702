//! The straight-through estimator of BinaryNet: 1 up to a bound.

use onebit_model::quote::number;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BadSetting, Surrogate};

/// 1 where `|u| <= bound`: the derivative of `clamp(u, -bound, bound)` (BinaryNet, section 1.3).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// Largest absolute input with a gradient.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub bound: f32,
}

impl Surrogate for Clip {
    #[cfg(test)]
    fn value(&self, u: f64) -> f64 {
        let bound = f64::from(self.bound);
        u.clamp(-bound, bound)
    }

    #[inline(always)]
    fn derivative(&self, u: f32) -> f32 {
        if u.abs() <= self.bound { 1.0 } else { 0.0 }
    }

    fn validate(&self) -> Result<(), BadSetting> {
        let Clip { bound } = *self;
        BadSetting::unless_positive([bound], "a bound above 0", || {
            format!("clip with bound {}", number(bound))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binarize::gradient_test;

    #[test]
    fn is_the_derivative_of_its_function() {
        let clip = Clip { bound: 1.25 };
        gradient_test::check(|u| clip.value(u), |u| clip.derivative(u), &[-1.25, 1.25]);
    }

    #[test]
    fn is_one_up_to_the_bound() {
        assert_eq!(Clip { bound: 1.25 }.derivative(-1.25), 1.0);
        assert_eq!(Clip { bound: 1.25 }.derivative(1.26), 0.0);
    }
}
