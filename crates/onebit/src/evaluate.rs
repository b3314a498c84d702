//! Accuracy on a data set.

use std::sync::Arc;
use std::time::Instant;

use onebit_data::Dataset;
use onebit_model::logits::ranking;
use serde::Serialize;

use crate::data::{check_logits, loader};
use crate::{Error, Labelled, Session, memory};

/// How many labels were among the best one and the best five.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accuracy {
    first: u64,
    among_five: u64,
    images: u64,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Fraction of images whose label has the largest logit.
    pub top1: f64,
    /// Fraction of images whose label is among the five largest logits.
    pub top5: f64,
    /// Images.
    pub n: u64,
    /// Classes of the network that are among those of the data.
    pub classes_evaluated: usize,
    /// Time for reading and computing.
    pub seconds: f64,
}

impl Accuracy {
    /// Counts images: one label and `logits.len() / labels.len()` logits each.
    pub fn add(&mut self, labels: &[u32], logits: &[f32]) {
        let classes = logits.len() / labels.len().max(1);
        for (&label, logits) in labels.iter().zip(logits.chunks_exact(classes.max(1))) {
            let rank = ranking(logits).iter().position(|&class| class == label as usize);
            self.first += u64::from(rank == Some(0));
            self.among_five += u64::from(rank.is_some_and(|rank| rank < 5));
            self.images += 1;
        }
    }

    /// Images counted.
    #[must_use]
    pub fn images(&self) -> u64 {
        self.images
    }

    /// Fraction of images whose label has the largest logit.
    #[must_use]
    pub fn top1(&self) -> f64 {
        self.share(self.first)
    }

    /// The numbers, of images of so many of the network's classes, which took so many seconds.
    #[must_use]
    pub fn evaluation(&self, classes_evaluated: usize, seconds: f64) -> Evaluation {
        let top5 = self.share(self.among_five);
        Evaluation { top1: self.top1(), top5, n: self.images, classes_evaluated, seconds }
    }

    fn share(&self, count: u64) -> f64 {
        count as f64 / self.images.max(1) as f64
    }
}

/// Accuracy of a model on labelled images; `progress` gets what was counted so far.
///
/// # Errors
/// An image that cannot be read, or whose logits are not finite numbers.
pub fn evaluate(
    session: &mut Session,
    data: &Labelled,
    progress: &mut dyn FnMut(&Accuracy),
) -> Result<Evaluation, Error> {
    let started = Instant::now();
    let mut accuracy = Accuracy::default();
    session.run_all(Arc::clone(&data.images), &mut |labels, logits| {
        accuracy.add(labels, logits);
        progress(&accuracy);
    })?;
    Ok(accuracy.evaluation(data.classes, started.elapsed().as_secs_f64()))
}

impl Session {
    /// Runs all images of a data set in order; `each` gets the labels and logits of some images at a time.
    ///
    /// # Errors
    /// An image that cannot be read, or whose logits are not finite numbers.
    pub fn run_all(
        &mut self,
        images: Arc<dyn Dataset>,
        each: &mut dyn FnMut(&[u32], &[f32]),
    ) -> Result<(), Error> {
        let loader = loader(self.model().graph(), Arc::clone(&images), self.batch())?;
        let mut logits = Vec::new();
        for batch in loader.epoch(0, 0) {
            let batch = batch?;
            memory::grow(&mut logits, batch.labels.len() * self.engine().classes(), "the logits")?;
            self.run(&batch.images, &mut logits)?;
            check_logits(&*images, &batch.indices, &logits)?;
            each(&batch.labels, &logits);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_and_ties() {
        let mut accuracy = Accuracy::default();
        accuracy.add(&[1, 0], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 9.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let Evaluation { top1, top5, n, .. } = accuracy.evaluation(6, 1.0);
        assert_eq!((top1, top5, n), (0.5, 1.0, 2));
    }
}
