//! Binary convolution: tiles of neighbouring pixels and blocks of output channels whose counters stay in
//! registers. Written for every instruction set and every way to count, inlined into functions that enable it.

use bytemuck::Pod;

use super::ConvBinTask;
use super::epilogue::Epilogue;
use super::tile::{Edges, Tiling};
use super::vector::{Function, Token, Vector};
use crate::map::BitMap;
use crate::packed::{ConvBin, Window};

/// Bytes of weights that stay in the first-level cache while the rows of a map go by.
const CACHED_WEIGHTS: usize = 20 << 10;

/// Accumulates dot products of +1 and -1: counts the differences between the bits of pixels and those of `L` filters.
pub(super) trait DotAccumulator<const L: usize> {
    /// What a lane holds of a filter's bits.
    type Weight: Pod;
    /// What is read of a pixel's bits at once.
    type Input: Pod;
    /// Inputs that belong to one weight.
    const INPUTS: usize;
    /// Widths of tiles, widest first.
    const WIDTHS: &'static [usize];
    /// Proof that the CPU has the instructions.
    type Token: Token;
    /// Counters of a tile of `P` pixels.
    type Tile<const P: usize>;
    /// What sums are turned into, a register at a time.
    type Vector: Vector<Token = Self::Token>;

    /// Counters at zero.
    fn zero<const P: usize>(token: Self::Token) -> Self::Tile<P>;

    /// Adds the differences between the weights and the inputs, which lie `step` apart from one pixel to the next,
    /// for the pixels but the first `LEFT` (`inputs` begins with the one after them) and the last `RIGHT`.
    fn add<const P: usize, const LEFT: usize, const RIGHT: usize>(
        token: Self::Token,
        tile: &mut Self::Tile<P>,
        inputs: &[Self::Input],
        step: usize,
        weights: &[[Self::Weight; L]],
    );

    /// Hands the sums `base - 2 * differences` to `sums`, the registers of filters in order.
    fn finish<const P: usize>(
        token: Self::Token,
        tile: Self::Tile<P>,
        base: [f32; P],
        sums: &mut impl Sums<Self::Vector, P>,
    );
}

/// What becomes of the sums of a tile.
pub(super) trait Sums<V: Vector, const P: usize> {
    /// Takes the `n`-th register of filters of each pixel.
    fn take(&mut self, n: usize, values: [V; P]);
}

/// A row tile of a binary convolution, in blocks of `L` output channels.
#[inline(always)]
pub(super) fn conv_bin<S: DotAccumulator<L>, const L: usize>(
    token: S::Token,
    ConvBinTask { conv, x, mut row_tile }: ConvBinTask<'_>,
) {
    const { assert!(L.is_multiple_of(S::Vector::LANES)) };
    let blocks = conv.groups * conv.outputs.div_ceil(L);
    let mut out = Epilogue::new(&mut row_tile);
    let (first, rows) = (out.rows().start, out.rows().len());
    let cached = conv.bytes() <= CACHED_WEIGHTS;
    for i in 0..blocks * rows {
        let (index, row) = if cached { (i % blocks, i / blocks) } else { (i / rows, i % rows) };
        Block::<S, L>::new(token, conv, x, index, out.width()).row(first + row, &mut out);
    }
}

/// One block of output channels.
struct Block<'a, S: DotAccumulator<L>, const L: usize> {
    token: S::Token,
    window: Window,
    tiling: Tiling,
    inputs: &'a [S::Input],
    height: usize,
    width: usize,
    /// Inputs from one pixel to the next.
    pixel: usize,
    /// First input of the block's group.
    offset: usize,
    /// Weights of a tap.
    len: usize,
    /// Products of a tap.
    products: usize,
    weights: &'a [[S::Weight; L]],
    tap_sums: Option<&'a [[f32; L]]>,
    /// First output channel, and how many the block has.
    channel: usize,
    used: usize,
}

/// Whether an accumulator has tiles of this width.
const fn is_width<S: DotAccumulator<L>, const L: usize>(width: usize) -> bool {
    let mut i = 0;
    while i < S::WIDTHS.len() {
        if S::WIDTHS[i] == width {
            return true;
        }
        i += 1;
    }
    false
}

/// What the tiles of a row share.
#[derive(Clone, Copy)]
struct Row<'a, I, W> {
    y: usize,
    /// Inputs below the first row of taps that lies in the map, from the block's group on.
    inputs: &'a [I],
    /// Weights of those rows of taps.
    weights: &'a [W],
    /// How many they are.
    taps: usize,
}

impl<'a, S: DotAccumulator<L>, const L: usize> Block<'a, S, L> {
    #[inline(always)]
    fn new(
        token: S::Token,
        conv: &'a ConvBin,
        x: BitMap<'a>,
        index: usize,
        outputs: usize,
    ) -> Self {
        let blocks = conv.outputs.div_ceil(L);
        let (group, first) = (index / blocks, index % blocks * L);
        let taps = conv.window.kernel * conv.window.kernel;
        let weights = bytemuck::cast_slice::<u64, S::Weight>(&conv.weights).as_chunks::<L>().0;
        Block {
            token,
            window: conv.window,
            tiling: Tiling::new(S::WIDTHS, conv.window, x.width, outputs),
            inputs: bytemuck::cast_slice(x.words),
            height: x.height,
            width: x.width,
            pixel: conv.pixel,
            offset: group * conv.group,
            len: conv.words,
            products: conv.inputs,
            weights: &weights[index * taps * conv.words..][..taps * conv.words],
            tap_sums: conv.tap_sums.as_chunks::<L>().0.get(index * taps..(index + 1) * taps),
            channel: group * conv.outputs + first,
            used: L.min(conv.outputs - first),
        }
    }

    #[inline(always)]
    fn row(&self, y: usize, out: &mut Epilogue<'_>) {
        let taps = self.window.taps(y, self.height);
        let first = self.window.input(y, taps.start) * self.width * self.pixel + self.offset;
        let tap_row = self.window.kernel * self.len;
        let row = Row {
            y,
            inputs: &self.inputs[first..],
            weights: &self.weights[taps.start * tap_row..taps.end * tap_row],
            taps: taps.len(),
        };
        let mut x = 0;
        while x < out.width() {
            x += match self.tiling.tile(x) {
                8 if const { is_width::<S, L>(8) } => self.call_tiles::<8>(row, x, out),
                7 if const { is_width::<S, L>(7) } => self.call_tiles::<7>(row, x, out),
                4 if const { is_width::<S, L>(4) } => self.call_tiles::<4>(row, x, out),
                3 if const { is_width::<S, L>(3) } => self.call_tiles::<3>(row, x, out),
                2 if const { is_width::<S, L>(2) } => self.call_tiles::<2>(row, x, out),
                _ => self.call_tiles::<1>(row, x, out),
            };
        }
    }

    /// [`Block::tiles`] as a function of its own: in one with those of other widths its values would not stay in registers.
    #[inline(always)]
    fn call_tiles<const P: usize>(
        &self,
        row: Row<'_, S::Input, [S::Weight; L]>,
        x: usize,
        out: &mut Epilogue<'_>,
    ) -> usize {
        self.token.call(Tiles::<S, L, P> { block: self, row, x, out })
    }

    /// Computes tiles of `P` pixels of a row from column `x` on: as many as lie inside the map, or one at its edge.
    /// Returns their pixels.
    #[inline(always)]
    fn tiles<const P: usize>(
        &self,
        row: Row<'_, S::Input, [S::Weight; L]>,
        x: usize,
        out: &mut Epilogue<'_>,
    ) -> usize {
        let Window { kernel, stride, padding } = self.window;
        let products = (row.taps * self.products) as f32;
        let mut base = [products * kernel as f32; P];
        let (tiles, edges) = (self.tiling.inside(x, P), self.tiling.edges(x, P));
        if tiles == 0 || self.pixel != self.len * S::INPUTS {
            base[0] -= products * edges.left as f32;
            base[P - 1] -= products * (kernel - edges.right) as f32;
            // Inside the map, where pixels have gaps, all tiles have the edges of the first: none.
            let tiles = tiles.max(1);
            for i in 0..tiles {
                let x = x + i * P;
                let mut tile = S::zero::<P>(self.token);
                self.add_at_edges(row, x, edges, &mut tile);
                S::finish(self.token, tile, base, &mut Take { block: self, row, x, edges, out });
            }
            return tiles * P;
        }
        let (step, map_row) = (stride * self.pixel, self.width * self.pixel);
        let tap_row = kernel * self.len;
        for i in 0..tiles {
            let x = x + i * P;
            let mut tile = S::zero::<P>(self.token);
            let inputs = &row.inputs[(x * stride - padding) * self.pixel..];
            for ky in 0..row.taps {
                let weights = &row.weights[ky * tap_row..][..tap_row];
                S::add::<P, 0, 0>(self.token, &mut tile, &inputs[ky * map_row..], step, weights);
            }
            S::finish(self.token, tile, base, &mut Take { block: self, row, x, edges, out });
        }
        tiles * P
    }

    /// Adds the taps that lie in the map, the columns with the same padding together.
    #[inline(always)]
    fn add_at_edges<const P: usize>(
        &self,
        row: Row<'_, S::Input, [S::Weight; L]>,
        x: usize,
        edges: Edges,
        tile: &mut S::Tile<P>,
    ) {
        let (token, Window { kernel, stride, padding }) = (self.token, self.window);
        let (step, map_row) = (stride * self.pixel, self.width * self.pixel);
        let whole = self.pixel == self.len * S::INPUTS;
        for (ky, weights) in row.weights.chunks_exact(kernel * self.len).enumerate() {
            let mut kx = 0;
            while kx < kernel {
                let end = if whole { edges.run(kx) } else { kx + 1 };
                let [left, right] = edges.padded(kx);
                if usize::from(left) + usize::from(right) < P {
                    let column = (x + usize::from(left)) * stride + kx - padding;
                    let inputs = &row.inputs[ky * map_row + column * self.pixel..];
                    let run = &weights[kx * self.len..end * self.len];
                    match (left, right) {
                        (true, _) if P > 1 => S::add::<P, 1, 0>(token, tile, inputs, step, run),
                        (false, true) if P > 1 => S::add::<P, 0, 1>(token, tile, inputs, step, run),
                        _ => S::add::<P, 0, 0>(token, tile, inputs, step, run),
                    }
                }
                kx = end;
            }
        }
    }
}

/// [`Block::tiles`] and what it is given.
struct Tiles<'a, 'b, S: DotAccumulator<L>, const L: usize, const P: usize> {
    block: &'a Block<'a, S, L>,
    row: Row<'a, S::Input, [S::Weight; L]>,
    x: usize,
    out: &'a mut Epilogue<'b>,
}

impl<S: DotAccumulator<L>, const L: usize, const P: usize> Function for Tiles<'_, '_, S, L, P> {
    type Output = usize;

    #[inline(always)]
    fn run(self) -> usize {
        self.block.tiles::<P>(self.row, self.x, self.out)
    }
}

/// Does with the sums of a tile what the row tile says.
struct Take<'a, 'b, 'c, S: DotAccumulator<L>, const L: usize> {
    block: &'b Block<'a, S, L>,
    row: Row<'a, S::Input, [S::Weight; L]>,
    x: usize,
    edges: Edges,
    out: &'b mut Epilogue<'c>,
}

impl<S: DotAccumulator<L>, const L: usize, const P: usize> Sums<S::Vector, P>
    for Take<'_, '_, '_, S, L>
{
    #[inline(always)]
    fn take(&mut self, n: usize, mut values: [S::Vector; P]) {
        let first = n * S::Vector::LANES;
        if first >= self.block.used {
            return;
        }
        if self.block.tap_sums.is_some() && self.is_padded() {
            self.add_padding(first, &mut values);
        }
        self.out.take(self.block.token, [self.row.y, self.x, self.block.channel + first], values);
    }
}

impl<S: DotAccumulator<L>, const L: usize> Take<'_, '_, '_, S, L> {
    /// Whether a window of the tile reaches over the border.
    #[inline(always)]
    fn is_padded(&self) -> bool {
        self.row.taps < self.block.window.kernel || !self.edges.are_inside()
    }

    /// Adds what padded taps count when they stand for +1, for a register of filters from `first` on.
    #[inline(always)]
    fn add_padding<const P: usize>(&self, first: usize, values: &mut [S::Vector; P]) {
        let Block { token, window, tap_sums: Some(tap_sums), height, .. } = *self.block else {
            return;
        };
        let rows = window.taps(self.row.y, height);
        for (tap, tap_sums) in tap_sums.iter().enumerate() {
            let (ky, kx) = (tap / window.kernel, tap % window.kernel);
            let [left, right] = self.edges.padded(kx);
            if !rows.contains(&ky) {
                let sums = S::Vector::load(token, &tap_sums[first..]);
                for p in 0..P {
                    values[p] = values[p].add(sums);
                }
            } else if left {
                values[0] = values[0].add(S::Vector::load(token, &tap_sums[first..]));
            } else if right {
                values[P - 1] = values[P - 1].add(S::Vector::load(token, &tap_sums[first..]));
            }
        }
    }
}
