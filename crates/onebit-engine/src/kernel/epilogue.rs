//! The epilogue: the one pass over values that have just been computed, with elementwise stages, memory, sums, bits.
#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::ops::Range;
use core::ptr;
use core::slice;

use onebit_model::bits;

use super::vector::Vector;
use crate::map::{MAX_STAGES, RowTile, StageView};

/// Where the values of a row tile go. All lengths are checked once, so that a tile costs no more than its arithmetic.
pub(super) struct Epilogue<'a> {
    rows: Range<usize>,
    width: usize,
    channels: usize,
    stride: usize,
    stages: [RawStage; MAX_STAGES],
    used: usize,
    /// Null where nothing reads them, like the pointers below.
    floats: *mut f32,
    sums: *mut f32,
    threshold: *const f32,
    words: *mut u64,
    /// Words of a pixel.
    per_pixel: usize,
    row_tile: PhantomData<&'a mut f32>,
}

/// A [`StageView`] as addresses: with vectors of a whole stride of channels, and maps that hold all rows of the row tile.
#[derive(Clone, Copy)]
enum RawStage {
    Affine { scale: *const f32, shift: *const f32 },
    Add { values: *const f32, stride: usize },
    Accumulate,
    Prelu { shift_x: *const f32, shift_y: *const f32, slopes: [*const f32; 2] },
}

impl<'a> Epilogue<'a> {
    /// # Panics
    /// A slice of the row tile is too short for its rows.
    #[inline(always)]
    pub(super) fn new(row_tile: &'a mut RowTile<'_>) -> Self {
        let (rows, width, stride) = (row_tile.rows.clone(), row_tile.width, row_tile.stride);
        let pixels = rows.len() * width;
        let per_pixel = bits::words(row_tile.channels);
        let mut stages = [RawStage::Accumulate; MAX_STAGES];
        for (stage, view) in stages.iter_mut().zip(row_tile.stages) {
            *stage = RawStage::new(view, stride, rows.end * width);
        }
        assert!(row_tile.stages.len() <= MAX_STAGES, "all stages have a place");
        let accumulates =
            row_tile.stages.iter().any(|stage| matches!(stage, StageView::Accumulate));
        assert!(!accumulates || row_tile.floats.is_some(), "there is something to add to");
        let floats = row_tile.floats.as_deref_mut().map_or(ptr::null_mut(), |floats| {
            assert!(floats.len() >= pixels * stride, "floats of all rows");
            floats.as_mut_ptr()
        });
        let sums = row_tile.sums.as_deref_mut().map_or(ptr::null_mut(), |sums| {
            assert!(sums.len() >= rows.len() * stride, "sums of all rows");
            sums.as_mut_ptr()
        });
        let (threshold, words) = match &mut row_tile.bits {
            Some((threshold, words)) => {
                assert!(stride <= per_pixel * bits::WORD_BITS, "a bit for each channel");
                assert!(words.len() >= pixels * per_pixel, "bits of all rows");
                (vector(threshold, stride), words.as_mut_ptr())
            }
            None => (ptr::null(), ptr::null_mut()),
        };
        let (channels, used) = (row_tile.channels, row_tile.stages.len());
        let row_tile = PhantomData;
        Epilogue {
            rows,
            width,
            channels,
            stride,
            stages,
            used,
            floats,
            sums,
            threshold,
            words,
            per_pixel,
            row_tile,
        }
    }

    /// Rows to be computed.
    #[inline(always)]
    pub(super) fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// Pixels of a row.
    #[inline(always)]
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Channels of a pixel.
    #[inline(always)]
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// Takes `P` neighbouring pixels of row `y` from column `x` on, a register of channels from `channel` on.
    ///
    /// # Panics
    /// A pixel or channel lies outside the row tile.
    #[inline(always)]
    pub(super) fn take<V: Vector, const P: usize>(
        &mut self,
        token: V::Token,
        [y, x, channel]: [usize; 3],
        mut values: [V; P],
    ) {
        assert!(self.rows.contains(&y) && x + P <= self.width, "pixels of the row tile");
        assert!(channel + V::LANES <= self.stride, "channels of the row tile");
        let (stride, row) = (self.stride, y - self.rows.start);
        let local = row * self.width + x;
        let first = self.floats.wrapping_add(local * stride + channel);
        // SAFETY: `new` has checked that the floats, where there are any, hold `stride` channels of all pixels of the
        // row tile, among them these.
        let floats = |p: usize| unsafe { first.add(p * stride) };
        for stage in &self.stages[..self.used] {
            // SAFETY: `new` has checked the lengths: the vectors hold the channels, the maps the pixels and channels,
            // and there are floats where they are accumulated.
            unsafe { stage.apply(token, y * self.width + x, channel, &mut values, floats) };
        }
        if !self.floats.is_null() {
            for (p, value) in values.iter().enumerate() {
                // SAFETY: as above.
                value.store(unsafe { slice::from_raw_parts_mut(floats(p), V::LANES) });
            }
        }
        if !self.sums.is_null() {
            // SAFETY: `new` has checked that there are sums of `stride` channels for every row of the row tile.
            let sums = unsafe {
                slice::from_raw_parts_mut(self.sums.add(row * stride + channel), V::LANES)
            };
            let mut sum = V::load(token, sums);
            for value in values {
                sum = sum.add(value);
            }
            sum.store(sums);
        }
        if !self.words.is_null() {
            // SAFETY: `new` has checked that there are thresholds for all channels, and `per_pixel` words with a bit
            // for each channel of every pixel of the row tile.
            unsafe {
                let threshold = load::<V>(token, self.threshold.add(channel));
                let words = self.words.add(local * self.per_pixel + channel / bits::WORD_BITS);
                for (p, value) in values.iter().enumerate() {
                    let mask = value.greater(threshold);
                    put::<V>(words.add(p * self.per_pixel), channel % bits::WORD_BITS, mask);
                }
            }
        }
    }
}

impl RawStage {
    /// # Panics
    /// A vector does not have `channels`, or a map not all of `pixels`.
    #[inline(always)]
    fn new(view: &StageView<'_>, channels: usize, pixels: usize) -> Self {
        match view {
            StageView::Affine { scale, shift } => {
                RawStage::Affine { scale: vector(scale, channels), shift: vector(shift, channels) }
            }
            StageView::Add { other } => {
                assert!(2 * other.stride >= channels, "channels of the other operand");
                assert!(other.values.len() >= pixels * other.stride, "pixels of the other operand");
                RawStage::Add { values: other.values.as_ptr(), stride: other.stride }
            }
            StageView::Accumulate => RawStage::Accumulate,
            StageView::Prelu(prelu) => RawStage::Prelu {
                shift_x: vector(prelu.shift_x, channels),
                shift_y: vector(prelu.shift_y, channels),
                slopes: [prelu.slope_pos, prelu.slope_neg].map(|slope| vector(slope, channels)),
            },
        }
    }

    /// # Safety
    /// The stage's vectors hold a register from `channel` on, its map the pixels from `pixel` on, and `floats` gives
    /// the places of the pixels, if the stage accumulates.
    #[inline(always)]
    unsafe fn apply<V: Vector, const P: usize>(
        &self,
        token: V::Token,
        pixel: usize,
        channel: usize,
        values: &mut [V; P],
        floats: impl Fn(usize) -> *mut f32,
    ) {
        // SAFETY: the caller promises it.
        unsafe {
            match *self {
                RawStage::Affine { scale, shift } => {
                    let (scale, shift) =
                        (load(token, scale.add(channel)), load(token, shift.add(channel)));
                    for value in values {
                        *value = value.mul_add(scale, shift);
                    }
                }
                RawStage::Add { values: others, stride } => {
                    let channel = if channel < stride { channel } else { channel - stride };
                    let others = others.add(pixel * stride + channel);
                    for (p, value) in values.iter_mut().enumerate() {
                        *value = value.add(load(token, others.add(p * stride)));
                    }
                }
                RawStage::Accumulate => {
                    for (p, value) in values.iter_mut().enumerate() {
                        *value = value.add(load(token, floats(p)));
                    }
                }
                RawStage::Prelu { shift_x, shift_y, slopes } => {
                    let [shift_x, shift_y] =
                        [shift_x, shift_y].map(|s| load::<V>(token, s.add(channel)));
                    let [pos, neg] = slopes.map(|slope| load::<V>(token, slope.add(channel)));
                    for value in values {
                        let x = value.sub(shift_x);
                        *value = x.mul(x.if_positive(pos, neg)).add(shift_y);
                    }
                }
            }
        }
    }
}

/// # Panics
/// There are fewer than `channels`.
#[inline(always)]
fn vector(values: &[f32], channels: usize) -> *const f32 {
    assert!(values.len() >= channels, "a parameter for each channel");
    values.as_ptr()
}

/// # Safety
/// A register of floats can be read there.
#[inline(always)]
unsafe fn load<V: Vector>(token: V::Token, from: *const f32) -> V {
    // SAFETY: the caller promises it.
    V::load(token, unsafe { slice::from_raw_parts(from, V::LANES) })
}

/// Sets the bits from `shift` on; those before must be there, those behind become zero.
///
/// # Safety
/// The word can be read and written, and `shift` is a multiple of the lanes.
#[inline(always)]
unsafe fn put<V: Vector>(word: *mut u64, shift: usize, mask: u64) {
    const { assert!(bits::WORD_BITS.is_multiple_of(V::LANES), "a register's bits lie in one word") };
    // SAFETY: the caller promises it; where lanes fill bytes, these are bytes of the word.
    unsafe {
        if shift == 0 {
            *word = mask;
        } else if cfg!(target_endian = "little") && V::LANES.is_multiple_of(8) {
            let bytes = mask.to_le_bytes();
            let to = word.cast::<u8>().add(shift / 8);
            ptr::copy_nonoverlapping(bytes.as_ptr(), to, V::LANES / 8);
        } else {
            *word |= mask << shift;
        }
    }
}
