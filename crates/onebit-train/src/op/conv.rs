//! Real-valued convolution.

use onebit_model::{Geometry, Shape};

use super::window::{ConvInput, Window};
use super::{Backward, Forward, Layer, Pass};
use crate::params::Params;

pub(crate) struct Conv {
    window: Window,
    param: usize,
    rotated: Vec<f32>,
}

impl Conv {
    pub(crate) fn new(geometry: Geometry, x: Shape, y: Shape, param: usize) -> Self {
        let weights = geometry.weight_shape(x.channels).iter().product();
        Conv { window: Window { geometry, x, y, pad: 0.0 }, param, rotated: vec![0.0; weights] }
    }
}

impl Layer for Conv {
    fn prepare(&mut self, params: &Params, pass: Pass) {
        if pass == Pass::Train {
            self.window.rotated(params.value(self.param), None, &mut self.rotated);
        }
    }

    fn forward(&self, io: Forward<'_>) {
        let weight = io.params.value(self.param);
        self.window.forward(ConvInput::Floats(io.x), weight, None, io.y, io.workspace);
    }

    fn backward(&self, io: Backward<'_>) {
        let (x, gw) = (ConvInput::Floats(io.x), &mut io.grads[self.param]);
        self.window.backward(x, io.gy, &self.rotated, gw, io.gx, io.workspace);
    }
}
