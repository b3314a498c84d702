use alloc::vec::Vec;

use super::{Conv, FloatMap, Source};
use crate::kernel::Kernels;

/// `y = W x + b`: a 1x1 convolution of one pixel, then the bias.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) x: Source,
    pub(crate) weight: Conv,
    pub(crate) bias: Vec<f32>,
}

impl Linear {
    pub(crate) fn run(&self, kernels: &Kernels, x: &[f32], out: &mut [f32]) {
        let out = &mut out[..self.bias.len()];
        let pixel = FloatMap { values: x, height: 1, width: 1 };
        (kernels.conv)(&self.weight, pixel, 0, out);
        (kernels.add)(out, &self.bias);
    }

    pub(crate) fn weight_bytes(&self) -> usize {
        self.weight.bytes() + 4 * self.bias.len()
    }
}
