//! What 8-bit layers change: predictions and logits, over any number of images.

use onebit_model::logits::argmax;
use serde::Serialize;

use crate::PackError;
use crate::agreement::LogitStatistics;

/// Share of all images whose right answers 8-bit layers may lose unless another one is asked for.
pub const MAX_LOST_SHARE: f64 = 0.01;

/// What 8-bit layers may do, as shares of all images; one image always may be lost or changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Right answers that may be fewer; any number where it is absent.
    pub lost: Option<f64>,
    /// Predictions that may be others, right or wrong; any number where it is absent.
    pub changed: Option<f64>,
}

impl Bounds {
    /// These, and where there are none [`MAX_LOST_SHARE`].
    #[must_use]
    pub fn new(lost: Option<f64>, changed: Option<f64>) -> Self {
        let usual = changed.is_none().then_some(MAX_LOST_SHARE);
        Bounds { lost: lost.or(usual), changed }
    }
}

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
    /// How many of them are allowed, where that is bounded.
    pub changed_allowed: Option<u64>,
    /// By how many the right answers are fewer; below 0 where they are more.
    pub lost: i64,
    /// How many may be, where that is bounded.
    pub lost_allowed: Option<u64>,
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

    /// The numbers so far, and what is allowed of them.
    #[must_use]
    pub fn changes(&self, bounds: Bounds) -> Changes {
        let share = |count: u64| count as f64 / self.images.max(1) as f64;
        let allowed = |share: f64| ((self.images as f64 * share) as u64).max(1);
        Changes {
            images: self.images,
            changed: self.changed,
            changed_allowed: bounds.changed.map(allowed),
            lost: self.right[0] as i64 - self.right[1] as i64,
            lost_allowed: bounds.lost.map(allowed),
            top1_float: share(self.right[0]),
            top1_int8: share(self.right[1]),
            max_logit_difference: match self.max_difference {
                0.0 => 0.0,
                difference => difference / self.logits.deviation(),
            },
        }
    }

    /// The numbers, if they keep within bounds.
    ///
    /// # Errors
    /// They do not, or no image was compared.
    pub fn verdict(&self, bounds: Bounds) -> Result<Changes, PackError> {
        let changes = self.changes(bounds);
        let Changes { images, changed, changed_allowed, lost, lost_allowed, .. } = changes;
        if images == 0 || changed_allowed.is_some_and(|allowed| changed > allowed) {
            let allowed = changed_allowed.unwrap_or_default();
            return Err(PackError::Int8Changes { images, changed, allowed });
        }
        match lost_allowed {
            Some(allowed) if lost > allowed as i64 => {
                Err(PackError::Int8Loses { images, lost, allowed })
            }
            _ => Ok(changes),
        }
    }
}
