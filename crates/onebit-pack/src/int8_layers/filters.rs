//! Filters of the image rounded to 8 bits so that their sums hardly change.

use onebit_model::quantization::Rows;

/// Largest integer.
const MAX_INTEGER: f64 = 127.0;
/// Factors that are tried for a filter: up to 1/16 larger than the smallest that holds its weights.
const FACTORS: u32 = 64;
const FACTOR_STEP: f64 = 1.0 / 1024.0;
/// Weight of the square of a filter's summed errors against the sum of its squared errors.
const SMOOTHNESS: f64 = 8.0;

/// Rounds filters, `weight` `[outputs, taps, channels]`, so that each channel's sum of weights hardly changes: neighbouring
/// pixels of an image are alike, and what a filter gives for a plain area is its sum times the grey level. Of several
/// factors for a filter that with the smallest error is taken.
pub(super) fn round(weight: &[f32], products: usize, channels: usize) -> Rows {
    let mut rows = Rows { integers: Vec::with_capacity(weight.len()), scale: Vec::new() };
    for row in weight.chunks(products.max(1)) {
        let most = row.iter().fold(0.0f32, |most, w| most.max(w.abs()));
        let least = f64::from(most) / MAX_INTEGER;
        let tried = (0..FACTORS).map(|i| {
            let factor = (least * (1.0 + f64::from(i) * FACTOR_STEP)) as f32;
            let integers = integers(row, factor, channels);
            let error = error(row, &integers, factor, channels);
            (error, integers, factor)
        });
        if let Some((_, integers, factor)) = tried.min_by(|a, b| a.0.total_cmp(&b.0)) {
            rows.integers.extend(integers);
            rows.scale.push(factor);
        }
    }
    rows
}

/// Nearest integers, but where the sum of a channel's taps would be another than the nearest to its sum: there the
/// weights that are closest to the other integer take it.
fn integers(row: &[f32], factor: f32, channels: usize) -> Vec<i8> {
    if factor == 0.0 {
        return vec![0; row.len()];
    }
    let steps: Vec<f64> = row.iter().map(|&w| f64::from(w) / f64::from(factor)).collect();
    let mut nearest: Vec<f64> =
        steps.iter().map(|v| v.round().clamp(-MAX_INTEGER, MAX_INTEGER)).collect();
    for channel in 0..channels {
        let taps = || (channel..row.len()).step_by(channels);
        let sum: f64 = taps().map(|i| steps[i]).sum();
        let missing = sum.round() - taps().map(|i| nearest[i]).sum::<f64>();
        let direction = missing.signum();
        let mut order: Vec<usize> =
            taps().filter(|&i| (nearest[i] + direction).abs() <= MAX_INTEGER).collect();
        let gain = |&i: &usize| direction * (steps[i] - nearest[i]);
        order.sort_by(|a, b| gain(b).total_cmp(&gain(a)).then(a.cmp(b)));
        for &i in order.iter().take(missing.abs() as usize) {
            nearest[i] += direction;
        }
    }
    nearest.into_iter().map(|q| q as i8).collect()
}

fn error(row: &[f32], integers: &[i8], factor: f32, channels: usize) -> f64 {
    let errors = row.iter().zip(integers);
    let errors: Vec<f64> =
        errors.map(|(&w, &q)| f64::from(w) - f64::from(q) * f64::from(factor)).collect();
    let sums = (0..channels).map(|c| errors.iter().skip(c).step_by(channels).sum::<f64>());
    SMOOTHNESS * sums.map(|sum| sum * sum).sum::<f64>() + errors.iter().map(|e| e * e).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_channels_are_kept_and_no_weight_moves_by_more_than_a_step() {
        for (taps, channels) in [(9, 1), (9, 3), (49, 3), (1, 4)] {
            let wave = |i: usize| ((i * i + 3 * i) as f32 * 0.37).sin();
            let weight: Vec<f32> = (0..5 * taps * channels).map(wave).collect();
            let rows = round(&weight, taps * channels, channels);
            let filters = weight.chunks(taps * channels).zip(rows.integers.chunks(taps * channels));
            for ((filter, integers), &scale) in filters.zip(&rows.scale) {
                let errors = filter.iter().zip(integers);
                let errors: Vec<f32> = errors.map(|(w, &q)| w - f32::from(q) * scale).collect();
                assert!(errors.iter().all(|e| e.abs() <= 1.01 * scale), "{errors:?}, {scale}");
                for c in 0..channels {
                    let sum: f32 = errors.iter().skip(c).step_by(channels).sum();
                    assert!(sum.abs() <= 0.51 * scale, "{sum}, {scale}");
                }
            }
        }
        let zeros = round(&[0.0; 9], 9, 1);
        assert_eq!((zeros.integers, zeros.scale), (vec![0; 9], vec![0.0]));
    }
}
