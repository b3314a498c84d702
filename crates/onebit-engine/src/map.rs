//! The tile of rows of a map that a kernel computes at once, and the maps that kernels read.

use core::ops::Range;

use onebit_model::bits;

/// Channels of a pixel are followed by unused ones up to a multiple of this, so that registers of every
/// instruction set are loaded and stored whole.
pub(crate) const CHANNEL_ALIGN: usize = 16;

/// Floats from one pixel of a real map to the next.
pub(crate) fn stride(channels: usize) -> usize {
    channels.next_multiple_of(CHANNEL_ALIGN)
}

/// Floats from one pixel to the next of the map that a convolution with `groups` writes. Where a group ends inside
/// a register, its last register also writes channels of the next group, which follows, and beyond the map: then
/// this is more than the map's stride, and anything else is done with the sums afterwards.
pub(crate) fn sums_stride(groups: usize, outputs: usize) -> usize {
    let ragged = groups > 1 && !outputs.is_multiple_of(CHANNEL_ALIGN);
    stride(groups * outputs) + if ragged { CHANNEL_ALIGN } else { 0 }
}

/// Most elementwise operations that are computed in one pass with what produces their input.
pub(crate) const MAX_STAGES: usize = 8;

/// An elementwise operation with the parameters that hold for the current image, each of a whole
/// [`stride`] of channels.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StageView<'a> {
    Affine {
        scale: &'a [f32],
        shift: &'a [f32],
    },
    /// Channels beyond the stride of `other` take its first ones again.
    Add {
        other: FloatMap<'a>,
    },
    /// Adds what [`RowTile::floats`] holds.
    Accumulate,
    Prelu(PreluVectors<'a>),
}

/// The four vectors of a rectifier that hold for the current image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PreluVectors<'a> {
    pub(crate) slope_pos: &'a [f32],
    pub(crate) slope_neg: &'a [f32],
    pub(crate) shift_x: &'a [f32],
    pub(crate) shift_y: &'a [f32],
}

/// Rows of a map that are to be computed, and what becomes of them. The slices begin with the first row.
#[derive(Debug)]
pub(crate) struct RowTile<'a> {
    pub(crate) rows: Range<usize>,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    /// Floats from one pixel to the next, a whole [`stride`] of the channels or more.
    pub(crate) stride: usize,
    /// Applied to every value, in order.
    pub(crate) stages: &'a [StageView<'a>],
    /// Gets the values, and holds what [`StageView::Accumulate`] adds.
    pub(crate) floats: Option<&'a mut [f32]>,
    /// Gets the bits `value > threshold`.
    pub(crate) bits: Option<(&'a [f32], &'a mut [u64])>,
    /// Gets, for each row, the sums of the values of each channel.
    pub(crate) sums: Option<&'a mut [f32]>,
}

impl RowTile<'_> {
    /// Some of the rows.
    pub(crate) fn part(&mut self, rows: Range<usize>) -> RowTile<'_> {
        let (first, len) = (rows.start - self.rows.start, rows.len());
        let of = |row: usize| first * row..(first + len) * row;
        let bits = self.width * bits::words(self.channels);
        RowTile {
            floats: self.floats.as_mut().map(|floats| &mut floats[of(self.width * self.stride)]),
            bits: self.bits.as_mut().map(|(threshold, words)| (*threshold, &mut words[of(bits)])),
            sums: self.sums.as_mut().map(|sums| &mut sums[of(self.stride)]),
            rows,
            width: self.width,
            channels: self.channels,
            stride: self.stride,
            stages: self.stages,
        }
    }
}

/// A real map, NHWC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FloatMap<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Floats from one pixel to the next.
    pub(crate) stride: usize,
}

/// A bit map in the order that a binary convolution reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BitMap<'a> {
    pub(crate) words: &'a [u64],
    pub(crate) height: usize,
    pub(crate) width: usize,
}
