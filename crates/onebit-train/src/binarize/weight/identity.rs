//! The straight-through estimator without a bound.

use super::{BadSetting, WeightBackward, WeightBinarizer};

/// 1 everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity;

impl WeightBinarizer for Identity {
    fn backward(&self, pass: WeightBackward<'_>) {
        pass.straight_through(
            #[inline(always)]
            |_, gradient| gradient,
        );
    }

    fn validate(&self) -> Result<(), BadSetting> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::derivative;
    use super::*;
    use crate::binarize::gradient_test;

    #[test]
    fn is_the_derivative_of_the_weight_itself() {
        gradient_test::check(|w| w, |w| derivative(&Identity, w), &[]);
    }
}
