//! Fully connected layer.

use onebit_model::Shape;

use super::{Backward, Forward, Layer};
use crate::gemm::{Mat, Write, product};

pub(crate) struct Linear {
    inputs: usize,
    outputs: usize,
    /// Index of `weight` `[O, I]`; `bias` follows.
    param: usize,
}

impl Linear {
    pub(crate) fn new(x: Shape, y: Shape, param: usize) -> Self {
        Linear { inputs: x.len(), outputs: y.len(), param }
    }
}

impl Layer for Linear {
    fn forward(&self, io: Forward<'_>) {
        let (i, o) = (self.inputs, self.outputs);
        for y in io.y.chunks_exact_mut(o) {
            y.copy_from_slice(io.params.value(self.param + 1));
        }
        let weight = Mat::rows(io.params.value(self.param), o, i, i);
        product(io.y, o, Mat::rows(io.x, io.images, i, i), weight.transposed(), Write::Add);
    }

    fn backward(&self, io: Backward<'_>) {
        let (i, o) = (self.inputs, self.outputs);
        let gy = Mat::rows(io.gy, io.images, o, o);
        product(
            &mut io.grads[self.param],
            i,
            gy.transposed(),
            Mat::rows(io.x, io.images, i, i),
            Write::Add,
        );
        for gy in io.gy.chunks_exact(o) {
            io.grads[self.param + 1].iter_mut().zip(gy).for_each(|(g, gy)| *g += gy);
        }
        if let Some(gx) = io.gx.into_buffer() {
            product(gx, i, gy, Mat::rows(io.params.value(self.param), o, i, i), Write::Add);
        }
    }
}
