//! The definition of every kernel: naive loops, bit by bit. Never optimised; every other kernel must equal it.

use onebit_model::bits;

use super::{Isa, Kernels, Moment};
use crate::op::{BitMap, Conv, ConvBin, FloatMap, Pool, PoolKind, PreluVectors, Window};

static KERNELS: Kernels = Kernels {
    isa: Isa::Reference,
    conv_bin_lanes: |_| 1,
    conv_lanes: |_| 1,
    conv_bin,
    conv,
    pool,
    affine,
    add,
    prelu,
    sign,
    moment,
};

pub(super) fn kernels() -> Option<&'static Kernels> {
    Some(&KERNELS)
}

/// `x * y + z` with one rounding.
fn fma(x: f32, y: f32, z: f32) -> f32 {
    libm::fmaf(x, y, z)
}

fn conv_bin(conv: &ConvBin, x: BitMap<'_>, oy: usize, out: &mut [f32]) {
    let k = conv.window.kernel;
    for (ox, pixel) in out.chunks_exact_mut(conv.groups * conv.outputs).enumerate() {
        for (o, value) in pixel.iter_mut().enumerate() {
            let group = o / conv.outputs;
            let mut dot = 0;
            for tap in 0..k * k {
                let weight = &conv.weights[(o * k * k + tap) * conv.words..][..conv.words];
                let input = match tap_position(conv.window, [oy, ox], tap, [x.height, x.width]) {
                    Some(at) => {
                        Some(&x.words[(at * conv.groups + group) * conv.words..][..conv.words])
                    }
                    None if conv.tap_sums.is_empty() => continue,
                    None => None,
                };
                for channel in 0..conv.inputs {
                    let a = input.map_or(1.0, |words| bits::value(words, channel));
                    dot += if a == bits::value(weight, channel) { 1 } else { -1 };
                }
            }
            *value = dot as f32;
        }
    }
}

fn conv(conv: &Conv, x: FloatMap<'_>, oy: usize, out: &mut [f32]) {
    let k = conv.window.kernel;
    let channels = conv.groups * conv.inputs;
    for (ox, pixel) in out.chunks_exact_mut(conv.groups * conv.outputs).enumerate() {
        for (o, value) in pixel.iter_mut().enumerate() {
            let first = o / conv.outputs * conv.inputs;
            let mut sum = 0.0;
            for tap in 0..k * k {
                let position = tap_position(conv.window, [oy, ox], tap, [x.height, x.width]);
                let Some(at) = position else { continue };
                for i in 0..conv.inputs {
                    let weight = conv.weights[(o * k * k + tap) * conv.inputs + i];
                    sum = fma(x.values[at * channels + first + i], weight, sum);
                }
            }
            *value = sum;
        }
    }
}

fn pool(pool: Pool, x: FloatMap<'_>, channels: usize, oy: usize, out: &mut [f32]) {
    let k = pool.window.kernel;
    for (ox, pixel) in out.chunks_exact_mut(channels).enumerate() {
        for (c, value) in pixel.iter_mut().enumerate() {
            let taps = (0..k * k)
                .filter_map(|tap| tap_position(pool.window, [oy, ox], tap, [x.height, x.width]));
            let inputs = taps.map(|at| x.values[at * channels + c]);
            *value = match pool.kind {
                PoolKind::Average => inputs.fold(0.0, |sum, v| sum + v) * (1.0 / (k * k) as f32),
                PoolKind::Max => inputs.fold(f32::NEG_INFINITY, |m, v| if v > m { v } else { m }),
            };
        }
    }
}

/// Pixel of the input below a tap, `None` in the padding.
fn tap_position(
    window: Window,
    out: [usize; 2],
    tap: usize,
    [height, width]: [usize; 2],
) -> Option<usize> {
    let y = (out[0] * window.stride + tap / window.kernel).checked_sub(window.padding)?;
    let x = (out[1] * window.stride + tap % window.kernel).checked_sub(window.padding)?;
    (y < height && x < width).then_some(y * width + x)
}

fn affine(row: &mut [f32], scale: &[f32], shift: &[f32]) {
    for (i, value) in row.iter_mut().enumerate() {
        *value = fma(*value, scale[i % scale.len()], shift[i % shift.len()]);
    }
}

fn add(row: &mut [f32], other: &[f32]) {
    for (value, other) in row.iter_mut().zip(other) {
        *value += other;
    }
}

fn prelu(row: &mut [f32], p: PreluVectors<'_>) {
    for (i, value) in row.iter_mut().enumerate() {
        let c = i % p.shift_x.len();
        let x = *value - p.shift_x[c];
        let slope = if x > 0.0 { p.slope_pos[c] } else { p.slope_neg[c] };
        *value = x * slope + p.shift_y[c];
    }
}

fn sign(row: &[f32], threshold: &[f32], out: &mut [u64]) {
    let words = bits::words(threshold.len());
    out.fill(0);
    for (i, value) in row.iter().enumerate() {
        let (pixel, c) = (i / threshold.len(), i % threshold.len());
        if *value > threshold[c] {
            out[pixel * words + c / bits::WORD_BITS] |= 1 << (c % bits::WORD_BITS);
        }
    }
}

fn moment(moment: Moment, x: &[f32], mean: &[f32], sums: &mut [f32]) {
    let channels = sums.len();
    for (i, &value) in x.iter().enumerate() {
        let sum = &mut sums[i % channels];
        *sum = match moment {
            Moment::First => *sum + value,
            Moment::Centred => {
                let d = value - mean[i % channels];
                fma(d, d, *sum)
            }
            Moment::Third => fma(value * value, value, *sum),
        };
    }
}
