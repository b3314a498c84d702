//! Linear layers, of real or 8-bit weights.

use super::{Location, Read};
use crate::aligned::Aligned;
use crate::kernel::{ConvI8Task, Kernels, LinearI8Task, LinearTask, Ring};
use crate::map::{FloatMap, RowTile, stride};
use crate::packed::{Conv, ConvI8, LinearI8};

/// `y = W x + b`.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) x: Location,
    /// Channels of the map `x`.
    pub(crate) channels: usize,
    pub(crate) weights: LinearWeights,
}

/// Weights and bias.
#[derive(Debug)]
pub(crate) enum LinearWeights {
    /// Weights as of a 1x1 convolution, and the bias, a whole stride.
    F32 { weight: Conv, bias: Aligned<f32> },
    /// 8-bit weights.
    I8(LinearI8),
    /// 8-bit weights and inputs: an 8-bit convolution of one pixel.
    Dot(ConvI8),
}

impl Linear {
    fn inputs(&self) -> usize {
        match &self.weights {
            LinearWeights::F32 { weight, .. } => weight.inputs,
            LinearWeights::I8(layer) => layer.inputs,
            LinearWeights::Dot(conv) => conv.inputs,
        }
    }

    /// Floats of working memory.
    pub(crate) fn vectors(&self) -> usize {
        self.rounded() + self.gathered()
    }

    /// Floats whose place rounded inputs take.
    fn rounded(&self) -> usize {
        match &self.weights {
            LinearWeights::Dot(conv) => 2 * conv.workspace(1, 1).unwrap_or(0),
            LinearWeights::F32 { .. } | LinearWeights::I8(_) => 0,
        }
    }

    /// Floats of a map whose pixels lie apart, without gaps.
    fn gathered(&self) -> usize {
        let apart = self.inputs() > self.channels && stride(self.channels) > self.channels;
        if apart && self.x != Location::Image { self.inputs() } else { 0 }
    }

    pub(crate) fn run(
        &self,
        kernels: &Kernels,
        read: &Read<'_>,
        vectors: &mut [f32],
        out: &mut [f32],
    ) {
        let x = read.floats(self.x);
        let (rounded, vectors) = vectors.split_at_mut(self.rounded());
        if self.gathered() == 0 {
            return self.apply(kernels, &x[..self.inputs()], rounded, out);
        }
        let pixels = x.chunks_exact(stride(self.channels));
        for (to, pixel) in vectors.chunks_exact_mut(self.channels).zip(pixels) {
            to.copy_from_slice(&pixel[..self.channels]);
        }
        self.apply(kernels, &vectors[..self.inputs()], rounded, out);
    }

    /// The layer of a vector, with room for rounded inputs.
    pub(crate) fn apply(&self, kernels: &Kernels, x: &[f32], rounded: &mut [f32], out: &mut [f32]) {
        match &self.weights {
            LinearWeights::F32 { weight, bias } => {
                (kernels.linear)(LinearTask { weight, bias, x, out });
            }
            LinearWeights::I8(layer) => (kernels.linear_i8)(LinearI8Task { layer, x, out }),
            LinearWeights::Dot(conv) => {
                let x = pixel(x, conv.inputs);
                let ring = Ring { memory: bytemuck::cast_slice_mut(rounded), next_row: &mut 0 };
                let row_tile = row_tile(conv.outputs, out);
                (kernels.conv_i8)(ConvI8Task { conv, x, ring, row_tile });
            }
        }
    }

    pub(crate) fn weight_bytes(&self) -> usize {
        match &self.weights {
            LinearWeights::F32 { weight, bias } => weight.bytes() + 4 * bias.len(),
            LinearWeights::I8(layer) => layer.bytes(),
            LinearWeights::Dot(conv) => conv.bytes(),
        }
    }
}

/// A vector as a map of one pixel of `stride` floats.
fn pixel(values: &[f32], stride: usize) -> FloatMap<'_> {
    FloatMap { values, height: 1, width: 1, stride }
}

/// Such a map, to be computed.
fn row_tile(channels: usize, out: &mut [f32]) -> RowTile<'_> {
    let (floats, stride) = (Some(out), stride(channels));
    RowTile { rows: 0..1, width: 1, channels, stride, stages: &[], floats, bits: None, sums: None }
}
