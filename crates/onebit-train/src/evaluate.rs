//! How well a network, or its teacher, does on labelled images.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use onebit_data::{Batch, Loader};
use onebit_model::logits::argmax;

use crate::loss::cross_entropy;
use crate::teacher::Teacher;
use crate::{Net, TrainError};

/// How well a network does on labelled images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Evaluation {
    /// Mean cross-entropy.
    pub(crate) loss: f64,
    /// Share of the images whose label has the largest logit.
    pub(crate) top1: f64,
    /// Seconds it took.
    pub(crate) seconds: f64,
}

/// Classifies all images of `images` with the running statistics; `None` if `stop` was set meanwhile.
///
/// # Errors
/// An image that cannot be read.
pub(crate) fn evaluate(
    net: &mut Net,
    images: &Loader,
    stop: &AtomicBool,
) -> Result<Option<Evaluation>, TrainError> {
    let start = Instant::now();
    let classes = net.graph().classes.len();
    let (mut loss, mut correct, mut count) = (0.0, 0, 0);
    for batch in images.epoch(0, 0) {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let Batch { images, labels, .. } = batch?;
        let logits = net.predict(&images);
        let mut gradient = vec![0.0; logits.len()];
        let batch = cross_entropy(&logits, &labels, classes, 0.0, &mut gradient);
        loss += batch.value * labels.len() as f64;
        correct += batch.correct;
        count += labels.len();
    }
    Ok(Some(Evaluation {
        loss: loss / count as f64,
        top1: correct as f64 / count as f64,
        seconds: start.elapsed().as_secs_f64(),
    }))
}

/// Share of the images whose label has the teacher's largest logit.
///
/// # Errors
/// An image that cannot be read, or a teacher that cannot be run.
pub(crate) fn teacher_top1(teacher: &mut Teacher, images: &Loader) -> Result<f64, TrainError> {
    let mut correct = 0;
    for batch in images.epoch(0, 0) {
        let Batch { images, labels, .. } = batch?;
        let logits = teacher.logits(&images)?;
        let rows = logits.chunks_exact(logits.len() / labels.len());
        let answers = rows.map(argmax).zip(&labels);
        correct += answers.filter(|&(answer, &label)| answer == Some(label as usize)).count();
    }
    Ok(correct as f64 / images.dataset().len() as f64)
}
