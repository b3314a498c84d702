//! Counting by XOR and popcount, a register of filters at a time.

use super::binary::Scheme;
use super::vector::Counter;

/// Counters of `N` registers.
pub(super) struct Popcount<C, const N: usize>(core::marker::PhantomData<C>);

impl<C: Counter, const L: usize, const N: usize> Scheme<L> for Popcount<C, N> {
    type Weight = C::Word;
    type Input = C::Word;
    const INPUTS: usize = 1;
    const WIDTHS: &'static [usize] = &[8, 7, 4, 2];
    type Tile<const P: usize> = [[C; N]; P];

    #[inline(always)]
    fn zero<const P: usize>() -> [[C; N]; P] {
        const { assert!(L == N * C::LANES) };
        [[C::zero(); N]; P]
    }

    #[inline(always)]
    fn add<const P: usize, const LEFT: usize, const RIGHT: usize>(
        tile: &mut [[C; N]; P],
        inputs: [&[C::Word]; P],
        weights: &[[C::Word; L]],
    ) {
        for (i, weights) in weights.iter().enumerate() {
            let weight: [C; N] = core::array::from_fn(|n| C::load(&weights[n * C::LANES..]));
            for p in LEFT..P - RIGHT {
                let input = C::splat(inputs[p][i]);
                for n in 0..N {
                    tile[p][n] = tile[p][n].add_differences(input, weight[n]);
                }
            }
        }
    }

    #[inline(always)]
    fn sums<const P: usize>(tile: [[C; N]; P], base: [f32; P]) -> [[f32; L]; P] {
        let mut sums = [[0.0; L]; P];
        for ((sums, counts), base) in sums.iter_mut().zip(tile).zip(base) {
            for (n, count) in counts.into_iter().enumerate() {
                count.store_sums(base, &mut sums[n * C::LANES..]);
            }
        }
        sums
    }
}
