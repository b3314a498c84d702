//! The shared loops compiled for AVX-512 without a population count: bits are counted by table lookup.
#![allow(unsafe_code)]

use core::arch::x86_64::{
    __m512i, _mm_loadu_si128, _mm256_loadu_si256, _mm512_add_epi8, _mm512_add_epi16,
    _mm512_add_epi32, _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_cvtepi8_epi16,
    _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_cvtepu16_epi32, _mm512_fnmadd_ps,
    _mm512_loadu_epi8, _mm512_loadu_epi32, _mm512_madd_epi16, _mm512_permutex2var_epi64,
    _mm512_set1_epi8, _mm512_set1_epi16, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setr_epi64,
    _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_slli_epi16, _mm512_srli_epi16,
    _mm512_storeu_epi8, _mm512_sub_epi16, _mm512_unpackhi_epi16, _mm512_unpacklo_epi16,
};

use super::avx512::{Avx512Token, F32x16};
use super::conv_i8::Dot;
use super::epilogue::Epilogue;
use super::lookup::{Lookup, MAX_NARROW, MAX_PRODUCTS, Shuffle};
use super::popcount::{Popcount, Words};
use super::table::kernels;
use super::{Isa, binary, conv_i8, linear, lookup, real, winograd};
use crate::packed::{Layout, LayoutI8};

kernels! {
    Avx512Bw = ["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma", "popcnt", "bmi1", "bmi2"],
    Isa::Avx512Bw,
    F32x16<Avx512Bw>,
    conv_bin_layout: |filters| match filters.outputs {
        _ if filters.products > MAX_PRODUCTS => Layout { lanes: 16, bits: 64 },
        0..=64 => Layout { lanes: 64, bits: 4 },
        _ => Layout { lanes: 128, bits: 4 },
    },
    conv_lanes: |outputs| if outputs <= 16 { 16 } else { 32 },
    conv_i8_layout: |outputs| LayoutI8 {
        lanes: if outputs <= 16 { 16 } else { 32 },
        together: 2,
        bytes: 2,
    },
    linear_lanes: 32,
    linear_i8_lanes: 128,
    conv_bin: |token, task| match task.conv.lanes {
        16 => binary::conv_bin::<Popcount<Words<F32x16<Avx512Bw>, 16>, 1>, 16>(token, task),
        64 if task.conv.products() <= MAX_NARROW => {
            binary::conv_bin::<Lookup<U8x64, 1, false>, 64>(token, task);
        }
        64 => binary::conv_bin::<Lookup<U8x64, 1, true>, 64>(token, task),
        _ if task.conv.products() <= MAX_NARROW => {
            binary::conv_bin::<Lookup<U8x64, 2, false>, 128>(token, task);
        }
        _ => binary::conv_bin::<Lookup<U8x64, 2, true>, 128>(token, task),
    },
    conv: |token, task| match task.conv.lanes {
        16 => real::conv::<F32x16<Avx512Bw>, 16, 1>(token, task),
        _ => real::conv::<F32x16<Avx512Bw>, 32, 2>(token, task),
    },
    conv_i8: |token, task| match task.conv.layout.lanes {
        16 => conv_i8::conv_i8::<Pairs, 16, 1, 8>(token, task),
        _ => conv_i8::conv_i8::<Pairs, 32, 2, 8>(token, task),
    },
    winograd: |token, task| match task.conv.lanes {
        16 => winograd::winograd::<F32x16<Avx512Bw>, 16, 1>(token, task),
        _ => winograd::winograd::<F32x16<Avx512Bw>, 32, 2>(token, task),
    },
    linear: |token, task| linear::linear::<F32x16<Avx512Bw>, 2>(token, task),
}

// SAFETY: only a function that enables the features makes one.
unsafe impl Avx512Token for Avx512Bw {}

/// 64 bytes, or 32 words.
#[derive(Clone, Copy)]
struct U8x64(__m512i);

impl Shuffle for U8x64 {
    type Token = Avx512Bw;
    const LANES: usize = 64;

    type Vector = F32x16<Avx512Bw>;

    #[inline(always)]
    fn zero(_: Avx512Bw) -> Self {
        // SAFETY: the token proves that the CPU has the instructions.
        U8x64(unsafe { _mm512_setzero_si512() })
    }

    #[inline(always)]
    fn load(_: Avx512Bw, from: &[u8]) -> Self {
        let from = &from[..64];
        // SAFETY: the slice holds 64 bytes; the token proves that the CPU has the instructions.
        U8x64(unsafe { _mm512_loadu_epi8(from.as_ptr().cast()) })
    }

    #[inline(always)]
    fn repeat(_: Avx512Bw, table: &[u8; 16]) -> Self {
        // SAFETY: the table has 16 bytes; the token proves that the CPU has the instructions.
        U8x64(unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast())) })
    }

    #[inline(always)]
    fn look_up(self, indices: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        U8x64(unsafe { _mm512_shuffle_epi8(self.0, indices.0) })
    }

    #[inline(always)]
    fn add(self, y: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        U8x64(unsafe { _mm512_add_epi8(self.0, y.0) })
    }

    #[inline(always)]
    fn add_words(self, y: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        U8x64(unsafe { _mm512_add_epi16(self.0, y.0) })
    }

    #[inline(always)]
    fn sub_words(self, y: Self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        U8x64(unsafe { _mm512_sub_epi16(self.0, y.0) })
    }

    #[inline(always)]
    fn low(self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        U8x64(unsafe { _mm512_and_si512(self.0, _mm512_set1_epi8(0x0f)) })
    }

    #[inline(always)]
    fn up(self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        U8x64(unsafe { _mm512_slli_epi16::<4>(self.0) })
    }

    #[inline(always)]
    fn down(self) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        U8x64(unsafe { _mm512_srli_epi16::<4>(self.0) })
    }

    #[inline(always)]
    fn halves(self) -> [Self; 2] {
        // SAFETY: a register proves that the CPU has the instructions.
        unsafe {
            let even = _mm512_and_si512(self.0, _mm512_set1_epi16(0x00ff));
            [U8x64(even), U8x64(_mm512_srli_epi16::<8>(self.0))]
        }
    }

    #[inline(always)]
    fn empty<const N: usize, const P: usize>(
        _: Avx512Bw,
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
            let low = _mm512_unpacklo_epi16(even.0, odd.0);
            let high = _mm512_unpackhi_epi16(even.0, odd.0);
            let first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
            let last = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
            [
                U8x64(_mm512_permutex2var_epi64(low, first, high)),
                U8x64(_mm512_permutex2var_epi64(low, last, high)),
            ]
        }
    }

    #[inline(always)]
    fn store(self, to: &mut [u8]) {
        let to = &mut to[..64];
        // SAFETY: the slice holds 64 bytes; a register proves that the CPU has the instructions.
        unsafe { _mm512_storeu_epi8(to.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    fn sums(token: Avx512Bw, counts: &[u8], base: f32) -> F32x16<Avx512Bw> {
        let counts = &counts[..16];
        // SAFETY: the slice holds 16 counters; the token proves that the CPU has the instructions.
        unsafe {
            let counts = _mm512_cvtepu8_epi32(_mm_loadu_si128(counts.as_ptr().cast()));
            let counts = _mm512_cvtepi32_ps(counts);
            let sums = _mm512_fnmadd_ps(counts, _mm512_set1_ps(2.0), _mm512_set1_ps(base));
            F32x16(sums, token)
        }
    }

    #[inline(always)]
    fn word_sums(token: Avx512Bw, counts: &[[u8; 2]], base: f32) -> F32x16<Avx512Bw> {
        let counts = &counts[..16];
        // SAFETY: the slice holds 16 counters; the token proves that the CPU has the instructions.
        unsafe {
            let counts = _mm512_cvtepu16_epi32(_mm256_loadu_si256(counts.as_ptr().cast()));
            let counts = _mm512_cvtepi32_ps(counts);
            let sums = _mm512_fnmadd_ps(counts, _mm512_set1_ps(2.0), _mm512_set1_ps(base));
            F32x16(sums, token)
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline(never)]
fn empty<const N: usize, const P: usize>(
    registers: &[[U8x64; N]; P],
    counts: &mut [[[U8x64; 2]; N]; P],
) {
    lookup::empty(registers, counts);
}

/// Sums of products of pairs of 16 bits.
#[derive(Clone, Copy)]
struct Pairs(__m512i);

impl Dot for Pairs {
    type Token = Avx512Bw;
    type Input = i16;
    type Group = [i16; 2];
    type Weights = __m512i;
    const LANES: usize = 16;
    type Vector = F32x16<Avx512Bw>;

    #[inline(always)]
    fn load(_: Avx512Bw, from: &[i32]) -> Self {
        let from = &from[..16];
        // SAFETY: the slice holds 16 sums; the token proves that the CPU has the instructions.
        Pairs(unsafe { _mm512_loadu_epi32(from.as_ptr()) })
    }

    #[inline(always)]
    fn weights(_: Avx512Bw, from: &[i8]) -> __m512i {
        let from = &from[..32];
        // SAFETY: the slice holds 32 weights; the token proves that the CPU has the instructions.
        unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(from.as_ptr().cast())) }
    }

    #[inline(always)]
    fn add_products(self, inputs: [i16; 2], weights: __m512i) -> Self {
        // SAFETY: a register proves that the CPU has the instructions.
        unsafe {
            let inputs = _mm512_set1_epi32(bytemuck::cast(inputs));
            Pairs(_mm512_add_epi32(self.0, _mm512_madd_epi16(inputs, weights)))
        }
    }

    #[inline(always)]
    fn floats(self, token: Avx512Bw) -> F32x16<Avx512Bw> {
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

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,bmi1,bmi2")]
#[inline(never)]
fn block<const L: usize, const N: usize, const P: usize>(
    row: &conv_i8::Row<'_, Pairs>,
    x: usize,
    first: usize,
    out: &mut Epilogue<'_>,
) {
    conv_i8::block::<Pairs, L, N, P>(row, x, first, out);
}
