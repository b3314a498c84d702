//! IR-Net's error decay estimator: the derivative of a scaled hyperbolic tangent.

use onebit_model::quote::number;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BadSetting, Surrogate};

/// The derivative of `k tanh(t u)` (IR-Net, section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ede {
    /// Height.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub k: f32,
    /// Sharpness.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub t: f32,
}

impl Surrogate for Ede {
    #[cfg(test)]
    fn value(&self, u: f64) -> f64 {
        f64::from(self.k) * (f64::from(self.t) * u).tanh()
    }

    #[inline(always)]
    fn derivative(&self, u: f32) -> f32 {
        let Ede { k, t } = *self;
        let h = (t * u).tanh();
        k * t * (1.0 - h * h)
    }

    fn validate(&self) -> Result<(), BadSetting> {
        let Ede { k, t } = *self;
        BadSetting::unless_positive([k, t], "k and t above 0", || {
            format!("ede with k {} and t {}", number(k), number(t))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binarize::gradient_test;

    #[test]
    fn is_the_derivative_of_its_function() {
        let ede = Ede { k: 1.5, t: 0.75 };
        gradient_test::check(|u| ede.value(u), |u| ede.derivative(u), &[]);
    }

    #[test]
    fn is_kt_at_zero_and_vanishes_far_away() {
        assert_eq!(Ede { k: 3.0, t: 0.5 }.derivative(0.0), 1.5);
        assert!(Ede { k: 1.0, t: 2.0 }.derivative(9.0) < 1e-6);
    }
}
