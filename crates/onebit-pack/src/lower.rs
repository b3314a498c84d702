//! Lowering: batch normalization and weight scales folded, binary weights packed.

#![deny(clippy::wildcard_enum_match_arm)]

use std::collections::BTreeMap;

use onebit_model::file::Weights;
use onebit_model::op::Role;
use onebit_model::{
    Data, Graph, Model, Node, NodeId, Op, Origin, Shape, Tensor, Verified, WeightScale, infer,
    quantization, row_scale,
};

use crate::error::check_room;
use crate::{PackError, fold, pack_weights};

/// Turns a trained network into a packed one that computes the same.
///
/// Batch normalization becomes [`Op::Affine`]; latent binary weights become bits; the scale of binary weights is
/// folded into the batch normalization behind the convolution where that is its only reader, and otherwise becomes
/// an affine node `<convolution>.scale` of its own; weights of the precision int8 are rounded. Everything else is copied,
/// names included.
///
/// # Errors
/// A negative variance, a folded constant that 32-bit floats cannot hold, or too little memory.
pub fn lower(weights: &Verified<Weights>) -> Result<Verified<Model>, PackError> {
    let shapes = infer::shapes(&weights.graph)?;
    let values: usize = weights.tensors.values().map(|tensor| tensor.data.len()).sum();
    check_room(4 * values as u64, "the packed weights")?;
    let readers = weights.graph.readers();
    let mut lowering =
        Lowering { weights, shapes: &shapes, nodes: vec![], tensors: BTreeMap::new() };
    let mut moved: Vec<NodeId> = Vec::with_capacity(weights.graph.nodes.len());
    for (id, node) in weights.graph.ids().zip(&weights.graph.nodes) {
        let inputs: Vec<NodeId> = node.inputs.iter().map(|input| moved[input.0]).collect();
        moved.push(match node.op {
            Op::BatchNorm { eps } => lowering.batch_norm(node, eps, inputs, &readers)?,
            Op::ConvBin { geometry, pad, .. } => {
                let op = Op::ConvBin { geometry, pad, scale: WeightScale::None };
                lowering.binary(id, op, inputs, &readers)
            }
            Op::LinearBin { out_features, .. } => {
                let op = Op::LinearBin { out_features, scale: WeightScale::None };
                lowering.binary(id, op, inputs, &readers)
            }
            Op::Input { .. }
            | Op::Conv { .. }
            | Op::ConvI8 { .. }
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
            | Op::HyperHead { .. } => lowering.copy(id, node, inputs),
        });
    }
    let Lowering { nodes, tensors, .. } = lowering;
    let graph = Graph {
        arch: weights.graph.arch.clone(),
        normalization: weights.graph.normalization.clone(),
        preprocessing: weights.graph.preprocessing,
        classes: weights.graph.classes.clone(),
        nodes,
    };
    Ok(Verified::<Model>::new(Model { graph, tensors, origin: Origin::default() })?)
}

struct Lowering<'a> {
    weights: &'a Verified<Weights>,
    shapes: &'a [Shape],
    nodes: Vec<Node>,
    tensors: BTreeMap<String, Tensor>,
}

impl Lowering<'_> {
    fn copy(&mut self, id: NodeId, node: &Node, inputs: Vec<NodeId>) -> NodeId {
        for param in self.weights.graph.params(id, self.shapes) {
            let name = node.param_name(param.suffix);
            let values = self.weights.floats(node, param.suffix);
            let data = match param.role {
                Role::Int8 => {
                    let rows = quantization::quantize(values, param.shape[1]);
                    let shape = vec![rows.scale.len()];
                    let scale = Tensor { shape, data: Data::F32(rows.scale) };
                    self.tensors.insert(row_scale(&name), scale);
                    Data::I8(rows.integers)
                }
                Role::Float | Role::Binary | Role::Statistic => Data::F32(values.to_vec()),
            };
            self.tensors.insert(name, Tensor { shape: param.shape, data });
        }
        self.push(&node.name, node.op.clone(), inputs)
    }

    /// A binary convolution or layer as `op`, which has no weight scale.
    fn binary(
        &mut self,
        id: NodeId,
        op: Op,
        inputs: Vec<NodeId>,
        readers: &[Vec<NodeId>],
    ) -> NodeId {
        let node = &self.weights.graph.nodes[id.0];
        for param in self.weights.graph.params(id, self.shapes) {
            if param.role == Role::Binary {
                let bits = pack_weights(self.weights.floats(node, param.suffix), &param.shape);
                self.tensors.insert(node.param_name(param.suffix), bits);
            }
        }
        let conv = self.push(&node.name, op, inputs);
        let alpha = self.alpha(node);
        if alpha.is_empty() || self.sole_batch_norm(&readers[id.0]) {
            return conv;
        }
        self.affine(&format!("{}.scale", node.name), vec![conv], fold::weight_scale(&alpha))
    }

    fn batch_norm(
        &mut self,
        node: &Node,
        eps: f32,
        inputs: Vec<NodeId>,
        readers: &[Vec<NodeId>],
    ) -> Result<NodeId, PackError> {
        let bn = fold::BatchNorm {
            weight: self.weights.floats(node, "weight"),
            bias: self.weights.floats(node, "bias"),
            running_mean: self.weights.floats(node, "running_mean"),
            running_var: self.weights.floats(node, "running_var"),
            eps,
        };
        if let Some(channel) = bn.running_var.iter().position(|&v| v < 0.0) {
            return Err(PackError::NegativeVariance {
                tensor: node.param_name("running_var"),
                channel,
                value: bn.running_var[channel],
            });
        }
        let source = node.inputs[0];
        let alpha = match self.sole_batch_norm(&readers[source.0]) {
            true => self.alpha(&self.weights.graph.nodes[source.0]),
            false => Vec::new(),
        };
        let affine = fold::batch_norm(bn, &alpha);
        Ok(self.affine(&node.name, inputs, affine))
    }

    fn alpha(&self, node: &Node) -> Vec<f64> {
        let (outputs, scale) = match node.op {
            Op::ConvBin { geometry, scale, .. } => (geometry.out_channels, scale),
            Op::LinearBin { out_features, scale } => (out_features, scale),
            Op::Input { .. }
            | Op::Conv { .. }
            | Op::ConvI8 { .. }
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
            | Op::HyperHead { .. } => return Vec::new(),
        };
        match scale {
            WeightScale::None => Vec::new(),
            WeightScale::L1Detached | WeightScale::L1Grad => {
                fold::mean_abs(self.weights.floats(node, "weight"), outputs)
            }
            WeightScale::Learned => {
                self.weights.floats(node, "scale").iter().map(|&s| f64::from(s)).collect()
            }
        }
    }

    fn sole_batch_norm(&self, readers: &[NodeId]) -> bool {
        let is_norm =
            |id: &NodeId| matches!(self.weights.graph.nodes[id.0].op, Op::BatchNorm { .. });
        matches!(readers, [only] if is_norm(only))
    }

    fn affine(&mut self, name: &str, inputs: Vec<NodeId>, affine: fold::Affine) -> NodeId {
        for (suffix, values) in [("scale", affine.scale), ("shift", affine.shift)] {
            let tensor = Tensor { shape: vec![values.len()], data: Data::F32(values) };
            self.tensors.insert(format!("{name}.{suffix}"), tensor);
        }
        self.push(name, Op::Affine, inputs)
    }

    fn push(&mut self, name: &str, op: Op, inputs: Vec<NodeId>) -> NodeId {
        self.nodes.push(Node { name: name.to_string(), op, inputs });
        NodeId(self.nodes.len() - 1)
    }
}
