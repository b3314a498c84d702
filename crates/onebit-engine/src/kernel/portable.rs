//! Plain Rust for any CPU. Without a fused multiply-add to rely on, it multiplies and adds in two roundings.

use core::array;

use super::conv_i8::Dot;
use super::popcount::{Popcount, Words};
use super::table::kernels;
use super::vector::Baseline;
use super::{Isa, binary, conv_i8, linear, real, winograd};
use crate::packed::{Layout, LayoutI8};

kernels! {
    Baseline,
    Isa::Portable,
    [f32; 4],
    conv_bin_layout: |_| Layout { lanes: 4, bits: 64 },
    conv_lanes: |_| 8,
    conv_i8_layout: |_| LayoutI8 { lanes: 8, together: 1, bytes: 2 },
    linear_lanes: 4,
    linear_i8_lanes: 16,
    conv_bin: |token, task| binary::conv_bin::<Popcount<Words<[f32; 4], 4>, 1>, 4>(token, task),
    conv: |token, task| real::conv::<[f32; 4], 8, 2>(token, task),
    conv_i8: |token, task| conv_i8::conv_i8::<[i32; 8], 8, 1, 2>(token, task),
    winograd: |token, task| winograd::winograd::<[f32; 4], 8, 2>(token, task),
    linear: |token, task| linear::linear::<[f32; 4], 1>(token, task),
}

impl Dot for [i32; 8] {
    type Token = Baseline;
    type Input = i16;
    type Group = i16;
    type Weights = [i16; 8];
    const LANES: usize = 8;
    type Vector = [[f32; 4]; 2];

    #[inline(always)]
    fn load(_: Baseline, from: &[i32]) -> Self {
        let from = &from[..8];
        array::from_fn(|lane| from[lane])
    }

    #[inline(always)]
    fn weights(_: Baseline, from: &[i8]) -> [i16; 8] {
        let from = &from[..8];
        array::from_fn(|lane| from[lane].into())
    }

    #[inline(always)]
    fn add_products(self, input: i16, weights: [i16; 8]) -> Self {
        array::from_fn(|lane| self[lane] + i32::from(input) * i32::from(weights[lane]))
    }

    #[inline(always)]
    fn floats(self, _: Baseline) -> [[f32; 4]; 2] {
        bytemuck::cast(self.map(|sum| sum as f32))
    }
}
