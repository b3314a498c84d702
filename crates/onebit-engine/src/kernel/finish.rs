//! The one pass over values that have just been computed: elementwise stages, memory, sums, bits.

use onebit_model::bits;

use super::vector::Vector;
use crate::op::{Band, StageView};

/// Takes `P` neighbouring pixels of row `y` from column `x` on, a register of channels from `channel` on.
#[inline(always)]
pub(super) fn finish<V: Vector, const P: usize>(
    band: &mut Band<'_>,
    [y, x, channel]: [usize; 3],
    values: [V; P],
) {
    let stride = band.stride;
    let row = y - band.rows.start;
    let local = row * band.width + x;
    let values = through_stages(band.stages, y * band.width + x, channel, values);
    if let Some(floats) = &mut band.floats {
        let floats = &mut floats[local * stride + channel..][..(P - 1) * stride + V::LANES];
        for (p, value) in values.iter().enumerate() {
            value.store(&mut floats[p * stride..]);
        }
    }
    if let Some(sums) = &mut band.sums {
        let sums = &mut sums[row * stride + channel..];
        let mut sum = V::load(sums);
        for value in values {
            sum = sum.add(value);
        }
        sum.store(sums);
    }
    if let Some((threshold, words)) = &mut band.bits {
        let threshold = V::load(&threshold[channel..]);
        let per_pixel = bits::words(band.channels);
        let (index, shift) = (channel / bits::WORD_BITS, channel % bits::WORD_BITS);
        let words = &mut words[local * per_pixel + index..][..(P - 1) * per_pixel + 1];
        for (p, value) in values.iter().enumerate() {
            let mask = value.greater(threshold);
            let word = &mut words[p * per_pixel];
            *word = if shift == 0 { mask } else { *word | mask << shift };
        }
    }
}

#[inline(always)]
fn through_stages<V: Vector, const P: usize>(
    stages: &[StageView<'_>],
    pixel: usize,
    channel: usize,
    mut values: [V; P],
) -> [V; P] {
    for stage in stages {
        match stage {
            StageView::Affine { scale, shift } => {
                let (scale, shift) = (V::load(&scale[channel..]), V::load(&shift[channel..]));
                for value in &mut values {
                    *value = value.mul_add(scale, shift);
                }
            }
            StageView::Add { other } => {
                let channel = if channel < other.stride { channel } else { channel - other.stride };
                let others = &other.values[pixel * other.stride + channel..];
                let others = &others[..(P - 1) * other.stride + V::LANES];
                for (p, value) in values.iter_mut().enumerate() {
                    *value = value.add(V::load(&others[p * other.stride..]));
                }
            }
            StageView::Prelu(prelu) => {
                let (shift_x, shift_y) =
                    (V::load(&prelu.shift_x[channel..]), V::load(&prelu.shift_y[channel..]));
                let (slope_pos, slope_neg) =
                    (V::load(&prelu.slope_pos[channel..]), V::load(&prelu.slope_neg[channel..]));
                for value in &mut values {
                    let x = value.sub(shift_x);
                    *value = x.mul(x.if_positive(slope_pos, slope_neg)).add(shift_y);
                }
            }
        }
    }
    values
}
