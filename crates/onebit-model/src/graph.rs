//! Graphs: nodes in evaluation order.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{Op, Preprocessing, infer::Shape, op::Param};

/// Position of a node in [`Graph::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// One operation applied to earlier nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique name, also the prefix of its parameters' names.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Earlier nodes that it reads.
    pub inputs: Vec<NodeId>,
}

/// A network: the first node is its input, the last node its logits.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Name of the architecture, as on the command line.
    pub arch: String,
    /// What was done to the pixels before the input.
    pub normalization: Normalization,
    /// How an image becomes those pixels.
    pub preprocessing: Preprocessing,
    /// Names of the classes, one for each logit.
    pub classes: Vec<String>,
    /// Nodes in evaluation order.
    pub nodes: Vec<Node>,
}

/// `(pixel / 255 - mean) / std`, per channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel.
    pub std: Vec<f32>,
}

impl Normalization {
    /// The published statistics of ImageNet's training images, for any set of photographs.
    #[must_use]
    pub fn imagenet() -> Self {
        Normalization { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] }
    }

    /// The same for so many channels: a single number holds for all of them.
    #[must_use]
    pub fn spread(self, channels: usize) -> Self {
        let spread = |numbers: Vec<f32>| match numbers[..] {
            [one] => vec![one; channels],
            _ => numbers,
        };
        Normalization { mean: spread(self.mean), std: spread(self.std) }
    }

    /// Whether it has a finite mean and a finite, positive standard deviation for each of `channels`.
    #[must_use]
    pub fn fits(&self, channels: usize) -> bool {
        let means = self.mean.len() == channels && self.mean.iter().all(|mean| mean.is_finite());
        let positive = |&std: &f32| std.is_finite() && std > 0.0;
        means && self.std.len() == channels && self.std.iter().all(positive)
    }
}

impl Node {
    /// Full name of one of its parameters.
    #[must_use]
    pub fn param_name(&self, suffix: &str) -> String {
        alloc::format!("{}.{suffix}", self.name)
    }
}

impl Graph {
    /// The input's `[channels, height, width]`; zeros for a graph that has none.
    #[must_use]
    pub fn input_shape(&self) -> [usize; 3] {
        match self.nodes.first().map(|node| &node.op) {
            Some(&Op::Input { channels, height, width }) => [channels, height, width],
            _ => [0; 3],
        }
    }

    /// For each node those that read it, as often as they do.
    #[must_use]
    pub fn readers(&self) -> Vec<Vec<NodeId>> {
        let mut readers = vec![Vec::new(); self.nodes.len()];
        for (id, node) in self.ids().zip(&self.nodes) {
            for input in &node.inputs {
                readers[input.0].push(id);
            }
        }
        readers
    }

    /// Parameters of the node `id`, given the shapes of all nodes ([`crate::infer::shapes`]).
    #[must_use]
    pub fn params(&self, id: NodeId, shapes: &[Shape]) -> Vec<Param> {
        let node = &self.nodes[id.0];
        node.inputs.first().map_or_else(Vec::new, |x| node.op.params(shapes[x.0]))
    }

    /// Identifiers of all nodes in evaluation order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId)
    }
}
