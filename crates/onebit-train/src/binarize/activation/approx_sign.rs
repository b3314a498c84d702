//! Bi-Real Net's estimator: the derivative of a piecewise quadratic function.

use super::{BadSetting, Surrogate};

/// `2 - 2|u|` inside [-1, 1]: the derivative of `2u + u^2` below zero and `2u - u^2` above (Bi-Real Net, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApproxSign;

impl Surrogate for ApproxSign {
    #[cfg(test)]
    fn value(&self, u: f64) -> f64 {
        if u.abs() >= 1.0 { u.signum() } else { 2.0 * u - u.signum() * u * u }
    }

    #[inline(always)]
    fn derivative(&self, u: f32) -> f32 {
        let d = 2.0 - 2.0 * u.abs();
        if d > 0.0 { d } else { 0.0 }
    }

    fn validate(&self) -> Result<(), BadSetting> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binarize::gradient_test;

    #[test]
    fn is_the_derivative_of_its_function() {
        gradient_test::check(|u| ApproxSign.value(u), |u| ApproxSign.derivative(u), &[]);
    }

    #[test]
    fn equals_the_golden_values() {
        let golden = [
            (-2.0, 0.0),
            (-1.0, 0.0),
            (-0.75, 0.5),
            (-0.5, 1.0),
            (-0.25, 1.5),
            (0.0, 2.0),
            (0.25, 1.5),
            (0.5, 1.0),
            (0.75, 0.5),
            (1.0, 0.0),
            (2.0, 0.0),
        ];
        for (u, d) in golden {
            assert_eq!(ApproxSign.derivative(u), d, "at {u}");
        }
        assert_eq!(ApproxSign.derivative(f32::INFINITY), 0.0);
    }
}
