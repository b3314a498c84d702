//! 8-bit convolutions: weights in the kernels' order, and how inputs are rounded.

use onebit_model::{Geometry, quantization};

use super::Window;
use crate::EngineError;
use crate::aligned::{Aligned, BumpAllocator, product};
use crate::map::CHANNEL_ALIGN;

/// Inputs that are moved at once; behind every row there is room for so many.
pub(crate) const MOVED: usize = 32;

/// Most pixels of a row whose inputs are collected at once.
const COLLECTED: usize = 112;

/// How weights and rounded inputs lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayoutI8 {
    /// Output channels of a block.
    pub(crate) lanes: usize,
    /// Inputs whose products are added at once.
    pub(crate) together: usize,
    /// Bytes of a rounded input.
    pub(crate) bytes: usize,
}

/// A convolution of 8-bit integers. An input `x` of channel `c` is the integer nearest to `x * inverse[c] + offset[c]`,
/// between 0 and 255; a place in the padding is a 0. An output is `sum * scale[o] + shift[o]` of the exact sum of
/// weights times differences from the integer of 0.
#[derive(Debug)]
pub(crate) struct ConvI8 {
    /// `[block of output channels][group of inputs][lane][input of the group]`, inputs by row of taps, column of taps,
    /// channel.
    pub(crate) weights: Aligned<i8>,
    /// What the sums start with, so that inputs of 0 give 0; whole blocks.
    pub(crate) first: Aligned<i32>,
    /// Whole blocks.
    pub(crate) scale: Aligned<f32>,
    /// Whole blocks.
    pub(crate) shift: Aligned<f32>,
    /// Reciprocal of the step of each input channel, repeated to whole registers.
    pub(crate) inverse: Aligned<f32>,
    /// Repeated likewise.
    pub(crate) offset: Aligned<f32>,
    /// The integer of 0 for each input channel.
    pub(crate) zeros: Aligned<u8>,
    pub(crate) layout: LayoutI8,
    pub(crate) window: Window,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

/// The tensors of an 8-bit operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TensorsI8<'a> {
    /// `[O, k, k, I]`.
    pub(crate) weight: &'a [i8],
    /// A factor for each output channel.
    pub(crate) weight_scale: &'a [f32],
    /// A step for each channel of the map.
    pub(crate) input_scale: &'a [f32],
    /// What stands for 0, for each channel of the map.
    pub(crate) input_offset: &'a [f32],
    /// For each output channel, or nothing.
    pub(crate) bias: &'a [f32],
}

impl ConvI8 {
    /// Repacks the tensors for `inputs` channels into `memory`; steps of fewer channels are repeated.
    pub(crate) fn new(
        tensors: TensorsI8<'_>,
        geometry: Geometry,
        inputs: usize,
        layout: LayoutI8,
        memory: &BumpAllocator,
    ) -> Result<Self, EngineError> {
        let Geometry { out_channels, kernel, stride, padding, .. } = geometry;
        let channels = tensors.input_scale.len().max(1);
        let repeated = (1..=CHANNEL_ALIGN).find(|n| (n * inputs).is_multiple_of(CHANNEL_ALIGN));
        let repeated = repeated.unwrap_or(1) * inputs;
        let mut conv = ConvI8 {
            weights: Aligned::default(),
            first: memory.take(out_channels.next_multiple_of(layout.lanes))?,
            scale: memory.take(out_channels.next_multiple_of(layout.lanes))?,
            shift: memory.take(out_channels.next_multiple_of(layout.lanes))?,
            inverse: memory.take(repeated)?,
            offset: memory.take(repeated)?,
            zeros: memory.take(inputs)?,
            layout,
            window: Window { kernel, stride, padding },
            inputs,
            outputs: out_channels,
        };
        for i in 0..repeated {
            conv.inverse[i] = 1.0 / tensors.input_scale[i % inputs % channels];
            conv.offset[i] = tensors.input_offset[i % inputs % channels];
        }
        for (zero, &offset) in conv.zeros.iter_mut().zip(conv.offset.iter()) {
            *zero = quantization::zero_point(offset);
        }
        conv.weights = memory.take(product(&[conv.first.len(), conv.groups(), layout.together]))?;
        let products = kernel * kernel * inputs;
        for (o, filter) in tensors.weight.chunks_exact(products).enumerate() {
            conv.pack(o, filter);
            let zeros = filter.iter().zip(conv.zeros.iter().cycle());
            conv.first[o] = -zeros.map(|(&w, &zero)| i32::from(w) * i32::from(zero)).sum::<i32>();
            let (scale, bias) = (tensors.weight_scale[o], tensors.bias.get(o));
            let bias = bias.copied().unwrap_or(0.0);
            conv.scale[o] = scale;
            conv.shift[o] = quantization::shift(filter, scale, &conv.offset[..inputs], bias);
        }
        Ok(conv)
    }

    fn pack(&mut self, o: usize, filter: &[i8]) {
        let LayoutI8 { lanes, together, .. } = self.layout;
        let block = self.groups() * lanes * together;
        let packed = &mut self.weights[o / lanes * block..][..block];
        for (group, weights) in
            packed.chunks_exact_mut(lanes * together).zip(filter.chunks(together))
        {
            group[o % lanes * together..][..weights.len()].copy_from_slice(weights);
        }
    }

    /// Groups of inputs of an output.
    pub(crate) fn groups(&self) -> usize {
        let products = self.window.kernel * self.window.kernel * self.inputs;
        products.div_ceil(self.layout.together)
    }

    /// Inputs of a padded row of `width` pixels, with room behind them.
    pub(crate) fn row(&self, width: usize) -> usize {
        ((width + 2 * self.window.padding) * self.inputs + MOVED).next_multiple_of(MOVED)
    }

    /// Inputs from one pixel to the next of those whose windows are collected: the rows of taps follow each other, and
    /// the last has room behind it.
    pub(crate) fn collected_step(&self) -> usize {
        let row = self.window.kernel * self.inputs;
        ((self.window.kernel - 1) * row + row.next_multiple_of(MOVED)).next_multiple_of(MOVED)
    }

    /// Pixels whose windows are collected at once, of rows of `outputs`; none where windows lie in one piece.
    pub(crate) fn collected(&self, outputs: usize) -> usize {
        if self.window.kernel == 1 { 0 } else { outputs.min(COLLECTED) }
    }

    /// Words of working memory for rows of `width` inputs and `outputs` outputs, `None` where that overflows: as many
    /// rounded rows as the window has, and collected windows.
    pub(crate) fn workspace(&self, width: usize, outputs: usize) -> Option<usize> {
        let rows = self.window.kernel.checked_mul(self.row(width))?;
        let windows = self.collected(outputs).checked_mul(self.collected_step())?;
        let bytes = rows.checked_add(windows)?.checked_mul(self.layout.bytes)?;
        Some(bytes.div_ceil(size_of::<u64>()))
    }

    /// Bytes of parameters.
    pub(crate) fn bytes(&self) -> usize {
        let floats = self.scale.len() + self.shift.len() + self.inverse.len() + self.offset.len();
        self.weights.len() + 4 * (floats + self.first.len()) + self.zeros.len()
    }
}
