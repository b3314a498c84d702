//! The network that is built: nodes with their tensors.

use std::collections::{BTreeMap, BTreeSet};

use onebit_model::limits::MAX_NAME_BYTES;
use onebit_model::{
    Data, Graph, HyperRange, Node, NodeId, Op, Precision, Shift, Slope, Statistics, Tensor,
    Threshold,
};

/// Nodes and their tensors, in the order in which they are computed.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) nodes: Vec<Node>,
    pub(super) tensors: BTreeMap<String, Tensor>,
    names: BTreeSet<String>,
}

impl Builder {
    /// Appends a node with a name like `name`.
    pub(super) fn push(&mut self, name: &str, op: Op, inputs: Vec<NodeId>) -> NodeId {
        let name = self.free_name(name);
        self.nodes.push(Node { name, op, inputs });
        NodeId(self.nodes.len() - 1)
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// Gives a node a tensor.
    pub(super) fn set(&mut self, id: NodeId, suffix: &str, shape: Vec<usize>, values: Vec<f32>) {
        let name = self.nodes[id.0].param_name(suffix);
        self.tensors.insert(name, Tensor { shape, data: Data::F32(values) });
    }

    /// Gives a node a number for each channel.
    pub(super) fn vector(&mut self, id: NodeId, suffix: &str, values: Vec<f32>) {
        self.set(id, suffix, vec![values.len()], values);
    }

    /// Values of a node's tensor; nothing if it has no such tensor.
    pub(super) fn values(&mut self, id: NodeId, suffix: &str) -> impl Iterator<Item = &mut f32> {
        let tensor = self.tensors.get_mut(&self.nodes[id.0].param_name(suffix));
        let values = tensor.map(|tensor| match &mut tensor.data {
            Data::F32(values) => &mut values[..],
            Data::U64(_) | Data::I8(_) => &mut [],
        });
        values.unwrap_or_default().iter_mut()
    }

    /// A name that no node has and that the format allows.
    fn free_name(&mut self, wanted: &str) -> String {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let plain = wanted.trim_matches('/').chars().map(|c| if allowed(c) { c } else { '_' });
        let mut plain: String = plain.collect();
        plain.truncate(MAX_NAME_BYTES - 32);
        if plain.is_empty() {
            plain.push_str("node");
        }
        let mut name = plain.clone();
        let mut count = 1;
        while !self.names.insert(name.clone()) {
            count += 1;
            name = format!("{plain}.{count}");
        }
        name
    }

    /// Layers that give offsets are heads of hyper functions, and what those read of mean values are their trunks.
    pub(super) fn name_hyper_functions(&mut self) {
        let precision = Precision::F32;
        for at in 0..self.nodes.len() {
            let is_dynamic = matches!(
                self.nodes[at].op,
                Op::Sign { threshold: Threshold::Dynamic }
                    | Op::Prelu { shift: Shift::Dynamic, .. }
            );
            let Some(&head) = self.nodes[at].inputs.get(1).filter(|_| is_dynamic) else { continue };
            if let Op::Linear { out_features: outputs } = self.nodes[head.0].op {
                self.nodes[head.0].op =
                    Op::HyperHead { outputs, range: HyperRange::Raw, precision };
            }
        }
        for head in 0..self.nodes.len() {
            if !matches!(self.nodes[head].op, Op::HyperHead { .. }) {
                continue;
            }
            let relu = self.nodes[head].inputs[0];
            let Some((layer, hidden, x)) = self.hidden_layer(relu) else { continue };
            let statistics = Statistics::Mean;
            let [from, to] = [layer, relu].map(|id| self.nodes[id.0].name.clone());
            for suffix in ["weight", "bias"] {
                if let Some(tensor) = self.tensors.get(&format!("{from}.{suffix}")).cloned() {
                    self.tensors.insert(format!("{to}.{suffix}"), tensor);
                }
            }
            self.nodes[relu.0].op = Op::HyperTrunk { statistics, hidden, precision };
            self.nodes[relu.0].inputs = vec![x];
        }
    }

    /// The layer of mean values that a rectifier reads, its outputs, and the map whose mean values they are.
    fn hidden_layer(&self, relu: NodeId) -> Option<(NodeId, usize, NodeId)> {
        let Node { op: Op::Prelu { slope: Slope::Relu, shift: Shift::None }, inputs, .. } =
            self.node(relu)
        else {
            return None;
        };
        let layer = inputs[0];
        let Op::Linear { out_features } = self.node(layer).op else { return None };
        let mean = self.node(self.node(layer).inputs[0]);
        (mean.op == Op::GlobalAvgPool).then_some((layer, out_features, mean.inputs[0]))
    }

    /// The nodes that the last one needs, and only their tensors.
    pub(super) fn finish(
        mut self,
        last: NodeId,
        graph: Graph,
    ) -> (Graph, BTreeMap<String, Tensor>) {
        self.nodes.truncate(last.0 + 1);
        let mut needed = vec![false; self.nodes.len()];
        needed[0] = true;
        needed[last.0] = true;
        for at in (0..self.nodes.len()).rev() {
            if needed[at] {
                self.nodes[at].inputs.iter().for_each(|input| needed[input.0] = true);
            }
        }
        let mut moved = Vec::with_capacity(needed.len());
        let mut nodes: Vec<Node> = vec![];
        for (mut node, needed) in self.nodes.into_iter().zip(needed) {
            moved.push(NodeId(nodes.len()));
            if needed {
                node.inputs.iter_mut().for_each(|input| *input = moved[input.0]);
                nodes.push(node);
            } else {
                let prefix = format!("{}.", node.name);
                let is_own =
                    |name: &str| name.strip_prefix(&prefix).is_some_and(|s| !s.contains('.'));
                self.tensors.retain(|name, _| !is_own(name));
            }
        }
        (Graph { nodes, ..graph }, self.tensors)
    }
}
