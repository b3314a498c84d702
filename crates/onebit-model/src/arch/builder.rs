//! The builder of graphs that architectures share.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Task;
use crate::op::BATCH_NORM_EPS;
use crate::{Geometry, Graph, Node, NodeId, Op, PadValue, Preprocessing, WeightScale};

/// Adds nodes to a graph, one method for each operation that architectures share.
pub struct Builder {
    arch: String,
    task: Task,
    nodes: Vec<Node>,
}

impl Builder {
    /// A graph with only its input.
    #[must_use]
    pub fn new(arch: &str, task: &Task) -> (Self, NodeId) {
        let mut builder = Builder { arch: arch.to_string(), task: task.clone(), nodes: Vec::new() };
        let [channels, height, width] = task.input;
        let input = builder.add("input", Op::Input { channels, height, width }, &[]);
        (builder, input)
    }

    /// Adds a node.
    pub fn add(&mut self, name: &str, op: Op, inputs: &[NodeId]) -> NodeId {
        self.nodes.push(Node { name: name.to_string(), op, inputs: inputs.to_vec() });
        NodeId(self.nodes.len() - 1)
    }

    /// Real convolution and batch normalization, `name.conv` and `name.bn`.
    pub fn conv_bn(&mut self, name: &str, x: NodeId, geometry: Geometry) -> NodeId {
        let y = self.add(&format!("{name}.conv"), Op::Conv { geometry }, &[x]);
        self.batch_norm(name, y)
    }

    /// Batch normalization, `name.bn`.
    pub fn batch_norm(&mut self, name: &str, x: NodeId) -> NodeId {
        self.add(&format!("{name}.bn"), Op::BatchNorm { eps: BATCH_NORM_EPS }, &[x])
    }

    /// Binary convolution, `name.conv`.
    pub fn conv_bin(
        &mut self,
        name: &str,
        x: NodeId,
        geometry: Geometry,
        pad: PadValue,
        scale: WeightScale,
    ) -> NodeId {
        self.add(&format!("{name}.conv"), Op::ConvBin { geometry, pad, scale }, &[x])
    }

    /// Global average pooling and the classifier, `pool` and `fc`; the finished graph.
    #[must_use]
    pub fn classifier(mut self, x: NodeId) -> Graph {
        let pooled = self.add("pool", Op::GlobalAvgPool, &[x]);
        self.flat_classifier(pooled)
    }

    /// The classifier on all values of a map, `fc`; the finished graph.
    #[must_use]
    pub fn flat_classifier(mut self, x: NodeId) -> Graph {
        let logits = self.add("fc", Op::Linear { out_features: self.task.classes.len() }, &[x]);
        self.logits(logits)
    }

    /// The finished graph, whose last node gives the logits.
    #[must_use]
    pub fn logits(mut self, last: NodeId) -> Graph {
        self.nodes.truncate(last.0 + 1);
        Graph {
            arch: self.arch,
            normalization: self.task.normalization,
            preprocessing: Preprocessing::default(),
            classes: self.task.classes,
            nodes: self.nodes,
        }
    }
}
