//! The shared loops compiled for AVX2 and FMA: bits are counted by table lookup.
#![allow(unsafe_code)]

use core::arch::x86_64::{
    __m256, __m256i, _CMP_GT_OQ, _CMP_UNORD_Q, _mm_loadl_epi64, _mm_loadu_si128, _mm256_add_epi8,
    _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256, _mm256_blendv_ps,
    _mm256_broadcastsi128_si256, _mm256_cmp_ps, _mm256_cvtepi8_epi16, _mm256_cvtepi8_epi32,
    _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_cvtepu16_epi32, _mm256_fmadd_ps,
    _mm256_fnmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_max_ps,
    _mm256_movemask_ps, _mm256_mul_ps, _mm256_permute2x128_si256, _mm256_set1_epi8,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_srli_epi16, _mm256_storeu_ps,
    _mm256_storeu_si256, _mm256_sub_epi16, _mm256_sub_ps, _mm256_unpackhi_epi16,
    _mm256_unpacklo_epi16,
};

use super::conv_i8::Dot;
use super::epilogue::Epilogue;
use super::lookup::{Lookup, MAX_NARROW, MAX_PRODUCTS, Shuffle};
use super::popcount::{Popcount, Words};
use super::table::kernels;
use super::vector::Vector;
use super::{Isa, binary, conv_i8, linear, lookup, real, winograd};
use crate::packed::{Layout, LayoutI8};

kernels! {
    Avx2 = ["avx2", "fma", "popcnt", "bmi1", "bmi2"],
    Isa::Avx2,
    [F32x8; 2],
    conv_bin_layout: |filters| match filters.outputs {
        _ if filters.products > MAX_PRODUCTS => Layout { lanes: 8, bits: 64 },
        0..=32 => Layout { lanes: 32, bits: 4 },
        _ => Layout { lanes: 64, bits: 4 },
    },
    conv_lanes: |outputs| if outputs <= 8 { 8 } else { 16 },
    conv_i8_layout: |outputs| LayoutI8 {
        lanes: if outputs <= 8 { 8 } else { 16 },
        together: 2,
        bytes: 2,
    },
    linear_lanes: 8,
    linear_i8_lanes: 32,
    conv_bin: |token, task| match task.conv.lanes {
        8 => binary::conv_bin::<Popcount<Words<F32x8, 8>, 1>, 8>(token, task),
        32 if task.conv.products() <= MAX_NARROW => {
            binary::conv_bin::<Lookup<U8x32, 1, false>, 32>(token, task);
        }
        32 => binary::conv_bin::<Lookup<U8x32, 1, true>, 32>(token, task),
        _ if task.conv.products() <= MAX_NARROW => {
            binary::conv_bin::<Lookup<U8x32, 2, false>, 64>(token, task);
        }
        _ => binary::conv_bin::<Lookup<U8x32, 2, true>, 64>(token, task),
    },
    conv: |token, task| match task.conv.lanes {
        8 => real::conv::<F32x8, 8, 1>(token, task),
        _ => real::conv::<[F32x8; 2], 16, 1>(token, task),
    },
    conv_i8: |token, task| match task.conv.layout.lanes {
        8 => conv_i8::conv_i8::<Pairs, 8, 1, 8>(token, task),
        _ => conv_i8::conv_i8::<Pairs, 16, 2, 4>(token, task),
    },
    winograd: |token, task| match task.conv.lanes {
        8 => winograd::winograd::<F32x8, 8, 1>(token, task),
        _ => winograd::winograd::<F32x8, 16, 2>(token, task),
    },
    linear: |token, task| linear::linear::<F32x8, 1>(token, task),
}

/// 8 floats.
#[derive(Clone, Copy)]
struct F32x8(__m256);

impl Vector for F32x8 {
    type Token = Avx2;
    const LANES: usize = 8;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(_: Avx2, value: f32) -> Self {
        // SAFETY: the token proves that the CPU has the instructions.
        F32x8(unsafe { _mm256_set1_ps(value) })
    }

    #[inline(always)]
    fn load(_: Avx2, from: &[f32]) -> Self {
        let from = &from[..8];
        // SAFETY: the slice holds 8 floats; the token proves that the CPU has the instructions.
        F32x8(unsafe { _mm256_loadu_ps(from.as_ptr()) })
    }

    #[inline(always)]
    fn from_i8(_: Avx2, from: &[i8]) -> Self {
        let from = &from[..8];
        // SAFETY: the slice holds 8 integers; the token proves that the CPU has the instructions.
        F32x8(unsafe {
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.as_ptr().cast())))
        })
    }

    #[inline(always)]
    fn add(self, y: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        F32x8(unsafe { _mm256_add_ps(self.0, y.0) })
    }

    #[inline(always)]
    fn sub(self, y: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        F32x8(unsafe { _mm256_sub_ps(self.0, y.0) })
    }

    #[inline(always)]
    fn mul(self, y: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        F32x8(unsafe { _mm256_mul_ps(self.0, y.0) })
    }

    #[inline(always)]
    fn mul_add(self, y: Self, z: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        F32x8(unsafe { _mm256_fmadd_ps(self.0, y.0, z.0) })
    }

    #[inline(always)]
    fn larger(self, y: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        F32x8(unsafe {
            let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0);
            _mm256_blendv_ps(_mm256_max_ps(self.0, y.0), self.0, nan)
        })
    }

    #[inline(always)]
    fn if_positive(self, yes: Self, no: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        F32x8(unsafe {
            _mm256_blendv_ps(no.0, yes.0, _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, _mm256_setzero_ps()))
        })
    }

    #[inline(always)]
    fn greater(self, y: Self) -> u64 {
        // SAFETY: a register proves that the CPU has the instructions.
        let mask = unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self.0, y.0)) };
        u64::from(mask.cast_unsigned())
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        let to = &mut to[..8];
        // SAFETY: the slice holds 8 floats; a register proves that the CPU has the instructions.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), self.0) }
    }
}

/// 32 bytes, or 16 words.
#[derive(Clone, Copy)]
struct U8x32(__m256i);

impl Shuffle for U8x32 {
    type Token = Avx2;
    const LANES: usize = 32;

    type Vector = [F32x8; 2];

    #[inline(always)]
    fn zero(_: Avx2) -> Self {
        // SAFETY: the token proves that the CPU has the instructions.
        U8x32(unsafe { _mm256_setzero_si256() })
    }

    #[inline(always)]
    fn load(_: Avx2, from: &[u8]) -> Self {
        let from = &from[..32];
        // SAFETY: the slice holds 32 bytes; the token proves that the CPU has the instructions.
        U8x32(unsafe { _mm256_loadu_si256(from.as_ptr().cast()) })
    }

    #[inline(always)]
    fn repeat(_: Avx2, table: &[u8; 16]) -> Self {
        // SAFETY: the table has 16 bytes; the token proves that the CPU has the instructions.
        U8x32(unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast())) })
    }

    #[inline(always)]
    fn look_up(self, indices: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        U8x32(unsafe { _mm256_shuffle_epi8(self.0, indices.0) })
    }

    #[inline(always)]
    fn add(self, y: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        U8x32(unsafe { _mm256_add_epi8(self.0, y.0) })
    }

    #[inline(always)]
    fn add_words(self, y: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        U8x32(unsafe { _mm256_add_epi16(self.0, y.0) })
    }

    #[inline(always)]
    fn sub_words(self, y: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        U8x32(unsafe { _mm256_sub_epi16(self.0, y.0) })
    }

    #[inline(always)]
    fn low(self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        U8x32(unsafe { _mm256_and_si256(self.0, _mm256_set1_epi8(0x0f)) })
    }

    #[inline(always)]
    fn up(self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        U8x32(unsafe { _mm256_slli_epi16::<4>(self.0) })
    }

    #[inline(always)]
    fn down(self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        U8x32(unsafe { _mm256_srli_epi16::<4>(self.0) })
    }

    #[inline(always)]
    fn halves(self) -> [Self; 2] {
        // SAFETY: a register proves that the CPU has the instructions.
        unsafe {
            let even = _mm256_and_si256(self.0, _mm256_set1_epi16(0x00ff));
            [U8x32(even), U8x32(_mm256_srli_epi16::<8>(self.0))]
        }
    }

    #[inline(always)]
    fn empty<const N: usize, const P: usize>(
        _: Avx2,
        registers: &[[Self; N]; P],
        counts: &mut [[[Self; 2]; N]; P],
    ) {
        // SAFETY: the token proves that the CPU has the instructions.
        unsafe { empty(registers, counts) }
    }

    #[inline(always)]
    fn interleave([even, odd]: [Self; 2]) -> [Self; 2] {
        // SAFETY: a register proves that the CPU has the instructions.
        unsafe {
            let low = _mm256_unpacklo_epi16(even.0, odd.0);
            let high = _mm256_unpackhi_epi16(even.0, odd.0);
            [
                U8x32(_mm256_permute2x128_si256::<0x20>(low, high)),
                U8x32(_mm256_permute2x128_si256::<0x31>(low, high)),
            ]
        }
    }

    #[inline(always)]
    fn store(self, to: &mut [u8]) {
        let to = &mut to[..32];
        // SAFETY: the slice holds 32 bytes; a register proves that the CPU has the instructions.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    fn sums(_: Avx2, counts: &[u8], base: f32) -> [F32x8; 2] {
        let counts = &counts[..16];
        // SAFETY: the slice holds 16 counters; the token proves that the CPU has the instructions.
        unsafe {
            let counts = counts.as_ptr();
            let first = _mm256_cvtepu8_epi32(_mm_loadl_epi64(counts.cast()));
            let last = _mm256_cvtepu8_epi32(_mm_loadl_epi64(counts.add(8).cast()));
            [sums(first, base), sums(last, base)]
        }
    }

    #[inline(always)]
    fn word_sums(_: Avx2, counts: &[[u8; 2]], base: f32) -> [F32x8; 2] {
        let counts = &counts[..16];
        // SAFETY: the slice holds 16 counters; the token proves that the CPU has the instructions.
        unsafe {
            let counts = counts.as_ptr();
            let first = _mm256_cvtepu16_epi32(_mm_loadu_si128(counts.cast()));
            let last = _mm256_cvtepu16_epi32(_mm_loadu_si128(counts.add(8).cast()));
            [sums(first, base), sums(last, base)]
        }
    }
}

/// `base - 2 * counts`.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn sums(counts: __m256i, base: f32) -> F32x8 {
    let counts = _mm256_cvtepi32_ps(counts);
    F32x8(_mm256_fnmadd_ps(counts, _mm256_set1_ps(2.0), _mm256_set1_ps(base)))
}

#[target_feature(enable = "avx2")]
#[inline(never)]
fn empty<const N: usize, const P: usize>(
    registers: &[[U8x32; N]; P],
    counts: &mut [[[U8x32; 2]; N]; P],
) {
    lookup::empty(registers, counts);
}

/// Sums of products of pairs of 16 bits.
#[derive(Clone, Copy)]
struct Pairs(__m256i);

impl Dot for Pairs {
    type Token = Avx2;
    type Input = i16;
    type Group = [i16; 2];
    type Weights = __m256i;
    const LANES: usize = 8;
    type Vector = F32x8;

    #[inline(always)]
    fn load(_: Avx2, from: &[i32]) -> Self {
        let from = &from[..8];
        // SAFETY: the slice holds 8 sums; the token proves that the CPU has the instructions.
        Pairs(unsafe { _mm256_loadu_si256(from.as_ptr().cast()) })
    }

    #[inline(always)]
    fn weights(_: Avx2, from: &[i8]) -> __m256i {
        let from = &from[..16];
        // SAFETY: the slice holds 16 weights; the token proves that the CPU has the instructions.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(from.as_ptr().cast())) }
    }

    #[inline(always)]
    fn add_products(self, inputs: [i16; 2], weights: __m256i) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        unsafe {
            let inputs = _mm256_set1_epi32(bytemuck::cast(inputs));
            Pairs(_mm256_add_epi32(self.0, _mm256_madd_epi16(inputs, weights)))
        }
    }

    #[inline(always)]
    fn floats(self, _: Avx2) -> F32x8 {
        // SAFETY: a register proves that the CPU has the instructions.
        F32x8(unsafe { _mm256_cvtepi32_ps(self.0) })
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

#[target_feature(enable = "avx2,fma,popcnt,bmi1,bmi2")]
#[inline(never)]
fn block<const L: usize, const N: usize, const P: usize>(
    row: &conv_i8::Row<'_, Pairs>,
    x: usize,
    first: usize,
    out: &mut Epilogue<'_>,
) {
    conv_i8::block::<Pairs, L, N, P>(row, x, first, out);
}
