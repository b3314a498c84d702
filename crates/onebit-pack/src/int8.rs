//! Real weights as 8-bit integers with a factor for each row.

use std::collections::BTreeMap;

use onebit_model::file::Weights;
use onebit_model::op::Role;
use onebit_model::{Data, ModelError, Tensor, Verified, infer};
use serde::Serialize;

use crate::prove::{Moments, same_top1};

/// Largest integer.
const MOST: f64 = 127.0;

/// A matrix of weights as integers.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Row by row.
    pub integers: Vec<i8>,
    /// The weight is the integer times the factor of its row.
    pub scale: Vec<f32>,
}

/// Rounds `weight`, `[rows, columns]`, to the nearest multiples of 1/127 of the largest of each row (symmetric,
/// per-row quantization).
#[must_use]
pub fn quantize(weight: &[f32], columns: usize) -> Rows {
    let mut rows = Rows { integers: Vec::with_capacity(weight.len()), scale: Vec::new() };
    for row in weight.chunks(columns.max(1)) {
        let most = row.iter().fold(0.0f32, |most, w| most.max(w.abs()));
        let scale = (f64::from(most) / MOST) as f32;
        let integer = |w: &f32| (f64::from(*w) / f64::from(scale)).round_ties_even();
        let integers = row.iter().map(|w| if scale == 0.0 { 0.0 } else { integer(w) });
        rows.integers.extend(integers.map(|q| q.clamp(-MOST, MOST) as i8));
        rows.scale.push(scale);
    }
    rows
}

/// The same network with every weight that a packed file stores in 8 bits replaced by what the file will hold.
///
/// # Errors
/// Shapes that cannot be inferred, which verified weights do not have.
pub fn rounded(weights: &Verified<Weights>) -> Result<Verified<Weights>, ModelError> {
    let shapes = infer::shapes(&weights.graph)?;
    let mut tensors: BTreeMap<String, Tensor> = weights.tensors.clone();
    for (id, node) in weights.graph.ids().zip(&weights.graph.nodes) {
        for param in weights.graph.params(id, &shapes).iter().filter(|p| p.role == Role::Int8) {
            let columns = param.shape.last().copied().unwrap_or(1);
            let rows = quantize(weights.floats(node, param.suffix), columns);
            let values = rows.integers.chunks(columns.max(1)).zip(&rows.scale);
            let values = values.flat_map(|(row, s)| row.iter().map(move |&q| f32::from(q) * s));
            let tensor = Tensor { shape: param.shape.clone(), data: Data::F32(values.collect()) };
            tensors.insert(node.param_name(param.suffix), tensor);
        }
    }
    Verified::<Weights>::new(Weights { graph: weights.graph.clone(), tensors })
}

/// How the packed network differs from the one that was trained, over any number of images: the effect of rounding its
/// 8-bit weights.
#[derive(Clone, Debug, Default)]
pub struct Effect {
    top1_agree: u64,
    difference: f64,
    logits: Moments,
}

/// The numbers of an [`Effect`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rounding {
    /// Weights that were rounded.
    pub weights: u64,
    /// Root of the mean squared change of a weight, relative to that of the weights.
    pub weight_error: f64,
    /// Images on which both networks choose the same class.
    pub top1_agree: u64,
    /// Root of the mean squared difference of the logits, in standard deviations of the logits.
    pub logit_error: f64,
}

impl Effect {
    /// Compares the logits of one image.
    pub fn image(&mut self, trained: &[f32], packed: &[f32]) {
        self.top1_agree += u64::from(same_top1(trained, packed));
        for (&t, &p) in trained.iter().zip(packed) {
            self.logits.add(f64::from(t));
            self.difference += (f64::from(t) - f64::from(p)).powi(2);
        }
    }

    /// The numbers, for the networks `trained` and [`rounded`].
    ///
    /// # Errors
    /// As [`rounded`].
    pub fn report(
        &self,
        trained: &Verified<Weights>,
        rounded: &Verified<Weights>,
    ) -> Result<Rounding, ModelError> {
        let shapes = infer::shapes(&trained.graph)?;
        let (mut weights, mut squares, mut errors) = (0, 0.0, 0.0);
        for (id, node) in trained.graph.ids().zip(&trained.graph.nodes) {
            let params = trained.graph.params(id, &shapes);
            for param in params.iter().filter(|p| p.role == Role::Int8) {
                let stored = rounded.floats(node, param.suffix);
                for (&w, &q) in trained.floats(node, param.suffix).iter().zip(stored) {
                    weights += 1;
                    squares += f64::from(w).powi(2);
                    errors += (f64::from(w) - f64::from(q)).powi(2);
                }
            }
        }
        let relative = |error: f64, of: f64| if of > 0.0 { (error / of).sqrt() } else { 0.0 };
        Ok(Rounding {
            weights,
            weight_error: relative(errors, squares),
            top1_agree: self.top1_agree,
            logit_error: relative(
                self.difference / self.logits.count.max(1.0),
                self.logits.variance(),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_a_row_is_127_and_halves_go_to_the_even_integer() {
        let rows = quantize(&[127.0, -126.5, 0.5, 1.5, -0.254, 0.001, 0.0, 0.128], 4);
        assert_eq!(rows.integers, [127, -126, 0, 2, -127, 0, 0, 64]);
        assert_eq!(rows.scale, [1.0, 0.002]);
    }

    #[test]
    fn zeros_and_subnormals_stay_finite() {
        let tiny = f32::from_bits(1);
        let rows = quantize(&[0.0, 0.0, tiny, -tiny], 2);
        assert_eq!(rows.integers[..2], [0, 0]);
        assert!(rows.scale.iter().all(|s| s.is_finite()));
    }

    #[test]
    fn no_weight_moves_by_more_than_half_a_step() {
        let weight: Vec<f32> = (0..999).map(|i| ((i * i) as f32 * 0.37).sin() * 0.3).collect();
        let rows = quantize(&weight, 27);
        for (i, w) in weight.iter().enumerate() {
            let stored = f32::from(rows.integers[i]) * rows.scale[i / 27];
            assert!((w - stored).abs() <= 0.5001 * rows.scale[i / 27], "{w} became {stored}");
        }
    }
}
