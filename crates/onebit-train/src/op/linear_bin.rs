//! 1-bit layer: bits of activations, flattened with channels innermost, times binarized weights.

use onebit_model::{Shape, WeightScale};

use super::multiplied::Multiplied;
use super::window::{expand, scale_channels, sized};
use super::{Backward, Forward, Layer, Pass};
use crate::NetConfig;
use crate::gemm::{Mat, Write, product};
use crate::params::Params;

pub(crate) struct LinearBin {
    x: Shape,
    outputs: usize,
    /// Index of `weight` `[O, I]`; a learned `scale` follows.
    param: usize,
    weights: Multiplied,
    /// The weights times their scales, for the backward pass.
    scaled: Vec<f32>,
}

impl LinearBin {
    pub(crate) fn new(
        scale: WeightScale,
        x: Shape,
        y: Shape,
        param: usize,
        config: &NetConfig,
    ) -> Self {
        let (weights, outputs) = (x.len() * y.len(), y.len());
        LinearBin {
            x,
            outputs,
            param,
            weights: Multiplied::new(config, scale, weights, outputs),
            scaled: vec![0.0; weights],
        }
    }
}

impl Layer for LinearBin {
    fn prepare(&mut self, params: &Params, pass: Pass) {
        self.weights.prepare(params, self.param);
        if pass == Pass::Train {
            let (weights, scales) = self.weights.parts();
            self.scaled.copy_from_slice(weights);
            let rows = self.scaled.chunks_exact_mut(self.x.len());
            for (row, scale) in rows.zip(scales.unwrap_or_default()) {
                row.iter_mut().for_each(|weight| *weight *= scale);
            }
        }
    }

    fn forward(&self, io: Forward<'_>) {
        let (i, o) = (self.x.len(), self.outputs);
        let x = sized(&mut io.workspace.wide, io.images * i);
        expand(io.x_bits, self.x.channels, x);
        let (weights, scales) = self.weights.parts();
        let weights = Mat::rows(weights, o, i, i);
        product(io.y, o, Mat::rows(x, io.images, i, i), weights.transposed(), Write::Overwrite);
        if let Some(scales) = scales {
            scale_channels(io.y, scales);
        }
    }

    fn backward(&self, io: Backward<'_>) {
        let (i, o) = (self.x.len(), self.outputs);
        let x = sized(&mut io.workspace.wide, io.images * i);
        expand(io.x_bits, self.x.channels, x);
        let gy = Mat::rows(io.gy, io.images, o, o);
        let grads = &mut io.grads[self.param];
        product(grads, i, gy.transposed(), Mat::rows(x, io.images, i, i), Write::Add);
        if let Some(gx) = io.gx.into_buffer() {
            product(gx, i, gy, Mat::rows(&self.scaled, o, i, i), Write::Add);
        }
    }

    fn finish(&self, params: &mut Params) {
        self.weights.finish(params, self.param);
    }
}
