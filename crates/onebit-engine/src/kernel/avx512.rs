//! The shared loops compiled for AVX-512 with VPOPCNTDQ.
#![allow(unsafe_code)]

use super::{Isa, Kernels, Moment, body};
use crate::op::{BitMap, Conv, ConvBin, FloatMap, Pool, PreluVectors};

static KERNELS: Kernels = Kernels {
    isa: Isa::Avx512,
    conv_bin_lanes: |_| 16,
    conv_lanes: |_| 32,
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
    body::conv_bin::<16, 4>(conv, x, y, out);
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx2,fma,popcnt,bmi1,bmi2"
)]
fn conv(conv: &Conv, x: FloatMap<'_>, y: usize, out: &mut [f32]) {
    body::conv::<true, 32, 4>(conv, x, y, out);
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
    body::affine::<true>(row, scale, shift);
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
    body::prelu(row, p);
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx2,fma,popcnt,bmi1,bmi2"
)]
fn sign(row: &[f32], threshold: &[f32], out: &mut [u64]) {
    body::sign(row, threshold, out);
}

#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx2,fma,popcnt,bmi1,bmi2"
)]
fn moment(moment: Moment, x: &[f32], mean: &[f32], sums: &mut [f32]) {
    body::moment::<true>(moment, x, mean, sums);
}
