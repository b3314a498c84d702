//! From the first learning rate to 0.

/// Times the first learning rate, when `done` of the stage is behind.
pub(super) fn factor(done: f64) -> f64 {
    1.0 - done
}
