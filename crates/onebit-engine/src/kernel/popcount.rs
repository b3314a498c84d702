//! Counting by XOR and popcount, a register of filters at a time.
#![allow(unsafe_code)]

use core::marker::PhantomData;

use super::binary::{DotAccumulator, Sums};
use super::vector::{Counter, Vector};

/// Counters of `N` registers.
pub(super) struct Popcount<C, const N: usize>(PhantomData<C>);

impl<C: Counter, const L: usize, const N: usize> DotAccumulator<L> for Popcount<C, N> {
    type Weight = C::Word;
    type Input = C::Word;
    const INPUTS: usize = 1;
    const WIDTHS: &'static [usize] = &[8, 7, 4, 2];
    type Token = C::Token;
    type Tile<const P: usize> = [[C; N]; P];
    type Vector = C::Vector;

    #[inline(always)]
    fn zero<const P: usize>(token: C::Token) -> [[C; N]; P] {
        const { assert!(L == N * C::LANES) };
        [[C::zero(token); N]; P]
    }

    #[inline(always)]
    fn add<const P: usize, const LEFT: usize, const RIGHT: usize>(
        token: C::Token,
        tile: &mut [[C; N]; P],
        inputs: &[C::Word],
        step: usize,
        weights: &[[C::Word; L]],
    ) {
        let last = P - RIGHT - LEFT - 1;
        let inputs = &inputs[..last * step + weights.len()];
        for (i, weights) in weights.iter().enumerate() {
            let mut weight = [C::zero(token); N];
            for n in 0..N {
                weight[n] = C::load(token, &weights[n * C::LANES..]);
            }
            for p in LEFT..P - RIGHT {
                // SAFETY: p - LEFT is at most `last` and i less than the number of weights.
                let input =
                    C::splat(token, unsafe { *inputs.get_unchecked((p - LEFT) * step + i) });
                for n in 0..N {
                    tile[p][n] = tile[p][n].add_differences(input, weight[n]);
                }
            }
        }
    }

    #[inline(always)]
    fn finish<const P: usize>(
        token: C::Token,
        tile: [[C; N]; P],
        base: [f32; P],
        sums: &mut impl Sums<C::Vector, P>,
    ) {
        const { assert!(N <= 2, "each register is named, so that it stays one") };
        sums.take(0, register::<C, N, P, 0>(token, &tile, base));
        if N == 2 {
            sums.take(1, register::<C, N, P, 1>(token, &tile, base));
        }
    }
}

#[inline(always)]
fn register<C: Counter, const N: usize, const P: usize, const REGISTER: usize>(
    token: C::Token,
    tile: &[[C; N]; P],
    base: [f32; P],
) -> [C::Vector; P] {
    let mut sums = [C::Vector::splat(token, 0.0); P];
    for p in 0..P {
        sums[p] = tile[p][REGISTER % N].sums(token, base[p]);
    }
    sums
}

/// `L` counters of 64 bits in plain Rust, as many as `V` has lanes.
#[derive(Clone, Copy)]
pub(super) struct Words<V, const L: usize>([u64; L], PhantomData<V>);

impl<V: Vector, const L: usize> Counter for Words<V, L> {
    type Token = V::Token;
    type Word = u64;
    const LANES: usize = L;
    type Vector = V;

    #[inline(always)]
    fn zero(_: V::Token) -> Self {
        Words([0; L], PhantomData)
    }

    #[inline(always)]
    fn splat(_: V::Token, word: u64) -> Self {
        Words([word; L], PhantomData)
    }

    #[inline(always)]
    fn load(_: V::Token, from: &[u64]) -> Self {
        let from = &from[..L];
        Words(core::array::from_fn(|lane| from[lane]), PhantomData)
    }

    #[inline(always)]
    fn add_differences(self, x: Self, y: Self) -> Self {
        let differences = |lane: usize| u64::from((x.0[lane] ^ y.0[lane]).count_ones());
        Words(core::array::from_fn(|lane| self.0[lane] + differences(lane)), PhantomData)
    }

    #[inline(always)]
    fn sums(self, token: V::Token, base: f32) -> V {
        const { assert!(L == V::LANES) };
        V::load(token, &self.0.map(|count| base - 2.0 * count as f32))
    }
}
