//! What the passes read of a network and never change: graph, plan, layers.

#![deny(clippy::wildcard_enum_match_arm)]

use onebit_model::{Graph, NodeId, Op, Verified, infer};

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
    /// For each sum the batch normalization that only it reads and whose output it computes itself.
    norm_of_sum: Vec<Option<usize>>,
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
            if node.op == Op::BatchNorm {
                norm_index[id] = Some(norms.len());
                norms.push(BatchNorm::new(id, node.inputs[0].0, shapes[id].channels, first[id]));
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
        let norm_of_sum = norms_of_sums(&graph, &norm_index);
        Ok(Structure {
            graph,
            plan,
            layers,
            norms,
            norm_index,
            norms_in,
            norms_reading,
            norm_of_sum,
        })
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

    /// The batch normalization that the sum `id` computes itself.
    pub(crate) fn norm_of_sum(&self, id: usize) -> Option<&BatchNorm> {
        self.norm_of_sum[id].map(|n| &self.norms[n])
    }

    /// Whether a sum computes the batch normalization `id`.
    pub(crate) fn is_in_sum(&self, id: usize) -> bool {
        self.norm_index[id].is_some_and(|norm| self.norm_of_sum.contains(&Some(norm)))
    }

    /// The batch normalization of a node, if it is one.
    pub(crate) fn norm_at(&self, id: usize) -> Option<&BatchNorm> {
        self.norm_index[id].map(|n| &self.norms[n])
    }
}

/// For each sum the first input that is a batch normalization with no other reader.
fn norms_of_sums(graph: &Graph, norm_index: &[Option<usize>]) -> Vec<Option<usize>> {
    let readers =
        |id: NodeId| graph.nodes.iter().flat_map(|n| &n.inputs).filter(|i| **i == id).count();
    let of_sum = |node: &onebit_model::Node| {
        let inputs = node.inputs.iter().filter(|_| node.op == Op::Add);
        inputs.filter(|i| readers(**i) == 1).find_map(|i| norm_index[i.0])
    };
    graph.nodes.iter().map(of_sum).collect()
}
