//! Real convolution, pooling and the maps that only move values, for every instruction set; inlined into
//! functions that enable it.

use onebit_model::bits;

use super::epilogue::Epilogue;
use super::tile::Tiling;
use super::vector::Vector;
use super::{ConcatTask, ConvTask, CopyTask, Moment, MomentTask, PoolTask, ShuffleTask, dynamic};
use crate::map::{FloatMap, RowTile, stride};
use crate::packed::{Conv, Pool, PoolKind, Window};

/// Widths of tiles of a real convolution, with 32 registers and with 16.
const WIDTHS: &[usize] = &[8, 7, 4, 2];
const NARROW_WIDTHS: &[usize] = &[6, 4, 2];

/// Pixels that are moved at once.
const MOVED: usize = 4;

/// A row tile of a real convolution: blocks of `L` output channels in `N` registers.
#[inline(always)]
pub(super) fn conv<V: Vector, const L: usize, const N: usize>(
    token: V::Token,
    ConvTask { conv, x, mut row_tile }: ConvTask<'_>,
) {
    const { assert!(L == N * V::LANES) };
    debug_assert_eq!(conv.lanes, L, "the weights are packed for this kernel");
    let blocks = conv.groups * conv.outputs.div_ceil(L);
    let len = conv.window.kernel * conv.window.kernel * conv.inputs;
    let weights = conv.weights.as_chunks::<L>().0;
    let mut out = Epilogue::new(&mut row_tile);
    for index in 0..blocks {
        let block =
            RealBlock::<V, L> { token, conv, x, index, weights: &weights[index * len..][..len] };
        for y in out.rows() {
            block.row::<N>(y, &mut out);
        }
    }
}

/// One block of output channels.
struct RealBlock<'a, V: Vector, const L: usize> {
    token: V::Token,
    conv: &'a Conv,
    x: FloatMap<'a>,
    index: usize,
    weights: &'a [[f32; L]],
}

impl<V: Vector, const L: usize> RealBlock<'_, V, L> {
    #[inline(always)]
    fn row<const N: usize>(&self, y: usize, out: &mut Epilogue<'_>) {
        let few = V::REGISTERS < 32;
        let widths = if few { NARROW_WIDTHS } else { WIDTHS };
        let tiling = Tiling::new(widths, self.conv.window, self.x.width, out.width());
        let mut x = 0;
        while x < out.width() {
            let tile = tiling.tile(x);
            x += match tile {
                _ if !tiling.edges(x, tile).are_inside() => self.tile::<N, 1>(y, x, out),
                8 if !few => self.tile::<N, 8>(y, x, out),
                7 if !few => self.tile::<N, 7>(y, x, out),
                6 if few => self.tile::<N, 6>(y, x, out),
                4 => self.tile::<N, 4>(y, x, out),
                2 => self.tile::<N, 2>(y, x, out),
                _ => self.tile::<N, 1>(y, x, out),
            };
        }
    }

    /// Computes `P` pixels of row `y` from column `x` on, which have the same valid taps; returns `P`.
    #[inline(always)]
    fn tile<const N: usize, const P: usize>(
        &self,
        y: usize,
        x: usize,
        out: &mut Epilogue<'_>,
    ) -> usize {
        let Conv { window, inputs: channels, outputs, .. } = *self.conv;
        let blocks = outputs.div_ceil(L);
        let (group, first) = (self.index / blocks, self.index % blocks * L);
        let (rows, cols) = (window.taps(y, self.x.height), window.taps(x, self.x.width));
        let whole = self.x.stride == channels;
        let (runs, len) = if whole { (1, cols.len() * channels) } else { (cols.len(), channels) };
        let step = window.stride * self.x.stride;
        let mut sums = [[V::splat(self.token, 0.0); N]; P];
        for ky in rows {
            let pixel = window.input(y, ky) * self.x.width + window.input(x, cols.start);
            for run in 0..runs {
                let start = (pixel + run) * self.x.stride + group * channels;
                let inputs: [&[f32]; P] =
                    core::array::from_fn(|p| &self.x.values[start + p * step..][..len]);
                let tap = ky * window.kernel + cols.start + run;
                let weights = &self.weights[tap * channels..][..len];
                for i in 0..len {
                    let mut weight = [V::splat(self.token, 0.0); N];
                    for n in 0..N {
                        weight[n] = V::load(self.token, &weights[i][n * V::LANES..]);
                    }
                    for p in 0..P {
                        let input = V::splat(self.token, inputs[p][i]);
                        for n in 0..N {
                            sums[p][n] = input.mul_add(weight[n], sums[p][n]);
                        }
                    }
                }
            }
        }
        let used = L.min(outputs - first);
        for n in 0..N {
            if n * V::LANES < used {
                let channel = group * outputs + first + n * V::LANES;
                let mut values = [V::splat(self.token, 0.0); P];
                for p in 0..P {
                    values[p] = sums[p][n];
                }
                out.take(self.token, [y, x, channel], values);
            }
        }
        P
    }
}

/// A row tile of a pooling: the rows of a window, then its columns; both at once for [`HALVING`].
#[inline(always)]
pub(super) fn pool<V: Vector>(
    token: V::Token,
    PoolTask { pool, x, first_row, row, mut row_tile }: PoolTask<'_>,
) {
    let mut out = Epilogue::new(&mut row_tile);
    let width = out.width();
    let whole = width - width % MOVED;
    let row = &mut row[..x.width * x.stride];
    for y in out.rows() {
        let rows = pool.window.input_rows(y, x.height);
        let rows = &x.values[(rows.start - first_row) * row.len()..][..rows.len() * row.len()];
        if pool.window == HALVING {
            halve_row::<V>(token, pool.kind, rows.split_at(row.len()), x.stride, y, &mut out);
            continue;
        }
        pool_rows::<V>(token, pool.kind, rows, row);
        let columns = FloatMap { values: row, height: 1, ..x };
        for column in (0..whole).step_by(MOVED) {
            pool_columns::<V, MOVED>(token, pool, columns, [y, column], &mut out);
        }
        for column in whole..width {
            pool_columns::<V, 1>(token, pool, columns, [y, column], &mut out);
        }
    }
}

/// The window with which networks halve their maps.
const HALVING: Window = Window { kernel: 2, stride: 2, padding: 0 };

/// Pools the windows of [`HALVING`] in two rows, whose pixels lie `stride` apart.
#[inline(always)]
fn halve_row<V: Vector>(
    token: V::Token,
    kind: PoolKind,
    rows: (&[f32], &[f32]),
    stride: usize,
    y: usize,
    out: &mut Epilogue<'_>,
) {
    let whole = out.width() - out.width() % MOVED;
    for column in (0..whole).step_by(MOVED) {
        halve::<V, MOVED>(token, kind, rows, stride, [y, column], out);
    }
    for column in whole..out.width() {
        halve::<V, 1>(token, kind, rows, stride, [y, column], out);
    }
}

/// Pools `P` of those windows from a column on.
#[inline(always)]
fn halve<V: Vector, const P: usize>(
    token: V::Token,
    kind: PoolKind,
    (above, below): (&[f32], &[f32]),
    stride: usize,
    [y, column]: [usize; 2],
    out: &mut Epilogue<'_>,
) {
    let pixels = 2 * column * stride..2 * (column + P) * stride;
    let (above, below) = (&above[pixels.clone()], &below[pixels]);
    for channel in (0..out.channels()).step_by(V::LANES) {
        let mut values = [V::splat(token, start(kind)); P];
        for p in 0..P {
            for pixel in 2 * p..2 * p + 2 {
                let [above, below] =
                    [above, below].map(|row| V::load(token, &row[pixel * stride + channel..]));
                let both = match kind {
                    PoolKind::Average => V::splat(token, 0.0).add(above).add(below),
                    PoolKind::Max => below.larger(above),
                };
                values[p] = pooled(kind, values[p], both);
            }
            if kind == PoolKind::Average {
                values[p] = values[p].mul(V::splat(token, 0.25));
            }
        }
        out.take(token, [y, column, channel], values);
    }
}

/// Pools rows, one behind the other, into one.
#[inline(always)]
fn pool_rows<V: Vector>(token: V::Token, kind: PoolKind, rows: &[f32], row: &mut [f32]) {
    let (first, rest) = rows.split_at(row.len());
    let start = V::splat(token, start(kind));
    for (to, x) in row.chunks_exact_mut(V::LANES).zip(first.chunks_exact(V::LANES)) {
        pooled(kind, start, V::load(token, x)).store(to);
    }
    let mut pairs = rest.chunks_exact(2 * row.len());
    for pair in &mut pairs {
        let (a, b) = pair.split_at(row.len());
        let inputs = a.chunks_exact(V::LANES).zip(b.chunks_exact(V::LANES));
        for (to, (a, b)) in row.chunks_exact_mut(V::LANES).zip(inputs) {
            pooled(kind, pooled(kind, V::load(token, to), V::load(token, a)), V::load(token, b))
                .store(to);
        }
    }
    let last = pairs.remainder().chunks_exact(V::LANES);
    for (to, x) in row.chunks_exact_mut(V::LANES).zip(last) {
        pooled(kind, V::load(token, to), V::load(token, x)).store(to);
    }
}

/// What is pooled with nothing.
fn start(kind: PoolKind) -> f32 {
    match kind {
        PoolKind::Average => 0.0,
        PoolKind::Max => f32::NEG_INFINITY,
    }
}

/// What was pooled before, and one more.
#[inline(always)]
fn pooled<V: Vector>(kind: PoolKind, before: V, x: V) -> V {
    match kind {
        PoolKind::Average => before.add(x),
        PoolKind::Max => x.larger(before),
    }
}

/// Pools columns of a row of pooled rows.
#[inline(always)]
fn pool_columns<V: Vector, const P: usize>(
    token: V::Token,
    pool: Pool,
    x: FloatMap<'_>,
    [y, column]: [usize; 2],
    out: &mut Epilogue<'_>,
) {
    let Pool { kind, window } = pool;
    let factor = V::splat(token, 1.0 / (window.kernel * window.kernel) as f32);
    let mut columns = [(0, 0); P];
    for p in 0..P {
        let taps = window.taps(column + p, x.width);
        columns[p] = (window.input(column + p, taps.start), taps.len());
    }
    for channel in (0..out.channels()).step_by(V::LANES) {
        let mut values = [V::splat(token, start(kind)); P];
        for p in 0..P {
            let (first, len) = columns[p];
            for pixel in first..first + len {
                let input = V::load(token, &x.values[pixel * x.stride + channel..]);
                values[p] = pooled(kind, values[p], input);
            }
            if kind == PoolKind::Average {
                values[p] = values[p].mul(factor);
            }
        }
        out.take(token, [y, column, channel], values);
    }
}

/// A row tile of values that are there already.
#[inline(always)]
pub(super) fn copy<V: Vector>(token: V::Token, CopyTask { x, mut row_tile }: CopyTask<'_>) {
    if let RowTile {
        stages: [],
        floats: None,
        sums: None,
        bits: Some((threshold, ref mut words)),
        ..
    } = row_tile
        && x.stride == row_tile.stride
    {
        let (x_stride, row) = (x.stride, row_tile.width * x.stride);
        let x = &x.values[row_tile.rows.start * row..][..row_tile.rows.len() * row];
        return dynamic::signs::<V>(
            token,
            x,
            x_stride,
            threshold,
            words,
            bits::words(row_tile.channels),
        );
    }
    let channels = row_tile.channels;
    if x.stride < stride(row_tile.channels) {
        return moved::<V>(token, row_tile, |pixel, channel| {
            by_lane(token, channels, channel, |channel| x.values[pixel * x.stride + channel])
        });
    }
    moved::<V>(token, row_tile, |pixel, channel| {
        V::load(token, &x.values[pixel * x.stride + channel..])
    });
}

/// A row tile of two maps.
#[inline(always)]
pub(super) fn concat<V: Vector>(
    token: V::Token,
    ConcatTask { x, first, row_tile }: ConcatTask<'_>,
) {
    let at = |pixel: usize, channel: usize| match channel.checked_sub(first) {
        None => &x[0].values[pixel * x[0].stride + channel..],
        Some(channel) => &x[1].values[pixel * x[1].stride + channel..],
    };
    if first.is_multiple_of(V::LANES) {
        return moved::<V>(token, row_tile, |pixel, channel| V::load(token, at(pixel, channel)));
    }
    let channels = row_tile.channels;
    moved::<V>(token, row_tile, |pixel, channel| {
        by_lane(token, channels, channel, |channel| at(pixel, channel)[0])
    });
}

/// A row tile of a map with shuffled channels.
#[inline(always)]
pub(super) fn shuffle<V: Vector>(
    token: V::Token,
    ShuffleTask { x, groups, row_tile }: ShuffleTask<'_>,
) {
    let (channels, size) = (row_tile.channels, row_tile.channels / groups);
    moved::<V>(token, row_tile, |pixel, channel| {
        by_lane(token, channels, channel, |channel| {
            x.values[pixel * x.stride + channel % groups * size + channel / groups]
        })
    });
}

/// A register from `channel` on, channel by channel; 0 beyond the last.
#[inline(always)]
fn by_lane<V: Vector>(
    token: V::Token,
    channels: usize,
    channel: usize,
    value: impl Fn(usize) -> f32,
) -> V {
    let mut lanes = [0.0; 16];
    for (lane, channel) in lanes.iter_mut().zip(channel..channels.min(channel + V::LANES)) {
        *lane = value(channel);
    }
    V::load(token, &lanes)
}

/// A row tile whose values `value` finds by pixel and first channel.
#[inline(always)]
fn moved<V: Vector>(token: V::Token, mut row_tile: RowTile<'_>, value: impl Fn(usize, usize) -> V) {
    let used = row_tile.channels.next_multiple_of(V::LANES).min(stride(row_tile.channels));
    let mut out = Epilogue::new(&mut row_tile);
    let width = out.width();
    let whole = width - width % MOVED;
    for y in out.rows() {
        for channel in (0..used).step_by(V::LANES) {
            for x in (0..whole).step_by(MOVED) {
                let pixel = y * width + x;
                let values: [V; MOVED] = core::array::from_fn(|p| value(pixel + p, channel));
                out.take(token, [y, x, channel], values);
            }
            for x in whole..width {
                out.take(token, [y, x, channel], [value(y * width + x, channel)]);
            }
        }
    }
}

/// Adds a moment over pixels to sums.
#[inline(always)]
pub(super) fn moment<V: Vector>(
    token: V::Token,
    MomentTask { moment, x, stride, mean, sums }: MomentTask<'_>,
) {
    for channel in (0..stride).step_by(V::LANES) {
        let mut sum = V::load(token, &sums[channel..]);
        for pixel in x.chunks_exact(stride) {
            let x = V::load(token, &pixel[channel..]);
            sum = match moment {
                Moment::First => sum.add(x),
                Moment::Centred => {
                    let d = x.sub(V::load(token, &mean[channel..]));
                    d.mul_add(d, sum)
                }
                Moment::Third => x.mul(x).mul_add(x, sum),
            };
        }
        sum.store(&mut sums[channel..]);
    }
}
