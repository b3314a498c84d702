//! The inverse cosine transform of libjpeg's `jidctint.c`: Loeffler, Ligtenberg and Moschytz, in 13-bit fixed point.

use pulp::{Arch, Simd, WithSimd};

const CONST_BITS: i32 = 13;
const PASS1_BITS: i32 = 2;
const CENTRE: i32 = 128;

const F_0_298: i32 = 2446;
const F_0_390: i32 = 3196;
const F_0_541: i32 = 4433;
const F_0_765: i32 = 6270;
const F_0_899: i32 = 7373;
const F_1_175: i32 = 9633;
const F_1_501: i32 = 12299;
const F_1_847: i32 = 15137;
const F_1_961: i32 = 16069;
const F_2_053: i32 = 16819;
const F_2_562: i32 = 20995;
const F_3_072: i32 = 25172;

/// Writes the 8 x 8 samples of a block to the start of `samples`, whose rows are `stride` apart.
pub(super) fn block(
    coefficients: &[i16; 64],
    steps: &[u16; 64],
    samples: &mut [u8],
    stride: usize,
) {
    let (top, bottom) = coefficients.split_at(32);
    let left = |row: &[i16; 8]| (row[4] | row[5] | row[6] | row[7]) == 0;
    let low = bottom.iter().all(|&one| one == 0) && top.as_chunks().0.iter().all(left);
    let block = if low {
        Arch::new().dispatch(Transform::<4> { coefficients, steps })
    } else {
        Arch::new().dispatch(Transform::<8> { coefficients, steps })
    };
    for (row, samples) in block.iter().zip(samples.chunks_mut(stride)) {
        if let Some(samples) = samples.first_chunk_mut() {
            *samples = *row;
        }
    }
}

/// [`transform`], compiled for each of the instruction sets of which the CPU's best is taken.
struct Transform<'a, const N: usize> {
    coefficients: &'a [i16; 64],
    steps: &'a [u16; 64],
}

impl<const N: usize> WithSimd for Transform<'_, N> {
    type Output = [[u8; 8]; 8];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Self::Output {
        transform::<N>(self.coefficients, self.steps)
    }
}

/// The samples of a block whose rows and columns of coefficients from `N` on are zero: each loop over lines works on
/// memory that has them side by side, so that the compiler does eight at once.
#[inline(always)]
fn transform<const N: usize>(coefficients: &[i16; 64], steps: &[u16; 64]) -> [[u8; 8]; 8] {
    let mut x = [[0; 8]; 8];
    for (i, x) in x.iter_mut().enumerate().take(N) {
        for (j, x) in x.iter_mut().enumerate() {
            *x = i32::from(coefficients[i * 8 + j]).wrapping_mul(i32::from(steps[i * 8 + j]));
        }
    }
    let mut columns = [[0; 8]; 8];
    for j in 0..8 {
        let outputs = line::<{ CONST_BITS - PASS1_BITS }>(column(&x, j));
        for (row, value) in columns.iter_mut().zip(outputs) {
            row[j] = value;
        }
    }
    let mut x = [[0; 8]; 8];
    for (i, row) in columns.iter().enumerate() {
        for (column, &value) in x.iter_mut().zip(row).take(N) {
            column[i] = value;
        }
    }
    let mut turned = [[0; 8]; 8];
    for j in 0..8 {
        let outputs = line::<{ CONST_BITS + PASS1_BITS + 3 }>(column(&x, j));
        for (row, value) in turned.iter_mut().zip(outputs) {
            row[j] = value.wrapping_add(CENTRE).clamp(0, 255) as u8;
        }
    }
    let mut samples = [[0; 8]; 8];
    for (i, column) in turned.iter().enumerate() {
        for (row, &value) in samples.iter_mut().zip(column) {
            row[i] = value;
        }
    }
    samples
}

/// As [`block`], where only the first coefficient is not zero.
pub(super) fn flat(coefficient: i16, step: u16, samples: &mut [u8], stride: usize) {
    let scaled = i32::from(coefficient).wrapping_mul(i32::from(step));
    let value = (scaled.wrapping_add(4) >> 3).wrapping_add(CENTRE).clamp(0, 255) as u8;
    for row in samples.chunks_mut(stride).take(8) {
        row.iter_mut().take(8).for_each(|sample| *sample = value);
    }
}

#[inline(always)]
fn column(x: &[[i32; 8]; 8], j: usize) -> [i32; 8] {
    [x[0][j], x[1][j], x[2][j], x[3][j], x[4][j], x[5][j], x[6][j], x[7][j]]
}

#[inline(always)]
fn mul(a: i32, b: i32) -> i32 {
    a.wrapping_mul(b)
}

#[inline(always)]
fn add(a: i32, b: i32) -> i32 {
    a.wrapping_add(b)
}

#[inline(always)]
fn sub(a: i32, b: i32) -> i32 {
    a.wrapping_sub(b)
}

/// One dimension, scaled down by `SHIFT` bits. Only a damaged file makes the sums wrap.
#[inline(always)]
fn line<const SHIFT: i32>(x: [i32; 8]) -> [i32; 8] {
    let z1 = mul(add(x[2], x[6]), F_0_541);
    let even2 = sub(z1, mul(x[6], F_1_847));
    let even3 = add(z1, mul(x[2], F_0_765));
    let even0 = mul(add(x[0], x[4]), 1 << CONST_BITS);
    let even1 = mul(sub(x[0], x[4]), 1 << CONST_BITS);
    let even = [add(even0, even3), add(even1, even2), sub(even1, even2), sub(even0, even3)];

    let (o0, o1, o2, o3) = (x[7], x[5], x[3], x[1]);
    let (z3, z4) = (add(o0, o2), add(o1, o3));
    let z5 = mul(add(z3, z4), F_1_175);
    let z1 = mul(add(o0, o3), -F_0_899);
    let z2 = mul(add(o1, o2), -F_2_562);
    let z3 = add(mul(z3, -F_1_961), z5);
    let z4 = add(mul(z4, -F_0_390), z5);
    let odd = [
        add(mul(o3, F_1_501), add(z1, z4)),
        add(mul(o2, F_3_072), add(z2, z3)),
        add(mul(o1, F_2_053), add(z2, z4)),
        add(mul(o0, F_0_298), add(z1, z3)),
    ];

    let down = |value: i32| value.wrapping_add(1 << (SHIFT - 1)) >> SHIFT;
    let mut outputs = [0; 8];
    for i in 0..4 {
        outputs[i] = down(add(even[i], odd[i]));
        outputs[7 - i] = down(sub(even[i], odd[i]));
    }
    outputs
}
