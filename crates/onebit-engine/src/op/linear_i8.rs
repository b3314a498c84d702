use super::CHANNEL_ALIGN;
use crate::aligned::Aligned;

/// Outputs of a block; a whole stride is whole blocks.
pub(crate) const BLOCK: usize = CHANNEL_ALIGN;

/// `y = W x + b` with 8-bit weights in the kernels' order: `[block of outputs][input][lane]`. A weight is its integer
/// times the factor of its output, rounded once; inputs that are 0 take no part.
#[derive(Debug)]
pub(crate) struct LinearI8 {
    pub(crate) weights: Aligned<i8>,
    pub(crate) inputs: usize,
    /// A factor for each output, whole blocks.
    pub(crate) scale: Aligned<f32>,
    /// Whole blocks.
    pub(crate) bias: Aligned<f32>,
}

impl LinearI8 {
    /// Repacks `integers` `[O, I]`; missing lanes of the last block, there in `scale` and `bias`, are zero.
    pub(crate) fn new(
        integers: &[i8],
        scale: Aligned<f32>,
        bias: Aligned<f32>,
        inputs: usize,
    ) -> Self {
        let mut weights = Aligned::new(scale.len() * inputs);
        for (o, row) in integers.chunks_exact(inputs).enumerate() {
            let block = &mut weights[o / BLOCK * inputs * BLOCK..][..inputs * BLOCK];
            for (lanes, &q) in block.chunks_exact_mut(BLOCK).zip(row) {
                lanes[o % BLOCK] = q;
            }
        }
        LinearI8 { weights, inputs, scale, bias }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.weights.len() + 4 * (self.scale.len() + self.bias.len())
    }
}
