//! The shared loops for NEON, which every 64-bit ARM CPU has. XOR, CNT and UADALP count 128 products.
#![allow(unsafe_code)]

use core::arch::aarch64::{
    float32x4_t, int16x8_t, int32x4_t, uint16x8_t, vaddq_f32, vaddvq_u16, vandq_u16, vbslq_f32,
    vcgeq_f32, vcgtq_f32, vcgtzq_f32, vcntq_u8, vcvtq_f32_s32, vcvtq_f32_u32, vdupq_n_f32,
    vdupq_n_u16, veorq_u16, vfmaq_f32, vfmsq_f32, vget_low_s16, vget_low_u16, vld1_s8, vld1q_f32,
    vld1q_s32, vld1q_u16, vmaxq_f32, vmlal_high_n_s16, vmlal_n_s16, vmovl_high_u16, vmovl_s8,
    vmovl_u16, vmulq_f32, vpadalq_u8, vreinterpretq_u8_u16, vreinterpretq_u16_u32, vst1q_f32,
    vsubq_f32, vuzp1q_u16,
};
use core::array;

use super::conv_i8::Dot;
use super::popcount::{Popcount, Words};
use super::table::kernels;
use super::vector::{Baseline, Counter, Vector};
use super::{Isa, binary, conv_i8, linear, real, winograd};
use crate::packed::{Layout, LayoutI8};

/// Largest number of products in a sum: the counters have 16 bits.
const MAX_PRODUCTS: usize = u16::MAX as usize;

kernels! {
    Baseline,
    Isa::Neon,
    Floats,
    conv_bin_layout: |filters| match filters.outputs {
        _ if filters.products > MAX_PRODUCTS => Layout { lanes: 8, bits: 64 },
        _ => Layout { lanes: 16, bits: 16 },
    },
    conv_lanes: |outputs| if outputs <= 8 { 8 } else { 16 },
    conv_i8_layout: |outputs| LayoutI8 {
        lanes: if outputs <= 8 { 8 } else { 16 },
        together: 1,
        bytes: 2,
    },
    linear_lanes: 8,
    linear_i8_lanes: 32,
    conv_bin: |token, task| match task.conv.lanes {
        8 => binary::conv_bin::<Popcount<Words<Floats, 8>, 1>, 8>(token, task),
        _ => binary::conv_bin::<Popcount<uint16x8_t, 2>, 16>(token, task),
    },
    conv: |token, task| match task.conv.lanes {
        8 => real::conv::<Floats, 8, 1>(token, task),
        _ => real::conv::<Floats, 16, 2>(token, task),
    },
    conv_i8: |token, task| match task.conv.layout.lanes {
        8 => conv_i8::conv_i8::<Products, 8, 1, 8>(token, task),
        _ => conv_i8::conv_i8::<Products, 16, 2, 4>(token, task),
    },
    winograd: |token, task| match task.conv.lanes {
        8 => winograd::winograd::<Floats, 8, 1>(token, task),
        _ => winograd::winograd::<Floats, 16, 2>(token, task),
    },
    linear: |token, task| linear::linear::<Floats, 1>(token, task),
}

/// Two registers of floats, as many lanes as a register of counters has.
#[derive(Clone, Copy)]
pub(super) struct Floats([float32x4_t; 2]);

impl Floats {
    #[inline(always)]
    fn each(f: impl Fn(usize) -> float32x4_t) -> Self {
        Floats([f(0), f(1)])
    }
}

impl Vector for Floats {
    type Token = Baseline;

    const LANES: usize = 8;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(_: Baseline, value: f32) -> Self {
        // SAFETY: this file is compiled only for targets with NEON.
        Floats([unsafe { vdupq_n_f32(value) }; 2])
    }

    #[inline(always)]
    fn load(_: Baseline, from: &[f32]) -> Self {
        let from = &from[..8];
        // SAFETY: the slice holds twice 4 floats; the target has NEON.
        Self::each(|i| unsafe { vld1q_f32(from[4 * i..].as_ptr()) })
    }

    #[inline(always)]
    fn from_i8(_: Baseline, from: &[i8]) -> Self {
        let from = &from[..8];
        let floats: [f32; 8] = array::from_fn(|lane| f32::from(from[lane]));
        Self::load(Baseline, &floats)
    }

    #[inline(always)]
    fn add(self, y: Self) -> Self {
        // SAFETY: the target has NEON.
        Self::each(|i| unsafe { vaddq_f32(self.0[i], y.0[i]) })
    }

    #[inline(always)]
    fn sub(self, y: Self) -> Self {
        // SAFETY: the target has NEON.
        Self::each(|i| unsafe { vsubq_f32(self.0[i], y.0[i]) })
    }

    #[inline(always)]
    fn mul(self, y: Self) -> Self {
        // SAFETY: the target has NEON.
        Self::each(|i| unsafe { vmulq_f32(self.0[i], y.0[i]) })
    }

    #[inline(always)]
    fn mul_add(self, y: Self, z: Self) -> Self {
        // SAFETY: the target has NEON.
        Self::each(|i| unsafe { vfmaq_f32(z.0[i], self.0[i], y.0[i]) })
    }

    #[inline(always)]
    fn larger(self, y: Self) -> Self {
        // SAFETY: the target has NEON.
        Self::each(|i| unsafe {
            let (x, y) = (self.0[i], y.0[i]);
            vbslq_f32(vcgeq_f32(y, x), y, vmaxq_f32(x, y))
        })
    }

    #[inline(always)]
    fn if_positive(self, yes: Self, no: Self) -> Self {
        // SAFETY: the target has NEON.
        Self::each(|i| unsafe { vbslq_f32(vcgtzq_f32(self.0[i]), yes.0[i], no.0[i]) })
    }

    #[inline(always)]
    fn greater(self, y: Self) -> u64 {
        const BITS: [u16; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
        // SAFETY: the array holds 8 words; the target has NEON.
        unsafe {
            let [low, high] = array::from_fn(|i| vcgtq_f32(self.0[i], y.0[i]));
            let masks = vuzp1q_u16(vreinterpretq_u16_u32(low), vreinterpretq_u16_u32(high));
            u64::from(vaddvq_u16(vandq_u16(masks, vld1q_u16(BITS.as_ptr()))))
        }
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        let to = &mut to[..8];
        for (register, to) in self.0.into_iter().zip(to.as_chunks_mut::<4>().0) {
            // SAFETY: the array holds 4 floats; the target has NEON.
            unsafe { vst1q_f32(to.as_mut_ptr(), register) }
        }
    }
}

/// Holds up to [`MAX_PRODUCTS`] differences in each lane.
impl Counter for uint16x8_t {
    type Token = Baseline;
    type Word = u16;

    const LANES: usize = 8;

    type Vector = Floats;

    #[inline(always)]
    fn zero(_: Baseline) -> Self {
        Self::splat(Baseline, 0)
    }

    #[inline(always)]
    fn splat(_: Baseline, word: u16) -> Self {
        // SAFETY: the target has NEON.
        unsafe { vdupq_n_u16(word) }
    }

    #[inline(always)]
    fn load(_: Baseline, from: &[u16]) -> Self {
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
    fn sums(self, _: Baseline, base: f32) -> Floats {
        // SAFETY: the target has NEON.
        unsafe {
            let (base, two) = (vdupq_n_f32(base), vdupq_n_f32(2.0));
            let counts = [vmovl_u16(vget_low_u16(self)), vmovl_high_u16(self)];
            Floats(counts.map(|counts| vfmsq_f32(base, vcvtq_f32_u32(counts), two)))
        }
    }
}

/// Sums of products of 16 bits in two registers.
#[derive(Clone, Copy)]
struct Products([int32x4_t; 2]);

impl Dot for Products {
    type Token = Baseline;
    type Input = i16;
    type Group = i16;
    type Weights = int16x8_t;
    const LANES: usize = 8;
    type Vector = Floats;

    #[inline(always)]
    fn load(_: Baseline, from: &[i32]) -> Self {
        let from = &from[..8];
        // SAFETY: the slice holds twice 4 sums; the target has NEON.
        Products(array::from_fn(|i| unsafe { vld1q_s32(from[4 * i..].as_ptr()) }))
    }

    #[inline(always)]
    fn weights(_: Baseline, from: &[i8]) -> int16x8_t {
        let from = &from[..8];
        // SAFETY: the slice holds 8 weights; the target has NEON.
        unsafe { vmovl_s8(vld1_s8(from.as_ptr())) }
    }

    #[inline(always)]
    fn add_products(self, input: i16, weights: int16x8_t) -> Self {
        let [low, high] = self.0;
        // SAFETY: the target has NEON.
        unsafe {
            Products([
                vmlal_n_s16(low, vget_low_s16(weights), input),
                vmlal_high_n_s16(high, weights, input),
            ])
        }
    }

    #[inline(always)]
    fn floats(self, _: Baseline) -> Floats {
        // SAFETY: the target has NEON.
        Floats(self.0.map(|sums| unsafe { vcvtq_f32_s32(sums) }))
    }
}
