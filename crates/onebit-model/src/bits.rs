//! Bits in memory and in files: little-endian `u64` words, least significant bit first, channels innermost,
//! every pixel (or tap) starting a new word, tail bits zero. A set bit is +1, a clear bit -1.

/// Bits in a word.
pub const WORD_BITS: usize = 64;

/// Words that hold `channels` bits.
#[must_use]
pub fn words(channels: usize) -> usize {
    channels.div_ceil(WORD_BITS)
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
