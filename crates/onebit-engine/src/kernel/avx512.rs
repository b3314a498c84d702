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
use super::vector::{Counter, Vector};
use super::{Isa, binary, conv_i8, real, winograd};
use crate::packed::{Layout, LayoutI8};

kernels! {
    [
        "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vpopcntdq", "avx512vnni", "avx2", "fma", "popcnt",
        "bmi1", "bmi2"
    ],
    Isa::Avx512,
    __m512,
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
    linear_i8_lanes: 128,
    conv_bin: |task| match task.conv.lanes {
        16 => binary::conv_bin::<Popcount<__m512i, 1>, 16>(task),
        _ => binary::conv_bin::<Popcount<__m512i, 2>, 32>(task),
    },
    conv: |task| match task.conv.lanes {
        16 => real::conv::<__m512, 16, 1>(task),
        _ => real::conv::<__m512, 32, 2>(task),
    },
    conv_i8: |task| match task.conv.layout.lanes {
        16 => conv_i8::conv_i8::<__m512i, 16, 1, 8>(task),
        32 => conv_i8::conv_i8::<__m512i, 32, 2, 8>(task),
        _ => conv_i8::conv_i8::<__m512i, 64, 4, 6>(task),
    },
    winograd: |task| match task.conv.lanes {
        16 => winograd::winograd::<__m512, 16, 1>(task),
        _ => winograd::winograd::<__m512, 32, 2>(task),
    },
}

/// Used only in the functions above, which enable its instructions.
impl Vector for __m512 {
    const LANES: usize = 16;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn load(from: &[f32]) -> Self {
        let from = &from[..16];
        // SAFETY: the slice holds 16 floats; the caller has enabled the instructions.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn from_i8(from: &[i8]) -> Self {
        let from = &from[..16];
        // SAFETY: the slice holds 16 integers; the caller has enabled the instructions.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn add(self, y: Self) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm512_add_ps(self, y) }
    }

    #[inline(always)]
    fn sub(self, y: Self) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm512_sub_ps(self, y) }
    }

    #[inline(always)]
    fn mul(self, y: Self) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm512_mul_ps(self, y) }
    }

    #[inline(always)]
    fn mul_add(self, y: Self, z: Self) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm512_fmadd_ps(self, y, z) }
    }

    #[inline(always)]
    fn larger(self, y: Self) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe {
            let ordered = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(self, self);
            _mm512_mask_max_ps(self, ordered, self, y)
        }
    }

    #[inline(always)]
    fn if_positive(self, yes: Self, no: Self) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe {
            _mm512_mask_blend_ps(
                _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self, _mm512_setzero_ps()),
                no,
                yes,
            )
        }
    }

    #[inline(always)]
    fn greater(self, y: Self) -> u64 {
        // SAFETY: the caller has enabled the instructions.
        u64::from(unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self, y) })
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        let to = &mut to[..16];
        // SAFETY: the slice holds 16 floats; the caller has enabled the instructions.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self) }
    }
}

/// Used only in the functions above, which enable its instructions.
impl Counter for __m512i {
    type Word = u32;

    const LANES: usize = 16;

    type Vector = __m512;

    #[inline(always)]
    fn zero() -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn splat(word: u32) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm512_set1_epi32(word.cast_signed()) }
    }

    #[inline(always)]
    fn load(from: &[u32]) -> Self {
        let from = &from[..16];
        // SAFETY: the slice holds 16 words; the caller has enabled the instructions.
        unsafe { _mm512_loadu_epi32(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn add_differences(self, x: Self, y: Self) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm512_add_epi32(self, _mm512_popcnt_epi32(_mm512_xor_si512(x, y))) }
    }

    #[inline(always)]
    fn sums(self, base: f32) -> __m512 {
        // SAFETY: the caller has enabled the instructions.
        unsafe {
            let counts = _mm512_cvtepi32_ps(self);
            _mm512_fnmadd_ps(counts, _mm512_set1_ps(2.0), _mm512_set1_ps(base))
        }
    }
}

/// Used only in the functions above, which enable its instructions.
impl Dot for __m512i {
    type Input = u8;
    type Group = [u8; 4];
    type Weights = __m512i;
    const LANES: usize = 16;
    type Vector = __m512;

    #[inline(always)]
    fn load(from: &[i32]) -> Self {
        let from = &from[..16];
        // SAFETY: the slice holds 16 sums; the caller has enabled the instructions.
        unsafe { _mm512_loadu_epi32(from.as_ptr()) }
    }

    #[inline(always)]
    fn weights(from: &[i8]) -> __m512i {
        let from = &from[..64];
        // SAFETY: the slice holds 64 weights; the caller has enabled the instructions.
        unsafe { _mm512_loadu_epi8(from.as_ptr()) }
    }

    #[inline(always)]
    fn add_products(self, inputs: [u8; 4], weights: __m512i) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe {
            let inputs = _mm512_set1_epi32(i32::from_le_bytes(inputs));
            _mm512_dpbusd_epi32(self, inputs, weights)
        }
    }

    #[inline(always)]
    fn floats(self) -> __m512 {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm512_cvtepi32_ps(self) }
    }

    #[inline(always)]
    fn block<const L: usize, const N: usize, const P: usize>(
        row: &conv_i8::Row<'_, u8>,
        x: usize,
        first: usize,
        out: &mut Epilogue<'_>,
    ) {
        // SAFETY: the caller has enabled the instructions.
        unsafe { block::<L, N, P>(row, x, first, out) }
    }
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,popcnt,bmi1,bmi2"
)]
#[inline(never)]
fn block<const L: usize, const N: usize, const P: usize>(
    row: &conv_i8::Row<'_, u8>,
    x: usize,
    first: usize,
    out: &mut Epilogue<'_>,
) {
    conv_i8::block::<__m512i, L, N, P>(row, x, first, out);
}
