//! What each kernel is given.

use super::Moment;
use crate::map::{BitMap, FloatMap, RowTile};
use crate::packed::{Conv, ConvBin, ConvI8, LinearI8, Pool, Winograd};

/// A row tile of a binary convolution.
#[derive(Debug)]
pub(crate) struct ConvBinTask<'a> {
    /// The weights.
    pub(crate) conv: &'a ConvBin,
    /// The input.
    pub(crate) x: BitMap<'a>,
    /// The output.
    pub(crate) row_tile: RowTile<'a>,
}

/// A row tile of a real convolution.
#[derive(Debug)]
pub(crate) struct ConvTask<'a> {
    /// The weights.
    pub(crate) conv: &'a Conv,
    /// The input.
    pub(crate) x: FloatMap<'a>,
    /// The output.
    pub(crate) row_tile: RowTile<'a>,
}

/// Rows of the input of a convolution as its kernel reads them, each at its number modulo their count. They are kept
/// from one row tile of a map to the one below, which reads some of the same rows: each is made once.
#[derive(Debug)]
pub(crate) struct Ring<'a, T> {
    /// The rows, and behind them working memory of the kernel.
    pub(crate) memory: &'a mut [T],
    /// The first row that is not in the ring yet.
    pub(crate) next_row: &'a mut usize,
}

/// A row tile of an 8-bit convolution.
#[derive(Debug)]
pub(crate) struct ConvI8Task<'a> {
    /// The weights.
    pub(crate) conv: &'a ConvI8,
    /// The input.
    pub(crate) x: FloatMap<'a>,
    /// Rounded rows of the input, counted from the first of the padding.
    pub(crate) ring: Ring<'a, u64>,
    /// The output.
    pub(crate) row_tile: RowTile<'a>,
}

/// A row tile of a convolution by minimal filtering.
#[derive(Debug)]
pub(crate) struct WinogradTask<'a> {
    /// The weights.
    pub(crate) conv: &'a Winograd,
    /// The input.
    pub(crate) x: FloatMap<'a>,
    /// Transformed rows of the input.
    pub(crate) ring: Ring<'a, f32>,
    /// The output.
    pub(crate) row_tile: RowTile<'a>,
}

/// A row tile of a pooling.
#[derive(Debug)]
pub(crate) struct PoolTask<'a> {
    /// The window, and what becomes of its values.
    pub(crate) pool: Pool,
    /// The input; its values begin with the row `first_row`.
    pub(crate) x: FloatMap<'a>,
    /// The row of the input that its values begin with.
    pub(crate) first_row: usize,
    /// Working memory for a row of the input.
    pub(crate) row: &'a mut [f32],
    /// The output.
    pub(crate) row_tile: RowTile<'a>,
}

/// A row tile of a map that is there already.
#[derive(Debug)]
pub(crate) struct CopyTask<'a> {
    /// The map.
    pub(crate) x: FloatMap<'a>,
    /// The output.
    pub(crate) row_tile: RowTile<'a>,
}

/// A row tile of two maps, the channels of the first in front of those of the second.
#[derive(Debug)]
pub(crate) struct ConcatTask<'a> {
    /// The maps.
    pub(crate) x: [FloatMap<'a>; 2],
    /// Channels of the first.
    pub(crate) first: usize,
    /// The output.
    pub(crate) row_tile: RowTile<'a>,
}

/// A row tile of a map whose channel `g * (C/groups) + i` becomes the channel `i * groups + g`.
#[derive(Debug)]
pub(crate) struct ShuffleTask<'a> {
    /// The map.
    pub(crate) x: FloatMap<'a>,
    /// Groups of channels.
    pub(crate) groups: usize,
    /// The output.
    pub(crate) row_tile: RowTile<'a>,
}

/// A moment of each channel, to be added up over pixels.
#[derive(Debug)]
pub(crate) struct MomentTask<'a> {
    /// What is added up.
    pub(crate) moment: Moment,
    /// The pixels, `stride` floats each.
    pub(crate) x: &'a [f32],
    /// Floats from one pixel to the next.
    pub(crate) stride: usize,
    /// As many means, for [`Moment::Centred`].
    pub(crate) mean: &'a [f32],
    /// As many sums, which the moment is added to.
    pub(crate) sums: &'a mut [f32],
}

/// A layer with real weights of a real vector.
#[derive(Debug)]
pub(crate) struct LinearTask<'a> {
    /// The weights, as those of a 1x1 convolution.
    pub(crate) weight: &'a Conv,
    /// A bias for each output, a whole stride.
    pub(crate) bias: &'a [f32],
    /// The input.
    pub(crate) x: &'a [f32],
    /// The output: as many floats as there are biases.
    pub(crate) out: &'a mut [f32],
}

/// A layer with 8-bit weights of a real vector.
#[derive(Debug)]
pub(crate) struct LinearI8Task<'a> {
    /// The weights.
    pub(crate) layer: &'a LinearI8,
    /// The input.
    pub(crate) x: &'a [f32],
    /// The output: as many floats as the layer has biases, a whole stride.
    pub(crate) out: &'a mut [f32],
}

/// `lambda * tanh(v / 2)` in the place of every value `v`, computed as `lambda * (2 * sigmoid(v) - 1)`.
#[derive(Debug)]
pub(crate) struct ScaledTanhTask<'a> {
    /// The bound of the results.
    pub(crate) lambda: f32,
    /// The values.
    pub(crate) values: &'a mut [f32],
}
