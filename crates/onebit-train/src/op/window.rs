//! Convolutions of real maps as matrix products, forward and both gradients.
//!
//! Two paths: `padded` for stride 1, one group and an output as large as the input; `columns` for all else.

use onebit_model::{Geometry, Shape, bits};

use super::Gradient;
use crate::simd::vectorized;

/// Below this many values under one row of the window, windows are copied: products would be too narrow.
const NARROW_ROW: usize = 24;

/// Buffers that the layers of one microbatch share; each layer takes what it needs.
#[derive(Default)]
pub(crate) struct Workspace {
    pub(super) padded: Vec<f32>,
    pub(super) padded_grad: Vec<f32>,
    pub(super) wide: Vec<f32>,
    pub(super) columns: Vec<f32>,
    /// Activations of a binary convolution as floats.
    expanded: Vec<f32>,
    /// Bits of one image, regrouped for the popcount kernel.
    pub(crate) popcount: onebit_engine::Workspace,
    /// Small per-channel vectors.
    pub(crate) vectors: Vec<f32>,
}

/// The first `len` elements of `buffer`, which grows if needed and keeps old content.
pub(crate) fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}

/// The input of a convolution.
#[derive(Clone, Copy)]
pub(crate) enum ConvInput<'a> {
    /// A real map.
    Floats(&'a [f32]),
    /// A bit map, read as +1 and -1.
    Bits(&'a [u64]),
}

/// A convolution's extents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) geometry: Geometry,
    pub(crate) x: Shape,
    pub(crate) y: Shape,
    /// Value of padded taps.
    pub(crate) pad: f32,
}

impl Window {
    /// `y = (x conv weight) * scale`, `weight` OHWI, `scale` per output channel.
    pub(crate) fn forward(
        &self,
        x: ConvInput<'_>,
        weight: &[f32],
        scale: Option<&[f32]>,
        y: &mut [f32],
        workspace: &mut Workspace,
    ) {
        if self.is_same() {
            self.forward_same(x, weight, scale, y, workspace);
            return;
        }
        self.with_floats(x, workspace, |x, workspace| {
            self.forward_columns(x, weight, y, workspace);
        });
        if let Some(scale) = scale {
            scale_channels(y, scale);
        }
    }

    /// Adds the gradient of the weights (OHWI) to `gw`; sends that of `x` to `gx`, unless it is
    /// empty, through the weights that [`Window::rotated`] prepared.
    pub(crate) fn backward(
        &self,
        x: ConvInput<'_>,
        gy: &[f32],
        rotated: &[f32],
        gw: &mut [f32],
        gx: Gradient<'_>,
        workspace: &mut Workspace,
    ) {
        if self.is_same() {
            return self.backward_same(x, gy, rotated, gw, gx, workspace);
        }
        self.with_floats(x, workspace, |x, workspace| {
            self.backward_weight_columns(x, gy, gw, workspace);
        });
        if let Some(gx) = gx.into_buffer() {
            self.backward_input_columns(gy, rotated, gx, workspace);
        }
    }

    /// Calls `f` with the input as floats.
    fn with_floats(
        &self,
        x: ConvInput<'_>,
        workspace: &mut Workspace,
        f: impl FnOnce(&[f32], &mut Workspace),
    ) {
        match x {
            ConvInput::Floats(x) => f(x, workspace),
            ConvInput::Bits(words) => {
                let channels = self.x.channels;
                let mut expanded = core::mem::take(&mut workspace.expanded);
                let out = sized(&mut expanded, words.len() / bits::words(channels) * channels);
                vectorized(
                    #[inline(always)]
                    || expand(words, channels, out),
                );
                f(out, workspace);
                workspace.expanded = expanded;
            }
        }
    }

    /// The weights as [`Window::backward`] reads them, each output channel times its scale:
    /// rotated by 180 degrees in `[k, k, O, I]` order for the padded path, OHWI otherwise.
    pub(crate) fn rotated(&self, weight: &[f32], scale: Option<&[f32]>, out: &mut [f32]) {
        let Geometry { out_channels, kernel, .. } = self.geometry;
        let (taps, channels) = (kernel * kernel, self.group_channels());
        let same = self.is_same();
        for (o, filter) in weight.chunks_exact(taps * channels).enumerate() {
            let factor = scale.map_or(1.0, |s| s[o]);
            for (t, tap) in filter.chunks_exact(channels).enumerate() {
                let position = if same { (taps - 1 - t) * out_channels + o } else { o * taps + t };
                let target = &mut out[position * channels..][..channels];
                target.iter_mut().zip(tap).for_each(|(t, w)| *t = w * factor);
            }
        }
    }

    /// Input channels of a group.
    pub(super) fn group_channels(&self) -> usize {
        self.x.channels / self.geometry.groups
    }

    fn is_same(&self) -> bool {
        let Geometry { kernel, stride, padding, groups, .. } = self.geometry;
        stride == 1
            && groups == 1
            && 2 * padding + 1 == kernel
            && kernel * self.x.channels >= NARROW_ROW
    }
}

/// Writes +1 and -1 for the bits of each pixel.
#[inline(always)]
pub(super) fn expand(words: &[u64], channels: usize, out: &mut [f32]) {
    let per_pixel = bits::words(channels);
    for (pixel, target) in words.chunks_exact(per_pixel).zip(out.chunks_exact_mut(channels)) {
        for (&word, values) in pixel.iter().zip(target.chunks_mut(bits::WORD_BITS)) {
            for (i, value) in values.iter_mut().enumerate() {
                *value = if word >> i & 1 == 1 { 1.0 } else { -1.0 };
            }
        }
    }
}

/// `y = y * scale` for every pixel.
pub(crate) fn scale_channels(y: &mut [f32], scale: &[f32]) {
    vectorized(
        #[inline(always)]
        || {
            for pixel in y.chunks_exact_mut(scale.len()) {
                pixel.iter_mut().zip(scale).for_each(|(y, s)| *y *= s);
            }
        },
    );
}
