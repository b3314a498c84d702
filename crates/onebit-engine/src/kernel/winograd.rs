//! The 7x7 convolution of stride 2 by minimal filtering, for every instruction set; inlined into functions that
//! enable it.

use super::epilogue::Epilogue;
use super::vector::Vector;
use super::{Ring, WinogradTask};
use crate::map::FloatMap;
use crate::packed::Winograd;
use crate::packed::winograd::{EVEN_ONLY, INPUT, OUTPUTS, POINTS, phases};

/// Widest tile, in groups of outputs.
const WIDEST: usize = 14;

/// Sums at each point for the groups of a tile, made once: they take many registers.
type Points<V, const N: usize> = [[[V; N]; WIDEST]; POINTS];

/// A row tile, in blocks of `L` output channels in `N` registers.
#[inline(always)]
pub(super) fn winograd<V: Vector, const L: usize, const N: usize>(
    token: V::Token,
    WinogradTask { conv, x, ring, mut row_tile }: WinogradTask<'_>,
) {
    const { assert!(L == N * V::LANES) };
    let Ring { memory, next_row } = ring;
    let mut out = Epilogue::new(&mut row_tile);
    let row = conv.row(out.width());
    let (ring, columns) = memory.split_at_mut(8 * row);
    let columns = &mut columns[..conv.columns(out.width())];
    columns.fill(0.0);
    let mut points = [[[V::splat(token, 0.0); N]; WIDEST]; POINTS];
    *next_row = (*next_row).max(conv.window.input_rows(out.rows().start, x.height).start);
    for y in out.rows() {
        let rows = conv.window.input_rows(y, x.height);
        while *next_row < rows.end {
            by_columns(conv, x, *next_row, columns);
            transform::<V>(token, conv, columns, &mut ring[*next_row % 8 * row..][..row]);
            *next_row += 1;
        }
        let taps = conv.window.taps(y, x.height);
        for block in 0..conv.outputs.div_ceil(L) {
            let first = rows.start;
            let row = Row::<V> {
                token,
                conv,
                ring,
                row,
                first,
                ky: taps.start,
                len: rows.len(),
                y,
                block,
            };
            row.tiles::<L, N>(&mut points, &mut out);
        }
    }
}

/// Spreads an input row by columns modulo 8, padding included.
#[inline(always)]
fn by_columns(conv: &Winograd, x: FloatMap<'_>, y: usize, columns: &mut [f32]) {
    let plane = columns.len() / (conv.inputs * 8);
    let padding = conv.window.padding;
    let row = &x.values[y * x.width * x.stride..][..x.width * x.stride];
    for (i, plane) in columns.chunks_exact_mut(plane).enumerate() {
        let (c, column) = (i / 8, i % 8);
        let first = (column + 8 - padding % 8) % 8;
        let inputs = row.iter().skip(first * x.stride + c).step_by(8 * x.stride);
        for (to, value) in plane[(first + padding) / 8..].iter_mut().zip(inputs) {
            *to = *value;
        }
    }
}

/// Values at the points of every group of outputs.
#[inline(always)]
fn transform<V: Vector>(token: V::Token, conv: &Winograd, columns: &[f32], out: &mut [f32]) {
    let plane = columns.len() / (conv.inputs * 8);
    let tiles = out.len() / (conv.inputs * 2 * POINTS);
    for c in 0..conv.inputs {
        for phase in 0..2 {
            for tile in (0..tiles).step_by(V::LANES) {
                let mut inputs = [V::splat(token, 0.0); POINTS];
                for i in 0..POINTS {
                    let column = 2 * i + phase;
                    inputs[i] = V::load(
                        token,
                        &columns[(c * 8 + column % 8) * plane + column / 8 + tile..],
                    );
                }
                for point in 0..POINTS {
                    let mut value = V::splat(token, 0.0);
                    for i in 0..POINTS {
                        value = inputs[i].mul_add(V::splat(token, INPUT[phase][point][i]), value);
                    }
                    value.store(&mut out[((c * 2 + phase) * POINTS + point) * tiles + tile..]);
                }
            }
        }
    }
}

/// One row of outputs of one block of channels.
#[derive(Clone, Copy)]
struct Row<'a, V: Vector> {
    token: V::Token,
    conv: &'a Winograd,
    /// Transformed input rows, by their number modulo 8, and the floats of each.
    ring: &'a [f32],
    row: usize,
    /// First input row, its row of taps, and how many there are.
    first: usize,
    ky: usize,
    len: usize,
    y: usize,
    block: usize,
}

impl<V: Vector> Row<'_, V> {
    #[inline(always)]
    fn tiles<const L: usize, const N: usize>(
        &self,
        points: &mut Points<V, N>,
        out: &mut Epilogue<'_>,
    ) {
        let tiles = out.width().div_ceil(OUTPUTS);
        let widest = if V::REGISTERS < 32 { 4 } else { WIDEST };
        let mut tile = 0;
        while tile < tiles {
            let left = (tiles - tile).min(widest);
            tile += match left {
                14 => self.tile::<L, N, 14>(tile, points, out),
                7..14 => self.tile::<L, N, 7>(tile, points, out),
                4..7 => self.tile::<L, N, 4>(tile, points, out),
                2..4 => self.tile::<L, N, 2>(tile, points, out),
                _ => self.tile::<L, N, 1>(tile, points, out),
            };
        }
    }

    /// Computes `P` groups of outputs from the group `tile` on; returns `P`.
    #[inline(always)]
    fn tile<const L: usize, const N: usize, const P: usize>(
        &self,
        tile: usize,
        points: &mut Points<V, N>,
        out: &mut Epilogue<'_>,
    ) -> usize {
        for point in 0..POINTS {
            points[point][..P].copy_from_slice(&self.products::<L, N, P>(tile, point));
        }
        for n in 0..N {
            let channel = self.block * L + n * V::LANES;
            if channel >= self.conv.outputs {
                break;
            }
            for p in 0..P {
                let mut at = [V::splat(self.token, 0.0); POINTS];
                for point in 0..POINTS {
                    at[point] = points[point][p][n];
                }
                let x = (tile + p) * OUTPUTS;
                let values = outputs(self.token, at);
                if x + OUTPUTS <= out.width() {
                    out.take(self.token, [self.y, x, channel], values);
                } else {
                    for i in 0..out.width() - x {
                        out.take(self.token, [self.y, x + i, channel], [values[i]]);
                    }
                }
            }
        }
        P
    }

    /// Sums of the products at a point.
    #[inline(always)]
    fn products<const L: usize, const N: usize, const P: usize>(
        &self,
        tile: usize,
        point: usize,
    ) -> [[V; N]; P] {
        let inputs = self.conv.inputs;
        let tiles = self.row / (inputs * 2 * POINTS);
        let weights = self.conv.weights.as_chunks::<L>().0;
        let block = &weights[self.block * self.conv.block() / L + self.conv.point(point)..];
        let row_weights = inputs * phases(point);
        let mut weights = block[self.ky * row_weights..][..self.len * row_weights].iter();
        let mut sums = [[V::splat(self.token, 0.0); N]; P];
        for y in self.first..self.first + self.len {
            let row = &self.ring[y % 8 * self.row..][..self.row];
            for k in 0..inputs * 2 {
                if point == EVEN_ONLY && k % 2 == 1 {
                    continue;
                }
                let Some(weights) = weights.next() else { break };
                let inputs: &[f32; P] =
                    &row[(k * POINTS + point) * tiles + tile..].as_chunks().0[0];
                let mut weight = [V::splat(self.token, 0.0); N];
                for n in 0..N {
                    weight[n] = V::load(self.token, &weights[n * V::LANES..]);
                }
                for p in 0..P {
                    let input = V::splat(self.token, inputs[p]);
                    for n in 0..N {
                        sums[p][n] = input.mul_add(weight[n], sums[p][n]);
                    }
                }
            }
        }
        sums
    }
}

/// `value * factor + sum`; all factors are powers of two, so the product is exact.
#[inline(always)]
fn scaled<V: Vector>(token: V::Token, value: V, factor: f32, sum: V) -> V {
    value.mul_add(V::splat(token, factor), sum)
}

/// Four outputs of the sums at the points.
#[inline(always)]
fn outputs<V: Vector>(token: V::Token, at: [V; POINTS]) -> [V; OUTPUTS] {
    let [zero, one, minus_one, half, minus_half, two, infinity] = at;
    let (even, odd) = (one.add(minus_one), one.sub(minus_one));
    let (even_half, odd_half) = (half.add(minus_half), half.sub(minus_half));
    [
        zero.add(even).add(even_half.add(two)),
        scaled(token, two, 2.0, scaled(token, odd_half, 0.5, odd)),
        scaled(token, two, 4.0, scaled(token, even_half, 0.25, even)),
        scaled(token, two, 8.0, scaled(token, odd_half, 0.125, odd)).add(infinity),
    ]
}
