use alloc::vec::Vec;

/// `y = x * scale + shift` per channel.
#[derive(Debug)]
pub(crate) struct Affine {
    pub(crate) scale: Vec<f32>,
    pub(crate) shift: Vec<f32>,
}
