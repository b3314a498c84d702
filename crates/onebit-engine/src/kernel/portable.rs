//! Plain Rust for any CPU. Without a fused multiply-add to rely on, it multiplies and adds in two roundings.

use core::array;

use super::conv_i8::Dot;
use super::popcount::{Popcount, Words};
use super::{Isa, Kernels, binary, conv_i8, dynamic, linear_i8, real, scaled_tanh, winograd};
use crate::packed::{Layout, LayoutI8};

static KERNELS: Kernels = Kernels {
    isa: Isa::Portable,
    conv_bin_layout: |_| Layout { lanes: 4, bits: 64 },
    conv_lanes: |_| 8,
    conv_bin: binary::conv_bin::<Popcount<Words<[f32; 4], 4>, 1>, 4>,
    conv: real::conv::<[f32; 4], 8, 2>,
    conv_i8_layout: |_| LayoutI8 { lanes: 8, together: 1, bytes: 2 },
    conv_i8: conv_i8::conv_i8::<[i32; 8], 8, 1, 2>,
    winograd: winograd::winograd::<[f32; 4], 8, 2>,
    pool: real::pool::<[f32; 4]>,
    copy: real::copy::<[f32; 4]>,
    rectify: dynamic::rectify::<[f32; 4]>,
    concat: real::concat::<[f32; 4]>,
    shuffle: real::shuffle::<[f32; 4]>,
    moment: real::moment::<[f32; 4]>,
    linear_i8_lanes: 16,
    linear_i8: linear_i8::linear_i8::<[f32; 4]>,
    scaled_tanh: scaled_tanh::scaled_tanh,
};

pub(super) fn kernels() -> Option<&'static Kernels> {
    Some(&KERNELS)
}

impl Dot for [i32; 8] {
    type Input = i16;
    type Group = i16;
    type Weights = [i16; 8];
    const LANES: usize = 8;
    type Vector = [[f32; 4]; 2];

    #[inline(always)]
    fn load(from: &[i32]) -> Self {
        let from = &from[..8];
        array::from_fn(|lane| from[lane])
    }

    #[inline(always)]
    fn weights(from: &[i8]) -> [i16; 8] {
        let from = &from[..8];
        array::from_fn(|lane| from[lane].into())
    }

    #[inline(always)]
    fn add_products(self, input: i16, weights: [i16; 8]) -> Self {
        array::from_fn(|lane| self[lane] + i32::from(input) * i32::from(weights[lane]))
    }

    #[inline(always)]
    fn floats(self) -> [[f32; 4]; 2] {
        bytemuck::cast(self.map(|sum| sum as f32))
    }
}
