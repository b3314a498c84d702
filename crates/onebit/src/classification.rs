//! What a network says about an image: logits, probabilities, classes in order.

use onebit_engine::EngineError;
use onebit_model::logits::ranking;

use crate::{Error, Model};

/// What a network says about one image.
#[derive(Clone, Debug)]
pub struct Classification {
    model: Model,
    logits: Vec<f32>,
}

/// A class with its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guess<'a> {
    /// Its number, 0 and up.
    pub index: usize,
    /// Its name.
    pub label: &'a str,
    /// From 0 to 1; those of all classes sum to 1.
    pub probability: f64,
}

impl Classification {
    /// Of logits that `model` computed for one image.
    ///
    /// # Errors
    /// Logits that are not finite numbers, or not one for each class.
    pub fn new(model: &Model, logits: Vec<f32>) -> Result<Self, Error> {
        let (found, expected) = (logits.len(), model.classes().len());
        if found != expected {
            return Err(EngineError::LogitsLength { found, expected }.into());
        }
        match not_finite(&logits, expected).is_empty() {
            true => Ok(Classification { model: model.clone(), logits }),
            false => Err(Error::NotFinite { image: "the image".to_owned() }),
        }
    }

    /// One number for each class, as the network computed it.
    #[must_use]
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// The `n` most likely classes, the most likely one first; of equal ones the lower number first.
    pub fn top(&self, n: usize) -> impl Iterator<Item = Guess<'_>> {
        let probabilities = softmax(&self.logits);
        ranking(&self.logits).into_iter().take(n).map(move |index| Guess {
            index,
            label: &self.model.classes()[index],
            probability: probabilities[index],
        })
    }
}

/// Probabilities: exponentials of the logits, scaled to the sum 1.
#[must_use]
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|&v| f64::from(v - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

/// The positions of the images whose logits, `classes` of each, are not all finite numbers.
#[must_use]
pub fn not_finite(logits: &[f32], classes: usize) -> Vec<usize> {
    let images = logits.chunks(classes.max(1)).enumerate();
    let bad = images.filter(|(_, logits)| logits.iter().any(|logit| !logit.is_finite()));
    bad.map(|(image, _)| image).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one() {
        let p = softmax(&[1000.0, 1000.0]);
        assert_eq!(p, [0.5, 0.5]);
    }

    #[test]
    fn every_image_with_a_logit_that_is_no_number_is_found() {
        let logits = [0.0, 1.0, f32::NAN, 1.0, 0.0, -0.0, 3.0, f32::INFINITY];
        assert_eq!(not_finite(&logits, 2), [1, 3]);
        assert_eq!(not_finite(&[f32::NEG_INFINITY; 3], 3), [0]);
        assert_eq!(not_finite(&[f32::MAX, f32::MIN_POSITIVE], 2), [0; 0]);
    }
}
