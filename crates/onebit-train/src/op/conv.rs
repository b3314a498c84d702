//! Real-valued convolution.

use onebit_model::{Geometry, Shape};

use super::window::Window;
use super::{Backward, Forward, Layer};
use crate::params::Params;

pub(crate) struct Conv {
    window: Window,
    param: usize,
    turned: Vec<f32>,
}

impl Conv {
    pub(crate) fn new(geometry: Geometry, x: Shape, y: Shape, param: usize) -> Self {
        let weights = geometry.weight_shape(x.channels).iter().product();
        Conv { window: Window { geometry, x, y, pad: 0.0 }, param, turned: vec![0.0; weights] }
    }
}

impl Layer for Conv {
    fn prepare(&mut self, params: &Params) {
        self.window.turned(params.value(self.param), None, &mut self.turned);
    }

    fn forward(&self, io: Forward<'_>) {
        self.window.forward(io.x, io.params.value(self.param), None, io.y, io.workspace);
    }

    fn backward(&self, io: Backward<'_>) {
        self.window.backward_weight(io.x, io.gy, &mut io.grads[self.param], io.workspace);
        if !io.gx.data.is_empty() {
            let gx = io.gx;
            self.window.backward_input(io.gy, &self.turned, gx.data, gx.first, io.workspace);
        }
    }
}
