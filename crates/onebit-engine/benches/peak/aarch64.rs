//! Peak rates of 64-bit ARM: loops over registers of the instructions that kernels can be made of.
#![allow(unsafe_code, reason = "barriers for the compiler")]

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};
use std::array;

use super::{Factors, Peak, Tile, Words, nibble, table};

/// Counts of at most 8 that a byte holds.
const COUNTS: u64 = 31;
/// Counts of at most 4 that a byte holds.
const LOOKUPS: u64 = 63;

/// Hides from the compiler that operands are the same in every turn, and holds sums in their registers.
macro_rules! opaque {
    ($($vectors:ident),+) => {
        $(for vector in &mut $vectors {
            // SAFETY: no instruction; the register keeps its value.
            unsafe {
                asm!("/* {0:v} */", inout(vreg) *vector, options(nomem, nostack, preserves_flags));
            }
        })+
    };
}

pub(super) fn peaks() -> Vec<Peak> {
    let detected = is_aarch64_feature_detected!("neon");
    let tile = |factors, w, repeats| Tile { factors, bytes: 16, a: 4, w, repeats };
    vec![
        Peak {
            name: "128 bits: eor, cnt, add",
            isas: &["neon", "portable"],
            detected,
            tile: tile(Factors::Bits, 3, COUNTS),
            sum: count,
        },
        Peak {
            name: "128 bits: tbl of an activation nibble, add",
            isas: &["neon"],
            detected,
            tile: tile(Factors::Nibbles, 4, LOOKUPS),
            sum: lookup,
        },
        Peak {
            name: "128 bits: fmla",
            isas: &["neon"],
            detected,
            tile: tile(Factors::Floats, 4, 1),
            sum: multiply_add,
        },
    ]
}

#[target_feature(enable = "neon")]
fn count(turns: u64, words: &Words) -> u64 {
    let (mut a, mut w) = (vectors::<4>(words, 0), vectors::<3>(words, 4));
    let mut sum = 0;
    for _ in 0..turns {
        let mut counts = [vdupq_n_u8(0); 12];
        for _ in 0..COUNTS {
            opaque!(a, w, counts);
            for (i, count) in counts.iter_mut().enumerate() {
                *count = vaddq_u8(*count, vcntq_u8(veorq_u8(a[i / 3], w[i % 3])));
            }
        }
        sum += counts.into_iter().map(|count| u64::from(vaddlvq_u8(count))).sum::<u64>();
    }
    sum
}

/// "T-MAC: CPU Renaissance via Table Lookup for Low-Bit LLM Deployment on Edge", Wei et al., EuroSys 2025.
#[target_feature(enable = "neon")]
fn lookup(turns: u64, words: &Words) -> u64 {
    let mut tables: [_; 4] = array::from_fn(|i| {
        let bits = u128::from_le_bytes(table(nibble(words, i)));
        vector(bits as u64, (bits >> 64) as u64)
    });
    let mut w = vectors::<4>(words, 4).map(|w| vandq_u8(w, vdupq_n_u8(15)));
    let mut sum = 0;
    for _ in 0..turns {
        let mut counts = [vdupq_n_u8(0); 16];
        for _ in 0..LOOKUPS {
            opaque!(tables, w, counts);
            for (i, count) in counts.iter_mut().enumerate() {
                *count = vaddq_u8(*count, vqtbl1q_u8(tables[i / 4], w[i % 4]));
            }
        }
        sum += counts.into_iter().map(|count| u64::from(vaddlvq_u8(count))).sum::<u64>();
    }
    sum
}

#[target_feature(enable = "neon")]
fn multiply_add(turns: u64, words: &Words) -> u64 {
    let float = |v| vcvtq_f32_u32(vandq_u32(vreinterpretq_u32_u8(v), vdupq_n_u32(7)));
    let (mut a, mut w) = (vectors::<4>(words, 0).map(float), vectors::<4>(words, 4).map(float));
    let mut sums = [vdupq_n_f32(0.0); 16];
    for _ in 0..turns {
        opaque!(a, w, sums);
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = vfmaq_f32(*sum, a[i / 4], w[i % 4]);
        }
    }
    sums.into_iter().map(|sum| vaddvq_f32(sum) as u64).sum()
}

#[target_feature(enable = "neon")]
fn vectors<const N: usize>(words: &Words, first: usize) -> [uint8x16_t; N] {
    array::from_fn(|i| vector(words[2 * (first + i)], words[2 * (first + i) + 1]))
}

#[target_feature(enable = "neon")]
fn vector(low: u64, high: u64) -> uint8x16_t {
    vcombine_u8(vcreate_u8(low), vcreate_u8(high))
}
