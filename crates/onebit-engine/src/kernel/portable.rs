//! Plain Rust for any CPU. Without a fused multiply-add to rely on, it multiplies and adds in two roundings.

use super::{Isa, Kernels, body};

static KERNELS: Kernels = Kernels {
    isa: Isa::Portable,
    conv_bin_lanes: |_| 4,
    conv_lanes: |_| 8,
    conv_bin: body::conv_bin::<[u64; 2], 4, 2, 2>,
    conv: body::conv::<[f32; 4], 8, 2, 4>,
    pool: body::pool,
    affine: body::affine::<[f32; 4], false>,
    add: body::add,
    prelu: body::prelu::<[f32; 4]>,
    sign: body::sign::<[f32; 4]>,
    moment: body::moment::<false>,
};

pub(super) fn kernels() -> Option<&'static Kernels> {
    Some(&KERNELS)
}
