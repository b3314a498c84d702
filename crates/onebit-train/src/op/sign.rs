//! Sign of activations with a static or dynamic threshold per channel.

use onebit_model::{Shape, Threshold, bits};

use super::{Backward, Forward, Layer, offsets};
use crate::binarize::Estimator;
use crate::binarize::activation::{self, SignBackward};
use crate::params::Params;

pub(crate) struct Sign {
    threshold: Threshold,
    x: Shape,
    param: usize,
    estimator: Estimator,
}

impl Sign {
    pub(crate) fn new(threshold: Threshold, x: Shape, param: usize, estimator: Estimator) -> Self {
        Sign { threshold, x, param, estimator }
    }

    /// Threshold of every channel for one image.
    fn thresholds(&self, params: &Params, offsets: &[f32], out: &mut [f32]) {
        let own = if self.threshold == Threshold::Zero { &[] } else { params.value(self.param) };
        thresholds(self.threshold, own, offsets, out);
    }
}

/// Threshold of every channel for one image, from the parameter and the offsets that `kind` has.
pub(crate) fn thresholds(kind: Threshold, own: &[f32], offsets: &[f32], out: &mut [f32]) {
    match kind {
        Threshold::Zero => out.fill(0.0),
        Threshold::Static => out.copy_from_slice(own),
        Threshold::Dynamic => {
            for ((t, s), d) in out.iter_mut().zip(own).zip(offsets) {
                *t = s + d;
            }
        }
    }
}

impl Layer for Sign {
    fn forward(&self, io: Forward<'_>) {
        let c = self.x.channels;
        let words = self.x.pixels() * bits::words(c);
        io.workspace.vectors.resize(c, 0.0);
        let thresholds = &mut io.workspace.vectors[..c];
        for image in 0..io.images {
            self.thresholds(io.params, offsets(io.x2, image, c), thresholds);
            let x = &io.x[image * self.x.len()..][..self.x.len()];
            let y = &mut io.y_bits[image * words..][..words];
            activation::forward(x, thresholds, y);
        }
    }

    fn backward(&self, io: Backward<'_>) {
        let (c, len) = (self.x.channels, self.x.len());
        io.workspace.vectors.resize(2 * c, 0.0);
        let (thresholds, sums) = io.workspace.vectors.split_at_mut(c);
        let sums = &mut sums[..c];
        let (gx, first) = (io.gx.data, io.gx.first);
        let mut g_offsets = io.gx2.into_buffer();
        for image in 0..io.images {
            self.thresholds(io.params, offsets(io.x2, image, c), thresholds);
            sums.fill(0.0);
            let x = &io.x[image * len..][..len];
            let gy = &io.gy[image * len..][..len];
            let gx = &mut gx[image * len..][..len];
            let pass = SignBackward { x, thresholds, gy, gx, first, sums };
            self.estimator.surrogate().backward(pass);
            if self.threshold != Threshold::Zero {
                let grad = &mut io.grads[self.param];
                grad.iter_mut().zip(&*sums).for_each(|(g, s)| *g -= s);
            }
            if let Some(g) = &mut g_offsets {
                g[image * c..][..c].iter_mut().zip(&*sums).for_each(|(g, s)| *g -= s);
            }
        }
    }
}
