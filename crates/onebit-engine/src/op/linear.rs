use super::{Band, Conv, FloatMap, Read, Source, StageView, stride};
use crate::aligned::Aligned;
use crate::kernel::Kernels;

/// `y = W x + b`: a 1x1 convolution of one pixel, then the bias.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) x: Source,
    /// Channels of the map `x`.
    pub(crate) channels: usize,
    pub(crate) weight: Conv,
    /// A whole stride.
    pub(crate) bias: Aligned<f32>,
}

impl Linear {
    /// Floats of working memory: a map whose pixels lie apart, without gaps.
    pub(crate) fn vectors(&self) -> usize {
        let apart = self.weight.inputs > self.channels && stride(self.channels) > self.channels;
        if apart && self.x != Source::Image { self.weight.inputs } else { 0 }
    }

    pub(crate) fn run(
        &self,
        kernels: &Kernels,
        read: &Read<'_>,
        vectors: &mut [f32],
        out: &mut [f32],
    ) {
        let x = read.floats(self.x);
        if self.vectors() == 0 {
            return self.apply(kernels, x, out);
        }
        let pixels = x.chunks_exact(stride(self.channels));
        for (to, pixel) in vectors.chunks_exact_mut(self.channels).zip(pixels) {
            to.copy_from_slice(&pixel[..self.channels]);
        }
        self.apply(kernels, &vectors[..self.weight.inputs], out);
    }

    /// The layer of a vector.
    pub(crate) fn apply(&self, kernels: &Kernels, x: &[f32], out: &mut [f32]) {
        let pixel = |values, stride| FloatMap { values, height: 1, width: 1, stride };
        let bias = StageView::Add { other: pixel(&self.bias, self.bias.len()) };
        let mut band = Band {
            rows: 0..1,
            width: 1,
            channels: self.weight.outputs,
            stride: self.bias.len(),
            stages: &[bias],
            floats: Some(out),
            bits: None,
            sums: None,
        };
        (kernels.conv)(&self.weight, pixel(x, self.weight.inputs), &mut band);
    }

    pub(crate) fn weight_bytes(&self) -> usize {
        self.weight.bytes() + 4 * self.bias.len()
    }
}
