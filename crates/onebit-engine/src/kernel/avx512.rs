//! The shared loops compiled for AVX-512 with VPOPCNTDQ.
#![allow(unsafe_code)]

use core::arch::x86_64::{
    __m512, __m512i, _CMP_GT_OQ, _mm512_add_epi64, _mm512_add_ps, _mm512_cmp_ps_mask,
    _mm512_fmadd_ps, _mm512_loadu_epi64, _mm512_loadu_ps, _mm512_mask_blend_ps, _mm512_mul_ps,
    _mm512_popcnt_epi64, _mm512_set1_epi64, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_epi64,
    _mm512_storeu_ps, _mm512_sub_ps, _mm512_xor_si512,
};

use super::vector::{Counter, Vector};
use super::{Isa, Kernels, Moment, body};
use crate::op::{BitMap, Conv, ConvBin, FloatMap, Pool, PreluVectors};

static KERNELS: Kernels = Kernels {
    isa: Isa::Avx512,
    conv_bin_lanes: |_| 16,
    conv_lanes: |outputs| if outputs <= 16 { 16 } else { 32 },
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
    let detected = std::is_x86_feature_detected!("avx512f")
        && std::is_x86_feature_detected!("avx512bw")
        && std::is_x86_feature_detected!("avx512dq")
        && std::is_x86_feature_detected!("avx512vl")
        && std::is_x86_feature_detected!("avx512vpopcntdq")
        && std::is_x86_feature_detected!("avx2")
        && std::is_x86_feature_detected!("fma")
        && std::is_x86_feature_detected!("popcnt")
        && std::is_x86_feature_detected!("bmi1")
        && std::is_x86_feature_detected!("bmi2");
    detected.then_some(&KERNELS)
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx2,fma,popcnt,bmi1,bmi2"
)]
fn conv_bin(conv: &ConvBin, x: BitMap<'_>, y: usize, out: &mut [f32]) {
    body::conv_bin::<__m512i, 16, 2, 4>(conv, x, y, out);
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx2,fma,popcnt,bmi1,bmi2"
)]
fn conv(conv: &Conv, x: FloatMap<'_>, y: usize, out: &mut [f32]) {
    match conv.lanes {
        16 => body::conv::<__m512, 16, 1, 8>(conv, x, y, out),
        _ => body::conv::<__m512, 32, 2, 8>(conv, x, y, out),
    }
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx2,fma,popcnt,bmi1,bmi2"
)]
fn pool(pool: Pool, x: FloatMap<'_>, channels: usize, y: usize, out: &mut [f32]) {
    body::pool(pool, x, channels, y, out);
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx2,fma,popcnt,bmi1,bmi2"
)]
fn affine(row: &mut [f32], scale: &[f32], shift: &[f32]) {
    body::affine::<__m512, true>(row, scale, shift);
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx2,fma,popcnt,bmi1,bmi2"
)]
fn add(row: &mut [f32], other: &[f32]) {
    body::add(row, other);
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx2,fma,popcnt,bmi1,bmi2"
)]
fn prelu(row: &mut [f32], p: PreluVectors<'_>) {
    body::prelu::<__m512>(row, p);
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx2,fma,popcnt,bmi1,bmi2"
)]
fn sign(row: &[f32], threshold: &[f32], out: &mut [u64]) {
    body::sign::<__m512>(row, threshold, out);
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx2,fma,popcnt,bmi1,bmi2"
)]
fn moment(moment: Moment, x: &[f32], mean: &[f32], sums: &mut [f32]) {
    body::moment::<true>(moment, x, mean, sums);
}

/// Used only in the functions above, which enable its instructions.
impl Vector for __m512 {
    const LANES: usize = 16;

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
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(word: u64) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm512_set1_epi64(word.cast_signed()) }
    }

    #[inline(always)]
    fn load(from: &[u64]) -> Self {
        let from = &from[..8];
        // SAFETY: the slice holds 8 words; the caller has enabled the instructions.
        unsafe { _mm512_loadu_epi64(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn add_differences(self, x: Self, y: Self) -> Self {
        // SAFETY: the caller has enabled the instructions.
        unsafe { _mm512_add_epi64(self, _mm512_popcnt_epi64(_mm512_xor_si512(x, y))) }
    }

    #[inline(always)]
    fn store(self, to: &mut [u64]) {
        let to = &mut to[..8];
        // SAFETY: the slice holds 8 words; the caller has enabled the instructions.
        unsafe { _mm512_storeu_epi64(to.as_mut_ptr().cast(), self) }
    }
}
