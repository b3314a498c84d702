use super::{Band, Conv, FloatMap, LinearI8, Read, Source, StageView, stride};
use crate::aligned::Aligned;
use crate::kernel::Kernels;

/// `y = W x + b`.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) x: Source,
    /// Channels of the map `x`.
    pub(crate) channels: usize,
    pub(crate) layer: Layer,
}

/// Weights and bias.
#[derive(Debug)]
pub(crate) enum Layer {
    /// A 1x1 convolution of one pixel, then the bias, a whole stride.
    F32 {
        weight: Conv,
        bias: Aligned<f32>,
    },
    I8(LinearI8),
}

impl Linear {
    fn inputs(&self) -> usize {
        match &self.layer {
            Layer::F32 { weight, .. } => weight.inputs,
            Layer::I8(layer) => layer.inputs,
        }
    }

    /// Floats of working memory: a map whose pixels lie apart, without gaps.
    pub(crate) fn vectors(&self) -> usize {
        let apart = self.inputs() > self.channels && stride(self.channels) > self.channels;
        if apart && self.x != Source::Image { self.inputs() } else { 0 }
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
            return self.apply(kernels, &x[..self.inputs()], out);
        }
        let pixels = x.chunks_exact(stride(self.channels));
        for (to, pixel) in vectors.chunks_exact_mut(self.channels).zip(pixels) {
            to.copy_from_slice(&pixel[..self.channels]);
        }
        self.apply(kernels, &vectors[..self.inputs()], out);
    }

    /// The layer of a vector.
    pub(crate) fn apply(&self, kernels: &Kernels, x: &[f32], out: &mut [f32]) {
        let (weight, bias) = match &self.layer {
            Layer::F32 { weight, bias } => (weight, bias),
            Layer::I8(layer) => return (kernels.linear_i8)(layer, x, out),
        };
        let pixel = |values, stride| FloatMap { values, height: 1, width: 1, stride };
        let stage = StageView::Add { other: pixel(bias, bias.len()) };
        let mut band = Band {
            rows: 0..1,
            width: 1,
            channels: weight.outputs,
            stride: bias.len(),
            stages: &[stage],
            floats: Some(out),
            bits: None,
            sums: None,
        };
        (kernels.conv)(weight, pixel(x, x.len()), &mut band);
    }

    pub(crate) fn weight_bytes(&self) -> usize {
        match &self.layer {
            Layer::F32 { weight, bias } => weight.bytes() + 4 * bias.len(),
            Layer::I8(layer) => layer.bytes(),
        }
    }
}
