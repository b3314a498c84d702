//! The order of classes by their logits: the larger logit first, of equal ones the lower class. 0 and -0 are equal.

use alloc::vec::Vec;

/// The class that comes first; `None` where there is no logit, or one that is not finite.
#[must_use]
pub fn argmax(logits: &[f32]) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (class, &logit) in logits.iter().enumerate() {
        if !logit.is_finite() {
            return None;
        }
        if best.is_none_or(|(_, largest)| logit > largest) {
            best = Some((class, logit));
        }
    }
    best.map(|(class, _)| class)
}

/// All classes in order. The logits are finite.
#[must_use]
pub fn ranking(logits: &[f32]) -> Vec<usize> {
    // -0 + 0 is 0.
    let key = |class: usize| logits[class] + 0.0;
    let mut classes: Vec<usize> = (0..logits.len()).collect();
    classes.sort_by(|&a, &b| key(b).total_cmp(&key(a)).then(a.cmp(&b)));
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_logits_the_lower_class_comes_first() {
        for (logits, order) in [
            (&[0.5, 2.0, 0.5][..], &[1, 0, 2][..]),
            (&[-0.0, 0.0, -1.0, 0.0], &[0, 1, 3, 2]),
            (&[0.0, -0.0], &[0, 1]),
            (&[f32::MIN, f32::MAX, f32::MAX], &[1, 2, 0]),
            (&[], &[]),
        ] {
            assert_eq!(ranking(logits), order, "{logits:?}");
            assert_eq!(argmax(logits), order.first().copied(), "{logits:?}");
        }
    }

    #[test]
    fn logits_that_are_not_finite_have_no_first_class() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(argmax(&[1.0, bad]), None);
        }
    }
}
