//! Least squares of many targets on the same features, from sums alone.

use core::ops::Range;

use crate::simd::vectorized;

/// Pixels whose values are multiplied with each other while they lie in the cache.
const BLOCK: usize = 64;
/// Share of its variance that a feature must have left beside the earlier ones; below it, it is rounding.
const INDEPENDENT: f64 = 1e-10;

/// Sums of products of features and targets, of values less those of the first pixel, so that large means do not hide
/// small variances.
pub(super) struct Fit {
    features: usize,
    pixels: usize,
    first: Vec<f64>,
    sums: Vec<f64>,
    /// Features times features, then targets; of the features only `j >= i`.
    products: Vec<f64>,
    /// Of the targets.
    squares: Vec<f64>,
    block: Vec<f64>,
}

impl Fit {
    pub(super) fn new(features: usize, targets: usize) -> Self {
        let columns = features + targets;
        Fit {
            features,
            pixels: 0,
            first: vec![0.0; columns],
            sums: vec![0.0; columns],
            products: vec![0.0; features * columns],
            squares: vec![0.0; targets],
            block: Vec::new(),
        }
    }

    pub(super) fn features(&self) -> usize {
        self.features
    }

    /// Pixels so far.
    pub(super) fn pixels(&self) -> usize {
        self.pixels
    }

    fn columns(&self) -> usize {
        self.first.len()
    }

    /// Adds pixels: maps of the features first, then of targets, each with its channels.
    pub(super) fn add(&mut self, maps: &[(&[f32], usize)]) {
        let Some(&(features, channels)) = maps.first() else { return };
        let pixels = features.len() / channels;
        for start in (0..pixels).step_by(BLOCK) {
            self.gather(maps, start..(start + BLOCK).min(pixels));
            self.add_block();
        }
    }

    /// Lays the values of some pixels side by side, less those of the first pixel of all.
    fn gather(&mut self, maps: &[(&[f32], usize)], pixels: Range<usize>) {
        self.block.clear();
        for pixel in pixels {
            let values = maps.iter().flat_map(|(map, c)| &map[pixel * c..][..*c]);
            if self.pixels == 0 {
                let first = self.first.iter_mut().zip(values.clone());
                first.for_each(|(first, value)| *first = f64::from(*value));
            }
            self.block.extend(values.zip(&self.first).map(|(v, first)| f64::from(*v) - first));
            self.pixels += 1;
        }
    }

    fn add_block(&mut self) {
        let (features, columns) = (self.features, self.columns());
        let Fit { block, sums, products, squares, .. } = self;
        vectorized(
            #[inline(always)]
            || {
                for pixel in block.chunks_exact(columns) {
                    sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
                    let targets = squares.iter_mut().zip(&pixel[features..]);
                    targets.for_each(|(square, value)| *square += value * value);
                }
                for (i, row) in products.chunks_exact_mut(columns).enumerate() {
                    for pixel in block.chunks_exact(columns) {
                        let factor = pixel[i];
                        let values = row[i..].iter_mut().zip(&pixel[i..]);
                        values.for_each(|(sum, value)| *sum += factor * value);
                    }
                }
            },
        );
    }

    /// For each target the sum of squares about its mean that the best affine map of the features explains, and all of
    /// it; `None` unless there are more pixels than the map has numbers for a target.
    ///
    /// Gaussian elimination of the normal equations. A feature that the earlier ones determine is passed over.
    pub(super) fn explained(&self) -> Option<Vec<(f64, f64)>> {
        let (features, columns) = (self.features, self.columns());
        if self.pixels <= features + 1 {
            return None;
        }
        let count = self.pixels as f64;
        let mut rows = self.products.clone();
        for (i, row) in rows.chunks_exact_mut(columns).enumerate() {
            let mean = self.sums[i] / count;
            row[i..].iter_mut().zip(&self.sums[i..]).for_each(|(p, sum)| *p -= mean * sum);
        }
        let variances: Vec<f64> = (0..features).map(|i| rows[i * columns + i]).collect();
        let targets = self.squares.iter().zip(&self.sums[features..]);
        let mut explained: Vec<(f64, f64)> =
            targets.map(|(square, sum)| (0.0, square - sum * sum / count)).collect();
        for (i, variance) in variances.iter().enumerate() {
            let (row, below) = rows[i * columns..].split_at_mut(columns);
            let pivot = row[i];
            if pivot <= INDEPENDENT * variance {
                continue;
            }
            for (j, other) in below.chunks_exact_mut(columns).enumerate() {
                let factor = row[i + 1 + j] / pivot;
                let values = other[i + 1 + j..].iter_mut().zip(&row[i + 1 + j..]);
                values.for_each(|(value, above)| *value -= factor * above);
            }
            let targets = explained.iter_mut().zip(&row[features..]);
            targets.for_each(|((explained, _), product)| *explained += product * product / pivot);
        }
        Some(explained)
    }
}

#[cfg(test)]
mod tests {
    use onebit_data::random::{Key, Stream};

    use super::*;

    const TOLERANCE: f64 = 1e-9;

    fn columns(count: usize, pixels: usize) -> Vec<Vec<f32>> {
        let key = |index| Key { seed: 1, epoch: 0, index, stream: Stream::SYNTHETIC };
        (0..count as u64).map(|index| key(index).normals().take(pixels).collect()).collect()
    }

    /// What of `y` lies in the span of a constant and `x`, by orthogonalization, and all of `y` about its mean.
    fn naive(x: &[Vec<f32>], y: &[f32]) -> (f64, f64) {
        let centred = |v: &[f32]| {
            let mean = v.iter().map(|&v| f64::from(v)).sum::<f64>() / v.len() as f64;
            v.iter().map(|&v| f64::from(v) - mean).collect::<Vec<_>>()
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut basis: Vec<Vec<f64>> = Vec::new();
        for column in x {
            let mut column = centred(column);
            for other in &basis {
                let factor = dot(&column, other);
                column.iter_mut().zip(other).for_each(|(c, o)| *c -= factor * o);
            }
            let length = dot(&column, &column).sqrt();
            basis.push(column.iter().map(|c| c / length).collect());
        }
        let y = centred(y);
        (basis.iter().map(|b| dot(b, &y).powi(2)).sum(), dot(&y, &y))
    }

    fn interleaved(columns: &[Vec<f32>]) -> Vec<f32> {
        let pixel = |p: usize| columns.iter().map(move |column| column[p]);
        (0..columns[0].len()).flat_map(pixel).collect()
    }

    fn fitted(features: &[Vec<f32>], targets: &[Vec<f32>]) -> Vec<(f64, f64)> {
        let mut fit = Fit::new(features.len(), targets.len());
        let (x, y) = (interleaved(features), interleaved(targets));
        // In two unequal parts, neither a multiple of the block.
        let (n, m) = (features.len(), targets.len());
        let split = 70;
        fit.add(&[(&x[..split * n], n), (&y[..split * m], m)]);
        fit.add(&[(&x[split * n..], n), (&y[split * m..], m)]);
        fit.explained().unwrap()
    }

    fn assert_close(found: (f64, f64), expected: (f64, f64)) {
        let (explained, total) = expected;
        assert!((found.0 - explained).abs() <= TOLERANCE * total, "{found:?} {expected:?}");
        assert!((found.1 - total).abs() <= TOLERANCE * total, "{found:?} {expected:?}");
    }

    #[test]
    fn orthogonalization_gives_the_same() {
        let mut columns = columns(7, 211);
        // A mean a thousand times the deviation.
        columns[1].iter_mut().for_each(|v| *v += 1000.0);
        let add = |columns: &mut [Vec<f32>], to: usize, factor: f32, from: usize| {
            let from = columns[from].clone();
            columns[to].iter_mut().zip(from).for_each(|(v, other)| *v += factor * other);
        };
        add(&mut columns, 2, 0.7, 0);
        add(&mut columns, 6, 2.0, 2);
        add(&mut columns, 6, -1.0, 3);
        let (features, targets) = columns.split_at(5);
        for (found, target) in fitted(features, targets).into_iter().zip(targets) {
            assert_close(found, naive(features, target));
        }
    }

    #[test]
    fn affine_maps_are_explained_in_full_and_constants_have_nothing_to_explain() {
        let features = columns(3, 150);
        let affine = (0..150).map(|p| 4.0 + 2.0 * features[0][p] - features[2][p]).collect();
        let found = fitted(&features, &[affine, vec![7.5; 150]]);
        assert!((found[0].0 / found[0].1 - 1.0).abs() < 1e-12, "{found:?}");
        assert_eq!(found[1], (0.0, 0.0));
    }

    #[test]
    fn features_that_others_determine_change_nothing() {
        let mut features = columns(3, 150);
        let target = columns(4, 150).remove(3);
        let expected = naive(&features, &target);
        features.insert(1, features[0].iter().map(|v| 3.0 * v + 1.0).collect());
        features.insert(2, vec![5.0; 150]);
        assert_close(fitted(&features, &[target])[0], expected);
    }

    #[test]
    fn as_many_pixels_as_numbers_are_too_few() {
        let features = columns(3, 5);
        let explained = |pixels: usize| {
            let mut fit = Fit::new(2, 1);
            let x = interleaved(&features[..2]);
            fit.add(&[(&x[..2 * pixels], 2), (&features[2][..pixels], 1)]);
            fit.explained()
        };
        assert_eq!(explained(3), None);
        assert!(explained(4).is_some());
    }
}
