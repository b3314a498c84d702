//! Pooling: its window, and what is taken of it.

use super::Window;

/// Pooling over a square window; padded taps do not take part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    pub(crate) kind: PoolKind,
    pub(crate) window: Window,
}

/// What is taken of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolKind {
    /// The sum in order of rows and columns, times `1 / kernel^2`.
    Average,
    /// A NaN where one is in the window.
    Max,
}
