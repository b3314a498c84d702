//! Always the first learning rate.

/// Times the first learning rate.
pub(super) fn factor() -> f64 {
    1.0
}
