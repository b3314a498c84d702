//! Parameters of a network: values, gradients, initial values.

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

/// Allocates and initialises the parameters of `graph`; also where each node's parameters start.
pub(crate) fn initial(graph: &Graph, shapes: &[Shape], seed: u64) -> (Params, Vec<usize>) {
    let mut entries = Vec::new();
    let mut first = Vec::with_capacity(graph.nodes.len());
    for (id, node) in graph.nodes.iter().enumerate() {
        first.push(entries.len());
        for param in graph.params(NodeId(id), shapes) {
            let stream = entries.len() as u64;
            let value = initial_value(&node.op, param.suffix, &param.shape, seed, stream);
            let trained = param.role != Role::Statistic;
            let grad = if trained { vec![0.0; value.len()] } else { Vec::new() };
            entries.push(Parameter {
                name: node.param_name(param.suffix),
                shape: param.shape,
                role: param.role,
                value,
                grad,
            });
        }
    }
    (Params { entries }, first)
}

fn initial_value(op: &Op, suffix: &str, shape: &[usize], seed: u64, stream: u64) -> Vec<f32> {
    let len = shape.iter().product();
    let fan_in: usize = shape.iter().skip(1).product();
    let uniform = |bound: f32| {
        let key = Key { seed, epoch: 0, index: stream, stream: Stream::WEIGHTS };
        key.uniforms().take(len).map(|u| (2.0 * u - 1.0) * bound).collect()
    };
    match (op, suffix) {
        // PyTorch's default for convolutions and linear layers: uniform within 1/sqrt(fan-in).
        (Op::Conv { .. } | Op::ConvBin { .. } | Op::Linear { .. }, "weight") => {
            uniform((1.0 / fan_in as f32).sqrt())
        }
        (Op::ConvBin { .. }, "scale") => vec![1.0 / (fan_in.max(1) as f32).sqrt(); len],
        (Op::BatchNorm, "weight" | "running_var") => vec![1.0; len],
        (Op::Prelu { slope: Slope::Negative | Slope::Both, .. }, "slope_neg") => vec![0.25; len],
        (Op::Prelu { .. }, "slope_pos") => vec![1.0; len],
        // Kaiming uniform for the ReLU behind it; heads of zeros make the network static at first.
        (Op::HyperTrunk { .. }, "weight") => uniform((6.0 / fan_in as f32).sqrt()),
        _ => vec![0.0; len],
    }
}
