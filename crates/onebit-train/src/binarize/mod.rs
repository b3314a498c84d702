//! Binarization: real values to signs in the forward pass, and what stands for the sign's derivative in the backward
//! pass. One file for each estimator of activations and of weights.

pub(crate) mod activation;
pub(crate) mod weight;

pub use activation::{ApproxSign, Clip, Ede, Estimator};
pub use weight::{ClipWeight, Identity, WeightEstimator};

/// A setting of an estimator that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadSetting {
    /// What is set, in words.
    pub(crate) value: String,
    /// What may be.
    pub(crate) expected: &'static str,
}

impl BadSetting {
    /// An error unless each of `settings` is a finite number above 0.
    fn unless_positive<const N: usize>(
        settings: [f32; N],
        expected: &'static str,
        value: impl FnOnce() -> String,
    ) -> Result<(), Self> {
        match settings.iter().all(|x| x.is_finite() && *x > 0.0) {
            true => Ok(()),
            false => Err(BadSetting { value: value(), expected }),
        }
    }
}

/// For the tests of estimators.
#[cfg(test)]
mod gradient_test {
    const STEP: f64 = 1e-4;
    const TOLERANCE: f64 = 1e-6;

    /// Checks a derivative against central differences of its function at points of -2.05 to 2.05 that are not near
    /// `kinks`.
    pub(super) fn check(
        function: impl Fn(f64) -> f64,
        derivative: impl Fn(f32) -> f32,
        kinks: &[f64],
    ) {
        let points = (-20..=20).map(|i| 0.1 * f64::from(i) + 0.05);
        for u in points.filter(|u| kinks.iter().all(|kink| (u - kink).abs() > 2.0 * STEP)) {
            let expected = (function(u + STEP) - function(u - STEP)) / (2.0 * STEP);
            let found = f64::from(derivative(u as f32));
            assert!((found - expected).abs() < TOLERANCE, "at {u}: {found}, expected {expected}");
        }
    }
}
