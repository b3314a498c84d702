//! The passes that dynamic thresholds and shifts leave on their own: they start when the whole map is there, so what
//! made the map cannot do them.

use onebit_model::bits;

use super::vector::Vector;
use crate::map::{CHANNEL_ALIGN, PreluVectors, RowTile, StageView};

/// Channels at once.
type Chunk = [f32; CHANNEL_ALIGN];

/// Chunks of a word of bits.
const CHUNKS: usize = bits::WORD_BITS / CHANNEL_ALIGN;

/// Widest tiles of a row: [`WIDEST_OF_SEVENS`] where 7 divides it, as in networks for 224 pixels.
const WIDEST: usize = 8;
const WIDEST_OF_SEVENS: usize = 7;

/// Rectifies the values of a row tile, whose only stage is a rectifier.
#[inline(always)]
pub(super) fn rectify<V: Vector>(token: V::Token, mut row_tile: RowTile<'_>) {
    let ([StageView::Prelu(prelu)], Some(floats)) = (row_tile.stages, &mut row_tile.floats) else {
        return;
    };
    let (stride, width) = (row_tile.stride, row_tile.width);
    let widest = if width.is_multiple_of(WIDEST_OF_SEVENS) { WIDEST_OF_SEVENS } else { WIDEST };
    for (y, row) in floats.chunks_exact_mut(width * stride).enumerate() {
        let mut none = [];
        let sums =
            row_tile.sums.as_mut().map_or(&mut none[..], |sums| &mut sums[y * stride..][..stride]);
        let mut x = 0;
        while x < width {
            let pixels = &mut row[x * stride..];
            x += match widest.min(width - x) {
                8.. => rectify_pixels::<V, 8>(token, prelu, pixels, sums, stride),
                7 => rectify_pixels::<V, 7>(token, prelu, pixels, sums, stride),
                4..7 => rectify_pixels::<V, 4>(token, prelu, pixels, sums, stride),
                2..4 => rectify_pixels::<V, 2>(token, prelu, pixels, sums, stride),
                _ => rectify_pixels::<V, 1>(token, prelu, pixels, sums, stride),
            };
        }
    }
}

/// Rectifies `P` pixels and adds them to the sums, if there are any; returns `P`.
#[inline(always)]
fn rectify_pixels<V: Vector, const P: usize>(
    token: V::Token,
    prelu: &PreluVectors<'_>,
    pixels: &mut [f32],
    sums: &mut [f32],
    stride: usize,
) -> usize {
    let len = stride / CHANNEL_ALIGN;
    let vectors = [prelu.shift_x, prelu.shift_y, prelu.slope_pos, prelu.slope_neg]
        .map(|vector| &vector.as_chunks::<CHANNEL_ALIGN>().0[..len]);
    let mut pixels = pixels[..P * stride].chunks_exact_mut(stride);
    let pixels: [&mut [Chunk]; P] =
        core::array::from_fn(|_| &mut pixels.next().unwrap_or_default().as_chunks_mut().0[..len]);
    let sums = sums.as_chunks_mut::<CHANNEL_ALIGN>().0;
    for i in 0..len {
        for lane in (0..CHANNEL_ALIGN).step_by(V::LANES) {
            let mut vector = [V::splat(token, 0.0); 4];
            for v in 0..4 {
                vector[v] = V::load(token, &vectors[v][i][lane..]);
            }
            let [shift_x, shift_y, slope_pos, slope_neg] = vector;
            let mut values = [V::splat(token, 0.0); P];
            for p in 0..P {
                let x = V::load(token, &pixels[p][i][lane..]).sub(shift_x);
                values[p] = x.mul(x.if_positive(slope_pos, slope_neg)).add(shift_y);
                values[p].store(&mut pixels[p][i][lane..]);
            }
            if let Some(sums) = sums.get_mut(i) {
                let mut sum = V::load(token, &sums[lane..]);
                for value in values {
                    sum = sum.add(value);
                }
                sum.store(&mut sums[lane..]);
            }
        }
    }
    P
}

/// The bits `x > threshold` of whole pixels of `stride` floats, so many `words` each.
#[inline(always)]
pub(super) fn signs<V: Vector>(
    token: V::Token,
    x: &[f32],
    stride: usize,
    threshold: &[f32],
    out: &mut [u64],
    words: usize,
) {
    let threshold = threshold[..stride].as_chunks::<CHANNEL_ALIGN>().0;
    let pixels = x.as_chunks::<CHANNEL_ALIGN>().0.chunks_exact(stride / CHANNEL_ALIGN);
    for (x, out) in pixels.zip(out.chunks_exact_mut(words)) {
        let (x, x_rest) = x.as_chunks::<CHUNKS>();
        let (threshold, threshold_rest) = threshold.as_chunks::<CHUNKS>();
        for ((x, threshold), word) in x.iter().zip(threshold).zip(&mut *out) {
            *word = word_of::<V>(token, x, threshold);
        }
        if let (Some(word), false) = (out.last_mut(), x_rest.is_empty()) {
            *word = word_of::<V>(token, x_rest, threshold_rest);
        }
    }
}

#[inline(always)]
fn word_of<V: Vector>(token: V::Token, x: &[Chunk], threshold: &[Chunk]) -> u64 {
    let mut word = 0;
    for (i, (x, threshold)) in x.iter().zip(threshold).enumerate() {
        for lane in (0..CHANNEL_ALIGN).step_by(V::LANES) {
            let mask = V::load(token, &x[lane..]).greater(V::load(token, &threshold[lane..]));
            word |= mask << (i * CHANNEL_ALIGN + lane);
        }
    }
    word
}
