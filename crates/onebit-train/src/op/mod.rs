//! One file for each operation: its forward pass, its backward pass, their test.

#![deny(clippy::wildcard_enum_match_arm)]

pub(crate) mod batch_norm;
mod columns;
mod concat;
mod conv;
mod conv_bin;
mod hyper;
mod linear;
mod linear_bin;
mod multiplied;
mod padded;
mod pool;
mod prelu;
mod shuffle;
mod sign;
mod window;

use onebit_model::{Node, Op, Shape};

use crate::NetConfig;
use crate::params::Params;
pub(crate) use pool::AvgPool;
pub(crate) use sign::thresholds;
pub(crate) use window::{ConvInput, Window, Workspace};

/// An operation of the graph with its shapes and parameter indices.
pub(crate) trait Layer: Send + Sync {
    /// Derives what the passes need from the parameters, once before every step.
    fn prepare(&mut self, _params: &Params, _pass: Pass) {}

    /// Computes the output of `io.images` images.
    fn forward(&self, io: Forward<'_>);

    /// Sends gradients to the inputs of `io.images` images and adds to the parameters' gradients.
    fn backward(&self, io: Backward<'_>);

    /// Turns the summed raw gradients into those of the parameters, once after every step.
    fn finish(&self, _params: &mut Params) {}
}

/// What the forward pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// A training step: batch statistics, binary convolutions by the engine's kernel.
    Train,
    /// Prediction: running statistics, everything in float arithmetic, so that the engine can be
    /// compared with something that is not itself.
    Predict,
}

/// Views of a tile of images in the forward pass. Maps are NHWC.
pub(crate) struct Forward<'a> {
    pub(crate) images: usize,
    pub(crate) params: &'a Params,
    /// First input: floats, or `x_bits` where it is a bit map.
    pub(crate) x: &'a [f32],
    pub(crate) x_bits: &'a [u64],
    /// Second input, empty where there is none.
    pub(crate) x2: &'a [f32],
    pub(crate) y: &'a mut [f32],
    pub(crate) y_bits: &'a mut [u64],
    pub(crate) workspace: &'a mut Workspace,
}

/// Views of a tile of images in the backward pass.
pub(crate) struct Backward<'a> {
    pub(crate) images: usize,
    pub(crate) params: &'a Params,
    pub(crate) x: &'a [f32],
    pub(crate) x_bits: &'a [u64],
    pub(crate) x2: &'a [f32],
    /// Gradient of the output.
    pub(crate) gy: &'a [f32],
    pub(crate) gx: Gradient<'a>,
    pub(crate) gx2: Gradient<'a>,
    /// Gradients of all parameters, as summed so far over this microbatch.
    pub(crate) grads: &'a mut [Vec<f32>],
    pub(crate) workspace: &'a mut Workspace,
}

/// Where the gradient of an input goes.
pub(crate) struct Gradient<'a> {
    /// Empty when nothing is to be sent.
    pub(crate) data: &'a mut [f32],
    /// Whether `data` holds no earlier contribution (its content is then meaningless).
    pub(crate) first: bool,
}

impl<'a> Gradient<'a> {
    /// The buffer to add to, cleared before the first contribution; `None` when nothing is to be sent.
    pub(crate) fn into_buffer(self) -> Option<&'a mut [f32]> {
        if self.data.is_empty() {
            return None;
        }
        if self.first {
            self.data.fill(0.0);
        }
        Some(self.data)
    }
}

/// The hyper function's `len` offsets for one image, empty when there are none.
pub(crate) fn offsets(x2: &[f32], image: usize, len: usize) -> &[f32] {
    if x2.is_empty() { x2 } else { &x2[image * len..][..len] }
}

/// The layer of a node; batch normalizations and inputs are part of the walk itself.
pub(crate) fn layer(
    node: &Node,
    shapes: &[Shape],
    output: Shape,
    param: usize,
    config: &NetConfig,
) -> Option<Box<dyn Layer>> {
    let shape = |position: usize| shapes[node.inputs[position].0];
    Some(match node.op {
        Op::Input { .. } | Op::BatchNorm { .. } => return None,
        Op::Affine | Op::ConvI8 { .. } | Op::LinearI8 { .. } => {
            unreachable!("the trainer refuses lowered graphs")
        }
        Op::Conv { geometry } => Box::new(conv::Conv::new(geometry, shape(0), output, param)),
        Op::ConvBin { geometry, pad, scale } => Box::new(conv_bin::ConvBin::new(
            conv_bin::Kind { geometry, pad, scale },
            shape(0),
            output,
            param,
            config,
        )),
        Op::LinearBin { scale, .. } => {
            Box::new(linear_bin::LinearBin::new(scale, shape(0), output, param, config))
        }
        Op::Sign { threshold } => {
            Box::new(sign::Sign::new(threshold, shape(0), param, config.activation))
        }
        Op::Prelu { slope, shift } => Box::new(prelu::Prelu::new(slope, shift, shape(0), param)),
        Op::Add => Box::new(concat::Add),
        Op::Concat => Box::new(concat::Concat::new(shape(0), shape(1))),
        Op::ChannelShuffle { groups } => Box::new(shuffle::ChannelShuffle::new(groups, output)),
        Op::AvgPool { kernel, stride } => {
            Box::new(pool::AvgPool::new(kernel, stride, shape(0), output))
        }
        Op::MaxPool { kernel, stride, padding } => {
            Box::new(pool::MaxPool::new(kernel, stride, padding, shape(0), output))
        }
        Op::GlobalAvgPool => Box::new(pool::GlobalAvgPool::new(shape(0))),
        Op::Linear { .. } => Box::new(linear::Linear::new(shape(0), output, param)),
        Op::HyperTrunk { statistics, precision, .. } => {
            Box::new(hyper::HyperTrunk::new(statistics, precision, shape(0), output, param))
        }
        Op::HyperHead { range, precision, .. } => {
            Box::new(hyper::HyperHead::new(range, precision, shape(0), output, param))
        }
    })
}

#[cfg(test)]
mod finite_differences;
#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;
