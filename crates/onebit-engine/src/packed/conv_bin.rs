//! Binary convolutions: weights in the kernels' order, and inputs as each kernel reads them.

use bytemuck::Pod;
use onebit_model::{Geometry, PadValue, Shape, bits};

use super::Window;
use crate::EngineError;
use crate::aligned::{Aligned, BumpAllocator, product};
use crate::map::sums_stride;

/// How a kernel wants the weights of binary convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Output channels of a block.
    pub(crate) lanes: usize,
    /// Bits of a lane: 4 (in a byte; the pixels' bits choose lookup tables), or 8, 16, 32, 64 (as they are).
    pub(crate) bits: usize,
}

/// A binary convolution with its weights in the kernels' order:
/// `[group][block of output channels][tap][weight][lane]`. With one lane of 64 bits that is the file's order.
#[derive(Debug)]
pub(crate) struct ConvBin {
    pub(crate) weights: Aligned<u64>,
    /// Output channels of a block.
    #[allow(
        dead_code,
        reason = "portable kernels, the only ones of some targets, have one layout"
    )]
    pub(crate) lanes: usize,
    pub(crate) window: Window,
    pub(crate) groups: usize,
    /// Input channels of a group.
    pub(crate) inputs: usize,
    /// Weights of a tap: `inputs` in units of the layout's bits.
    pub(crate) words: usize,
    /// Output channels of a group.
    pub(crate) outputs: usize,
    /// What the kernel reads of a pixel's bits, from one pixel to the next and from one group to the next: numbers
    /// of tables, or words of the layout's bits.
    pub(crate) pixel: usize,
    pub(crate) group: usize,
    /// Sum of the weights (+1, -1) of each tap, `[group][block][tap][lane]`, when padded taps count as +1;
    /// empty when they count nothing.
    pub(crate) tap_sums: Aligned<f32>,
    preparation: Preparation,
    /// The map whose pixels are one pixel of the input, where there are gaps between them.
    gaps: Option<Gaps>,
}

/// A bit map whose pixels do not fill their last words.
#[derive(Clone, Copy, Debug)]
struct Gaps {
    pixels: usize,
    channels: usize,
}

impl Gaps {
    /// Words of the map.
    fn words(self) -> usize {
        self.pixels * bits::words(self.channels)
    }

    /// The 64 bits from `bit` on of the map without gaps; bits beyond the end are zero.
    fn word_at(self, x: &[u64], bit: usize) -> u64 {
        let mut word = 0;
        let mut have = 0;
        let pixels = x.chunks_exact(bits::words(self.channels)).skip(bit / self.channels);
        let mut channel = bit % self.channels;
        for pixel in pixels {
            if have >= bits::WORD_BITS {
                break;
            }
            word |= bits::word_at(pixel, channel) << have;
            have += self.channels - channel;
            channel = 0;
        }
        word
    }
}

/// What becomes of the input's bits before the kernel reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preparation {
    None,
    /// Every group starts a new word.
    Regroup,
    /// Every four bits become the high half of a byte whose low half has those of the pixel that the next output
    /// reads, or, behind the last, of any.
    Pairs,
}

impl ConvBin {
    /// Repacks `weight` `[O, k, k, words]` into `memory`; missing lanes of the last block are zero.
    pub(crate) fn new(
        weight: &[u64],
        geometry: Geometry,
        channels: usize,
        pad: PadValue,
        layout: Layout,
        memory: &BumpAllocator,
    ) -> Result<Self, EngineError> {
        let Geometry { out_channels, kernel, stride, padding, groups } = geometry;
        let Layout { lanes, bits: lane_bits } = layout;
        let (inputs, outputs) = (channels / groups, out_channels / groups);
        let (taps, blocks) = (kernel * kernel, groups * outputs.div_ceil(lanes));
        let words = inputs.div_ceil(lane_bits);
        let aligned = groups == 1 || inputs.is_multiple_of(lane_bits);
        let (preparation, pixel, group) = match lane_bits {
            4 => (Preparation::Pairs, groups * words, words),
            _ if aligned => {
                let pixel = bits::words(channels) * (bits::WORD_BITS / lane_bits);
                (Preparation::None, pixel, words)
            }
            _ => {
                let group = bits::words(inputs) * (bits::WORD_BITS / lane_bits);
                (Preparation::Regroup, groups * group, group)
            }
        };
        let mut conv = ConvBin {
            weights: memory
                .take(product(&[blocks, taps, words, lanes, lane_bits.max(8)]).div_ceil(64))?,
            lanes,
            window: Window { kernel, stride, padding },
            groups,
            inputs,
            words,
            outputs,
            pixel,
            group,
            tap_sums: match pad {
                PadValue::Zero => Aligned::default(),
                PadValue::One => memory.take(product(&[blocks, taps, lanes]))?,
            },
            preparation,
            gaps: None,
        };
        conv.pack(weight, layout);
        Ok(conv)
    }

    /// A layer of `outputs` on the bit map `x`, flattened with channels innermost: a 1x1 convolution of one pixel, with
    /// the weights `[O, words]`.
    pub(crate) fn flat(
        weight: &[u64],
        outputs: usize,
        x: Shape,
        layout: Layout,
        memory: &BumpAllocator,
    ) -> Result<Self, EngineError> {
        let geometry =
            Geometry { out_channels: outputs, kernel: 1, stride: 1, padding: 0, groups: 1 };
        let mut conv = ConvBin::new(weight, geometry, x.len(), PadValue::Zero, layout, memory)?;
        let gaps = Gaps { pixels: x.pixels(), channels: x.channels };
        if x.pixels() > 1 && !x.channels.is_multiple_of(bits::WORD_BITS) {
            conv.gaps = Some(gaps);
            if conv.preparation == Preparation::None {
                conv.preparation = Preparation::Regroup;
            }
        }
        Ok(conv)
    }

    /// Words of a pixel of the input.
    fn pixel_words(&self) -> usize {
        self.gaps.map_or_else(|| bits::words(self.groups * self.inputs), Gaps::words)
    }

    /// Words of the weights as a file holds them, `[O, k, k, words]`.
    pub(crate) fn file_words(&self) -> usize {
        let Window { kernel, .. } = self.window;
        self.groups * self.outputs * kernel * kernel * bits::words(self.inputs)
    }

    /// Repacks the weights in the order of `layout`, which is the one that the memory was taken for.
    pub(crate) fn pack(&mut self, weight: &[u64], Layout { lanes, bits }: Layout) {
        match bits {
            4 => self.pack_as(weight, lanes, fours),
            8 => self.pack_as(weight, lanes, |[word]| word.to_le_bytes().map(|part| [part])),
            16 => {
                self.pack_as(weight, lanes, |[word]| [0, 16, 32, 48].map(|i| [(word >> i) as u16]));
            }
            32 => self.pack_as(weight, lanes, |[word]| [0, 32].map(|i| [(word >> i) as u32])),
            _ => self.pack_as(weight, lanes, |[word]| [[word]]),
        }
        self.sum_taps(weight, lanes);
    }

    /// Repacks the weights, tap by tap, so that what is written at a time stays in the first-level cache. `parts` gives
    /// the `N` parts of a word of each of `F` filters.
    fn pack_as<T: Pod, const F: usize, const N: usize>(
        &mut self,
        weight: &[u64],
        lanes: usize,
        parts: impl Fn([u64; F]) -> [[T; F]; N],
    ) {
        let (taps, file_words) =
            (self.window.kernel * self.window.kernel, bits::words(self.inputs));
        let blocks = self.outputs.div_ceil(lanes);
        let weights = bytemuck::cast_slice_mut::<u64, T>(&mut self.weights);
        for (i, out) in weights.chunks_exact_mut(self.words * lanes).enumerate() {
            let (block, tap) = (i / taps, i % taps);
            let (group, channel) = (block / blocks, block % blocks * lanes);
            let used = lanes.min(self.outputs - channel);
            for lane in (0..used).step_by(F) {
                let filters: [&[u64]; F] = core::array::from_fn(|i| {
                    let filter = group * self.outputs + channel + lane + i;
                    let words = (filter * taps + tap) * file_words;
                    if lane + i < used { &weight[words..words + file_words] } else { &[] }
                });
                for (i, out) in out.chunks_mut(N * lanes).enumerate() {
                    let parts = parts(filters.map(|words| words.get(i).copied().unwrap_or(0)));
                    for (out, parts) in out.chunks_exact_mut(lanes).zip(parts) {
                        out[lane..lane + F].copy_from_slice(&parts);
                    }
                }
            }
        }
    }

    /// Sums the weights of each tap, where they are needed.
    fn sum_taps(&mut self, weight: &[u64], lanes: usize) {
        if self.tap_sums.is_empty() {
            return;
        }
        let (taps, blocks) =
            (self.window.kernel * self.window.kernel, self.outputs.div_ceil(lanes));
        let taps_of_filters = weight.chunks_exact(bits::words(self.inputs));
        for (i, words) in taps_of_filters.enumerate() {
            let (o, tap) = (i / taps, i % taps);
            let (group, channel) = (o / self.outputs, o % self.outputs);
            let (block, lane) = (group * blocks + channel / lanes, channel % lanes);
            let ones: u32 = words.iter().map(|w| w.count_ones()).sum();
            let at = (block * taps + tap) * lanes + lane;
            self.tap_sums[at] = 2.0 * ones as f32 - self.inputs as f32;
        }
    }

    /// Words of the prepared input of `pixels`; 0 when the kernel reads the bits as they are.
    pub(crate) fn prepared_words(&self, pixels: usize) -> usize {
        match self.preparation {
            Preparation::None => 0,
            Preparation::Regroup => pixels * self.groups * bits::words(self.inputs),
            Preparation::Pairs => (pixels * self.pixel).div_ceil(8),
        }
    }

    /// Writes the bits `x` into `out` as the kernel reads them, where they differ.
    pub(crate) fn prepare(&self, x: &[u64], out: &mut [u64]) {
        let words = self.pixel_words();
        let out = &mut out[..self.prepared_words(x.len() / words)];
        match self.preparation {
            Preparation::None => {}
            Preparation::Regroup => self.regroup(x.chunks_exact(words), out),
            Preparation::Pairs => self.pairs(x, out),
        }
    }

    /// The bits `x` as the kernel reads them, after [`ConvBin::prepare`] into `out`.
    pub(crate) fn prepared<'a>(&self, x: &'a [u64], out: &'a [u64]) -> &'a [u64] {
        match self.preparation {
            Preparation::None => x,
            Preparation::Regroup | Preparation::Pairs => {
                &out[..self.prepared_words(x.len() / self.pixel_words())]
            }
        }
    }

    fn regroup<'a>(&self, pixels: impl Iterator<Item = &'a [u64]>, out: &mut [u64]) {
        let words = bits::words(self.inputs);
        for (pixel, out) in pixels.zip(out.chunks_exact_mut(self.groups * words)) {
            for (group, out) in out.chunks_exact_mut(words).enumerate() {
                for (i, word) in out.iter_mut().enumerate() {
                    *word = self.word(pixel, group, i);
                }
            }
        }
    }

    fn pairs(&self, x: &[u64], out: &mut [u64]) {
        let words = self.pixel_words();
        let (stride, used) = (2 * words, self.pixel / 8);
        let whole = self.gaps.is_none()
            && self.inputs.is_multiple_of(if self.groups == 1 { 32 } else { 64 });
        let halves = bytemuck::cast_slice::<u64, u32>(x);
        let ahead = &halves[(self.window.stride * stride).min(halves.len())..];
        if whole && stride == used {
            let (first, last) = out.split_at_mut(ahead.len());
            pair_up(halves, ahead, first);
            pair_up(&halves[ahead.len()..], halves, last);
        } else if whole {
            let pixels = halves.chunks_exact(stride);
            let ahead = ahead.chunks_exact(stride).chain(pixels.clone());
            let pixels = pixels.zip(ahead);
            for ((pixel, ahead), out) in pixels.zip(out.chunks_exact_mut(used)) {
                pair_up(pixel, ahead, out);
            }
        } else {
            self.ragged_pairs(x, words, bytemuck::cast_slice_mut(out));
        }
    }

    fn ragged_pairs(&self, x: &[u64], words: usize, out: &mut [u8]) {
        let ahead = x[(self.window.stride * words).min(x.len())..].chunks_exact(words);
        let pixels = x.chunks_exact(words).zip(ahead.chain(x.chunks_exact(words)));
        for ((pixel, ahead), out) in pixels.zip(out.chunks_exact_mut(self.pixel)) {
            for (group, out) in out.chunks_exact_mut(self.group).enumerate() {
                for (i, out) in out.chunks_mut(16).enumerate() {
                    let [word, ahead] = [pixel, ahead].map(|pixel| self.word(pixel, group, i));
                    let mut pairs = [0; 2];
                    pair_up(
                        bytemuck::cast_ref::<_, [u32; 2]>(&word),
                        bytemuck::cast_ref::<_, [u32; 2]>(&ahead),
                        &mut pairs,
                    );
                    out.copy_from_slice(&bytemuck::cast_slice(&pairs)[..out.len()]);
                }
            }
        }
    }

    /// The `i`-th 64 bits of a group of a pixel; bits beyond the group are zero.
    #[inline(always)]
    fn word(&self, pixel: &[u64], group: usize, i: usize) -> u64 {
        let bit = group * self.inputs + i * bits::WORD_BITS;
        let rest = self.inputs - i * bits::WORD_BITS;
        let word = match self.gaps {
            Some(gaps) => gaps.word_at(pixel, bit),
            None => bits::word_at(pixel, bit),
        };
        if rest < bits::WORD_BITS { word & bits::tail_mask(rest) } else { word }
    }

    /// Floats from one pixel to the next of the map that the kernel writes.
    pub(crate) fn sums_stride(&self) -> usize {
        sums_stride(self.groups, self.outputs)
    }

    /// Products of an output.
    #[cfg(feature = "std")]
    pub(crate) fn products(&self) -> usize {
        self.inputs * self.window.kernel * self.window.kernel
    }

    pub(crate) fn bytes(&self) -> usize {
        8 * self.weights.len() + 4 * self.tap_sums.len()
    }
}

/// Every four bits of eight words, each in a byte of its own: those of the same place side by side.
#[inline(always)]
fn fours(words: [u64; 8]) -> [[u8; 8]; 16] {
    const LOW: u64 = 0x0f0f_0f0f_0f0f_0f0f;
    let [even, odd] =
        [words.map(|word| word & LOW), words.map(|word| word >> 4 & LOW)].map(transposed);
    let mut fours = [[0; 8]; 16];
    for i in 0..8 {
        [fours[2 * i], fours[2 * i + 1]] = [even[i].to_le_bytes(), odd[i].to_le_bytes()];
    }
    fours
}

/// The `i`-th byte of word `j` becomes the `j`-th byte of word `i`.
#[inline(always)]
fn transposed(mut words: [u64; 8]) -> [u64; 8] {
    for (distance, mask) in
        [(4, 0x0000_0000_ffff_ffff), (2, 0x0000_ffff_0000_ffff), (1, 0x00ff_00ff_00ff_00ff)]
    {
        for i in (0..8).filter(|i| i & distance == 0) {
            let (low, high) = (words[i], words[i + distance]);
            let shift = 8 * distance;
            words[i] = low & mask | (high & mask) << shift;
            words[i + distance] = low >> shift & mask | high & !mask;
        }
    }
    words
}

/// Bytes of four bits of `high` and four of `low`.
#[inline(always)]
fn pair_up(high: &[u32], low: &[u32], out: &mut [u64]) {
    for ((out, &high), &low) in out.iter_mut().zip(high).zip(low) {
        *out = spread(high) << 4 | spread(low);
    }
}

/// Every four bits in a byte of their own.
#[inline(always)]
fn spread(bits: u32) -> u64 {
    let bits = u64::from(bits);
    let bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    let bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
    (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fours_of_eight_words_lie_side_by_side() {
        let words = core::array::from_fn(|i| 0x0123_4567_89ab_cdef_u64.rotate_left(4 * i as u32));
        for (i, bytes) in fours(words).into_iter().enumerate() {
            assert_eq!(bytes, words.map(|word| (word >> (4 * i)) as u8 & 15));
        }
    }
}
