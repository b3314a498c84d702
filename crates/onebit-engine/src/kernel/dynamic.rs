//! The passes that dynamic thresholds and shifts leave on their own: they start when the whole map is there, so what
//! made the map cannot do them.

use onebit_model::bits;

use super::vector::Vector;
use crate::op::{Band, CHANNEL_ALIGN, FloatMap, PreluVectors, StageView};

/// Channels at once.
type Chunk = [f32; CHANNEL_ALIGN];

/// Chunks of a word of bits.
const CHUNKS: usize = bits::WORD_BITS / CHANNEL_ALIGN;

/// Computes a band of a map `x` of its own stride if nothing but a rectifier, or nothing but a sign, is to be done;
/// says whether it did.
#[inline(always)]
pub(super) fn run<V: Vector>(x: FloatMap<'_>, band: &mut Band<'_>) -> bool {
    let first = band.rows.start * band.width * x.stride;
    let pixels = band.rows.len() * band.width;
    let x = &x.values[first..][..pixels * x.stride];
    match (band.stages, &mut band.floats, &mut band.sums, &mut band.bits) {
        ([StageView::Prelu(prelu)], Some(floats), sums, None) => {
            let (row, stride) = (band.width * band.stride, band.stride);
            for (y, (x, out)) in x.chunks_exact(row).zip(floats.chunks_exact_mut(row)).enumerate() {
                let sums = sums.as_mut().map(|sums| &mut sums[y * stride..][..stride]);
                rectify_row::<V>(prelu, x, out, sums, stride);
            }
            true
        }
        ([], None, None, Some((threshold, words))) => {
            signs::<V>(x, threshold, words, bits::words(band.channels));
            true
        }
        _ => false,
    }
}

#[inline(always)]
fn rectify_row<V: Vector>(
    prelu: &PreluVectors<'_>,
    x: &[f32],
    out: &mut [f32],
    mut sums: Option<&mut [f32]>,
    stride: usize,
) {
    let widest = if (x.len() / stride).is_multiple_of(7) { 7 } else { 8 };
    let mut at = 0;
    while at < x.len() {
        let (x, out, sums) = (&x[at..], &mut out[at..], sums.as_deref_mut());
        at += stride
            * match widest.min(x.len() / stride) {
                8.. => rectify::<V, 8>(prelu, x, out, sums, stride),
                7 => rectify::<V, 7>(prelu, x, out, sums, stride),
                4..7 => rectify::<V, 4>(prelu, x, out, sums, stride),
                2..4 => rectify::<V, 2>(prelu, x, out, sums, stride),
                _ => rectify::<V, 1>(prelu, x, out, sums, stride),
            };
    }
}

/// Rectifies `P` pixels and adds them to the sums of the row; returns `P`.
#[inline(always)]
fn rectify<V: Vector, const P: usize>(
    prelu: &PreluVectors<'_>,
    x: &[f32],
    out: &mut [f32],
    sums: Option<&mut [f32]>,
    stride: usize,
) -> usize {
    let len = stride / CHANNEL_ALIGN;
    let chunks = |from| -> &[Chunk] { &<[f32]>::as_chunks(from).0[..len] };
    let vectors = [prelu.shift_x, prelu.shift_y, prelu.slope_pos, prelu.slope_neg].map(chunks);
    let x: [&[Chunk]; P] = core::array::from_fn(|p| chunks(&x[p * stride..]));
    let mut pixels = out[..P * stride].chunks_exact_mut(stride);
    let out: [&mut [Chunk]; P] =
        core::array::from_fn(|_| &mut pixels.next().unwrap_or_default().as_chunks_mut().0[..len]);
    let mut none = [];
    let sums =
        sums.map_or(&mut none[..], |sums| &mut sums.as_chunks_mut::<CHANNEL_ALIGN>().0[..len]);
    for i in 0..len {
        for lane in (0..CHANNEL_ALIGN).step_by(V::LANES) {
            let mut vector = [V::splat(0.0); 4];
            for v in 0..4 {
                vector[v] = V::load(&vectors[v][i][lane..]);
            }
            let [shift_x, shift_y, slope_pos, slope_neg] = vector;
            let mut values = [V::splat(0.0); P];
            for p in 0..P {
                let x = V::load(&x[p][i][lane..]).sub(shift_x);
                values[p] = x.mul(x.if_positive(slope_pos, slope_neg)).add(shift_y);
                values[p].store(&mut out[p][i][lane..]);
            }
            if let Some(sums) = sums.get_mut(i) {
                let mut sum = V::load(&sums[lane..]);
                for value in values {
                    sum = sum.add(value);
                }
                sum.store(&mut sums[lane..]);
            }
        }
    }
    P
}

/// The bits `x > threshold` of pixels of so many `words` each.
#[inline(always)]
fn signs<V: Vector>(x: &[f32], threshold: &[f32], out: &mut [u64], words: usize) {
    let threshold = threshold.as_chunks::<CHANNEL_ALIGN>().0;
    let pixels = x.as_chunks::<CHANNEL_ALIGN>().0.chunks_exact(threshold.len());
    for (x, out) in pixels.zip(out.chunks_exact_mut(words)) {
        let (x, x_rest) = x.as_chunks::<CHUNKS>();
        let (threshold, threshold_rest) = threshold.as_chunks::<CHUNKS>();
        for ((x, threshold), word) in x.iter().zip(threshold).zip(&mut *out) {
            *word = word_of::<V>(x, threshold);
        }
        if let (Some(word), false) = (out.last_mut(), x_rest.is_empty()) {
            *word = word_of::<V>(x_rest, threshold_rest);
        }
    }
}

#[inline(always)]
fn word_of<V: Vector>(x: &[Chunk], threshold: &[Chunk]) -> u64 {
    let mut word = 0;
    for (i, (x, threshold)) in x.iter().zip(threshold).enumerate() {
        for lane in (0..CHANNEL_ALIGN).step_by(V::LANES) {
            let mask = V::load(&x[lane..]).greater(V::load(&threshold[lane..]));
            word |= mask << (i * CHANNEL_ALIGN + lane);
        }
    }
    word
}
