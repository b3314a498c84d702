use alloc::vec;
use alloc::vec::Vec;

use onebit_model::{Geometry, PadValue, bits};

use super::Window;

/// A binary convolution with its weights in the kernels' order:
/// `[group][block of output channels][tap][word][lane]`. With one lane that is the file's order.
#[derive(Debug)]
pub(crate) struct ConvBin {
    pub(crate) weights: Vec<u64>,
    pub(crate) window: Window,
    pub(crate) groups: usize,
    /// Input channels of a group.
    pub(crate) inputs: usize,
    /// Words of the input channels of a group.
    pub(crate) words: usize,
    /// Output channels of a group.
    pub(crate) outputs: usize,
    /// Sum of the weights (+1, -1) of each tap, `[group][block][tap][lane]`, when padded taps count as +1;
    /// empty when they count nothing.
    pub(crate) tap_sums: Vec<i32>,
}

impl ConvBin {
    /// Repacks `weight` `[O, k, k, words]`; missing lanes of the last block are zero.
    pub(crate) fn new(
        weight: &[u64],
        geometry: Geometry,
        channels: usize,
        pad: PadValue,
        lanes: usize,
    ) -> Self {
        let Geometry { out_channels, kernel, stride, padding, groups } = geometry;
        let (inputs, outputs) = (channels / groups, out_channels / groups);
        let (words, taps, blocks) = (bits::words(inputs), kernel * kernel, outputs.div_ceil(lanes));
        let mut weights = vec![0; groups * blocks * taps * words * lanes];
        let mut tap_sums = match pad {
            PadValue::Zero => Vec::new(),
            PadValue::One => vec![0; groups * blocks * taps * lanes],
        };
        for (o, filter) in weight.chunks_exact(taps * words).enumerate() {
            let (group, channel) = (o / outputs, o % outputs);
            let (block, lane) = (group * blocks + channel / lanes, channel % lanes);
            let packed = weights[block * taps * words * lanes..].chunks_exact_mut(lanes);
            for (vector, &w) in packed.zip(filter) {
                vector[lane] = w;
            }
            let sums = tap_sums.chunks_exact_mut(lanes).skip(block * taps);
            for (vector, tap) in sums.zip(filter.chunks_exact(words)) {
                let ones: u32 = tap.iter().map(|w| w.count_ones()).sum();
                vector[lane] = 2 * ones as i32 - inputs as i32;
            }
        }
        let window = Window { kernel, stride, padding };
        ConvBin { weights, window, groups, inputs, words, outputs, tap_sums }
    }

    /// Words of a pixel with every group in words of its own.
    pub(crate) fn pixel_words(&self) -> usize {
        self.groups * self.words
    }

    /// Whether groups start inside a word, so that the input must be regrouped.
    pub(crate) fn regroups(&self) -> bool {
        self.groups > 1 && !self.inputs.is_multiple_of(bits::WORD_BITS)
    }

    /// Copies packed pixels so that every group starts a new word.
    pub(crate) fn regroup(&self, x: &[u64], out: &mut [u64]) {
        let mask = bits::tail_mask(self.inputs);
        let pixels = x.chunks_exact(bits::words(self.groups * self.inputs));
        for (pixel, out) in pixels.zip(out.chunks_exact_mut(self.pixel_words())) {
            for (group, out) in out.chunks_exact_mut(self.words).enumerate() {
                for (i, word) in out.iter_mut().enumerate() {
                    *word = word_at(pixel, group * self.inputs + i * bits::WORD_BITS);
                }
                out[self.words - 1] &= mask;
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        8 * self.weights.len() + 4 * self.tap_sums.len()
    }
}

/// The 64 bits that start at `bit`; bits beyond the end are zero.
fn word_at(words: &[u64], bit: usize) -> u64 {
    let (index, shift) = (bit / bits::WORD_BITS, bit % bits::WORD_BITS);
    let word = |i: usize| words.get(i).copied().unwrap_or(0);
    match shift {
        0 => word(index),
        _ => word(index) >> shift | word(index + 1) << (bits::WORD_BITS - shift),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_can_start_at_any_bit() {
        let words = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];
        assert_eq!(word_at(&words, 0), words[0]);
        assert_eq!(word_at(&words, 4), 0x0012_3456_789a_bcde);
        assert_eq!(word_at(&words, 96), 0x0000_0000_fedc_ba98);
    }
}
