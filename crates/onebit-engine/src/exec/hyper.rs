//! DyBNN's hyper functions in two halves: statistics with a hidden layer, then a layer with a scaled tanh.

use onebit_model::op::HYPER_STD_EPS;
use onebit_model::{HyperRange, Statistics};

use super::statistics::Channels;
use super::{Linear, Read};
use crate::kernel::{Kernels, Moment, ScaledTanhTask};
use crate::map::stride;

/// First half of DyBNN's hyper function: statistics of the map, a hidden layer with ReLU.
#[derive(Debug)]
pub(crate) struct HyperTrunk {
    pub(crate) x: Channels,
    pub(crate) statistics: Statistics,
    pub(crate) hidden: Linear,
}

impl HyperTrunk {
    /// Floats of working memory: mean, second statistic, a row, and the statistics side by side.
    pub(crate) fn vectors(&self) -> usize {
        3 * stride(self.x.channels) + self.statistics.count() * self.x.channels
    }

    pub(crate) fn run(
        &self,
        kernels: &Kernels,
        read: &Read<'_>,
        vectors: &mut [f32],
        out: &mut [f32],
    ) {
        let (mean, rest) = vectors.split_at_mut(stride(self.x.channels));
        let (second, rest) = rest.split_at_mut(mean.len());
        let (row, rest) = rest.split_at_mut(mean.len());
        let statistics = &mut rest[..self.statistics.count() * self.x.channels];
        self.x.means(kernels, read, row, mean);
        self.second(kernels, read, mean, row, second);
        let both = [mean, second];
        for (out, values) in statistics.chunks_exact_mut(self.x.channels).zip(both) {
            out.copy_from_slice(&values[..self.x.channels]);
        }
        self.hidden.apply(kernels, statistics, &mut [], out);
        for unit in out {
            *unit = if *unit > 0.0 || unit.is_nan() { *unit } else { 0.0 };
        }
    }

    fn second(
        &self,
        kernels: &Kernels,
        read: &Read<'_>,
        mean: &[f32],
        row: &mut [f32],
        out: &mut [f32],
    ) {
        match self.statistics {
            Statistics::Mean => {}
            Statistics::MeanStd => {
                self.x.moments(kernels, read, Moment::Centred, mean, row, out);
                for variance in out {
                    *variance = libm::sqrtf(*variance + HYPER_STD_EPS);
                }
            }
            Statistics::MeanThird => self.x.moments(kernels, read, Moment::Third, mean, row, out),
        }
    }
}

/// Second half: a layer, then `lambda * tanh(v / 2)` where outputs have a range.
#[derive(Debug)]
pub(crate) struct HyperHead {
    pub(crate) layer: Linear,
    pub(crate) range: HyperRange,
}

impl HyperHead {
    pub(crate) fn run(
        &self,
        kernels: &Kernels,
        read: &Read<'_>,
        vectors: &mut [f32],
        out: &mut [f32],
    ) {
        self.layer.run(kernels, read, vectors, out);
        if let HyperRange::Sigmoid { lambda } = self.range {
            (kernels.scaled_tanh)(ScaledTanhTask { lambda, values: out });
        }
    }
}
