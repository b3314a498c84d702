//! Real weights as 8-bit integers with a factor for each row (symmetric, per-row quantization), and what operations
//! whose inputs are 8-bit integers too ([`crate::Op::ConvI8`]) have in common everywhere.

use alloc::vec::Vec;

/// Largest integer.
const MAX_INTEGER: f64 = 127.0;

/// A matrix of weights as integers.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Row by row.
    pub integers: Vec<i8>,
    /// A weight is its integer times the factor of its row.
    pub scale: Vec<f32>,
}

/// Rounds `weight`, `[rows, columns]`, to the nearest multiples of 1/127 of the largest of each row, halves away from
/// zero. A row of zeros has the factor 0.
#[must_use]
pub fn quantize(weight: &[f32], columns: usize) -> Rows {
    let mut rows = Rows { integers: Vec::with_capacity(weight.len()), scale: Vec::new() };
    for row in weight.chunks(columns.max(1)) {
        let most = row.iter().fold(0.0f32, |most, w| most.max(w.abs()));
        let scale = (f64::from(most) / MAX_INTEGER) as f32;
        rows.integers.extend(row.iter().map(|&w| nearest(w, scale)));
        rows.scale.push(scale);
    }
    rows
}

/// The weights that `integers`, row by row, and the factors of the rows stand for, each rounded once.
#[must_use]
pub fn expand(integers: &[i8], scale: &[f32]) -> Vec<f32> {
    let columns = integers.len() / scale.len().max(1);
    let rows = integers.chunks(columns.max(1)).zip(scale);
    rows.flat_map(|(row, scale)| row.iter().map(move |&q| f32::from(q) * scale)).collect()
}

/// The integer between 0 and 255 that stands for the real value 0 where `offset` does: the nearest, of two the even one.
#[must_use]
pub fn zero_point(offset: f32) -> u8 {
    // Beyond 2^23 a float has no fraction, so that the addition rounds.
    const TO_NEAREST: f32 = 12_582_912.0;
    ((offset.clamp(0.0, 255.0) + TO_NEAREST) - TO_NEAREST) as u8
}

/// What an output adds to its factor times the exact sum of `filter` times differences from [`zero_point`]: the bias, and
/// what rounding `offset`, a number for each channel, has taken from each product. In f64, rounded once.
#[must_use]
pub fn shift(filter: &[i8], factor: f32, offset: &[f32], bias: f32) -> f32 {
    let lost = |&offset: &f32| f64::from(zero_point(offset)) - f64::from(offset);
    let lost: Vec<f64> = offset.iter().map(lost).collect();
    let sum: f64 = filter.iter().zip(lost.iter().cycle()).map(|(&w, l)| f64::from(w) * l).sum();
    (f64::from(factor) * sum + f64::from(bias)) as f32
}

fn nearest(weight: f32, scale: f32) -> i8 {
    if scale == 0.0 {
        return 0;
    }
    let steps = f64::from(weight) / f64::from(scale);
    let half = if steps < 0.0 { -0.5 } else { 0.5 };
    (steps + half).clamp(-MAX_INTEGER, MAX_INTEGER) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_a_row_is_127_and_halves_go_away_from_zero() {
        let rows = quantize(&[127.0, -126.5, 0.5, 1.4, -0.254, 0.000_9, 0.0, 0.128], 4);
        assert_eq!(rows.integers, [127, -127, 1, 1, -127, 0, 0, 64]);
        assert_eq!(rows.scale, [1.0, 0.002]);
    }

    #[test]
    fn zero_points_are_nearest_and_shifts_make_up_for_the_difference() {
        let points = [(0.0, 0), (0.5, 0), (1.5, 2), (123.675, 124), (254.5, 254), (255.0, 255)];
        for (offset, point) in points {
            assert_eq!(zero_point(offset), point, "{offset}");
        }
        assert_eq!(shift(&[2, -1, 0, 4], 0.5, &[1.5, 2.25], 10.0), 10.0 + 0.5 * (1.0 + 0.25 - 1.0));
    }

    #[test]
    fn zeros_and_subnormals_stay_finite() {
        let tiny = f32::from_bits(1);
        let rows = quantize(&[0.0, 0.0, tiny, -tiny], 2);
        assert_eq!(rows.integers, [0; 4]);
        assert_eq!(expand(&rows.integers, &rows.scale), [0.0; 4]);
    }

    #[test]
    fn no_weight_moves_by_more_than_half_a_step() {
        let weight: Vec<f32> =
            (0..999u32).map(|i| (i * i * 37 % 613) as f32 / 500.0 - 0.6).collect();
        let rows = quantize(&weight, 27);
        for (i, (w, stored)) in weight.iter().zip(expand(&rows.integers, &rows.scale)).enumerate() {
            assert!((w - stored).abs() <= 0.5001 * rows.scale[i / 27], "{w} became {stored}");
        }
    }
}
