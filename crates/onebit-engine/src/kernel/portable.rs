//! Plain Rust for any CPU. Without a fused multiply-add to rely on, it multiplies and adds in two roundings.

use super::popcount::{Popcount, Words};
use super::{Isa, Kernels, binary, dynamic, linear_i8, real, sigmoid, winograd};
use crate::op::Layout;

static KERNELS: Kernels = Kernels {
    isa: Isa::Portable,
    conv_bin_layout: |_| Layout { lanes: 4, bits: 64 },
    conv_lanes: |_| 8,
    conv_bin: binary::conv_bin::<Popcount<Words<[f32; 4], 4>, 1>, 4>,
    conv: real::conv::<[f32; 4], 8, 2>,
    winograd: winograd::winograd::<[f32; 4], 8, 2>,
    pool: real::pool::<[f32; 4]>,
    copy: real::copy::<[f32; 4]>,
    rectify: dynamic::rectify::<[f32; 4]>,
    concat: real::concat::<[f32; 4]>,
    shuffle: real::shuffle::<[f32; 4]>,
    moment: real::moment::<[f32; 4]>,
    linear_i8_lanes: 16,
    linear_i8: linear_i8::linear_i8::<[f32; 4]>,
    bound: sigmoid::bound,
};

pub(super) fn kernels() -> Option<&'static Kernels> {
    Some(&KERNELS)
}
