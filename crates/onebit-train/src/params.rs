//! Parameters of a network: values, gradients, initial values.

#![deny(clippy::wildcard_enum_match_arm)]

use std::collections::TryReserveError;

use onebit_data::random::{Key, Stream};
use onebit_model::op::Role;
use onebit_model::{Graph, NodeId, Op, Shape, Slope};

/// One parameter tensor or running statistic.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Full name, `node.suffix`.
    pub name: String,
    /// Logical shape; convolution weights are OHWI.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// Current values.
    pub value: Vec<f32>,
    /// Gradient of the mean loss of the last step; empty for statistics.
    pub grad: Vec<f32>,
}

/// All parameters of a network in graph order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params {
    /// The tensors.
    pub entries: Vec<Parameter>,
}

impl Params {
    /// Values of the parameter `index`.
    pub(crate) fn value(&self, index: usize) -> &[f32] {
        &self.entries[index].value
    }

    /// Number of trained values.
    #[must_use]
    pub fn trainable(&self) -> usize {
        self.entries.iter().map(|p| p.grad.len()).sum()
    }
}

/// `len` times the same value.
///
/// # Errors
/// More memory than the system gives.
pub(crate) fn filled<T: Clone>(len: usize, value: T) -> Result<Vec<T>, TryReserveError> {
    let mut values = Vec::new();
    values.try_reserve_exact(len)?;
    values.resize(len, value);
    Ok(values)
}

/// Allocates and initialises the parameters of `graph`; also where each node's parameters start.
///
/// # Errors
/// More memory than the system gives.
pub(crate) fn initial(
    graph: &Graph,
    shapes: &[Shape],
    seed: u64,
) -> Result<(Params, Vec<usize>), TryReserveError> {
    let mut entries = Vec::new();
    let mut first = Vec::with_capacity(graph.nodes.len());
    for (id, node) in graph.nodes.iter().enumerate() {
        first.push(entries.len());
        for param in graph.params(NodeId(id), shapes) {
            let stream = entries.len() as u64;
            let value = initial_value(&node.op, param.suffix, &param.shape, seed, stream)?;
            let trained = param.role != Role::Statistic;
            let grad = filled(if trained { value.len() } else { 0 }, 0.0)?;
            entries.push(Parameter {
                name: node.param_name(param.suffix),
                shape: param.shape,
                role: param.role,
                value,
                grad,
            });
        }
    }
    Ok((Params { entries }, first))
}

fn initial_value(
    op: &Op,
    suffix: &str,
    shape: &[usize],
    seed: u64,
    stream: u64,
) -> Result<Vec<f32>, TryReserveError> {
    let len = shape.iter().product();
    let fan_in: usize = shape.iter().skip(1).product();
    let uniform = |bound: f32| {
        let key = Key { seed, epoch: 0, index: stream, stream: Stream::WEIGHTS };
        let mut values = filled(len, 0.0)?;
        values.iter_mut().zip(key.uniforms()).for_each(|(v, u)| *v = (2.0 * u - 1.0) * bound);
        Ok(values)
    };
    match op {
        // PyTorch's default for convolutions and linear layers: uniform within 1/sqrt(fan-in).
        Op::Conv { .. } | Op::ConvBin { .. } | Op::Linear { .. } | Op::LinearBin { .. }
            if suffix == "weight" =>
        {
            uniform((1.0 / fan_in as f32).sqrt())
        }
        Op::ConvBin { .. } | Op::LinearBin { .. } if suffix == "scale" => {
            filled(len, 1.0 / (fan_in.max(1) as f32).sqrt())
        }
        Op::BatchNorm { .. } if matches!(suffix, "weight" | "running_var") => filled(len, 1.0),
        Op::Prelu { slope: Slope::Negative | Slope::Both, .. } if suffix == "slope_neg" => {
            filled(len, 0.25)
        }
        Op::Prelu { .. } if suffix == "slope_pos" => filled(len, 1.0),
        // Kaiming uniform for the ReLU behind it; heads of zeros make the network static at first.
        Op::HyperTrunk { .. } if suffix == "weight" => uniform((6.0 / fan_in as f32).sqrt()),
        Op::Input { .. }
        | Op::Conv { .. }
        | Op::ConvBin { .. }
        | Op::ConvI8 { .. }
        | Op::LinearBin { .. }
        | Op::BatchNorm { .. }
        | Op::Affine
        | Op::Sign { .. }
        | Op::Prelu { .. }
        | Op::Add
        | Op::Concat
        | Op::ChannelShuffle { .. }
        | Op::AvgPool { .. }
        | Op::MaxPool { .. }
        | Op::GlobalAvgPool
        | Op::Linear { .. }
        | Op::LinearI8 { .. }
        | Op::HyperTrunk { .. }
        | Op::HyperHead { .. } => filled(len, 0.0),
    }
}
