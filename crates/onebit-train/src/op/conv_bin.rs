//! 1-bit convolution: signs of latent weights, with the scale kinds of XNOR-Net, Bi-Real Net and XNOR-Net++.

use onebit_engine::BinaryConvolution;
use onebit_model::{Geometry, PadValue, Shape, WeightScale, bits};

use super::window::{Source, Window, scale_channels};
use super::{Backward, Forward, Layer, Pass};
use crate::net::NetConfig;
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
    scale_kind: WeightScale,
    param: usize,
    binarize: bool,
    latent_bound: f32,
    /// What the forward pass multiplies with: +-1, or the latent weights in a real-weight stage.
    weight: Vec<f32>,
    scale: Vec<f32>,
    turned: Vec<f32>,
    pad: PadValue,
    /// In training steps: the engine's kernel, which gives the same exact sums as the matrix product, faster.
    popcount: Option<BinaryConvolution>,
}

impl ConvBin {
    pub(crate) fn new(kind: Kind, x: Shape, y: Shape, param: usize, config: &NetConfig) -> Self {
        let Kind { geometry, pad, scale } = kind;
        let pad_value = match pad {
            PadValue::Zero => 0.0,
            PadValue::One => 1.0,
        };
        let weights = geometry.weight_shape(x.channels).iter().product();
        ConvBin {
            window: Window { geometry, x, y, pad: pad_value },
            scale_kind: scale,
            param,
            binarize: config.binarize_weights,
            latent_bound: config.weight.bound(),
            weight: vec![0.0; weights],
            scale: vec![1.0; geometry.out_channels],
            turned: vec![0.0; weights],
            pad,
            popcount: None,
        }
    }

    /// Latent weights of one output channel.
    fn filter_len(&self) -> usize {
        self.weight.len() / self.scale.len()
    }
}

impl Layer for ConvBin {
    fn prepare(&mut self, params: &Params, pass: Pass) {
        let latent = params.value(self.param);
        let filter = self.filter_len();
        if self.binarize {
            for (w, l) in self.weight.iter_mut().zip(latent) {
                *w = if *l > 0.0 { 1.0 } else { -1.0 };
            }
            match self.scale_kind {
                WeightScale::None => self.scale.fill(1.0),
                WeightScale::Learned => self.scale.copy_from_slice(params.value(self.param + 1)),
                WeightScale::L1Detached | WeightScale::L1Grad => {
                    for (scale, filter) in self.scale.iter_mut().zip(latent.chunks_exact(filter)) {
                        *scale = bits::mean_abs(filter);
                    }
                }
            }
        } else {
            self.weight.copy_from_slice(latent);
        }
        self.popcount = (self.binarize && pass == Pass::Train).then(|| self.packed());
        if pass == Pass::Train {
            self.window.turned(&self.weight, Some(&self.scale), &mut self.turned);
        }
    }

    fn forward(&self, io: Forward<'_>) {
        if let Some(popcount) = &self.popcount {
            let words = io.x_bits.len() / io.images;
            let images =
                io.x_bits.chunks_exact(words).zip(io.y.chunks_exact_mut(self.window.y.len()));
            images.for_each(|(x, y)| {
                let done = popcount.run(x, &mut io.workspace.popcount, y);
                done.expect("memory for a map that is there twice already");
            });
            return scale_channels(io.y, &self.scale);
        }
        let (x, scale) = (Source::Bits(io.x_bits), Some(self.scale.as_slice()));
        self.window.forward(x, &self.weight, scale, io.y, io.workspace);
    }

    fn backward(&self, io: Backward<'_>) {
        let (x, gw) = (Source::Bits(io.x_bits), &mut io.grads[self.param]);
        self.window.backward(x, io.gy, &self.turned, gw, io.gx, io.workspace);
    }

    /// From the gradient of the binarized weights to that of the latent ones (and of a learned scale).
    fn finish(&self, params: &mut Params) {
        if !self.binarize {
            return;
        }
        let sums = match self.scale_kind {
            WeightScale::None | WeightScale::L1Detached => Vec::new(),
            WeightScale::Learned | WeightScale::L1Grad => {
                self.sign_sums(&params.entries[self.param].grad)
            }
        };
        if self.scale_kind == WeightScale::Learned {
            params.entries[self.param + 1].grad.copy_from_slice(&sums);
        }
        let filter = self.filter_len();
        let entry = &mut params.entries[self.param];
        let filters = entry.grad.chunks_exact_mut(filter).zip(entry.value.chunks_exact(filter));
        for (o, (grad, latent)) in filters.enumerate() {
            let (factor, shared) = match self.scale_kind {
                WeightScale::None | WeightScale::L1Detached => (1.0, 0.0),
                WeightScale::Learned => (self.scale[o], 0.0),
                WeightScale::L1Grad => (self.scale[o], sums[o] / filter as f32),
            };
            for (i, (g, l)) in grad.iter_mut().zip(latent).enumerate() {
                let masked = if l.abs() <= self.latent_bound { factor * *g } else { 0.0 };
                *g = masked + shared * self.weight[o * filter + i];
            }
        }
    }
}

impl ConvBin {
    fn packed(&self) -> BinaryConvolution {
        let Window { geometry, x, .. } = self.window;
        let channels = x.channels / geometry.groups;
        let words = bits::words(channels);
        let mut packed = vec![0; self.weight.len() / channels * words];
        for (tap, words) in self.weight.chunks_exact(channels).zip(packed.chunks_exact_mut(words)) {
            bits::pack(tap, words);
        }
        let kernel = BinaryConvolution::new(&packed, geometry, self.pad, x, None);
        kernel.expect(
            "memory for the weights, and a verified graph that gives the kernel what it needs",
        )
    }

    /// Sum over each filter of gradient times sign.
    fn sign_sums(&self, grad: &[f32]) -> Vec<f32> {
        let filter = self.filter_len();
        let filters = grad.chunks_exact(filter).zip(self.weight.chunks_exact(filter));
        filters.map(|(g, w)| g.iter().zip(w).map(|(g, w)| g * w).sum()).collect()
    }
}
