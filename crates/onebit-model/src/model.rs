//! A lowered network with its tensors: what a `.onebit` file holds.

#![deny(clippy::wildcard_enum_match_arm)]

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::op::{INPUT_OFFSET, INPUT_SCALE, Role};
use crate::{
    Graph, GraphError, Node, Op, Origin, Shape, Verified, WeightScale, bits, infer, limits, quote,
};

/// Range of the steps of an 8-bit input, whose reciprocals are finite.
const MIN_STEP: f32 = 1e-30;
const MAX_STEP: f32 = 1e30;
/// Largest factor of 8-bit weights, whose product with any sum is finite.
const MAX_FACTOR: f32 = 1e28;

/// A packed model, as the engine runs it: a lowered graph and its tensors by full name (`node.suffix`), binary weights one
/// bit each. Lowering makes it of a trained model, [`Weights`](crate::file::Weights).
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// A graph without batch normalization and without weight scales.
    pub graph: Graph,
    /// One tensor for each parameter of each node.
    pub tensors: BTreeMap<String, Tensor>,
    /// Where it comes from.
    pub origin: Origin,
}

/// A tensor as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Extents; for packed weights `[O, k, k, words]`.
    pub shape: Vec<usize>,
    /// The elements, last extent innermost.
    pub data: Data,
}

/// Elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Packed bits (see [`crate::bits`]).
    U64(Vec<u64>),
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 8-bit integers.
    I8(Vec<i8>),
}

impl Data {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Data::U64(v) => v.len(),
            Data::F32(v) => v.len(),
            Data::I8(v) => v.len(),
        }
    }

    /// Name of the element type, as in a file.
    #[must_use]
    pub fn dtype(&self) -> &'static str {
        match self {
            Data::U64(_) => "U64",
            Data::F32(_) => "F32",
            Data::I8(_) => "I8",
        }
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A defect of a lowered model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The graph itself is wrong.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A node that only a trainer can run.
    #[error("node `{node}`: {what} has no place in a packed model")]
    NotLowered {
        /// The node.
        node: String,
        /// What it is.
        what: &'static str,
    },
    /// A node that only a packed model can have.
    #[error("node `{node}`: {op} has no place among trained weights")]
    NotTrained {
        /// The node.
        node: String,
        /// Its operation.
        op: &'static str,
    },
    /// A parameter without its tensor.
    #[error("tensor `{0}` is missing")]
    MissingTensor(String),
    /// A tensor that belongs to no node.
    #[error("tensor `{0}` belongs to no node of the graph")]
    ExtraTensor(String),
    /// A tensor of another shape or type.
    #[error("tensor `{name}` is {}, expected {expected}", quote::shown(.found))]
    WrongTensor {
        /// The tensor.
        name: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A NaN or infinity.
    #[error("tensor `{0}` holds a value that is not finite")]
    NotFinite(String),
    /// A number that its operation cannot use.
    #[error("tensor `{name}` holds {value}, expected {expected}")]
    OutOfRange {
        /// The tensor.
        name: String,
        /// The number.
        value: f32,
        /// What is allowed.
        expected: &'static str,
    },
    /// Bits beyond the last channel.
    #[error("tensor `{0}` has bits set beyond its last channel")]
    TailBits(String),
    /// A text about the origin that is empty, too long, or not plain.
    #[error(
        "origin: `{0}` must have 1 to {max} bytes, and no control characters but tabs and ends of lines",
        max = limits::MAX_ORIGIN_BYTES
    )]
    Origin(&'static str),
}

impl Verified<Model> {
    /// Checks the graph, that it is lowered, and that the tensors are exactly those it needs.
    ///
    /// # Errors
    /// The first defect found.
    pub fn new(model: Model) -> Result<Self, ModelError> {
        if let Some(field) = model.origin.defect() {
            return Err(ModelError::Origin(field));
        }
        let graph = Verified::<Graph>::new(model.graph)?;
        let shapes = infer::shapes(&graph)?;
        let mut known = 0;
        for node in &graph.nodes {
            check_lowered(node)?;
            check_steps(node, &model.tensors)?;
            let Some(x) = node.inputs.first().map(|id| shapes[id.0]) else {
                continue;
            };
            for param in node.op.params(x) {
                let name = node.param_name(param.suffix);
                let tensor = model.tensors.get(&name);
                let tensor = tensor.ok_or_else(|| ModelError::MissingTensor(name.clone()))?;
                match param.role {
                    Role::Binary => check_bits(&name, tensor, &param.shape)?,
                    Role::Float | Role::Statistic => check_floats(&name, tensor, &param.shape)?,
                    Role::Int8 => {
                        check_integers(&name, tensor, &param.shape)?;
                        let scale = row_scale(&name);
                        let tensor = model.tensors.get(&scale);
                        let tensor =
                            tensor.ok_or_else(|| ModelError::MissingTensor(scale.clone()))?;
                        check_floats(&scale, tensor, &param.shape[..1])?;
                        known += 1;
                    }
                }
                known += 1;
            }
        }
        if known != model.tensors.len() {
            return Err(ModelError::ExtraTensor(extra(&graph, &shapes, &model.tensors)));
        }
        Ok(Verified::assume(Model { graph: graph.into_inner(), ..model }))
    }
}

impl Model {
    /// Floats of the tensor `suffix` of `node`; empty when the node has no such tensor.
    #[must_use]
    pub fn floats(&self, node: &Node, suffix: &str) -> &[f32] {
        match self.tensors.get(&node.param_name(suffix)) {
            Some(Tensor { data: Data::F32(v), .. }) => v,
            _ => &[],
        }
    }

    /// 8-bit integers of the tensor `suffix` of `node`, and the factor of each row; empty when they are not so stored.
    #[must_use]
    pub fn integers(&self, node: &Node, suffix: &str) -> (&[i8], &[f32]) {
        let name = node.param_name(suffix);
        match (self.tensors.get(&name), self.tensors.get(&row_scale(&name))) {
            (
                Some(Tensor { data: Data::I8(values), .. }),
                Some(Tensor { data: Data::F32(scale), .. }),
            ) => (values, scale),
            _ => (&[], &[]),
        }
    }

    /// Packed words of the tensor `suffix` of `node`; empty when the node has no such tensor.
    #[must_use]
    pub fn words(&self, node: &Node, suffix: &str) -> &[u64] {
        match self.tensors.get(&node.param_name(suffix)) {
            Some(Tensor { data: Data::U64(v), .. }) => v,
            _ => &[],
        }
    }
}

/// Name of the tensor that holds the factor of each row of the 8-bit integers `name`.
#[must_use]
pub fn row_scale(name: &str) -> String {
    alloc::format!("{name}_scale")
}

/// Stored shape of binary weights of the logical shape `[O, k, k, I/groups]`.
#[must_use]
pub fn packed_shape(logical: &[usize]) -> Vec<usize> {
    let mut shape = logical.to_vec();
    if let Some(channels) = shape.last_mut() {
        *channels = bits::words(*channels);
    }
    shape
}

fn check_lowered(node: &Node) -> Result<(), ModelError> {
    let what = match node.op {
        Op::BatchNorm { .. } => "batch normalization",
        Op::ConvBin { scale, .. } | Op::LinearBin { scale, .. } if scale != WeightScale::None => {
            "a weight scale"
        }
        Op::Input { .. }
        | Op::Conv { .. }
        | Op::ConvBin { .. }
        | Op::ConvI8 { .. }
        | Op::LinearBin { .. }
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
        | Op::HyperHead { .. } => return Ok(()),
    };
    Err(ModelError::NotLowered { node: node.name.clone(), what })
}

fn check_floats(name: &str, tensor: &Tensor, shape: &[usize]) -> Result<(), ModelError> {
    match &tensor.data {
        Data::F32(values) if tensor.shape == shape && fills(tensor) => {
            if values.iter().all(|v| v.is_finite()) {
                Ok(())
            } else {
                Err(ModelError::NotFinite(name.to_string()))
            }
        }
        Data::F32(_) | Data::U64(_) | Data::I8(_) => Err(wrong(name, tensor, "F32", shape)),
    }
}

/// Steps and factors of an 8-bit operation are in the ranges that make every result finite.
fn check_steps(node: &Node, tensors: &BTreeMap<String, Tensor>) -> Result<(), ModelError> {
    if !matches!(node.op, Op::ConvI8 { .. } | Op::LinearI8 { .. }) {
        return Ok(());
    }
    type Check<'a> = (&'a str, fn(f32) -> bool, &'static str);
    let weight_scale = row_scale("weight");
    let step = |v: f32| (MIN_STEP..=MAX_STEP).contains(&v);
    let checks: [Check<'_>; 3] = [
        (INPUT_SCALE, step, "1e-30 to 1e30"),
        (INPUT_OFFSET, |v| (0.0..=255.0).contains(&v), "0 to 255"),
        (&weight_scale, |v| (0.0..=MAX_FACTOR).contains(&v), "0 to 1e28"),
    ];
    for (suffix, valid, expected) in checks {
        let name = node.param_name(suffix);
        if let Some(Tensor { data: Data::F32(values), .. }) = tensors.get(&name)
            && let Some(&value) = values.iter().find(|&&v| v.is_finite() && !valid(v))
        {
            return Err(ModelError::OutOfRange { name, value, expected });
        }
    }
    Ok(())
}

fn check_bits(name: &str, tensor: &Tensor, logical: &[usize]) -> Result<(), ModelError> {
    let shape = packed_shape(logical);
    let channels = logical.last().copied().unwrap_or(0);
    match &tensor.data {
        Data::U64(words) if tensor.shape == shape && fills(tensor) => {
            let mask = bits::tail_mask(channels);
            let mut taps = words.chunks(bits::words(channels).max(1));
            if taps.all(|tap| tap.last().is_none_or(|last| last & !mask == 0)) {
                Ok(())
            } else {
                Err(ModelError::TailBits(name.to_string()))
            }
        }
        Data::F32(_) | Data::U64(_) | Data::I8(_) => Err(wrong(name, tensor, "U64", &shape)),
    }
}

fn check_integers(name: &str, tensor: &Tensor, shape: &[usize]) -> Result<(), ModelError> {
    match &tensor.data {
        Data::I8(_) if tensor.shape == shape && fills(tensor) => Ok(()),
        Data::F32(_) | Data::U64(_) | Data::I8(_) => Err(wrong(name, tensor, "I8", shape)),
    }
}

fn fills(tensor: &Tensor) -> bool {
    let len = tensor.shape.iter().try_fold(1usize, |n, &e| n.checked_mul(e));
    len == Some(tensor.data.len())
}

fn wrong(name: &str, tensor: &Tensor, dtype: &str, shape: &[usize]) -> ModelError {
    ModelError::WrongTensor {
        name: name.to_string(),
        found: alloc::format!("{} {:?}", tensor.data.dtype(), tensor.shape),
        expected: alloc::format!("{dtype} {shape:?}"),
    }
}

fn extra(graph: &Graph, shapes: &[Shape], tensors: &BTreeMap<String, Tensor>) -> String {
    let belongs = |name: &str| {
        graph.nodes.iter().enumerate().any(|(i, node)| {
            let params = graph.params(crate::NodeId(i), shapes);
            params.iter().any(|p| {
                let own = node.param_name(p.suffix);
                own == name || (p.role == Role::Int8 && row_scale(&own) == name)
            })
        })
    };
    tensors.keys().find(|name| !belongs(name)).cloned().unwrap_or_default()
}
