//! The shared loops compiled for AVX-512 without a population count: bits are counted by table lookup.
#![allow(unsafe_code)]

use core::arch::x86_64::{
    __m512, __m512i, _mm_loadu_si128, _mm256_loadu_epi16, _mm512_add_epi8, _mm512_and_si512,
    _mm512_broadcast_i32x4, _mm512_cvtepi32_ps, _mm512_cvtepu16_epi32, _mm512_fnmadd_ps,
    _mm512_loadu_epi8, _mm512_set1_epi8, _mm512_set1_ps, _mm512_setzero_si512, _mm512_shuffle_epi8,
    _mm512_srli_epi16, _mm512_storeu_epi8,
};

use super::bytes::{Bytes, MOST_PRODUCTS};
use super::lookup::{Lookup, Shuffle};
use super::popcount::{Popcount, Words};
use super::x86::x86_kernels;
use super::{Isa, binary, real, winograd};
use crate::op::{Band, BitMap, Conv, ConvBin, FloatMap, Layout};

x86_kernels! {
    Isa::Avx512Bw,
    ["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma", "popcnt", "bmi1", "bmi2"],
    __m512,
    conv_bin_layout: |filters| match filters.outputs {
        _ if filters.products > MOST_PRODUCTS => Layout { lanes: 16, bits: 64, offsets: false },
        0..=64 => Layout { lanes: 64, bits: 8, offsets: true },
        _ => Layout { lanes: 128, bits: 8, offsets: true },
    },
    conv_bin: |conv, x, band| match conv.lanes {
        16 => binary::conv_bin::<Popcount<Words<__m512, 16>, 1>, 16>(conv, x, band),
        64 => binary::conv_bin::<Lookup<__m512i, 1>, 64>(conv, x, band),
        _ => binary::conv_bin::<Lookup<__m512i, 2>, 128>(conv, x, band),
    },
    conv_lanes: |outputs| if outputs <= 16 { 16 } else { 32 },
    conv: |conv, x, band| match conv.lanes {
        16 => real::conv::<__m512, 16, 1>(conv, x, band),
        _ => real::conv::<__m512, 32, 2>(conv, x, band),
    },
    winograd: |conv, x, workspace, band| match conv.lanes {
        16 => winograd::winograd::<__m512, 16, 1>(conv, x, workspace, band),
        _ => winograd::winograd::<__m512, 32, 2>(conv, x, workspace, band),
    },
}

/// Used only in the functions above, which enable its instructions.
impl Bytes for __m512i {
    const LANES: usize = 64;

    type Vector = __m512;

    #[inline(always)]
    fn zero() -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn store(self, to: &mut [u8]) {
        let to = &mut to[..64];
        // SAFETY: the slice holds 64 bytes; the caller has enabled the instructions.
        unsafe { _mm512_storeu_epi8(to.as_mut_ptr().cast(), self) }
    }

    #[inline(always)]
    fn sums(counts: &[u16], base: f32) -> __m512 {
        let counts = &counts[..16];
        // SAFETY: the slice holds 16 counters; the caller has enabled the instructions.
        unsafe {
            let counts = _mm512_cvtepu16_epi32(_mm256_loadu_epi16(counts.as_ptr().cast()));
            let counts = _mm512_cvtepi32_ps(counts);
            _mm512_fnmadd_ps(counts, _mm512_set1_ps(2.0), _mm512_set1_ps(base))
        }
    }
}

/// Used only in the functions above, which enable its instructions.
impl Shuffle for __m512i {
    #[inline(always)]
    fn halves(from: &[u8]) -> [Self; 2] {
        let from = &from[..64];
        // SAFETY: the slice holds 64 bytes; the caller has enabled the instructions.
        unsafe {
            let bytes = _mm512_loadu_epi8(from.as_ptr().cast());
            let low = _mm512_set1_epi8(0x0f);
            let high = _mm512_srli_epi16::<4>(bytes);
            [_mm512_and_si512(bytes, low), _mm512_and_si512(high, low)]
        }
    }

    #[inline(always)]
    fn repeat(table: &[u8; 16]) -> Self {
        // SAFETY: the table has 16 bytes; the caller has enabled the instructions.
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast())) }
    }

    #[inline(always)]
    fn add_looked_up(self, table: Self, indices: Self) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm512_add_epi8(self, _mm512_shuffle_epi8(table, indices)) }
    }
}
