//! Scale and shift of each channel.

use crate::aligned::Aligned;

/// `y = x * scale + shift` per channel.
#[derive(Debug)]
pub(crate) struct Affine {
    pub(crate) scale: Aligned<f32>,
    pub(crate) shift: Aligned<f32>,
}
