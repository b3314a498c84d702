//! Sum and concatenation of two maps.

use onebit_model::Shape;

use super::{Backward, Forward, Layer};
use crate::simd::vectorized;

pub(crate) struct Add;

impl Layer for Add {
    fn forward(&self, io: Forward<'_>) {
        vectorized(
            #[inline(always)]
            || {
                for ((y, a), b) in io.y.iter_mut().zip(io.x).zip(io.x2) {
                    *y = a + b;
                }
            },
        );
    }

    /// An input that only this sum reads shares the gradient buffer and gets an empty view here.
    fn backward(&self, io: Backward<'_>) {
        for gradient in [io.gx, io.gx2] {
            if gradient.data.is_empty() {
                continue;
            }
            if gradient.first {
                gradient.data.copy_from_slice(io.gy);
            } else {
                gradient.data.iter_mut().zip(io.gy).for_each(|(g, gy)| *g += gy);
            }
        }
    }
}

pub(crate) struct Concat {
    left: usize,
    right: usize,
}

impl Concat {
    pub(crate) fn new(left: Shape, right: Shape) -> Self {
        Concat { left: left.channels, right: right.channels }
    }
}

impl Layer for Concat {
    fn forward(&self, io: Forward<'_>) {
        let pixels = io.y.chunks_exact_mut(self.left + self.right);
        let inputs = io.x.chunks_exact(self.left).zip(io.x2.chunks_exact(self.right));
        for (y, (left, right)) in pixels.zip(inputs) {
            y[..self.left].copy_from_slice(left);
            y[self.left..].copy_from_slice(right);
        }
    }

    fn backward(&self, io: Backward<'_>) {
        let total = self.left + self.right;
        let parts = [(io.gx, 0, self.left), (io.gx2, self.left, self.right)];
        for (gradient, start, channels) in parts {
            let Some(gx) = gradient.into_buffer() else { continue };
            for (gx, gy) in gx.chunks_exact_mut(channels).zip(io.gy.chunks_exact(total)) {
                gx.iter_mut().zip(&gy[start..start + channels]).for_each(|(g, gy)| *g += gy);
            }
        }
    }
}
