//! What 8-bit layers change: predictions and logits, over any number of images.

use onebit_model::logits::argmax;
use serde::Serialize;

use crate::PackError;
use crate::agreement::LogitStatistics;

/// Share of the predictions that 8-bit layers may change unless another one is asked for.
pub const MAX_CHANGED_SHARE: f64 = 0.01;

/// Comparison of a network with its form with 8-bit layers, over any number of images.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    images: u64,
    changed: u64,
    right: [u64; 2],
    max_difference: f64,
    logits: LogitStatistics,
}

/// What 8-bit layers change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changes {
    /// Images compared.
    pub images: u64,
    /// Images that get another class.
    pub changed: u64,
    /// How many of them are allowed.
    pub changed_allowed: u64,
    /// Share of right answers of the network with 32-bit floats.
    pub top1_float: f64,
    /// Share of right answers with 8-bit layers.
    pub top1_int8: f64,
    /// Largest difference of two logits, in standard deviations of the logits.
    pub max_logit_difference: f64,
}

impl Comparison {
    /// Takes in the label of an image and its logits, which are finite.
    pub fn image(&mut self, label: u32, float: &[f32], int8: &[f32]) {
        let classes = [float, int8].map(argmax);
        self.images += 1;
        self.changed += u64::from(classes[0] != classes[1]);
        for (right, class) in self.right.iter_mut().zip(classes) {
            *right += u64::from(class == Some(label as usize));
        }
        for (&a, &b) in float.iter().zip(int8) {
            self.logits.add(f64::from(a));
            self.max_difference = self.max_difference.max((f64::from(a) - f64::from(b)).abs());
        }
    }

    /// The numbers so far, of which a share `max_share` may change; one image always may.
    #[must_use]
    pub fn changes(&self, max_share: f64) -> Changes {
        let share = |count: u64| count as f64 / self.images.max(1) as f64;
        Changes {
            images: self.images,
            changed: self.changed,
            changed_allowed: ((self.images as f64 * max_share) as u64).max(1),
            top1_float: share(self.right[0]),
            top1_int8: share(self.right[1]),
            max_logit_difference: match self.max_difference {
                0.0 => 0.0,
                difference => difference / self.logits.deviation(),
            },
        }
    }

    /// The numbers, if no more predictions than a share `max_share` changed.
    ///
    /// # Errors
    /// More changed, or no image was compared.
    pub fn verdict(&self, max_share: f64) -> Result<Changes, PackError> {
        let changes = self.changes(max_share);
        let Changes { images, changed, changed_allowed, .. } = changes;
        if images == 0 || changed > changed_allowed {
            return Err(PackError::Int8Changes { images, changed, allowed: changed_allowed });
        }
        Ok(changes)
    }
}
