//! Learning rates: what becomes of the first one as a stage goes on.
//!
//! A new schedule is one file here, a variant of [`Schedule`] and its line in [`LearningRate::at`].

mod constant;
mod linear;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the learning rate changes within a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// From the first learning rate to 0, in equal steps.
    #[default]
    Linear,
    /// Always the first learning rate.
    Constant,
}

/// How often a linear schedule changes the learning rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// Epoch `e` of `E`, counted from 0, runs at `lr * (1 - (e + 1) / E)`, so the last epoch runs at 0 and
    /// only settles the running statistics: what ReActNet's published code does, which advances
    /// PyTorch's `LambdaLR` at the start of each epoch.
    Epoch,
    /// Step `t` of `T`, counted from 0, runs at `lr * (1 - t / T)`.
    #[default]
    Step,
}

/// The learning rates of one stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRate {
    /// The first learning rate.
    pub lr: f64,
    /// How it changes.
    pub schedule: Schedule,
    /// How often it changes.
    pub granularity: Granularity,
    /// Epochs of the stage.
    pub epochs: usize,
    /// Steps of one epoch.
    pub steps: usize,
}

impl LearningRate {
    /// The learning rate of a step of an epoch, both counted from 0 within the stage.
    #[must_use]
    pub fn at(&self, epoch: usize, step: usize) -> f64 {
        let done = match self.granularity {
            Granularity::Epoch => (epoch + 1) as f64 / self.epochs as f64,
            Granularity::Step => {
                (epoch * self.steps + step) as f64 / (self.epochs * self.steps) as f64
            }
        };
        let factor = match self.schedule {
            Schedule::Linear => linear::factor(done),
            Schedule::Constant => constant::factor(),
        };
        self.lr * factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(granularity: Granularity) -> LearningRate {
        let schedule = Schedule::Linear;
        LearningRate { lr: 1.25e-3, schedule, granularity, epochs: 128, steps: 10 }
    }

    #[test]
    fn linear_per_epoch_is_reactnets() {
        let rate = linear(Granularity::Epoch);
        let expected = [
            (0, 0.001_240_234_375),
            (1, 0.001_230_468_75),
            (63, 0.000_625),
            (126, 9.765_625e-6),
            (127, 0.0),
        ];
        for (epoch, lr) in expected {
            assert_eq!(rate.at(epoch, 0), lr, "epoch {epoch}");
            assert_eq!(rate.at(epoch, 9), lr, "constant within epoch {epoch}");
        }
    }

    #[test]
    fn linear_per_step_starts_at_the_first_rate_and_falls_to_one_step_above_zero() {
        let rate = linear(Granularity::Step);
        assert_eq!(rate.at(0, 0), 1.25e-3);
        assert_eq!(rate.at(64, 0), 0.625e-3);
        let last = rate.at(127, 9);
        assert!((last - 1.25e-3 / 1280.0).abs() < 1e-12, "{last}");
    }

    #[test]
    fn constant_stays() {
        let rate = LearningRate { schedule: Schedule::Constant, ..linear(Granularity::Epoch) };
        assert_eq!(rate.at(127, 9), 1.25e-3);
    }
}
