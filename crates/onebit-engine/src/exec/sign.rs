//! The sign of a map: thresholds of each channel, some of which depend on the image.

use super::{Offsets, Read};
use crate::aligned::Aligned;

/// The bit `x > threshold` per channel.
#[derive(Debug)]
pub(crate) struct SignStage {
    pub(crate) threshold: Aligned<f32>,
    /// What is added to the threshold for each image.
    pub(crate) offsets: Option<Offsets>,
}

impl SignStage {
    /// Writes this image's thresholds into `vectors`.
    pub(crate) fn prepare(&self, read: &Read<'_>, vectors: &mut [f32]) {
        let Some(Offsets { values, at }) = self.offsets else { return };
        let thresholds = self.threshold.iter().zip(read.floats(values));
        for (out, (threshold, d)) in vectors[at..].iter_mut().zip(thresholds) {
            *out = threshold + d;
        }
    }

    /// The thresholds for this image, after [`SignStage::prepare`].
    pub(crate) fn thresholds<'a>(&'a self, vectors: &'a [f32]) -> &'a [f32] {
        match self.offsets {
            Some(Offsets { at, .. }) => &vectors[at..at + self.threshold.len()],
            None => &self.threshold,
        }
    }
}
