//! The shared loops for WebAssembly's vectors. Like the portable ones, which they equal bit for bit, they multiply
//! and add in two roundings.
#![allow(unsafe_code)]

use core::arch::wasm32::{
    f32x4, f32x4_add, f32x4_convert_i32x4, f32x4_convert_u32x4, f32x4_gt, f32x4_mul, f32x4_ne,
    f32x4_pmax, f32x4_splat, f32x4_sub, i16x8_load_extend_i8x8, i32x4_add, i32x4_bitmask,
    i32x4_dot_i16x8, i32x4_splat, u8x16_add, u8x16_popcnt, u8x16_splat, u32x4_load_extend_u16x4,
    v128, v128_bitselect, v128_load, v128_store, v128_xor,
};

use super::binary::{DotAccumulator, Sums};
use super::bytes::{Bytes, MAX_PRODUCTS, Tile};
use super::conv_i8::Dot;
use super::popcount::{Popcount, Words};
use super::table::kernels;
use super::vector::{Baseline, Vector};
use super::{Isa, binary, conv_i8, linear, real, winograd};
use crate::packed::{Layout, LayoutI8};

kernels! {
    Baseline,
    Isa::Simd128,
    v128,
    conv_bin_layout: |filters| match filters.outputs {
        _ if filters.products > MAX_PRODUCTS => Layout { lanes: 4, bits: 64 },
        0..=16 => Layout { lanes: 16, bits: 8 },
        _ => Layout { lanes: 32, bits: 8 },
    },
    conv_lanes: |_| 8,
    conv_i8_layout: |_| LayoutI8 { lanes: 8, together: 2, bytes: 2 },
    linear_lanes: 4,
    linear_i8_lanes: 16,
    conv_bin: |token, task| match task.conv.lanes {
        4 => binary::conv_bin::<Popcount<Words<v128, 4>, 1>, 4>(token, task),
        16 => binary::conv_bin::<BytePopcount<1>, 16>(token, task),
        _ => binary::conv_bin::<BytePopcount<2>, 32>(token, task),
    },
    conv: |token, task| real::conv::<v128, 8, 2>(token, task),
    conv_i8: |token, task| conv_i8::conv_i8::<v128, 8, 2, 4>(token, task),
    winograd: |token, task| winograd::winograd::<v128, 8, 2>(token, task),
    linear: |token, task| linear::linear::<v128, 1>(token, task),
}

/// Counting by XOR and popcount in lanes of 8 bits, `N` registers of filters.
struct BytePopcount<const N: usize>;

impl<const L: usize, const N: usize> DotAccumulator<L> for BytePopcount<N> {
    type Weight = u8;
    type Input = u8;
    const INPUTS: usize = 1;
    const WIDTHS: &'static [usize] = if N == 1 { &[8, 7, 4, 2] } else { &[4, 3, 2] };
    type Token = Baseline;
    type Tile<const P: usize> = Tile<v128, L, N, P>;
    type Vector = v128;

    #[inline(always)]
    fn zero<const P: usize>(token: Baseline) -> Tile<v128, L, N, P> {
        Tile::zero(token)
    }

    #[inline(always)]
    fn add<const P: usize, const LEFT: usize, const RIGHT: usize>(
        token: Baseline,
        tile: &mut Tile<v128, L, N, P>,
        inputs: &[u8],
        step: usize,
        weights: &[[u8; L]],
    ) {
        let last = P - RIGHT - LEFT - 1;
        let inputs = &inputs[..last * step + weights.len()];
        let mut done = 0;
        while done < weights.len() {
            let len = tile.next(token, weights.len() - done);
            for (i, weights) in weights[done..done + len].iter().enumerate() {
                let filters: [v128; N] = core::array::from_fn(|n| load(&weights[n * 16..]));
                for p in LEFT..P - RIGHT {
                    // SAFETY: p - LEFT is at most `last` and done + i less than the number of weights.
                    let input = unsafe { *inputs.get_unchecked((p - LEFT) * step + done + i) };
                    let input = u8x16_splat(input);
                    for n in 0..N {
                        let differences = u8x16_popcnt(v128_xor(input, filters[n]));
                        tile.registers[p][n] = u8x16_add(tile.registers[p][n], differences);
                    }
                }
            }
            done += len;
        }
    }

    #[inline(always)]
    fn finish<const P: usize>(
        token: Baseline,
        tile: Tile<v128, L, N, P>,
        base: [f32; P],
        sums: &mut impl Sums<v128, P>,
    ) {
        tile.finish(token, base, sums);
    }
}

/// The first 16 bytes.
#[inline(always)]
fn load(from: &[u8]) -> v128 {
    let from = &from[..16];
    // SAFETY: the slice holds 16 bytes.
    unsafe { v128_load(from.as_ptr().cast()) }
}

impl Bytes for v128 {
    type Token = Baseline;

    const LANES: usize = 16;

    type Vector = v128;

    #[inline(always)]
    fn zero(_: Baseline) -> Self {
        u8x16_splat(0)
    }

    #[inline(always)]
    fn store(self, to: &mut [u8]) {
        let to = &mut to[..16];
        // SAFETY: the slice holds 16 bytes.
        unsafe { v128_store(to.as_mut_ptr().cast(), self) }
    }

    #[inline(always)]
    fn sums(_: Baseline, counts: &[u16], base: f32) -> v128 {
        let counts = &counts[..4];
        // SAFETY: the slice holds 4 counters.
        let counts = f32x4_convert_u32x4(unsafe { u32x4_load_extend_u16x4(counts.as_ptr()) });
        f32x4_sub(f32x4_splat(base), f32x4_add(counts, counts))
    }
}

impl Vector for v128 {
    type Token = Baseline;

    const LANES: usize = 4;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(_: Baseline, value: f32) -> Self {
        f32x4_splat(value)
    }

    #[inline(always)]
    fn load(_: Baseline, from: &[f32]) -> Self {
        let from = &from[..4];
        // SAFETY: the slice holds 4 floats.
        unsafe { v128_load(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn from_i8(_: Baseline, from: &[i8]) -> Self {
        let from = &from[..4];
        f32x4(from[0].into(), from[1].into(), from[2].into(), from[3].into())
    }

    #[inline(always)]
    fn add(self, y: Self) -> Self {
        f32x4_add(self, y)
    }

    #[inline(always)]
    fn sub(self, y: Self) -> Self {
        f32x4_sub(self, y)
    }

    #[inline(always)]
    fn mul(self, y: Self) -> Self {
        f32x4_mul(self, y)
    }

    #[inline(always)]
    fn mul_add(self, y: Self, z: Self) -> Self {
        f32x4_add(f32x4_mul(self, y), z)
    }

    #[inline(always)]
    fn larger(self, y: Self) -> Self {
        v128_bitselect(self, f32x4_pmax(y, self), f32x4_ne(self, self))
    }

    #[inline(always)]
    fn if_positive(self, yes: Self, no: Self) -> Self {
        v128_bitselect(yes, no, f32x4_gt(self, f32x4_splat(0.0)))
    }

    #[inline(always)]
    fn greater(self, y: Self) -> u64 {
        u64::from(i32x4_bitmask(f32x4_gt(self, y)))
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        let to = &mut to[..4];
        // SAFETY: the slice holds 4 floats.
        unsafe { v128_store(to.as_mut_ptr().cast(), self) }
    }
}

/// Sums of products of pairs of 16 bits.
impl Dot for v128 {
    type Token = Baseline;
    type Input = i16;
    type Group = [i16; 2];
    type Weights = v128;
    const LANES: usize = 4;
    type Vector = v128;

    #[inline(always)]
    fn load(_: Baseline, from: &[i32]) -> Self {
        let from = &from[..4];
        // SAFETY: the slice holds 4 sums.
        unsafe { v128_load(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn weights(_: Baseline, from: &[i8]) -> v128 {
        let from = &from[..8];
        // SAFETY: the slice holds 8 weights.
        unsafe { i16x8_load_extend_i8x8(from.as_ptr()) }
    }

    #[inline(always)]
    fn add_products(self, inputs: [i16; 2], weights: v128) -> Self {
        let inputs = i32x4_splat(bytemuck::cast(inputs));
        i32x4_add(self, i32x4_dot_i16x8(inputs, weights))
    }

    #[inline(always)]
    fn floats(self, _: Baseline) -> v128 {
        f32x4_convert_i32x4(self)
    }
}
