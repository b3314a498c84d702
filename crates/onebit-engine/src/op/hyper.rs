use onebit_model::op::HYPER_STD_EPS;
use onebit_model::{HyperRange, Statistics};

use super::global_avg_pool::{global_avg_pool, scale};
use super::{Linear, Source};
use crate::kernel::{Kernels, Moment};

/// First half of DyBNN's hyper function: statistics of the map, a hidden layer with ReLU.
#[derive(Debug)]
pub(crate) struct HyperTrunk {
    pub(crate) x: Source,
    pub(crate) channels: usize,
    pub(crate) pixels: usize,
    pub(crate) statistics: Statistics,
    pub(crate) hidden: Linear,
}

impl HyperTrunk {
    /// Floats of working memory: the statistics.
    pub(crate) fn vectors(&self) -> usize {
        self.statistics.count() * self.channels
    }

    pub(crate) fn run(&self, kernels: &Kernels, x: &[f32], vectors: &mut [f32], out: &mut [f32]) {
        let statistics = &mut vectors[..self.vectors()];
        self.measure(kernels, x, statistics);
        self.hidden.run(kernels, statistics, out);
        for unit in out {
            *unit = unit.max(0.0);
        }
    }

    fn measure(&self, kernels: &Kernels, x: &[f32], statistics: &mut [f32]) {
        let (mean, second) = statistics.split_at_mut(self.channels);
        global_avg_pool(kernels, x, self.channels, self.pixels, mean);
        let moment = match self.statistics {
            Statistics::Mean => return,
            Statistics::MeanStd => Moment::Centred,
            Statistics::MeanThird => Moment::Third,
        };
        second.fill(0.0);
        (kernels.moment)(moment, x, mean, second);
        scale(second, self.pixels);
        if self.statistics == Statistics::MeanStd {
            for variance in second {
                *variance = libm::sqrtf(*variance + HYPER_STD_EPS);
            }
        }
    }
}

/// Second half: a layer, bounded.
#[derive(Debug)]
pub(crate) struct HyperHead {
    pub(crate) layer: Linear,
    pub(crate) range: HyperRange,
}

impl HyperHead {
    pub(crate) fn run(&self, kernels: &Kernels, x: &[f32], out: &mut [f32]) {
        self.layer.run(kernels, x, out);
        if let HyperRange::Sigmoid { lambda } = self.range {
            for value in out {
                *value = bounded(*value, lambda);
            }
        }
    }
}

/// `lambda * (2 * sigmoid(v) - 1)`, exactly 0 at 0.
fn bounded(v: f32, lambda: f32) -> f32 {
    lambda * (2.0 / (1.0 + libm::expf(-v)) - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounded_output_is_zero_at_zero_and_never_exceeds_lambda() {
        assert_eq!(bounded(0.0, 0.5), 0.0);
        assert_eq!(bounded(1e30, 0.5), 0.5);
        assert_eq!(bounded(-1e30, 0.5), -0.5);
        assert!((bounded(1.0, 2.0) - 0.924_234_3).abs() < 1e-6);
    }
}
