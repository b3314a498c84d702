//! Binary convolution: tiles of neighbouring pixels and blocks of output channels whose counters stay in
//! registers. Written for every instruction set and every way to count, inlined into functions that enable it.

use bytemuck::Pod;

use super::finish::finish;
use super::tile::Tiling;
use super::vector::Vector;
use crate::op::{Band, BitMap, ConvBin, Window};

/// Bytes of weights that stay in the first-level cache while the rows of a map go by.
const CACHED_WEIGHTS: usize = 20 << 10;

/// A way to count the differences between the bits of pixels and those of `L` filters.
pub(super) trait Scheme<const L: usize> {
    /// What a lane holds of a filter's bits.
    type Weight: Pod;
    /// What is read of a pixel's bits at once.
    type Input: Pod;
    /// Inputs that belong to one weight.
    const INPUTS: usize;
    /// Widths of tiles, widest first.
    const WIDTHS: &'static [usize];
    /// Counters of a tile of `P` pixels.
    type Tile<const P: usize>;
    /// What sums are turned into, a register at a time.
    type Vector: Vector;

    /// Counters at zero.
    fn zero<const P: usize>() -> Self::Tile<P>;

    /// Adds the differences between the weights and the inputs, which lie `step` apart from one pixel to the next,
    /// for the pixels but the first `LEFT` (`inputs` begins with the one after them) and the last `RIGHT`.
    fn add<const P: usize, const LEFT: usize, const RIGHT: usize>(
        tile: &mut Self::Tile<P>,
        inputs: &[Self::Input],
        step: usize,
        weights: &[[Self::Weight; L]],
    );

    /// Called once, after the last [`Scheme::add`].
    fn complete<const P: usize>(tile: &mut Self::Tile<P>);

    /// `base - 2 * differences` of the `n`-th register of filters.
    fn sums<const P: usize>(tile: &Self::Tile<P>, n: usize, base: [f32; P]) -> [Self::Vector; P];
}

/// A band of a binary convolution, in blocks of `L` output channels.
#[inline(always)]
pub(super) fn conv_bin<S: Scheme<L>, const L: usize>(
    conv: &ConvBin,
    x: BitMap<'_>,
    band: &mut Band<'_>,
) {
    const { assert!(L.is_multiple_of(S::Vector::LANES)) };
    let blocks = conv.groups * conv.outputs.div_ceil(L);
    if conv.bytes() <= CACHED_WEIGHTS {
        for y in band.rows.clone() {
            for index in 0..blocks {
                Block::<S, L>::new(conv, x, index, band).row(y, band);
            }
        }
    } else {
        for index in 0..blocks {
            let block = Block::<S, L>::new(conv, x, index, band);
            for y in band.rows.clone() {
                block.row(y, band);
            }
        }
    }
}

/// One block of output channels.
struct Block<'a, S: Scheme<L>, const L: usize> {
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

impl<'a, S: Scheme<L>, const L: usize> Block<'a, S, L> {
    #[inline(always)]
    fn new(conv: &'a ConvBin, x: BitMap<'a>, index: usize, band: &Band<'_>) -> Self {
        let blocks = conv.outputs.div_ceil(L);
        let (group, first) = (index / blocks, index % blocks * L);
        let taps = conv.window.kernel * conv.window.kernel;
        let weights = bytemuck::cast_slice::<u64, S::Weight>(&conv.weights).as_chunks::<L>().0;
        Block {
            window: conv.window,
            tiling: Tiling::new(S::WIDTHS, conv.window, x.width, band.width),
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
    fn row(&self, y: usize, band: &mut Band<'_>) {
        let mut x = 0;
        while x < band.width {
            let tile = self.tiling.tile(x);
            match tile {
                8 => self.tile::<8>(y, x, band),
                7 => self.tile::<7>(y, x, band),
                4 => self.tile::<4>(y, x, band),
                3 => self.tile::<3>(y, x, band),
                2 => self.tile::<2>(y, x, band),
                _ => self.tile::<1>(y, x, band),
            }
            x += tile;
        }
    }

    /// Computes `P` pixels of row `y` from column `x` on.
    #[inline(always)]
    fn tile<const P: usize>(&self, y: usize, x: usize, band: &mut Band<'_>) {
        let edges = self.tiling.edges(x, P);
        let rows = self.window.taps(y, self.height);
        let mut tile = S::zero::<P>();
        let mut base = [0.0; P];
        if P == 1 || edges.are_inside() {
            let cols = self.window.taps(x, self.width);
            let whole = self.pixel == self.len * S::INPUTS;
            let runs = if whole { cols.start..cols.start + 1 } else { cols.clone() };
            let len = if whole { cols.len() * self.len } else { self.len };
            for ky in rows.clone() {
                for kx in runs.clone() {
                    self.add::<P, 0, 0>([y, x], [ky, kx], len, &mut tile);
                }
            }
            base = [(rows.len() * cols.len() * self.products) as f32; P];
        } else {
            for kx in 0..self.window.kernel {
                let [left, right] = edges.padded(kx);
                for ky in rows.clone() {
                    let (at, len) = ([ky, kx], self.len);
                    match (left, right) {
                        (false, false) => self.add::<P, 0, 0>([y, x], at, len, &mut tile),
                        (true, false) => self.add::<P, 1, 0>([y, x], at, len, &mut tile),
                        (false, true) => self.add::<P, 0, 1>([y, x], at, len, &mut tile),
                        (true, true) => self.add::<P, 1, 1>([y, x], at, len, &mut tile),
                    }
                }
                let products = (rows.len() * self.products) as f32;
                for (p, base) in base.iter_mut().enumerate() {
                    let padded = p == 0 && left || p == P - 1 && right;
                    *base += if padded { 0.0 } else { products };
                }
            }
        }
        S::complete(&mut tile);
        for n in 0..L / S::Vector::LANES {
            let first = n * S::Vector::LANES;
            if first < self.used {
                let mut values = S::sums(&tile, n, base);
                self.add_padding(y, x, first, &mut values);
                finish::<S::Vector, P>(band, [y, x, self.channel + first], values);
            }
        }
    }

    /// Counts the differences of `len` weights from the tap `ky`, `kx` on.
    #[inline(always)]
    fn add<const P: usize, const LEFT: usize, const RIGHT: usize>(
        &self,
        [y, x]: [usize; 2],
        [ky, kx]: [usize; 2],
        len: usize,
        tile: &mut S::Tile<P>,
    ) {
        if LEFT + RIGHT >= P {
            return;
        }
        let window = self.window;
        let step = window.stride * self.pixel;
        let row = &self.inputs[window.input(y, ky) * self.width * self.pixel..];
        let column = (x + LEFT) * window.stride + kx - window.padding;
        let first = column * self.pixel + self.offset;
        let inputs = &row[first..];
        let weights = &self.weights[(ky * window.kernel + kx) * self.len..][..len];
        S::add::<P, LEFT, RIGHT>(tile, inputs, step, weights);
    }

    /// Adds what padded taps count when they stand for +1, for a register of filters from `first` on.
    #[inline(always)]
    fn add_padding<const P: usize>(
        &self,
        y: usize,
        x: usize,
        first: usize,
        values: &mut [S::Vector; P],
    ) {
        let Some(tap_sums) = self.tap_sums else { return };
        let rows = self.window.taps(y, self.height);
        for (p, value) in values.iter_mut().enumerate() {
            let cols = self.window.taps(x + p, self.width);
            for (tap, tap_sums) in tap_sums.iter().enumerate() {
                let (ky, kx) = (tap / self.window.kernel, tap % self.window.kernel);
                if !rows.contains(&ky) || !cols.contains(&kx) {
                    *value = value.add(S::Vector::load(&tap_sums[first..]));
                }
            }
        }
    }
}
