//! Peak rates of x86-64: loops over registers of the instructions that kernels can be made of.
#![allow(unsafe_code, reason = "barriers for the compiler")]

use std::arch::asm;
use std::arch::x86_64::*;
use std::array;

use super::{Factors, Peak, Tile, Words, nibble, table};

/// Counts of at most 8 that a byte holds.
const COUNTS: u64 = 31;
/// Counts of at most 4 that a byte holds.
const LOOKUPS: u64 = 63;
/// Sums of three counts of at most 4 that the bytes and words of [`pairs_256`] hold.
const PAIRED: u64 = 20;

/// Hides from the compiler that operands are the same in every turn, and holds sums in their registers.
macro_rules! opaque {
    ($register:ident: $($vectors:ident),+) => {
        $(for vector in &mut $vectors {
            // SAFETY: no instruction; the register keeps its value.
            unsafe {
                asm!("/* {0} */", inout($register) *vector, options(nomem, nostack, preserves_flags));
            }
        })+
    };
}

pub(super) fn peaks() -> Vec<Peak> {
    let popcnt = is_x86_feature_detected!("popcnt");
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
    let vpopcntdq = avx512 && is_x86_feature_detected!("avx512vpopcntdq");
    let vnni = avx512 && is_x86_feature_detected!("avx512vnni");
    let tile = |factors, bytes, [a, w]: [usize; 2], repeats| Tile { factors, bytes, a, w, repeats };
    vec![
        Peak {
            name: "zmm: vpxord, vpopcntd, vpaddd",
            isas: &["avx512"],
            detected: vpopcntdq,
            tile: tile(Factors::Bits, 64, [4, 4], 1),
            sum: count_512,
        },
        Peak {
            name: "zmm: 3 vpternlogd, vpopcntd, vpaddd for two words",
            isas: &["avx512"],
            detected: vpopcntdq,
            tile: tile(Factors::Bits, 128, [3, 3], 1),
            sum: carry_save_512,
        },
        Peak {
            name: "zmm: vpxord, 2 vpshufb counts, vpaddb",
            isas: &["avx512bw"],
            detected: avx512,
            tile: tile(Factors::Bits, 64, [4, 2], COUNTS),
            sum: shuffled_count_512,
        },
        Peak {
            name: "zmm: vpshufb table of an activation nibble, vpaddb",
            isas: &["avx512bw"],
            detected: avx512,
            tile: tile(Factors::Nibbles, 64, [4, 4], LOOKUPS),
            sum: lookup_512,
        },
        Peak {
            name: "zmm: vpshufb table of two nibbles, three added, then split",
            isas: &["avx512bw"],
            detected: avx512,
            tile: tile(Factors::Nibbles, 64, [4, 3], PAIRED),
            sum: pairs_512,
        },
        Peak {
            name: "ymm: vpxor, 2 vpshufb counts, vpaddb",
            isas: &["avx2"],
            detected: avx2,
            tile: tile(Factors::Bits, 32, [3, 2], COUNTS),
            sum: shuffled_count_256,
        },
        Peak {
            name: "ymm: vpshufb table of an activation nibble, vpaddb",
            isas: &["avx2"],
            detected: avx2,
            tile: tile(Factors::Nibbles, 32, [4, 2], LOOKUPS),
            sum: lookup_256,
        },
        Peak {
            name: "ymm: vpshufb table of two nibbles, three added, then split",
            isas: &["avx2"],
            detected: avx2,
            tile: tile(Factors::Nibbles, 32, [4, 3], PAIRED),
            sum: pairs_256,
        },
        Peak {
            name: "u64: xor, popcnt, add",
            isas: &["portable"],
            detected: popcnt,
            tile: tile(Factors::Bits, 8, [3, 2], 1),
            sum: count_64,
        },
        Peak {
            name: "zmm: vpdpbusd",
            isas: &[],
            detected: vnni,
            tile: tile(Factors::Bytes, 64, [4, 4], 1),
            sum: dot_512,
        },
        Peak {
            name: "zmm: vfmadd231ps",
            isas: &["avx512", "avx512bw"],
            detected: avx512,
            tile: tile(Factors::Floats, 64, [4, 4], 1),
            sum: multiply_add_512,
        },
        Peak {
            name: "ymm: vfmadd231ps",
            isas: &["avx2"],
            detected: avx2,
            tile: tile(Factors::Floats, 32, [3, 3], 1),
            sum: multiply_add_256,
        },
    ]
}

#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn count_512(turns: u64, words: &Words) -> u64 {
    let (mut a, mut w) = (zmm::<4>(words, 0), zmm::<4>(words, 4));
    let mut counts = [_mm512_setzero_si512(); 16];
    for _ in 0..turns {
        opaque!(zmm_reg: a, w, counts);
        for (i, count) in counts.iter_mut().enumerate() {
            let differ = _mm512_xor_si512(a[i / 4], w[i % 4]);
            *count = _mm512_add_epi32(*count, _mm512_popcnt_epi32(differ));
        }
    }
    counts.into_iter().map(|count| sum_of_u32(count)).sum()
}

/// A full adder takes two words and the bit kept from the words before: `s2 = s ^ a0 ^ w0 ^ a1 ^ w1` is kept,
/// and the carry, the majority of `s`, `s ^ s1` and `s1 ^ s2`, is counted twice.
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn carry_save_512(turns: u64, words: &Words) -> u64 {
    const XOR: i32 = 0x96;
    const CARRY: i32 = 0x74;
    let (mut a, mut w) = (zmm::<6>(words, 0), zmm::<6>(words, 6));
    let mut counts = [_mm512_setzero_si512(); 9];
    let mut kept = counts;
    for _ in 0..turns {
        opaque!(zmm_reg: a, w, counts);
        for (i, (count, kept)) in counts.iter_mut().zip(&mut kept).enumerate() {
            let (a, w) = (&a[i / 3 * 2..], &w[i % 3 * 2..]);
            let s1 = _mm512_ternarylogic_epi32::<XOR>(*kept, a[0], w[0]);
            let s2 = _mm512_ternarylogic_epi32::<XOR>(s1, a[1], w[1]);
            let carry = _mm512_ternarylogic_epi32::<CARRY>(*kept, s1, s2);
            *count = _mm512_add_epi32(*count, _mm512_popcnt_epi32(carry));
            *kept = s2;
        }
    }
    let kept = kept.into_iter().map(|bits| sum_of_u32(_mm512_popcnt_epi32(bits)));
    let twice = counts.into_iter().map(|count| sum_of_u32(count));
    2 * twice.sum::<u64>() + kept.sum::<u64>()
}

#[target_feature(enable = "avx512f,avx512bw")]
fn shuffled_count_512(turns: u64, words: &Words) -> u64 {
    let (mut a, mut w) = (zmm::<4>(words, 0), zmm::<2>(words, 4));
    let (counts_of, low) = (_mm512_broadcast_i32x4(xmm(table(0))), _mm512_set1_epi8(15));
    let mut sum = _mm512_setzero_si512();
    for _ in 0..turns {
        let mut counts = [_mm512_setzero_si512(); 8];
        for _ in 0..COUNTS {
            opaque!(zmm_reg: a, w, counts);
            for (i, count) in counts.iter_mut().enumerate() {
                let differ = _mm512_xor_si512(a[i / 2], w[i % 2]);
                let high = _mm512_and_si512(_mm512_srli_epi16::<4>(differ), low);
                let of_high = _mm512_shuffle_epi8(counts_of, high);
                let of_low = _mm512_shuffle_epi8(counts_of, _mm512_and_si512(differ, low));
                *count = _mm512_add_epi8(*count, _mm512_add_epi8(of_high, of_low));
            }
        }
        for count in counts {
            sum = _mm512_add_epi64(sum, _mm512_sad_epu8(count, _mm512_setzero_si512()));
        }
    }
    sum_512(sum)
}

/// "T-MAC: CPU Renaissance via Table Lookup for Low-Bit LLM Deployment on Edge", Wei et al., EuroSys 2025.
#[target_feature(enable = "avx512f,avx512bw")]
fn lookup_512(turns: u64, words: &Words) -> u64 {
    let mut tables: [__m512i; 4] =
        array::from_fn(|i| _mm512_broadcast_i32x4(xmm(table(nibble(words, i)))));
    let mut w = zmm::<4>(words, 4).map(|w| _mm512_and_si512(w, _mm512_set1_epi8(15)));
    let mut sum = _mm512_setzero_si512();
    for _ in 0..turns {
        let mut counts = [_mm512_setzero_si512(); 16];
        for _ in 0..LOOKUPS {
            opaque!(zmm_reg: tables, w, counts);
            for (i, count) in counts.iter_mut().enumerate() {
                *count = _mm512_add_epi8(*count, _mm512_shuffle_epi8(tables[i / 4], w[i % 4]));
            }
        }
        for count in counts {
            sum = _mm512_add_epi64(sum, _mm512_sad_epu8(count, _mm512_setzero_si512()));
        }
    }
    sum_512(sum)
}

/// The engine's way on this register: an entry has the counts of two activations, four bits each.
#[target_feature(enable = "avx512f,avx512bw")]
fn pairs_512(turns: u64, words: &Words) -> u64 {
    let mut tables: [__m512i; 2] = array::from_fn(|i| {
        let [first, second] = [2 * i, 2 * i + 1].map(|a| table(nibble(words, a)));
        _mm512_broadcast_i32x4(xmm(array::from_fn(|w| first[w] | second[w] << 4)))
    });
    let low = _mm512_set1_epi8(15);
    let mut w = zmm::<3>(words, 4).map(|w| _mm512_and_si512(w, low));
    let mut sum = _mm512_setzero_si512();
    for _ in 0..turns {
        let (mut firsts, mut seconds) = ([_mm512_setzero_si512(); 2], [_mm512_setzero_si512(); 2]);
        for _ in 0..PAIRED {
            opaque!(zmm_reg: tables, w, firsts, seconds);
            for i in 0..2 {
                let [a, b, c] = w.map(|w| _mm512_shuffle_epi8(tables[i], w));
                let entries = _mm512_add_epi8(_mm512_add_epi8(a, b), c);
                firsts[i] = _mm512_add_epi8(firsts[i], _mm512_and_si512(entries, low));
                seconds[i] = _mm512_add_epi16(seconds[i], _mm512_srli_epi16::<4>(entries));
            }
        }
        for i in 0..2 {
            let odd = _mm512_slli_epi16::<4>(_mm512_srli_epi16::<8>(firsts[i]));
            for counts in [firsts[i], _mm512_sub_epi16(seconds[i], odd)] {
                sum = _mm512_add_epi64(sum, _mm512_sad_epu8(counts, _mm512_setzero_si512()));
            }
        }
    }
    sum_512(sum)
}

#[target_feature(enable = "avx2")]
fn shuffled_count_256(turns: u64, words: &Words) -> u64 {
    let (mut a, mut w) = (ymm::<3>(words, 0), ymm::<2>(words, 3));
    let (counts_of, low) = (_mm256_broadcastsi128_si256(xmm(table(0))), _mm256_set1_epi8(15));
    let mut sum = _mm256_setzero_si256();
    for _ in 0..turns {
        let mut counts = [_mm256_setzero_si256(); 6];
        for _ in 0..COUNTS {
            opaque!(ymm_reg: a, w, counts);
            for (i, count) in counts.iter_mut().enumerate() {
                let differ = _mm256_xor_si256(a[i / 2], w[i % 2]);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(differ), low);
                let of_high = _mm256_shuffle_epi8(counts_of, high);
                let of_low = _mm256_shuffle_epi8(counts_of, _mm256_and_si256(differ, low));
                *count = _mm256_add_epi8(*count, _mm256_add_epi8(of_high, of_low));
            }
        }
        for count in counts {
            sum = _mm256_add_epi64(sum, _mm256_sad_epu8(count, _mm256_setzero_si256()));
        }
    }
    sum_256(sum)
}

/// See [`lookup_512`].
#[target_feature(enable = "avx2")]
fn lookup_256(turns: u64, words: &Words) -> u64 {
    let mut tables: [__m256i; 4] =
        array::from_fn(|i| _mm256_broadcastsi128_si256(xmm(table(nibble(words, i)))));
    let mut w = ymm::<2>(words, 4).map(|w| _mm256_and_si256(w, _mm256_set1_epi8(15)));
    let mut sum = _mm256_setzero_si256();
    for _ in 0..turns {
        let mut counts = [_mm256_setzero_si256(); 8];
        for _ in 0..LOOKUPS {
            opaque!(ymm_reg: tables, w, counts);
            for (i, count) in counts.iter_mut().enumerate() {
                *count = _mm256_add_epi8(*count, _mm256_shuffle_epi8(tables[i / 2], w[i % 2]));
            }
        }
        for count in counts {
            sum = _mm256_add_epi64(sum, _mm256_sad_epu8(count, _mm256_setzero_si256()));
        }
    }
    sum_256(sum)
}

/// See [`pairs_512`].
#[target_feature(enable = "avx2")]
fn pairs_256(turns: u64, words: &Words) -> u64 {
    let mut tables: [__m256i; 2] = array::from_fn(|i| {
        let [first, second] = [2 * i, 2 * i + 1].map(|a| table(nibble(words, a)));
        _mm256_broadcastsi128_si256(xmm(array::from_fn(|w| first[w] | second[w] << 4)))
    });
    let low = _mm256_set1_epi8(15);
    let mut w = ymm::<3>(words, 4).map(|w| _mm256_and_si256(w, low));
    let mut sum = _mm256_setzero_si256();
    for _ in 0..turns {
        let (mut firsts, mut seconds) = ([_mm256_setzero_si256(); 2], [_mm256_setzero_si256(); 2]);
        for _ in 0..PAIRED {
            opaque!(ymm_reg: tables, w, firsts, seconds);
            for i in 0..2 {
                let [a, b, c] = w.map(|w| _mm256_shuffle_epi8(tables[i], w));
                let entries = _mm256_add_epi8(_mm256_add_epi8(a, b), c);
                firsts[i] = _mm256_add_epi8(firsts[i], _mm256_and_si256(entries, low));
                seconds[i] = _mm256_add_epi16(seconds[i], _mm256_srli_epi16::<4>(entries));
            }
        }
        for i in 0..2 {
            let odd = _mm256_slli_epi16::<4>(_mm256_srli_epi16::<8>(firsts[i]));
            for counts in [firsts[i], _mm256_sub_epi16(seconds[i], odd)] {
                sum = _mm256_add_epi64(sum, _mm256_sad_epu8(counts, _mm256_setzero_si256()));
            }
        }
    }
    sum_256(sum)
}

#[target_feature(enable = "popcnt")]
fn count_64(turns: u64, words: &Words) -> u64 {
    let (mut a, mut w) = ([words[0], words[1], words[2]], [words[3], words[4]]);
    let mut counts = [0; 6];
    for _ in 0..turns {
        opaque!(reg: a, w);
        for (i, count) in counts.iter_mut().enumerate() {
            *count += u64::from((a[i / 2] ^ w[i % 2]).count_ones());
        }
        opaque!(reg: counts);
    }
    counts.into_iter().sum()
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn dot_512(turns: u64, words: &Words) -> u64 {
    let (mut a, mut w) = (zmm::<4>(words, 0), zmm::<4>(words, 4));
    let mut sums = [_mm512_setzero_si512(); 16];
    for _ in 0..turns {
        opaque!(zmm_reg: a, w, sums);
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = _mm512_dpbusd_epi32(*sum, a[i / 4], w[i % 4]);
        }
    }
    sums.into_iter().map(|sum| i64::from(_mm512_reduce_add_epi32(sum))).sum::<i64>() as u64
}

#[target_feature(enable = "avx512f")]
fn multiply_add_512(turns: u64, words: &Words) -> u64 {
    let float = |v| _mm512_cvtepi32_ps(_mm512_and_si512(v, _mm512_set1_epi32(7)));
    let (mut a, mut w) = (zmm::<4>(words, 0).map(float), zmm::<4>(words, 4).map(float));
    let mut sums = [_mm512_setzero_ps(); 16];
    for _ in 0..turns {
        opaque!(zmm_reg: a, w, sums);
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = _mm512_fmadd_ps(a[i / 4], w[i % 4], *sum);
        }
    }
    sums.into_iter().map(|sum| _mm512_reduce_add_ps(sum) as u64).sum()
}

#[target_feature(enable = "avx2,fma")]
fn multiply_add_256(turns: u64, words: &Words) -> u64 {
    let float = |v| _mm256_cvtepi32_ps(_mm256_and_si256(v, _mm256_set1_epi32(7)));
    let (mut a, mut w) = (ymm::<3>(words, 0).map(float), ymm::<3>(words, 3).map(float));
    let mut sums = [_mm256_setzero_ps(); 9];
    for _ in 0..turns {
        opaque!(ymm_reg: a, w, sums);
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = _mm256_fmadd_ps(a[i / 3], w[i % 3], *sum);
        }
    }
    let integers = sums.map(|sum| _mm256_cvtps_epi32(sum));
    let low = _mm256_set1_epi64x(0xffff_ffff);
    let pairs =
        integers.map(|v| _mm256_add_epi64(_mm256_and_si256(v, low), _mm256_srli_epi64::<32>(v)));
    pairs.into_iter().map(|pair| sum_256(pair)).sum()
}

#[target_feature(enable = "avx512f")]
fn zmm<const N: usize>(words: &Words, first: usize) -> [__m512i; N] {
    array::from_fn(|i| {
        let w = |lane| words[8 * (first + i) + lane] as i64;
        _mm512_setr_epi64(w(0), w(1), w(2), w(3), w(4), w(5), w(6), w(7))
    })
}

#[target_feature(enable = "avx2")]
fn ymm<const N: usize>(words: &Words, first: usize) -> [__m256i; N] {
    array::from_fn(|i| {
        let w = |lane| words[4 * (first + i) + lane] as i64;
        _mm256_setr_epi64x(w(0), w(1), w(2), w(3))
    })
}

#[target_feature(enable = "sse2")]
fn xmm(table: [u8; 16]) -> __m128i {
    let bits = u128::from_le_bytes(table);
    _mm_set_epi64x((bits >> 64) as i64, bits as i64)
}

#[target_feature(enable = "avx512f")]
fn sum_of_u32(counts: __m512i) -> u64 {
    u64::from(_mm512_reduce_add_epi32(counts) as u32)
}

#[target_feature(enable = "avx512f")]
fn sum_512(counts: __m512i) -> u64 {
    _mm512_reduce_add_epi64(counts) as u64
}

#[target_feature(enable = "avx2")]
fn sum_256(v: __m256i) -> u64 {
    let halves = _mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
    (_mm_cvtsi128_si64(halves) + _mm_cvtsi128_si64(_mm_unpackhi_epi64(halves, halves))) as u64
}
