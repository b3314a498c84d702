//! Losses of a batch of logits: value, gradient and number of correct answers.

use onebit_model::logits::argmax;

/// What a loss says about a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// Mean over the batch; not finite where a logit is not finite.
    pub value: f64,
    /// Images whose largest logit is the label's; of equal logits the first counts. An image with a
    /// logit that is not finite is never correct.
    pub correct: usize,
}

/// Softmax cross-entropy with label smoothing, as PyTorch's `cross_entropy(label_smoothing=s)`: the
/// target is `1 - s + s / classes` for the label and `s / classes` for every other class.
///
/// `logits` and `gradient` are `[images, classes]`, `labels` `[images]`; `gradient` receives
/// dLoss/dlogits of the mean over the batch.
///
/// # Panics
/// If the lengths of the slices do not fit together, or a label is not below `classes`.
pub fn cross_entropy(
    logits: &[f32],
    labels: &[u32],
    classes: usize,
    label_smoothing: f32,
    gradient: &mut [f32],
) -> Loss {
    check(logits, labels.len(), classes, gradient);
    let rest = f64::from(label_smoothing) / classes as f64;
    let mut target = vec![rest; classes];
    let mut loss = Loss { value: 0.0, correct: 0 };
    let rows = logits.chunks_exact(classes).zip(gradient.chunks_exact_mut(classes));
    for ((row, gradient), &label) in rows.zip(labels) {
        let label = label as usize;
        target[label] = rest + 1.0 - f64::from(label_smoothing);
        loss.value += against(row, &target, labels.len(), gradient);
        loss.correct += usize::from(argmax(row) == Some(label));
        target[label] = rest;
    }
    loss.value /= labels.len() as f64;
    loss
}

/// Distributional loss of ReActNet (section 4.3): the cross-entropy between the softmax of a
/// teacher's logits and the softmax of the network's, at temperature 1.
///
/// `logits`, `teacher` and `gradient` are `[images, classes]`, `labels` `[images]` is only used to
/// count the correct answers; `gradient` receives dLoss/dlogits of the mean over the batch.
///
/// # Panics
/// If the lengths of the slices do not fit together.
pub fn distillation(
    logits: &[f32],
    teacher: &[f32],
    labels: &[u32],
    classes: usize,
    gradient: &mut [f32],
) -> Loss {
    check(logits, labels.len(), classes, gradient);
    assert_eq!(teacher.len(), logits.len(), "a teacher's logit for each logit");
    let mut loss = Loss { value: 0.0, correct: 0 };
    let rows = logits.chunks_exact(classes).zip(gradient.chunks_exact_mut(classes));
    for (((row, gradient), teacher), &label) in rows.zip(teacher.chunks_exact(classes)).zip(labels)
    {
        let target: Vec<f64> = log_softmax(teacher).iter().map(|t| t.exp()).collect();
        loss.value += against(row, &target, labels.len(), gradient);
        loss.correct += usize::from(argmax(row) == Some(label as usize));
    }
    loss.value /= labels.len() as f64;
    loss
}

fn check(logits: &[f32], images: usize, classes: usize, gradient: &[f32]) {
    assert!(classes > 0 && images > 0, "at least one class and one image");
    assert_eq!(logits.len(), images * classes, "a logit for each image and class");
    assert_eq!(gradient.len(), logits.len(), "a gradient for each logit");
}

/// Cross-entropy of one row against a target distribution; the gradient is that of a mean over `images`.
fn against(row: &[f32], target: &[f64], images: usize, gradient: &mut [f32]) -> f64 {
    let log_p = log_softmax(row);
    let mut loss = 0.0;
    for ((g, log_p), target) in gradient.iter_mut().zip(log_p).zip(target) {
        loss -= target * log_p;
        *g = ((log_p.exp() - target) / images as f64) as f32;
    }
    loss
}

fn log_softmax(row: &[f32]) -> Vec<f64> {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted = row.iter().map(|&x| f64::from(x) - f64::from(largest));
    let sum: f64 = shifted.clone().map(f64::exp).sum();
    shifted.map(|x| x - sum.ln()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_cost_the_logarithm_of_the_classes() {
        let mut gradient = [0.0; 4];
        let loss = cross_entropy(&[3.0; 4], &[2], 4, 0.0, &mut gradient);
        assert!((loss.value - 4f64.ln()).abs() < 1e-12);
        assert_eq!(gradient, [0.25, 0.25, -0.75, 0.25]);
        assert_eq!(loss.correct, 0, "the first of equal logits is the answer");
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let mut gradient = [0.0; 2];
        let loss = cross_entropy(&[1e30, -1e30], &[0], 2, 0.0, &mut gradient);
        assert_eq!(loss, Loss { value: 0.0, correct: 1 });
        assert_eq!(gradient, [0.0, 0.0]);
    }

    #[test]
    fn a_logit_that_is_not_finite_makes_the_loss_not_finite() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut gradient = [0.0; 4];
            let loss = cross_entropy(&[1.0, 0.0, 2.0, bad], &[0, 0], 2, 0.1, &mut gradient);
            assert!(!loss.value.is_finite(), "{bad} gave {}", loss.value);
            assert_eq!(loss.correct, 1);
        }
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn a_label_beyond_the_classes_panics() {
        cross_entropy(&[0.0, 1.0], &[2], 2, 0.0, &mut [0.0; 2]);
    }
}
