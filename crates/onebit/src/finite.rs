//! Logits that are no numbers: the one check that all verbs share.

use std::fmt::Display;
use std::path::Path;

use crate::failure::Failure;

/// What is wrong with such an image.
pub(crate) const SENTENCE: &str = "the network's logits are not finite numbers";

/// The positions of the images whose logits are not all finite; each image has `classes` of them.
pub(crate) fn not_finite(logits: &[f32], classes: usize) -> Vec<usize> {
    let images = logits.chunks(classes.max(1)).enumerate();
    let bad = images.filter(|(_, logits)| logits.iter().any(|logit| !logit.is_finite()));
    bad.map(|(image, _)| image).collect()
}

/// Refuses logits of the network at `path` that are not finite; `name` says what the image at a position is called.
pub(crate) fn check(
    path: &Path,
    logits: &[f32],
    classes: usize,
    name: impl Fn(usize) -> String,
) -> anyhow::Result<()> {
    match not_finite(logits, classes).first() {
        Some(&image) => Err(refused(path, name(image))),
        None => Ok(()),
    }
}

fn refused(path: &Path, image: impl Display) -> anyhow::Error {
    Failure::bad_data(format!("{}: {SENTENCE} for {image}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::not_finite;

    #[test]
    fn every_image_with_such_a_logit_is_found() {
        let logits = [0.0, 1.0, f32::NAN, 1.0, 0.0, -0.0, 3.0, f32::INFINITY];
        assert_eq!(not_finite(&logits, 2), [1, 3]);
        assert_eq!(not_finite(&[f32::NEG_INFINITY; 3], 3), [0]);
        assert_eq!(not_finite(&[f32::MAX, f32::MIN_POSITIVE], 2), [0; 0]);
    }
}
