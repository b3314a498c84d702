//! The shared loops compiled for AVX2, FMA and POPCNT.
#![allow(unsafe_code)]

use core::arch::x86_64::{
    __m256, __m256i, _CMP_GT_OQ, _mm256_add_epi8, _mm256_add_epi64, _mm256_add_ps,
    _mm256_and_si256, _mm256_blendv_ps, _mm256_cmp_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_movemask_ps, _mm256_mul_ps, _mm256_sad_epu8, _mm256_set1_epi8,
    _mm256_set1_epi64x, _mm256_set1_ps, _mm256_setr_epi8, _mm256_setzero_ps, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_storeu_ps, _mm256_storeu_si256, _mm256_sub_ps,
    _mm256_xor_si256,
};

use super::vector::{Counter, Vector};
use super::{Isa, Kernels, Moment, body};
use crate::op::{BitMap, Conv, ConvBin, FloatMap, Pool, PreluVectors};

static KERNELS: Kernels = Kernels {
    isa: Isa::Avx2,
    conv_bin_lanes: |_| 8,
    conv_lanes: |outputs| if outputs <= 8 { 8 } else { 16 },
    // SAFETY: `kernels` gives this table only to a CPU that has the features.
    conv_bin: |c, x, y, out| unsafe { conv_bin(c, x, y, out) },
    // SAFETY: `kernels` gives this table only to a CPU that has the features.
    conv: |c, x, y, out| unsafe { conv(c, x, y, out) },
    // SAFETY: `kernels` gives this table only to a CPU that has the features.
    pool: |p, x, channels, y, out| unsafe { pool(p, x, channels, y, out) },
    // SAFETY: `kernels` gives this table only to a CPU that has the features.
    affine: |row, scale, shift| unsafe { affine(row, scale, shift) },
    // SAFETY: `kernels` gives this table only to a CPU that has the features.
    add: |row, other| unsafe { add(row, other) },
    // SAFETY: `kernels` gives this table only to a CPU that has the features.
    prelu: |row, p| unsafe { prelu(row, p) },
    // SAFETY: `kernels` gives this table only to a CPU that has the features.
    sign: |row, threshold, out| unsafe { sign(row, threshold, out) },
    // SAFETY: `kernels` gives this table only to a CPU that has the features.
    moment: |m, x, mean, sums| unsafe { moment(m, x, mean, sums) },
};

pub(super) fn kernels() -> Option<&'static Kernels> {
    let detected = std::is_x86_feature_detected!("avx2")
        && std::is_x86_feature_detected!("fma")
        && std::is_x86_feature_detected!("popcnt")
        && std::is_x86_feature_detected!("bmi1")
        && std::is_x86_feature_detected!("bmi2");
    detected.then_some(&KERNELS)
}

#[target_feature(enable = "avx2,fma,popcnt,bmi1,bmi2")]
fn conv_bin(conv: &ConvBin, x: BitMap<'_>, y: usize, out: &mut [f32]) {
    body::conv_bin::<__m256i, 8, 2, 4>(conv, x, y, out);
}

#[target_feature(enable = "avx2,fma,popcnt,bmi1,bmi2")]
fn conv(conv: &Conv, x: FloatMap<'_>, y: usize, out: &mut [f32]) {
    match conv.lanes {
        8 => body::conv::<__m256, 8, 1, 8>(conv, x, y, out),
        _ => body::conv::<__m256, 16, 2, 4>(conv, x, y, out),
    }
}

#[target_feature(enable = "avx2,fma,popcnt,bmi1,bmi2")]
fn pool(pool: Pool, x: FloatMap<'_>, channels: usize, y: usize, out: &mut [f32]) {
    body::pool(pool, x, channels, y, out);
}

#[target_feature(enable = "avx2,fma,popcnt,bmi1,bmi2")]
fn affine(row: &mut [f32], scale: &[f32], shift: &[f32]) {
    body::affine::<__m256, true>(row, scale, shift);
}

#[target_feature(enable = "avx2,fma,popcnt,bmi1,bmi2")]
fn add(row: &mut [f32], other: &[f32]) {
    body::add(row, other);
}

#[target_feature(enable = "avx2,fma,popcnt,bmi1,bmi2")]
fn prelu(row: &mut [f32], p: PreluVectors<'_>) {
    body::prelu::<__m256>(row, p);
}

#[target_feature(enable = "avx2,fma,popcnt,bmi1,bmi2")]
fn sign(row: &[f32], threshold: &[f32], out: &mut [u64]) {
    body::sign::<__m256>(row, threshold, out);
}

#[target_feature(enable = "avx2,fma,popcnt,bmi1,bmi2")]
fn moment(moment: Moment, x: &[f32], mean: &[f32], sums: &mut [f32]) {
    body::moment::<true>(moment, x, mean, sums);
}

/// Used only in the functions above, which enable its instructions.
impl Vector for __m256 {
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn load(from: &[f32]) -> Self {
        let from = &from[..8];
        // SAFETY: the slice holds 8 floats; the caller has enabled the instructions.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn add(self, y: Self) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm256_add_ps(self, y) }
    }

    #[inline(always)]
    fn sub(self, y: Self) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm256_sub_ps(self, y) }
    }

    #[inline(always)]
    fn mul(self, y: Self) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm256_mul_ps(self, y) }
    }

    #[inline(always)]
    fn mul_add(self, y: Self, z: Self) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm256_fmadd_ps(self, y, z) }
    }

    #[inline(always)]
    fn if_positive(self, yes: Self, no: Self) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_GT_OQ>(self, _mm256_setzero_ps())) }
    }

    #[inline(always)]
    fn greater(self, y: Self) -> u64 {
        // SAFETY: the caller has enabled the instructions.
        let mask = unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self, y)) };
        u64::from(mask.cast_unsigned())
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        let to = &mut to[..8];
        // SAFETY: the slice holds 8 floats; the caller has enabled the instructions.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), self) }
    }
}

/// Used only in the functions above, which enable its instructions. Counts the bits of each half byte with a
/// table (Mula, Kurz, Lemire 2018, section 3).
impl Counter for __m256i {
    const LANES: usize = 4;

    #[inline(always)]
    fn splat(word: u64) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm256_set1_epi64x(word.cast_signed()) }
    }

    #[inline(always)]
    fn load(from: &[u64]) -> Self {
        let from = &from[..4];
        // SAFETY: the slice holds 4 words; the caller has enabled the instructions.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn add_differences(self, x: Self, y: Self) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe {
            let table = _mm256_setr_epi8(
                0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, //
                0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
            );
            let half = _mm256_set1_epi8(15);
            let bits = _mm256_xor_si256(x, y);
            let low = _mm256_shuffle_epi8(table, _mm256_and_si256(bits, half));
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bits), half);
            let bytes = _mm256_add_epi8(low, _mm256_shuffle_epi8(table, high));
            _mm256_add_epi64(self, _mm256_sad_epu8(bytes, _mm256_setzero_si256()))
        }
    }

    #[inline(always)]
    fn store(self, to: &mut [u64]) {
        let to = &mut to[..4];
        // SAFETY: the slice holds 4 words; the caller has enabled the instructions.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), self) }
    }
}
