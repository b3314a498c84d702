//! Counting right answers.

use serde::Serialize;

/// How many labels were among the best one and the best five.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accuracy {
    first: u64,
    among_five: u64,
    images: u64,
}

/// What `eval` prints.
#[derive(Serialize)]
pub(crate) struct Measured {
    /// Fraction of images whose label has the largest logit.
    pub(crate) top1: f64,
    /// Fraction of images whose label is among the five largest logits.
    pub(crate) top5: f64,
    /// Images.
    pub(crate) n: u64,
    /// Classes of the network that are among those of the data.
    pub(crate) classes_evaluated: usize,
    /// Time for reading and computing.
    pub(crate) seconds: f64,
}

impl Accuracy {
    /// Counts images: one label and `logits.len() / labels.len()` logits each.
    pub(crate) fn add(&mut self, labels: &[u32], logits: &[f32]) {
        let classes = logits.len() / labels.len().max(1);
        for (&label, logits) in labels.iter().zip(logits.chunks_exact(classes.max(1))) {
            let rank = ranking(logits).position(|class| class == label as usize);
            self.first += u64::from(rank == Some(0));
            self.among_five += u64::from(rank.is_some_and(|rank| rank < 5));
            self.images += 1;
        }
    }

    pub(crate) fn images(&self) -> u64 {
        self.images
    }

    pub(crate) fn top1(&self) -> f64 {
        self.share(self.first)
    }

    /// The numbers, of images of so many of the network's classes, which took so many seconds.
    pub(crate) fn measured(&self, classes_evaluated: usize, seconds: f64) -> Measured {
        let top5 = self.share(self.among_five);
        Measured { top1: self.top1(), top5, n: self.images, classes_evaluated, seconds }
    }

    fn share(&self, count: u64) -> f64 {
        count as f64 / self.images.max(1) as f64
    }
}

/// The classes, largest logit first; of equal ones the lower class first. The logits are finite.
pub(crate) fn ranking(logits: &[f32]) -> impl Iterator<Item = usize> {
    let mut classes: Vec<usize> = (0..logits.len()).collect();
    classes.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    classes.into_iter()
}

/// Probabilities: exponentials of the logits, scaled to the sum 1.
pub(crate) fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|&v| f64::from(v - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_and_ties() {
        assert_eq!(ranking(&[0.5, 2.0, 0.5]).collect::<Vec<_>>(), [1, 0, 2]);
        let mut accuracy = Accuracy::default();
        accuracy.add(&[1, 0], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 9.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let Measured { top1, top5, n, .. } = accuracy.measured(6, 1.0);
        assert_eq!((top1, top5, n), (0.5, 1.0, 2));
    }

    #[test]
    fn probabilities_sum_to_one() {
        let p = softmax(&[1000.0, 1000.0]);
        assert_eq!(p, [0.5, 0.5]);
    }
}
