//! Real convolutions: weights in the kernels' order.

use onebit_model::Geometry;

use super::Window;
use crate::EngineError;
use crate::aligned::{Aligned, BumpAllocator, product};
use crate::map::sums_stride;

/// Weights of a filter that are repacked before those of the next: a cache line.
const TOGETHER: usize = 16;

/// A real convolution with its weights in the kernels' order:
/// `[group][block of output channels][row of taps][column of taps][input channel][lane]`.
#[derive(Debug)]
pub(crate) struct Conv {
    pub(crate) weights: Aligned<f32>,
    pub(crate) lanes: usize,
    pub(crate) window: Window,
    pub(crate) groups: usize,
    /// Input channels of a group.
    pub(crate) inputs: usize,
    /// Output channels of a group.
    pub(crate) outputs: usize,
}

impl Conv {
    /// Repacks `weight` `[O, k, k, I/groups]` into `memory`; missing lanes of the last block are zero.
    pub(crate) fn new(
        weight: &[f32],
        geometry: Geometry,
        channels: usize,
        lanes: usize,
        memory: &BumpAllocator,
    ) -> Result<Self, EngineError> {
        let Geometry { out_channels, kernel, stride, padding, groups } = geometry;
        let (inputs, outputs) = (channels / groups, out_channels / groups);
        let len = kernel * kernel * inputs;
        let blocks = outputs.div_ceil(lanes);
        let mut weights = memory.take(product(&[groups, blocks, len, lanes]))?;
        for (block, packed) in weights.chunks_exact_mut(len * lanes).enumerate() {
            let (group, channel) = (block / blocks, block % blocks * lanes);
            let rows = &weight[(group * outputs + channel) * len..];
            let rows = &rows[..lanes.min(outputs - channel) * len];
            for (i, vectors) in packed.chunks_mut(TOGETHER * lanes).enumerate() {
                for (lane, row) in rows.chunks_exact(len).enumerate() {
                    let vectors = vectors.chunks_exact_mut(lanes);
                    for (vector, &w) in vectors.zip(&row[i * TOGETHER..]) {
                        vector[lane] = w;
                    }
                }
            }
        }
        let window = Window { kernel, stride, padding };
        Ok(Conv { weights, lanes, window, groups, inputs, outputs })
    }

    /// Floats from one pixel to the next of the map that the kernel writes.
    pub(crate) fn sums_stride(&self) -> usize {
        sums_stride(self.groups, self.outputs)
    }

    /// Products of an output.
    #[cfg(feature = "std")]
    pub(crate) fn products(&self) -> usize {
        self.inputs * self.window.kernel * self.window.kernel
    }

    pub(crate) fn bytes(&self) -> usize {
        4 * self.weights.len()
    }
}
