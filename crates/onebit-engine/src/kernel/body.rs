//! The loops that every vector instruction set shares, written so that the compiler keeps whole blocks of
//! output channels in registers. They are inlined into functions that enable the instructions.
//!
//! `L` is the number of lanes (output channels of a block), `FMA` whether multiply-adds round once.

use onebit_model::bits;

use super::Moment;
use super::vector::{Counter, Vector};
use crate::op::{BitMap, Conv, ConvBin, FloatMap, Pool, PoolKind, PreluVectors};

/// `x * y + z`.
#[inline(always)]
fn multiply_add<const FMA: bool>(x: f32, y: f32, z: f32) -> f32 {
    #[cfg(feature = "std")]
    if FMA {
        return x.mul_add(y, z);
    }
    x * y + z
}

/// A row of a binary convolution: blocks of `L` output channels in `N` registers, tiles of `P` pixels.
#[inline(always)]
pub(super) fn conv_bin<C: Counter, const L: usize, const N: usize, const P: usize>(
    conv: &ConvBin,
    x: BitMap<'_>,
    oy: usize,
    out: &mut [f32],
) {
    const { assert!(L == N * C::LANES) };
    let width = out.len() / (conv.groups * conv.outputs);
    let interior = conv.window.interior(x.width, width);
    let blocks = conv.outputs.div_ceil(L);
    let taps = conv.window.kernel * conv.window.kernel;
    let len = taps * conv.words;
    let weights = conv.weights.as_chunks::<L>().0;
    for index in 0..conv.groups * blocks {
        let (group, first) = (index / blocks, index % blocks * L);
        let block = Block {
            conv,
            x,
            oy,
            group,
            weights: &weights[index * len..(index + 1) * len],
            tap_sums: conv.tap_sums.as_chunks::<L>().0.get(index * taps..(index + 1) * taps),
            channel: group * conv.outputs + first,
            used: L.min(conv.outputs - first),
        };
        let mut ox = 0;
        while ox < width {
            let inside = interior.end.saturating_sub(ox);
            ox += match ox >= interior.start {
                true if inside >= P => block.tile::<C, N, P>(ox, out),
                true if inside >= 2 => block.tile::<C, N, 2>(ox, out),
                _ => block.tile::<C, N, 1>(ox, out),
            };
        }
    }
}

/// One block of output channels of one row.
struct Block<'a, const L: usize> {
    conv: &'a ConvBin,
    x: BitMap<'a>,
    oy: usize,
    group: usize,
    weights: &'a [[u64; L]],
    tap_sums: Option<&'a [[i32; L]]>,
    channel: usize,
    used: usize,
}

impl<const L: usize> Block<'_, L> {
    /// Computes `P` pixels from `ox` on, which have the same valid taps; returns `P`.
    #[inline(always)]
    fn tile<C: Counter, const N: usize, const P: usize>(
        &self,
        ox: usize,
        out: &mut [f32],
    ) -> usize {
        let ConvBin { window, groups, words, inputs, outputs, .. } = *self.conv;
        let k = window.kernel;
        let (rows, cols) = (window.taps(self.oy, self.x.height), window.taps(ox, self.x.width));
        let (runs, len) = if groups == 1 { (1, cols.len() * words) } else { (cols.len(), words) };
        let mut counts = [[C::splat(0); N]; P];
        for ky in rows.clone() {
            let pixel = window.input(self.oy, ky) * self.x.width + window.input(ox, cols.start);
            for run in 0..runs {
                let start = ((pixel + run) * groups + self.group) * words;
                let step = window.stride * groups * words;
                let inputs: [&[u64]; P] =
                    core::array::from_fn(|p| &self.x.words[start + p * step..][..len]);
                let weights = &self.weights[(ky * k + cols.start + run) * words..][..len];
                for i in 0..len {
                    let weight: [C; N] =
                        core::array::from_fn(|n| C::load(&weights[i][n * C::LANES..]));
                    for p in 0..P {
                        let input = C::splat(inputs[p][i]);
                        for n in 0..N {
                            counts[p][n] = counts[p][n].add_differences(input, weight[n]);
                        }
                    }
                }
            }
        }
        let valid = (rows.len() * cols.len() * inputs) as i32;
        let padded = self.padded_sums(ox);
        for (p, registers) in counts.iter().enumerate() {
            let mut counts = [0; L];
            for (n, register) in registers.iter().enumerate() {
                register.store(&mut counts[n * C::LANES..]);
            }
            let at = (ox + p) * groups * outputs + self.channel;
            let values: [f32; L] =
                core::array::from_fn(|l| (valid + padded[l] - 2 * counts[l] as i32) as f32);
            store(&values, &mut out[at..at + self.used]);
        }
        P
    }

    /// What padded taps add when they count as +1.
    #[inline(always)]
    fn padded_sums(&self, ox: usize) -> [i32; L] {
        let mut sums = [0; L];
        let Some(tap_sums) = self.tap_sums else { return sums };
        let window = self.conv.window;
        let (rows, cols) = (window.taps(self.oy, self.x.height), window.taps(ox, self.x.width));
        for (tap, tap_sums) in tap_sums.iter().enumerate() {
            let (ky, kx) = (tap / window.kernel, tap % window.kernel);
            if !rows.contains(&ky) || !cols.contains(&kx) {
                for l in 0..L {
                    sums[l] += tap_sums[l];
                }
            }
        }
        sums
    }
}

/// Stores the lanes in use.
#[inline(always)]
fn store<const L: usize>(values: &[f32; L], out: &mut [f32]) {
    match <&mut [f32; L]>::try_from(&mut *out) {
        Ok(whole) => *whole = *values,
        Err(_) => {
            let used = out.len().min(L);
            out[..used].copy_from_slice(&values[..used]);
        }
    }
}

/// A row of a real convolution: blocks of `L` output channels in `N` registers, tiles of `P` pixels.
#[inline(always)]
pub(super) fn conv<V: Vector, const L: usize, const N: usize, const P: usize>(
    conv: &Conv,
    x: FloatMap<'_>,
    oy: usize,
    out: &mut [f32],
) {
    const { assert!(L == N * V::LANES) };
    debug_assert_eq!(conv.lanes, L, "the weights are packed for this kernel");
    let width = out.len() / (conv.groups * conv.outputs);
    let interior = conv.window.interior(x.width, width);
    let blocks = conv.outputs.div_ceil(L);
    let len = conv.window.kernel * conv.window.kernel * conv.inputs;
    let weights = conv.weights.as_chunks::<L>().0;
    for index in 0..conv.groups * blocks {
        let (group, first) = (index / blocks, index % blocks * L);
        let weights = &weights[index * len..(index + 1) * len];
        let used = L.min(conv.outputs - first);
        let block = RealBlock { conv, x, oy, group, weights, first, used };
        let mut ox = 0;
        while ox < width {
            let inside = interior.end.saturating_sub(ox);
            ox += match ox >= interior.start {
                true if inside >= P => block.tile::<V, N, P>(ox, out),
                true if inside >= 2 => block.tile::<V, N, 2>(ox, out),
                _ => block.tile::<V, N, 1>(ox, out),
            };
        }
    }
}

/// One block of output channels of one row.
struct RealBlock<'a, const L: usize> {
    conv: &'a Conv,
    x: FloatMap<'a>,
    oy: usize,
    group: usize,
    weights: &'a [[f32; L]],
    first: usize,
    used: usize,
}

impl<const L: usize> RealBlock<'_, L> {
    /// Computes `P` pixels from `ox` on, which have the same valid taps; returns `P`.
    #[inline(always)]
    fn tile<V: Vector, const N: usize, const P: usize>(&self, ox: usize, out: &mut [f32]) -> usize {
        let Conv { window, groups, inputs: channels, outputs, .. } = *self.conv;
        let (rows, cols) = (window.taps(self.oy, self.x.height), window.taps(ox, self.x.width));
        let (runs, len) =
            if groups == 1 { (1, cols.len() * channels) } else { (cols.len(), channels) };
        let mut sums = [[V::splat(0.0); N]; P];
        for ky in rows {
            let pixel = window.input(self.oy, ky) * self.x.width + window.input(ox, cols.start);
            for run in 0..runs {
                let start = ((pixel + run) * groups + self.group) * channels;
                let step = window.stride * groups * channels;
                let inputs: [&[f32]; P] =
                    core::array::from_fn(|p| &self.x.values[start + p * step..][..len]);
                let tap = ky * window.kernel + cols.start + run;
                let weights = &self.weights[tap * channels..][..len];
                for i in 0..len {
                    let weight: [V; N] =
                        core::array::from_fn(|n| V::load(&weights[i][n * V::LANES..]));
                    for p in 0..P {
                        let input = V::splat(inputs[p][i]);
                        for n in 0..N {
                            sums[p][n] = input.mul_add(weight[n], sums[p][n]);
                        }
                    }
                }
            }
        }
        for (p, sums) in sums.iter().enumerate() {
            let at = (ox + p) * groups * outputs + self.group * outputs + self.first;
            let mut values = [0.0; L];
            for (n, sum) in sums.iter().enumerate() {
                sum.store(&mut values[n * V::LANES..]);
            }
            store(&values, &mut out[at..at + self.used]);
        }
        P
    }
}

/// A row of a pooling.
#[inline(always)]
pub(super) fn pool(pool: Pool, x: FloatMap<'_>, channels: usize, oy: usize, out: &mut [f32]) {
    let window = pool.window;
    let factor = 1.0 / (window.kernel * window.kernel) as f32;
    for (ox, out) in out.chunks_exact_mut(channels).enumerate() {
        out.fill(if pool.kind == PoolKind::Max { f32::NEG_INFINITY } else { 0.0 });
        for ky in window.taps(oy, x.height) {
            for kx in window.taps(ox, x.width) {
                let at = (window.input(oy, ky) * x.width + window.input(ox, kx)) * channels;
                let values = out.iter_mut().zip(&x.values[at..at + channels]);
                match pool.kind {
                    PoolKind::Average => values.for_each(|(sum, v)| *sum += v),
                    PoolKind::Max => values.for_each(|(max, &v)| {
                        *max = if v > *max { v } else { *max };
                    }),
                }
            }
        }
        if pool.kind == PoolKind::Average {
            out.iter_mut().for_each(|sum| *sum *= factor);
        }
    }
}

/// `row = row * scale + shift`.
#[inline(always)]
pub(super) fn affine<V: Vector, const FMA: bool>(row: &mut [f32], scale: &[f32], shift: &[f32]) {
    let whole = scale.len() - scale.len() % V::LANES;
    for pixel in row.chunks_exact_mut(scale.len()) {
        let (vectors, rest) = pixel.split_at_mut(whole);
        let parameters = scale.chunks_exact(V::LANES).zip(shift.chunks_exact(V::LANES));
        for (x, (scale, shift)) in vectors.chunks_exact_mut(V::LANES).zip(parameters) {
            V::load(x).mul_add(V::load(scale), V::load(shift)).store(x);
        }
        for ((x, &scale), &shift) in rest.iter_mut().zip(&scale[whole..]).zip(&shift[whole..]) {
            *x = multiply_add::<FMA>(*x, scale, shift);
        }
    }
}

/// `row = row + other`.
#[inline(always)]
pub(super) fn add(row: &mut [f32], other: &[f32]) {
    for (value, other) in row.iter_mut().zip(other) {
        *value += other;
    }
}

/// The parametric rectifier.
#[inline(always)]
pub(super) fn prelu<V: Vector>(row: &mut [f32], p: PreluVectors<'_>) {
    let channels = p.shift_x.len();
    for pixel in row.chunks_exact_mut(channels) {
        let mut vectors = pixel.chunks_exact_mut(V::LANES);
        let mut first = 0;
        for values in vectors.by_ref() {
            let at = |parameters: &[f32]| V::load(&parameters[first..first + V::LANES]);
            let x = V::load(values).sub(at(p.shift_x));
            let slope = x.if_positive(at(p.slope_pos), at(p.slope_neg));
            x.mul(slope).add(at(p.shift_y)).store(values);
            first += V::LANES;
        }
        for (value, c) in vectors.into_remainder().iter_mut().zip(first..) {
            let x = *value - p.shift_x[c];
            let slope = if x > 0.0 { p.slope_pos[c] } else { p.slope_neg[c] };
            *value = x * slope + p.shift_y[c];
        }
    }
}

/// Packs `row > threshold`.
#[inline(always)]
pub(super) fn sign<V: Vector>(row: &[f32], threshold: &[f32], out: &mut [u64]) {
    let pixels = row.chunks_exact(threshold.len());
    for (pixel, words) in pixels.zip(out.chunks_exact_mut(bits::words(threshold.len()))) {
        let chunks = pixel.chunks(bits::WORD_BITS).zip(threshold.chunks(bits::WORD_BITS));
        for (word, (values, thresholds)) in words.iter_mut().zip(chunks) {
            *word = sign_word::<V>(values, thresholds);
        }
    }
}

#[inline(always)]
fn sign_word<V: Vector>(values: &[f32], thresholds: &[f32]) -> u64 {
    let mut word = 0;
    let mut first = 0;
    let vectors = values.chunks_exact(V::LANES).zip(thresholds.chunks_exact(V::LANES));
    for (value, threshold) in vectors {
        word |= V::load(value).greater(V::load(threshold)) << first;
        first += V::LANES;
    }
    let rest = values.iter().zip(thresholds).enumerate().skip(first);
    rest.fold(word, |word, (i, (value, threshold))| word | u64::from(value > threshold) << i)
}

/// Adds a moment over the pixels of `x` to the sums.
#[inline(always)]
pub(super) fn moment<const FMA: bool>(moment: Moment, x: &[f32], mean: &[f32], sums: &mut [f32]) {
    for pixel in x.chunks_exact(sums.len()) {
        let values = sums.iter_mut().zip(pixel);
        match moment {
            Moment::First => values.for_each(|(sum, &x)| *sum += x),
            Moment::Centred => values.zip(mean).for_each(|((sum, &x), mean)| {
                let d = x - mean;
                *sum = multiply_add::<FMA>(d, d, *sum);
            }),
            Moment::Third => values.for_each(|(sum, &x)| {
                *sum = multiply_add::<FMA>(x * x, x, *sum);
            }),
        }
    }
}
