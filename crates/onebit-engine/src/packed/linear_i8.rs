//! Linear layers of 8-bit weights and real inputs: weights in the kernels' order.

use crate::EngineError;
use crate::aligned::{Aligned, BumpAllocator, product};
use crate::map::CHANNEL_ALIGN;

/// `y = W x + b` with 8-bit weights in the kernels' order: `[block of outputs][input][lane]`. A weight is its integer
/// times the factor of its output, rounded once; inputs that are 0 take no part.
#[derive(Debug)]
pub(crate) struct LinearI8 {
    pub(crate) weights: Aligned<i8>,
    /// Outputs of a block.
    pub(crate) lanes: usize,
    pub(crate) inputs: usize,
    /// A factor for each output, a whole stride.
    pub(crate) scale: Aligned<f32>,
    /// A whole stride.
    pub(crate) bias: Aligned<f32>,
}

impl LinearI8 {
    /// Repacks `integers` `[O, I]` into `memory`, in the largest blocks, of at most `most_lanes` outputs, that leave no
    /// rest; outputs up to a whole stride, there in `scale` and `bias`, are zero.
    pub(crate) fn new(
        integers: &[i8],
        [scale, bias]: [Aligned<f32>; 2],
        inputs: usize,
        most_lanes: usize,
        memory: &BumpAllocator,
    ) -> Result<Self, EngineError> {
        let mut lanes = CHANNEL_ALIGN;
        while 2 * lanes <= most_lanes && scale.len().is_multiple_of(2 * lanes) {
            lanes *= 2;
        }
        let mut weights = memory.take(product(&[scale.len(), inputs]))?;
        for (o, row) in integers.chunks_exact(inputs).enumerate() {
            let block = &mut weights[o / lanes * lanes * inputs..][..lanes * inputs];
            for (vector, &q) in block.chunks_exact_mut(lanes).zip(row) {
                vector[o % lanes] = q;
            }
        }
        Ok(LinearI8 { weights, lanes, inputs, scale, bias })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.weights.len() + 4 * (self.scale.len() + self.bias.len())
    }
}
