//! 1-bit convolution: bits of activations times binarized weights.

use onebit_engine::BinaryConvolution;
use onebit_model::{Geometry, PadValue, Shape, WeightScale, bits};

use super::multiplied::Multiplied;
use super::window::{ConvInput, Window, scale_channels};
use super::{Backward, Forward, Layer, Pass};
use crate::NetConfig;
use crate::binarize::weight::BinaryWeights;
use crate::params::Params;

/// Attributes of a binary convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) geometry: Geometry,
    pub(crate) pad: PadValue,
    pub(crate) scale: WeightScale,
}

pub(crate) struct ConvBin {
    window: Window,
    pad: PadValue,
    param: usize,
    weights: Multiplied,
    rotated: Vec<f32>,
    /// For training steps: the engine's kernel, which gives the same exact sums as the matrix product, faster.
    kernel: Option<BinaryConvolution>,
    /// The signs as the kernel takes them.
    packed: Vec<u64>,
    pass: Pass,
}

impl ConvBin {
    pub(crate) fn new(kind: Kind, x: Shape, y: Shape, param: usize, config: &NetConfig) -> Self {
        let Kind { geometry, pad, scale } = kind;
        let pad_value = match pad {
            PadValue::Zero => 0.0,
            PadValue::One => 1.0,
        };
        let weights = geometry.weight_shape(x.channels).iter().product();
        let filters = geometry.out_channels;
        ConvBin {
            window: Window { geometry, x, y, pad: pad_value },
            pad,
            param,
            weights: Multiplied::new(config, scale, weights, filters),
            rotated: vec![0.0; weights],
            kernel: None,
            packed: Vec::new(),
            pass: Pass::Predict,
        }
    }

    /// Gives the kernel the signs as they are now.
    fn pack(&mut self) {
        let Multiplied::Signs(BinaryWeights { signs, .. }) = &self.weights else { return };
        let Window { geometry, x, .. } = self.window;
        let channels = x.channels / geometry.groups;
        let words = bits::words(channels);
        self.packed.resize(signs.len() / channels * words, 0);
        for (tap, words) in signs.chunks_exact(channels).zip(self.packed.chunks_exact_mut(words)) {
            bits::pack(tap, words);
        }
        let packed = match &mut self.kernel {
            Some(kernel) => kernel.set_weight(&self.packed),
            None => BinaryConvolution::new(&self.packed, geometry, self.pad, x, None)
                .map(|kernel| self.kernel = Some(kernel)),
        };
        packed.expect(
            "memory for the weights, and a verified graph that gives the kernel what it needs",
        );
    }
}

impl Layer for ConvBin {
    fn prepare(&mut self, params: &Params, pass: Pass) {
        self.weights.prepare(params, self.param);
        self.pass = pass;
        if pass == Pass::Train {
            self.pack();
            let (weights, scales) = self.weights.parts();
            self.window.rotated(weights, scales, &mut self.rotated);
        }
    }

    fn forward(&self, io: Forward<'_>) {
        let (weights, scales) = self.weights.parts();
        if let (Pass::Train, Some(kernel)) = (self.pass, &self.kernel) {
            let words = io.x_bits.len() / io.images;
            let images =
                io.x_bits.chunks_exact(words).zip(io.y.chunks_exact_mut(self.window.y.len()));
            images.for_each(|(x, y)| {
                let done = kernel.run(x, &mut io.workspace.popcount, y);
                done.expect("memory for a map that is there twice already");
            });
            return scales.into_iter().for_each(|scales| scale_channels(io.y, scales));
        }
        self.window.forward(ConvInput::Bits(io.x_bits), weights, scales, io.y, io.workspace);
    }

    fn backward(&self, io: Backward<'_>) {
        let (x, gw) = (ConvInput::Bits(io.x_bits), &mut io.grads[self.param]);
        self.window.backward(x, io.gy, &self.rotated, gw, io.gx, io.workspace);
    }

    fn finish(&self, params: &mut Params) {
        self.weights.finish(params, self.param);
    }
}
