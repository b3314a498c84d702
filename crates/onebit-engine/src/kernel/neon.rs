//! The shared loops for NEON, which every 64-bit ARM CPU has. XOR, CNT and UADALP count 128 products.
#![allow(unsafe_code)]

use core::arch::aarch64::{
    float32x4_t, uint16x8_t, vaddq_f32, vaddvq_u32, vandq_u32, vbslq_f32, vcgtq_f32, vcgtzq_f32,
    vcntq_u8, vcvtq_f32_u32, vdupq_n_f32, vdupq_n_u16, veorq_u16, vfmaq_f32, vfmsq_f32,
    vget_low_u16, vld1q_f32, vld1q_u16, vld1q_u32, vmovl_high_u16, vmovl_u16, vmulq_f32,
    vpadalq_u8, vreinterpretq_u8_u16, vst1q_f32, vsubq_f32,
};

use super::popcount::Popcount;
use super::vector::{Counter, Vector};
use super::{Isa, Kernels, binary, real};
use crate::op::Layout;

/// Largest number of products in a sum: the counters have 16 bits.
const MOST_PRODUCTS: usize = u16::MAX as usize;

static KERNELS: Kernels = Kernels {
    isa: Isa::Neon,
    conv_bin_layout: |filters| match filters.outputs {
        _ if filters.products > MOST_PRODUCTS => Layout { lanes: 4, bits: 64 },
        0..=8 => Layout { lanes: 8, bits: 16 },
        _ => Layout { lanes: 16, bits: 16 },
    },
    conv_bin: |conv, x, band| match conv.lanes {
        4 => binary::conv_bin::<Popcount<[u64; 2], 2>, float32x4_t, 4>(conv, x, band),
        8 => binary::conv_bin::<Popcount<uint16x8_t, 1>, float32x4_t, 8>(conv, x, band),
        _ => binary::conv_bin::<Popcount<uint16x8_t, 2>, float32x4_t, 16>(conv, x, band),
    },
    conv_lanes: |_| 8,
    conv: real::conv::<float32x4_t, 8, 2>,
    pool: real::pool::<float32x4_t>,
    copy: real::copy::<float32x4_t>,
    concat: real::concat::<float32x4_t>,
    shuffle: real::shuffle::<float32x4_t>,
    moment: real::moment::<float32x4_t>,
};

pub(super) fn kernels() -> Option<&'static Kernels> {
    Some(&KERNELS)
}

impl Vector for float32x4_t {
    const LANES: usize = 4;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: this file is compiled only for targets with NEON.
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    fn load(from: &[f32]) -> Self {
        let from = &from[..4];
        // SAFETY: the slice holds 4 floats; the target has NEON.
        unsafe { vld1q_f32(from.as_ptr()) }
    }

    #[inline(always)]
    fn add(self, y: Self) -> Self {
        // SAFETY: the target has NEON.
        unsafe { vaddq_f32(self, y) }
    }

    #[inline(always)]
    fn sub(self, y: Self) -> Self {
        // SAFETY: the target has NEON.
        unsafe { vsubq_f32(self, y) }
    }

    #[inline(always)]
    fn mul(self, y: Self) -> Self {
        // SAFETY: the target has NEON.
        unsafe { vmulq_f32(self, y) }
    }

    #[inline(always)]
    fn mul_add(self, y: Self, z: Self) -> Self {
        // SAFETY: the target has NEON.
        unsafe { vfmaq_f32(z, self, y) }
    }

    #[inline(always)]
    fn larger(self, y: Self) -> Self {
        // SAFETY: the target has NEON.
        unsafe { vbslq_f32(vcgtq_f32(self, y), self, y) }
    }

    #[inline(always)]
    fn if_positive(self, yes: Self, no: Self) -> Self {
        // SAFETY: the target has NEON.
        unsafe { vbslq_f32(vcgtzq_f32(self), yes, no) }
    }

    #[inline(always)]
    fn greater(self, y: Self) -> u64 {
        // SAFETY: the array holds 4 words; the target has NEON.
        unsafe {
            let bits = vld1q_u32([1, 2, 4, 8].as_ptr());
            u64::from(vaddvq_u32(vandq_u32(vcgtq_f32(self, y), bits)))
        }
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        let to = &mut to[..4];
        // SAFETY: the slice holds 4 floats; the target has NEON.
        unsafe { vst1q_f32(to.as_mut_ptr(), self) }
    }
}

/// Holds up to [`MOST_PRODUCTS`] differences in each lane.
impl Counter for uint16x8_t {
    type Word = u16;

    const LANES: usize = 8;

    #[inline(always)]
    fn zero() -> Self {
        Self::splat(0)
    }

    #[inline(always)]
    fn splat(word: u16) -> Self {
        // SAFETY: the target has NEON.
        unsafe { vdupq_n_u16(word) }
    }

    #[inline(always)]
    fn load(from: &[u16]) -> Self {
        let from = &from[..8];
        // SAFETY: the slice holds 8 words; the target has NEON.
        unsafe { vld1q_u16(from.as_ptr()) }
    }

    #[inline(always)]
    fn add_differences(self, x: Self, y: Self) -> Self {
        // SAFETY: the target has NEON.
        unsafe { vpadalq_u8(self, vcntq_u8(vreinterpretq_u8_u16(veorq_u16(x, y)))) }
    }

    #[inline(always)]
    fn store_sums(self, base: f32, to: &mut [f32]) {
        // SAFETY: the target has NEON.
        let counts = unsafe { [vmovl_u16(vget_low_u16(self)), vmovl_high_u16(self)] };
        for (counts, to) in counts.into_iter().zip(to.as_chunks_mut::<4>().0) {
            // SAFETY: the target has NEON.
            let sums =
                unsafe { vfmsq_f32(vdupq_n_f32(base), vcvtq_f32_u32(counts), vdupq_n_f32(2.0)) };
            Vector::store(sums, to);
        }
    }
}
