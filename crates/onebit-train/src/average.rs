//! A running average of the weights.

use rayon::prelude::*;

use crate::Params;

/// An exponential moving average of all parameters and running statistics.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Average {
    decay: f64,
    values: Vec<Vec<f32>>,
}

impl Average {
    /// An average that begins as `params`.
    pub(crate) fn new(decay: f64, params: &Params) -> Self {
        Average { decay, values: params.entries.iter().map(|p| p.value.clone()).collect() }
    }

    /// Takes in the values after step number `step`, counted from 1. The first steps weigh more than the decay says, so
    /// that the average soon leaves the random weights behind: the decay is at most `(1 + step) / (10 + step)`.
    pub(crate) fn update(&mut self, params: &Params, step: u64) {
        let decay = self.decay.min((1.0 + step as f64) / (10.0 + step as f64));
        let rest = (1.0 - decay) as f32;
        self.values.par_iter_mut().zip(&params.entries).for_each(|(average, parameter)| {
            for (average, value) in average.iter_mut().zip(&parameter.value) {
                *average += rest * (value - *average);
            }
        });
    }

    /// Exchanges the average with the values of `params`.
    pub(crate) fn swap(&mut self, params: &mut Params) {
        for (average, parameter) in self.values.iter_mut().zip(&mut params.entries) {
            std::mem::swap(average, &mut parameter.value);
        }
    }
}

#[cfg(test)]
mod tests {
    use onebit_model::op::Role;

    use super::*;
    use crate::Parameter;

    fn params(value: f32) -> Params {
        let (name, shape) = ("bn.running_mean".to_owned(), vec![1]);
        let parameter =
            Parameter { name, shape, role: Role::Statistic, value: vec![value], grad: Vec::new() };
        Params { entries: vec![parameter] }
    }

    #[test]
    fn the_average_moves_fast_at_first_and_by_the_decay_later() {
        let mut average = Average::new(0.9, &params(0.0));
        average.update(&params(1.0), 1);
        assert!((average.values[0][0] - 9.0 / 11.0).abs() < 1e-6);
        average.update(&params(9.0 / 11.0 + 1.0), 1_000_000);
        assert!((average.values[0][0] - (9.0 / 11.0 + 0.1)).abs() < 1e-6);
        let mut current = params(7.0);
        average.swap(&mut current);
        assert_eq!(average.values[0][0], 7.0);
        assert!((current.entries[0].value[0] - 0.918).abs() < 1e-3);
    }
}
