//! Bits in memory and in files: little-endian `u64` words, least significant bit first, channels innermost,
//! every pixel (or tap) starting a new word, tail bits zero. A set bit is +1, a clear bit -1.

/// Bits in a word.
pub const WORD_BITS: usize = 64;

/// Words that hold `channels` bits.
#[must_use]
pub fn words(channels: usize) -> usize {
    channels.div_ceil(WORD_BITS)
}

/// The threshold of the sign `x >= t` as one of `x > threshold`: the next smaller float. The two are the same for every `x`,
/// zeros and subnormal numbers among them, and for every `t` but the least finite float, whose threshold is not finite.
#[must_use]
pub fn at_least(t: f32) -> f32 {
    t.next_down()
}

/// Packs `values > 0` of one pixel or tap into its words; tail bits become zero.
///
/// # Panics
/// If `out` does not have exactly [`words`]`(values.len())` words.
pub fn pack(values: &[f32], out: &mut [u64]) {
    assert_eq!(out.len(), words(values.len()), "one word for each 64 values");
    for (word, chunk) in out.iter_mut().zip(values.chunks(WORD_BITS)) {
        *word = chunk.iter().enumerate().fold(0, |w, (i, &v)| w | (u64::from(v > 0.0) << i));
    }
}

/// Value +1 or -1 of the bit `channel`.
///
/// # Panics
/// If `words` does not hold that channel.
#[must_use]
pub fn value(words: &[u64], channel: usize) -> f32 {
    if words[channel / WORD_BITS] >> (channel % WORD_BITS) & 1 == 1 { 1.0 } else { -1.0 }
}

/// The 64 bits that start at `bit`; bits beyond the end are zero.
#[must_use]
pub fn word_at(words: &[u64], bit: usize) -> u64 {
    let (index, shift) = (bit / WORD_BITS, bit % WORD_BITS);
    let word = |i: usize| words.get(i).copied().unwrap_or(0);
    match shift {
        0 => word(index),
        _ => word(index) >> shift | word(index + 1) << (WORD_BITS - shift),
    }
}

/// Mask of the bits in use in the last word of `channels` bits.
#[must_use]
pub fn tail_mask(channels: usize) -> u64 {
    match channels % WORD_BITS {
        0 => u64::MAX,
        used => (1 << used) - 1,
    }
}

/// Scale of one filter's binary weights: the mean of their absolute values.
#[must_use]
pub fn mean_abs(filter: &[f32]) -> f64 {
    let sum: f64 = filter.iter().map(|w| f64::from(w.abs())).sum();
    sum / filter.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_is_above_the_float_before() {
        let tiny = f32::from_bits(1);
        let around = [0.0, tiny, f32::MIN_POSITIVE, 1.0, 1.0 + f32::EPSILON, 7.5, f32::MAX];
        let values: [f32; 14] =
            core::array::from_fn(|i| if i < 7 { around[i] } else { -around[i - 7] });
        for t in values.into_iter().filter(|&t| t > f32::MIN) {
            let others = values.into_iter().chain([t, t.next_up(), t.next_down(), f32::NAN]);
            for x in others.chain([f32::INFINITY, f32::NEG_INFINITY]) {
                assert_eq!(x >= t, x > at_least(t), "{x:e} and {t:e}");
            }
        }
        assert!(at_least(-0.0) == -tiny && at_least(0.0) == -tiny);
    }

    #[test]
    fn a_word_can_start_at_any_bit() {
        let words = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];
        assert_eq!(word_at(&words, 0), words[0]);
        assert_eq!(word_at(&words, 4), 0x0012_3456_789a_bcde | words[1] << 60);
        assert_eq!(word_at(&words, 96), 0x0000_0000_fedc_ba98);
    }
}
