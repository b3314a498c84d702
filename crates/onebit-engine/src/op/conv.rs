use onebit_model::Geometry;

use super::{Window, band::sums_stride};
use crate::aligned::Aligned;

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
    /// Repacks `weight` `[O, k, k, I/groups]`; missing lanes of the last block are zero.
    pub(crate) fn new(weight: &[f32], geometry: Geometry, channels: usize, lanes: usize) -> Self {
        let Geometry { out_channels, kernel, stride, padding, groups } = geometry;
        let (inputs, outputs) = (channels / groups, out_channels / groups);
        let len = kernel * kernel * inputs;
        let blocks = outputs.div_ceil(lanes);
        let mut weights = Aligned::new(groups * blocks * len * lanes);
        for (o, row) in weight.chunks_exact(len).enumerate() {
            let (group, channel) = (o / outputs, o % outputs);
            let block = group * blocks + channel / lanes;
            let packed = &mut weights[block * len * lanes..][..len * lanes];
            for (vector, &w) in packed.chunks_exact_mut(lanes).zip(row) {
                vector[channel % lanes] = w;
            }
        }
        let window = Window { kernel, stride, padding };
        Conv { weights, lanes, window, groups, inputs, outputs }
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
