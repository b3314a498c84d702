//! The shared loops compiled for AVX-512 with VPOPCNTDQ and VNNI, which no CPU has apart.
#![allow(unsafe_code)]

use core::arch::x86_64::{
    __m512, __m512i, _CMP_GT_OQ, _CMP_ORD_Q, _mm_loadu_si128, _mm512_add_epi32, _mm512_add_ps,
    _mm512_cmp_ps_mask, _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32,
    _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_loadu_epi8, _mm512_loadu_epi32, _mm512_loadu_ps,
    _mm512_mask_blend_ps, _mm512_mask_max_ps, _mm512_mul_ps, _mm512_popcnt_epi32,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps,
    _mm512_sub_ps, _mm512_xor_si512,
};

use super::conv_i8::Dot;
use super::epilogue::Epilogue;
use super::popcount::Popcount;
use super::table::kernels;
use super::vector::{Counter, Token, Vector};
use super::{Isa, binary, conv_i8, linear, real, winograd};
use crate::packed::{Layout, LayoutI8};

kernels! {
    Avx512 = [
        "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vpopcntdq", "avx512vnni", "avx2", "fma", "popcnt",
        "bmi1", "bmi2"
    ],
    Isa::Avx512,
    F32x16<Avx512>,
    conv_bin_layout: |filters| Layout { lanes: if filters.outputs <= 16 { 16 } else { 32 }, bits: 32 },
    conv_lanes: |outputs| if outputs <= 16 { 16 } else { 32 },
    conv_i8_layout: |outputs| LayoutI8 {
        lanes: match outputs {
            0..=16 => 16,
            17..=32 => 32,
            _ => 64,
        },
        together: 4,
        bytes: 1,
    },
    linear_lanes: 32,
    linear_i8_lanes: 128,
    conv_bin: |token, task| match task.conv.lanes {
        16 => binary::conv_bin::<Popcount<U32x16, 1>, 16>(token, task),
        _ => binary::conv_bin::<Popcount<U32x16, 2>, 32>(token, task),
    },
    conv: |token, task| match task.conv.lanes {
        16 => real::conv::<F32x16<Avx512>, 16, 1>(token, task),
        _ => real::conv::<F32x16<Avx512>, 32, 2>(token, task),
    },
    conv_i8: |token, task| match task.conv.layout.lanes {
        16 => conv_i8::conv_i8::<Quads, 16, 1, 8>(token, task),
        32 => conv_i8::conv_i8::<Quads, 32, 2, 8>(token, task),
        _ => conv_i8::conv_i8::<Quads, 64, 4, 6>(token, task),
    },
    winograd: |token, task| match task.conv.lanes {
        16 => winograd::winograd::<F32x16<Avx512>, 16, 1>(token, task),
        _ => winograd::winograd::<F32x16<Avx512>, 32, 2>(token, task),
    },
    linear: |token, task| linear::linear::<F32x16<Avx512>, 2>(token, task),
}

/// A token of AVX-512.
///
/// # Safety
/// A value exists only where the CPU has AVX-512 F, BW, DQ and VL.
pub(super) unsafe trait Avx512Token: Token {}

// SAFETY: only a function that enables the features makes one.
unsafe impl Avx512Token for Avx512 {}

/// 16 floats, and the token.
#[derive(Clone, Copy)]
pub(super) struct F32x16<T>(pub(super) __m512, pub(super) T);

impl<T: Avx512Token> Vector for F32x16<T> {
    type Token = T;

    const LANES: usize = 16;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn splat(token: T, value: f32) -> Self {
        // SAFETY: the token proves that the CPU has the instructions.
        F32x16(unsafe { _mm512_set1_ps(value) }, token)
    }

    #[inline(always)]
    fn load(token: T, from: &[f32]) -> Self {
        let from = &from[..16];
        // SAFETY: the slice holds 16 floats; the token proves that the CPU has the instructions.
        F32x16(unsafe { _mm512_loadu_ps(from.as_ptr()) }, token)
    }

    #[inline(always)]
    fn from_i8(token: T, from: &[i8]) -> Self {
        let from = &from[..16];
        // SAFETY: the slice holds 16 integers; the token proves that the CPU has the instructions.
        let value = unsafe {
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.as_ptr().cast())))
        };
        F32x16(value, token)
    }

    #[inline(always)]
    fn add(self, y: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        F32x16(unsafe { _mm512_add_ps(self.0, y.0) }, self.1)
    }

    #[inline(always)]
    fn sub(self, y: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        F32x16(unsafe { _mm512_sub_ps(self.0, y.0) }, self.1)
    }

    #[inline(always)]
    fn mul(self, y: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        F32x16(unsafe { _mm512_mul_ps(self.0, y.0) }, self.1)
    }

    #[inline(always)]
    fn mul_add(self, y: Self, z: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        F32x16(unsafe { _mm512_fmadd_ps(self.0, y.0, z.0) }, self.1)
    }

    #[inline(always)]
    fn larger(self, y: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        let value = unsafe {
            let ordered = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(self.0, self.0);
            _mm512_mask_max_ps(self.0, ordered, self.0, y.0)
        };
        F32x16(value, self.1)
    }

    #[inline(always)]
    fn if_positive(self, yes: Self, no: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        let value = unsafe {
            _mm512_mask_blend_ps(
                _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, _mm512_setzero_ps()),
                no.0,
                yes.0,
            )
        };
        F32x16(value, self.1)
    }

    #[inline(always)]
    fn greater(self, y: Self) -> u64 {
        // SAFETY: a register proves that the CPU has the instructions.
        u64::from(unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, y.0) })
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        let to = &mut to[..16];
        // SAFETY: the slice holds 16 floats; a register proves that the CPU has the instructions.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self.0) }
    }
}

/// 16 counters.
#[derive(Clone, Copy)]
struct U32x16(__m512i);

impl Counter for U32x16 {
    type Token = Avx512;
    type Word = u32;

    const LANES: usize = 16;

    type Vector = F32x16<Avx512>;

    #[inline(always)]
    fn zero(_: Avx512) -> Self {
        // SAFETY: the token proves that the CPU has the instructions.
        U32x16(unsafe { _mm512_setzero_si512() })
    }

    #[inline(always)]
    fn splat(_: Avx512, word: u32) -> Self {
        // SAFETY: the token proves that the CPU has the instructions.
        U32x16(unsafe { _mm512_set1_epi32(word.cast_signed()) })
    }

    #[inline(always)]
    fn load(_: Avx512, from: &[u32]) -> Self {
        let from = &from[..16];
        // SAFETY: the slice holds 16 words; the token proves that the CPU has the instructions.
        U32x16(unsafe { _mm512_loadu_epi32(from.as_ptr().cast()) })
    }

    #[inline(always)]
    fn add_differences(self, x: Self, y: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        U32x16(unsafe { _mm512_add_epi32(self.0, _mm512_popcnt_epi32(_mm512_xor_si512(x.0, y.0))) })
    }

    #[inline(always)]
    fn sums(self, token: Avx512, base: f32) -> F32x16<Avx512> {
        // SAFETY: a register proves that the CPU has the instructions.
        unsafe {
            let counts = _mm512_cvtepi32_ps(self.0);
            let sums = _mm512_fnmadd_ps(counts, _mm512_set1_ps(2.0), _mm512_set1_ps(base));
            F32x16(sums, token)
        }
    }
}

/// Sums of products of four bytes.
#[derive(Clone, Copy)]
struct Quads(__m512i);

impl Dot for Quads {
    type Token = Avx512;
    type Input = u8;
    type Group = [u8; 4];
    type Weights = __m512i;
    const LANES: usize = 16;
    type Vector = F32x16<Avx512>;

    #[inline(always)]
    fn load(_: Avx512, from: &[i32]) -> Self {
        let from = &from[..16];
        // SAFETY: the slice holds 16 sums; the token proves that the CPU has the instructions.
        Quads(unsafe { _mm512_loadu_epi32(from.as_ptr()) })
    }

    #[inline(always)]
    fn weights(_: Avx512, from: &[i8]) -> __m512i {
        let from = &from[..64];
        // SAFETY: the slice holds 64 weights; the token proves that the CPU has the instructions.
        unsafe { _mm512_loadu_epi8(from.as_ptr()) }
    }

    #[inline(always)]
    fn add_products(self, inputs: [u8; 4], weights: __m512i) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        Quads(unsafe {
            let inputs = _mm512_set1_epi32(i32::from_le_bytes(inputs));
            _mm512_dpbusd_epi32(self.0, inputs, weights)
        })
    }

    #[inline(always)]
    fn floats(self, token: Avx512) -> F32x16<Avx512> {
        // SAFETY: a register proves that the CPU has the instructions.
        F32x16(unsafe { _mm512_cvtepi32_ps(self.0) }, token)
    }

    #[inline(always)]
    fn block<const L: usize, const N: usize, const P: usize>(
        row: &conv_i8::Row<'_, Self>,
        x: usize,
        first: usize,
        out: &mut Epilogue<'_>,
    ) {
        // SAFETY: the row's token proves that the CPU has the instructions.
        unsafe { block::<L, N, P>(row, x, first, out) }
    }
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,popcnt,bmi1,bmi2"
)]
#[inline(never)]
fn block<const L: usize, const N: usize, const P: usize>(
    row: &conv_i8::Row<'_, Quads>,
    x: usize,
    first: usize,
    out: &mut Epilogue<'_>,
) {
    conv_i8::block::<Quads, L, N, P>(row, x, first, out);
}
