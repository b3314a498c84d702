//! The definition of every kernel: naive loops, bit by bit. Never optimised; every other kernel must equal it.

use onebit_model::bits;

use super::linear::PARTS;
use super::{
    ConcatTask, ConvBinTask, ConvI8Task, ConvTask, CopyTask, Isa, Kernels, LinearI8Task,
    LinearTask, Moment, MomentTask, PoolTask, ScaledTanhTask, ShuffleTask, WinogradTask,
};
use crate::map::{CHANNEL_ALIGN, FloatMap, RowTile, StageView};
use crate::packed::winograd::{INPUT, OUTPUTS, POINTS, phases};
use crate::packed::{Layout, LayoutI8, PoolKind, Window, Winograd};

static KERNELS: Kernels = Kernels {
    isa: Isa::Reference,
    conv_bin_layout: |_| Layout { lanes: 1, bits: 64 },
    conv_lanes: |_| 1,
    conv_i8_layout: |_| LayoutI8 { lanes: 1, together: 1, bytes: 1 },
    linear_lanes: 1,
    linear_i8_lanes: CHANNEL_ALIGN,
    conv_bin,
    conv,
    conv_i8,
    winograd,
    pool,
    copy,
    rectify,
    concat,
    shuffle,
    moment,
    linear,
    linear_i8,
    scaled_tanh,
};

pub(super) fn kernels() -> Option<&'static Kernels> {
    Some(&KERNELS)
}

/// `x * y + z` with one rounding.
fn fma(x: f32, y: f32, z: f32) -> f32 {
    libm::fmaf(x, y, z)
}

/// Computes every value of a row tile by its row, column and channel, and does with it what the row tile says.
fn each(mut row_tile: RowTile<'_>, value: impl Fn(usize, usize, usize) -> f32) {
    let (width, channels, stride) = (row_tile.width, row_tile.channels, row_tile.stride);
    for (row, y) in row_tile.rows.clone().enumerate() {
        for (x, c) in (0..width).flat_map(|x| (0..channels).map(move |c| (x, c))) {
            let pixel = row * width + x;
            let before = row_tile.floats.as_ref().map_or(0.0, |floats| floats[pixel * stride + c]);
            let value = value(y, x, c);
            let value = through_stages(row_tile.stages, y * width + x, c, value, before);
            if let Some(floats) = &mut row_tile.floats {
                floats[pixel * stride + c] = value;
            }
            if let Some(sums) = &mut row_tile.sums {
                sums[row * stride + c] += value;
            }
            if let Some((threshold, words)) = &mut row_tile.bits {
                let word = &mut words[pixel * bits::words(channels) + c / bits::WORD_BITS];
                let bit = u64::from(value > threshold[c]) << (c % bits::WORD_BITS);
                *word = if c % bits::WORD_BITS == 0 { bit } else { *word | bit };
            }
        }
    }
}

/// A value behind the stages; `before` is what its place holds.
fn through_stages(
    stages: &[StageView<'_>],
    pixel: usize,
    c: usize,
    value: f32,
    before: f32,
) -> f32 {
    stages.iter().fold(value, |value, stage| match stage {
        StageView::Affine { scale, shift } => fma(value, scale[c], shift[c]),
        StageView::Add { other } => value + other.values[pixel * other.stride + c % other.stride],
        StageView::Accumulate => value + before,
        StageView::Prelu(p) => {
            let x = value - p.shift_x[c];
            let slope = if x > 0.0 { p.slope_pos[c] } else { p.slope_neg[c] };
            x * slope + p.shift_y[c]
        }
    })
}

fn conv_bin(ConvBinTask { conv, x: map, row_tile }: ConvBinTask<'_>) {
    let k = conv.window.kernel;
    each(row_tile, |y, x, o| {
        let group = o / conv.outputs;
        let mut dot = 0;
        for tap in 0..k * k {
            let weight = &conv.weights[(o * k * k + tap) * conv.words..][..conv.words];
            let input = match tap_position(conv.window, [y, x], tap, [map.height, map.width]) {
                Some(at) => Some(&map.words[at * conv.pixel + group * conv.group..][..conv.words]),
                None if conv.tap_sums.is_empty() => continue,
                None => None,
            };
            for channel in 0..conv.inputs {
                let a = input.map_or(1.0, |words| bits::value(words, channel));
                dot += if a == bits::value(weight, channel) { 1 } else { -1 };
            }
        }
        dot as f32
    });
}

fn conv(ConvTask { conv, x: map, row_tile }: ConvTask<'_>) {
    let k = conv.window.kernel;
    each(row_tile, |y, x, o| {
        let first = o / conv.outputs * conv.inputs;
        let mut sum = 0.0;
        for tap in 0..k * k {
            let position = tap_position(conv.window, [y, x], tap, [map.height, map.width]);
            let Some(at) = position else { continue };
            for i in 0..conv.inputs {
                let weight = conv.weights[(o * k * k + tap) * conv.inputs + i];
                sum = fma(map.values[at * map.stride + first + i], weight, sum);
            }
        }
        sum
    });
}

fn conv_i8(ConvI8Task { conv, x: map, ring: _, row_tile }: ConvI8Task<'_>) {
    let k = conv.window.kernel;
    each(row_tile, |y, x, o| {
        let mut sum = 0;
        for tap in 0..k * k {
            let position = tap_position(conv.window, [y, x], tap, [map.height, map.width]);
            let Some(at) = position else { continue };
            for i in 0..conv.inputs {
                let value = map.values[at * map.stride + i];
                let integer = libm::rintf(value * conv.inverse[i] + conv.offset[i]) as u8;
                let weight = conv.weights[(o * k * k + tap) * conv.inputs + i];
                sum += i32::from(weight) * (i32::from(integer) - i32::from(conv.zeros[i]));
            }
        }
        sum as f32 * conv.scale[o] + conv.shift[o]
    });
}

/// Sums at each point over rows of taps, input channels, even and odd columns, then the outputs from them.
fn winograd(WinogradTask { conv, x: map, ring: _, row_tile }: WinogradTask<'_>) {
    each(row_tile, |y, x, o| {
        let (group, output) = (x / OUTPUTS, x % OUTPUTS);
        let at: [f32; POINTS] = core::array::from_fn(|point| {
            let mut sum = 0.0;
            for ky in conv.window.taps(y, map.height) {
                for (c, phase) in
                    (0..conv.inputs).flat_map(|c| (0..phases(point)).map(move |p| (c, p)))
                {
                    let input =
                        point_value(conv, map, [conv.window.input(y, ky), group, c], phase, point);
                    let k = (ky * conv.inputs + c) * phases(point) + phase;
                    let weight = conv.weights[o * conv.block() + conv.point(point) + k];
                    sum = fma(input, weight, sum);
                }
            }
            sum
        });
        let [zero, one, minus_one, half, minus_half, two, infinity] = at;
        let (even, odd) = (one + minus_one, one - minus_one);
        let (even_half, odd_half) = (half + minus_half, half - minus_half);
        match output {
            0 => (zero + even) + (even_half + two),
            1 => fma(two, 2.0, fma(odd_half, 0.5, odd)),
            2 => fma(two, 4.0, fma(even_half, 0.25, even)),
            _ => fma(two, 8.0, fma(odd_half, 0.125, odd)) + infinity,
        }
    });
}

/// Value at a point of the inputs of a group of outputs, zero in the padding.
fn point_value(
    conv: &Winograd,
    map: FloatMap<'_>,
    [y, group, c]: [usize; 3],
    phase: usize,
    point: usize,
) -> f32 {
    INPUT[phase][point].iter().enumerate().fold(0.0, |value, (i, &factor)| {
        let column = (group * 2 * OUTPUTS + 2 * i + phase).checked_sub(conv.window.padding);
        let inside = column.filter(|&column| column < map.width);
        let input = inside.map_or(0.0, |x| map.values[(y * map.width + x) * map.stride + c]);
        fma(input, factor, value)
    })
}

/// The rows of each column of a window first, then the columns.
fn pool(PoolTask { pool, x: map, first_row, row: _, row_tile }: PoolTask<'_>) {
    let k = pool.window.kernel;
    let (start, pooled): (f32, fn(f32, f32) -> f32) = match pool.kind {
        PoolKind::Average => (0.0, |sum, v| sum + v),
        PoolKind::Max => (f32::NEG_INFINITY, |max, v| if v > max || v.is_nan() { v } else { max }),
    };
    each(row_tile, |y, x, c| {
        let value = |tap: usize| {
            let at = tap_position(pool.window, [y, x], tap, [map.height, map.width])?;
            Some(map.values[(at - first_row * map.width) * map.stride + c])
        };
        let column = |kx: usize| (0..k).filter_map(|ky| value(ky * k + kx)).reduce(pooled);
        let pooled = (0..k).filter_map(column).fold(start, pooled);
        match pool.kind {
            PoolKind::Average => pooled * (1.0 / (k * k) as f32),
            PoolKind::Max => pooled,
        }
    });
}

fn copy(CopyTask { x: map, row_tile }: CopyTask<'_>) {
    each(row_tile, |y, x, c| map.values[(y * map.width + x) * map.stride + c]);
}

fn rectify(mut row_tile: RowTile<'_>) {
    let (width, channels, stride) = (row_tile.width, row_tile.channels, row_tile.stride);
    let Some(floats) = &mut row_tile.floats else { return };
    for (pixel, values) in floats.chunks_exact_mut(stride).enumerate() {
        for (c, value) in values[..channels].iter_mut().enumerate() {
            let pixel = row_tile.rows.start * width + pixel;
            *value = through_stages(row_tile.stages, pixel, c, *value, *value);
            if let Some(sums) = &mut row_tile.sums {
                sums[(pixel / width - row_tile.rows.start) * stride + c] += *value;
            }
        }
    }
}

fn concat(ConcatTask { x: maps, first, row_tile }: ConcatTask<'_>) {
    each(row_tile, |y, x, c| {
        let (map, c) = if c < first { (maps[0], c) } else { (maps[1], c - first) };
        map.values[(y * map.width + x) * map.stride + c]
    });
}

fn shuffle(ShuffleTask { x: map, groups, row_tile }: ShuffleTask<'_>) {
    let size = row_tile.channels / groups;
    each(row_tile, |y, x, c| {
        map.values[(y * map.width + x) * map.stride + c % groups * size + c / groups]
    });
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

fn moment(MomentTask { moment, x, stride, mean, sums }: MomentTask<'_>) {
    for (i, &value) in x.iter().enumerate() {
        let sum = &mut sums[i % stride];
        *sum = match moment {
            Moment::First => *sum + value,
            Moment::Centred => {
                let d = value - mean[i % stride];
                fma(d, d, *sum)
            }
            Moment::Third => fma(value * value, value, *sum),
        };
    }
}

/// Products are added to [`PARTS`] sums in turn, then the second half of the sums to the first, until one is left.
fn linear(LinearTask { weight, bias, x, out }: LinearTask<'_>) {
    for (o, out) in out.iter_mut().enumerate().take(weight.outputs) {
        let mut parts = [0.0; PARTS];
        for (i, (&x, &w)) in x.iter().zip(&weight.weights[o * x.len()..]).enumerate() {
            parts[i % PARTS] = fma(x, w, parts[i % PARTS]);
        }
        let [a, b, c, d, e, f, g, h] = parts;
        *out = ((a + e) + (c + g)) + ((b + f) + (d + h)) + bias[o];
    }
}

fn linear_i8(LinearI8Task { layer, x, out }: LinearI8Task<'_>) {
    let lanes = layer.lanes;
    for (o, out) in out[..layer.bias.len()].iter_mut().enumerate() {
        let row = &layer.weights[o / lanes * lanes * layer.inputs + o % lanes..];
        let mut sum = 0.0;
        for (&q, &x) in row.iter().step_by(lanes).zip(x) {
            if x != 0.0 {
                sum = fma(x, f32::from(q) * layer.scale[o], sum);
            }
        }
        *out = sum + layer.bias[o];
    }
}

fn scaled_tanh(ScaledTanhTask { lambda, values }: ScaledTanhTask<'_>) {
    for value in values {
        *value = lambda * (2.0 / (1.0 + libm::expf(-*value)) - 1.0);
    }
}
