//! Logits of a packed network against those that somebody else's program computed.

use onebit_files::{count, shown};
use onebit_model::logits;
use serde::Serialize;

/// Share of an image's largest logit by which any of its logits may differ unless the caller says otherwise: well above what
/// another order of float sums makes, and well below what one wrong sign does.
pub const TOLERANCE: f32 = 1e-4;

/// How close logits are to those that were expected.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Expected {
    /// Images that were compared.
    pub images: u64,
    /// Images whose largest logit is that of the same class.
    pub top1_agree: u64,
    /// The largest difference of a logit, as a share of the largest of its image.
    pub max_difference: f32,
    /// What was allowed.
    pub tolerance: f32,
}

/// Logits that are not those that were expected.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "the logits of {differ} of {} differ from the expected ones by more than {tolerance} of the largest: image {image} \
     (counted from 0) has {found} for class `{}`, expected {expected}; {top1_agree} of all have the same first class",
    count(*images, "image"),
    shown(class)
)]
pub struct Unexpected {
    images: u64,
    differ: u64,
    top1_agree: u64,
    tolerance: f32,
    image: usize,
    class: String,
    found: f32,
    expected: f32,
}

/// Compares logits `[N, classes]`.
///
/// # Errors
/// Images whose logits differ by more than `tolerance` of their largest expected one; the worst is named.
///
/// # Panics
/// Another number of logits, or not whole images.
pub fn compare(
    found: &[f32],
    expected: &[f32],
    classes: &[String],
    tolerance: f32,
) -> Result<Expected, Unexpected> {
    assert_eq!((found.len(), found.len() % classes.len()), (expected.len(), 0), "logits");
    let rows = || found.chunks_exact(classes.len()).zip(expected.chunks_exact(classes.len()));
    let (mut images, mut differ, mut top1_agree) = (0, 0, 0);
    let mut worst = (0, 0, 0.0);
    for (image, (found, expected)) in rows().enumerate() {
        let largest = expected.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
        let scale = if largest > 0.0 { largest } else { 1.0 };
        let shares = found.iter().zip(expected).map(|(a, b)| (a - b).abs() / scale);
        let (class, share) =
            shares.enumerate().fold((0, 0.0), |most, at| if at.1 > most.1 { at } else { most });
        images += 1;
        top1_agree += u64::from(logits::argmax(found) == logits::argmax(expected));
        differ += u64::from(share > tolerance);
        if share > worst.2 {
            worst = (image, class, share);
        }
    }
    let (image, class, max_difference) = worst;
    if differ == 0 {
        return Ok(Expected { images, top1_agree, max_difference, tolerance });
    }
    let at = image * classes.len() + class;
    let (found, expected) = (found[at], expected[at]);
    let class = classes[class].clone();
    Err(Unexpected { images, differ, top1_agree, tolerance, image, class, found, expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["cat", "dog"].map(str::to_owned).to_vec()
    }

    #[test]
    fn close_logits_agree_by_the_largest_of_their_image() {
        let report = compare(&[100.004, 0.001, 0.0, 0.0], &[100.0, 0.0, 0.0, 0.0], &names(), 1e-4);
        let report = report.expect("they agree");
        assert_eq!((report.images, report.top1_agree), (2, 2));
        assert!((3e-5..5e-5).contains(&report.max_difference), "{report:?}");
    }

    #[test]
    fn the_worst_logit_is_named() {
        let error = compare(&[1.0, 2.0, 3.0, 1.0], &[1.0, 2.1, 1.0, 1.0], &names(), 1e-4);
        let said = error.expect_err("they differ").to_string();
        assert!(said.contains("2 of 2 images") && said.contains("image 1"), "{said}");
        assert!(said.contains("has 3 for class `cat`, expected 1;"), "{said}");
    }
}
