//! Figures of several rounds.

use serde::Serialize;

/// A ratio taken round by round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Ratio {
    /// Of what was measured in the same rounds; nothing without rounds.
    pub(crate) fn of(numerators: &[f64], denominators: &[f64]) -> Option<Ratio> {
        let ratios: Vec<f64> = numerators.iter().zip(denominators).map(|(a, b)| a / b).collect();
        let min = ratios.iter().copied().reduce(f64::min)?;
        let max = ratios.iter().copied().reduce(f64::max)?;
        Some(Ratio { median: median(ratios), min, max })
    }

    /// With numerator and denominator exchanged.
    pub(crate) fn inverse(self) -> Ratio {
        Ratio { median: 1.0 / self.median, min: 1.0 / self.max, max: 1.0 / self.min }
    }
}

/// The middle value, or the mean of the two in the middle; NaN where there are none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.as_slice() {
        [] => f64::NAN,
        values if values.len() % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
        values => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::{Ratio, median};

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn ratios_are_those_of_a_round() {
        let ratio = Ratio::of(&[2.0, 40.0, 3.0], &[1.0, 10.0, 1.0]);
        assert_eq!(ratio, Some(Ratio { median: 3.0, min: 2.0, max: 4.0 }));
        assert_eq!(Ratio::of(&[], &[]), None);
    }

    #[test]
    fn the_inverse_exchanges_the_ends() {
        let ratio = Ratio { median: 2.0, min: 1.0, max: 4.0 };
        assert_eq!(ratio.inverse(), Ratio { median: 0.5, min: 0.25, max: 1.0 });
    }
}
