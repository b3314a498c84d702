//! Lowering: batch normalization and weight scales folded, binary weights packed.

#![deny(clippy::wildcard_enum_match_arm)]

use std::collections::BTreeMap;

use onebit_model::file::Weights;
use onebit_model::op::Role;
use onebit_model::{
    Data, Graph, Model, Node, NodeId, Op, Shape, Tensor, Verified, WeightScale, infer,
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
            Op::BatchNorm => lowering.batch_norm(node, inputs, &readers)?,
            Op::ConvBin { .. } => lowering.conv_bin(id, node, inputs, &readers),
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
        classes: weights.graph.classes.clone(),
        nodes,
    };
    Ok(Verified::<Model>::new(Model { graph, tensors })?)
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

    fn conv_bin(
        &mut self,
        id: NodeId,
        node: &Node,
        inputs: Vec<NodeId>,
        readers: &[Vec<NodeId>],
    ) -> NodeId {
        let Op::ConvBin { geometry, pad, .. } = node.op else {
            return self.copy(id, node, inputs);
        };
        for param in self.weights.graph.params(id, self.shapes) {
            if param.role == Role::Binary {
                let bits = pack_weights(self.weights.floats(node, param.suffix), &param.shape);
                self.tensors.insert(node.param_name(param.suffix), bits);
            }
        }
        let op = Op::ConvBin { geometry, pad, scale: WeightScale::None };
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
        inputs: Vec<NodeId>,
        readers: &[Vec<NodeId>],
    ) -> Result<NodeId, PackError> {
        let bn = fold::BatchNorm {
            weight: self.weights.floats(node, "weight"),
            bias: self.weights.floats(node, "bias"),
            running_mean: self.weights.floats(node, "running_mean"),
            running_var: self.weights.floats(node, "running_var"),
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
        let Op::ConvBin { geometry, scale, .. } = node.op else {
            return Vec::new();
        };
        match scale {
            WeightScale::None => Vec::new(),
            WeightScale::L1Detached | WeightScale::L1Grad => {
                fold::mean_abs(self.weights.floats(node, "weight"), geometry.out_channels)
            }
            WeightScale::Learned => {
                self.weights.floats(node, "scale").iter().map(|&s| f64::from(s)).collect()
            }
        }
    }

    fn sole_batch_norm(&self, readers: &[NodeId]) -> bool {
        matches!(readers, [only] if self.weights.graph.nodes[only.0].op == Op::BatchNorm)
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
