//! What the passes read of a network and never change: graph, plan, layers.

#![deny(clippy::wildcard_enum_match_arm)]

use onebit_model::{Graph, Node, NodeId, Op, Verified, infer};

use crate::NetConfig;
use crate::error::TrainError;
use crate::op::batch_norm::BatchNorm;
use crate::op::{Layer, layer};
use crate::plan::{Plan, PlannedNode};

/// Everything about a network that the passes only read.
pub(crate) struct Structure {
    pub(crate) graph: Verified<Graph>,
    pub(crate) plan: Plan,
    /// For each node; `None` for the input and for batch normalizations.
    pub(crate) layers: Vec<Option<Box<dyn Layer>>>,
    pub(crate) norms: Vec<BatchNorm>,
    /// For each node its position in `norms`.
    pub(crate) norm_index: Vec<Option<usize>>,
    pub(crate) norms_in: Vec<Vec<usize>>,
    norms_reading: Vec<Vec<usize>>,
    /// For each node what its forward pass computes.
    pub(crate) compute: Vec<Compute>,
}

/// What the forward pass of a node computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compute {
    /// Nothing: the image is there, and what only a sum reads of a batch normalization is computed by the sum.
    Nothing,
    /// A batch normalization, by its position in [`Structure::norms`].
    Norm {
        norm: usize,
        /// What a sum adds to it: its input at this position.
        shortcut: Option<usize>,
    },
    /// What its layer does.
    Layer,
}

impl Structure {
    pub(crate) fn new(
        graph: Verified<Graph>,
        first: &[usize],
        microbatch: usize,
        config: &NetConfig,
        observed: &[NodeId],
    ) -> Result<Self, TrainError> {
        let shapes = infer::shapes(&graph)?;
        let plan = Plan::new(&graph, &shapes, microbatch, observed);
        let mut norms = Vec::new();
        let mut norm_index = vec![None; graph.nodes.len()];
        let mut layers = Vec::new();
        for (id, node) in graph.nodes.iter().enumerate() {
            if let Op::BatchNorm { eps } = node.op {
                norm_index[id] = Some(norms.len());
                let channels = shapes[id].channels;
                norms.push(BatchNorm::new(id, node.inputs[0].0, channels, eps, first[id]));
            }
            layers.push(layer(node, &shapes, shapes[id], first[id], config));
        }
        let by_level = |of: &dyn Fn(&BatchNorm) -> usize| {
            let level = |ids: &Vec<usize>| {
                (0..norms.len()).filter(|&n| ids.contains(&of(&norms[n]))).collect::<Vec<_>>()
            };
            plan.levels.iter().map(level).collect::<Vec<_>>()
        };
        let (norms_in, norms_reading) = (by_level(&|n| n.node), by_level(&|n| n.input));
        let compute = compute(&graph, &norm_index);
        Ok(Structure { graph, plan, layers, norms, norm_index, norms_in, norms_reading, compute })
    }

    pub(crate) fn last(&self) -> &PlannedNode {
        &self.plan.nodes[self.plan.nodes.len() - 1]
    }

    /// Batch normalizations in `level`.
    pub(crate) fn norms_in(&self, level: usize) -> &[usize] {
        &self.norms_in[level]
    }

    /// Batch normalizations whose input lies in `level`.
    pub(crate) fn norms_reading(&self, level: usize) -> &[usize] {
        &self.norms_reading[level]
    }
}

/// What each node computes: a sum the first of its inputs that is a batch normalization with no other reader.
fn compute(graph: &Graph, norm_index: &[Option<usize>]) -> Vec<Compute> {
    let readers = graph.readers();
    let own = |(id, node): (usize, &Node)| match norm_index[id] {
        Some(norm) => Compute::Norm { norm, shortcut: None },
        None if matches!(node.op, Op::Input { .. }) => Compute::Nothing,
        None => Compute::Layer,
    };
    let mut compute: Vec<Compute> = graph.nodes.iter().enumerate().map(own).collect();
    for (id, node) in graph.nodes.iter().enumerate().filter(|(_, node)| node.op == Op::Add) {
        let mut alone = node.inputs.iter().filter(|input| readers[input.0].len() == 1);
        if let Some((of, norm)) = alone.find_map(|input| Some((input.0, norm_index[input.0]?))) {
            let shortcut = Some(usize::from(node.inputs[0].0 == of));
            compute[id] = Compute::Norm { norm, shortcut };
            compute[of] = Compute::Nothing;
        }
    }
    compute
}
