//! Binary convolution by table lookup, where bytes are shuffled faster than bits are counted: the four bits of
//! an activation choose a table with the number of differences from each of the 16 possible groups of four
//! weights, and one shuffle looks up a register full of output channels.

#![allow(unsafe_code)]

use core::marker::PhantomData;

use super::binary::{Scheme, Sums};
use super::bytes::{Bytes, Tile};

/// For each four bits, the number of differences from each four bits.
#[repr(align(64))]
pub(super) struct Tables([u8; 256]);

pub(super) static TABLES: Tables = Tables(tables());

const fn tables() -> [u8; 256] {
    let mut tables = [0; 256];
    let mut i = 0;
    while i < 256 {
        tables[i] = ((i >> 4) ^ (i & 15)).count_ones() as u8;
        i += 1;
    }
    tables
}

impl Tables {
    /// The table of four bits, given 16 times their value.
    #[inline(always)]
    pub(super) fn at(&self, offset: u8) -> &[u8; 16] {
        let start = usize::from(offset & 0xf0);
        &self.0.as_chunks().0[start / 16]
    }
}

/// A register of bytes with an instruction that looks up a table of 16 bytes in each part of 16.
pub(super) trait Shuffle: Bytes {
    /// The low and the high four bits of the first [`Bytes::LANES`] bytes.
    fn halves(from: &[u8]) -> [Self; 2];

    /// The same 16 bytes in every part of 16.
    fn repeat(table: &[u8; 16]) -> Self;

    /// `self + table[indices]`, `self` a table in every part of 16.
    fn add_looked_up(self, table: Self, indices: Self) -> Self;
}

/// Tables looked up by `N` registers of filters.
pub(super) struct Lookup<B, const N: usize>(PhantomData<B>);

impl<B: Shuffle, const L: usize, const N: usize> Scheme<L> for Lookup<B, N> {
    type Weight = u8;
    type Input = u8;
    const INPUTS: usize = 2;
    const WIDTHS: &'static [usize] = if N == 1 { &[8, 7, 4, 2] } else { &[4, 3, 2] };
    type Tile<const P: usize> = Tile<B, L, N, P>;
    type Vector = B::Vector;

    #[inline(always)]
    fn zero<const P: usize>() -> Tile<B, L, N, P> {
        Tile::zero()
    }

    #[inline(always)]
    fn add<const P: usize, const LEFT: usize, const RIGHT: usize>(
        tile: &mut Tile<B, L, N, P>,
        inputs: &[u8],
        step: usize,
        weights: &[[u8; L]],
    ) {
        let last = P - RIGHT - LEFT - 1;
        let inputs = &inputs[..last * step + 2 * weights.len()];
        let mut done = 0;
        while done < weights.len() {
            let len = tile.next(weights.len() - done);
            for (i, weights) in weights[done..done + len].iter().enumerate() {
                let mut halves = [[B::zero(); 2]; N];
                for n in 0..N {
                    halves[n] = B::halves(&weights[n * B::LANES..]);
                }
                for p in LEFT..P - RIGHT {
                    let at = (p - LEFT) * step + 2 * (done + i);
                    for half in 0..2 {
                        // SAFETY: p - LEFT is at most `last` and done + i less than the number of weights.
                        let offset = unsafe { *inputs.get_unchecked(at + half) };
                        let table = B::repeat(TABLES.at(offset));
                        for n in 0..N {
                            let counted = &mut tile.registers[p][n];
                            *counted = counted.add_looked_up(table, halves[n][half]);
                        }
                    }
                }
            }
            done += len;
        }
    }

    #[inline(always)]
    fn finish<const P: usize>(
        tile: Tile<B, L, N, P>,
        base: [f32; P],
        sums: &mut impl Sums<B::Vector, P>,
    ) {
        tile.finish(base, sums);
    }
}
