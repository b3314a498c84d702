//! Which nodes are computed together.
//!
//! A group is a root (a convolution, a pooling, ...), the elementwise nodes behind it while each value has a
//! single reader, and the sign of the last value. It runs where its last real value stands in the graph, so
//! that every other operand (a shortcut, the offsets of a hyper function) is already there.

use alloc::vec;
use alloc::vec::Vec;

use onebit_model::{Graph, Op, Statistics, Threshold};

use crate::op::MAX_STAGES;

/// Nodes of one step, by their position in the graph.
#[derive(Debug, PartialEq)]
pub(crate) struct Group {
    /// What produces the first value; an elementwise node or a sign stands here with a copy of its input.
    pub(crate) root: usize,
    /// Elementwise nodes applied to that value, in order (the root itself when it is elementwise).
    pub(crate) stages: Vec<usize>,
    /// The last real value, if there is one.
    pub(crate) value: Option<usize>,
    /// Whether anything outside the group reads that value, but for sums of it.
    pub(crate) value_is_read: bool,
    /// Whether anything reads the sums of that value's channels.
    pub(crate) sums_are_read: bool,
    /// The sign of that value (or the root, when it is a sign).
    pub(crate) sign: Option<usize>,
}

impl Group {
    /// Position in the graph where the group runs.
    pub(crate) fn position(&self) -> usize {
        self.value.unwrap_or(self.root)
    }
}

/// Groups of a graph in the order in which they run.
pub(crate) fn groups(graph: &Graph) -> Vec<Group> {
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
    for (id, node) in graph.nodes.iter().enumerate() {
        for input in &node.inputs {
            readers[input.0].push(id);
        }
    }
    let mut taken = vec![false; graph.nodes.len()];
    let mut groups = Vec::new();
    for (id, node) in graph.nodes.iter().enumerate() {
        if !taken[id] && !matches!(node.op, Op::Input { .. }) {
            taken[id] = true;
            groups.push(group(graph, &readers, &mut taken, id));
        }
    }
    groups.sort_by_key(Group::position);
    groups
}

fn group(graph: &Graph, readers: &[Vec<usize>], taken: &mut [bool], root: usize) -> Group {
    let op = &graph.nodes[root].op;
    if matches!(op, Op::Sign { .. }) {
        let (stages, value) = (Vec::new(), None);
        return Group {
            root,
            stages,
            value,
            value_is_read: false,
            sums_are_read: false,
            sign: Some(root),
        };
    }
    let mut group = Group {
        root,
        stages: if is_elementwise(op) { vec![root] } else { Vec::new() },
        value: Some(root),
        value_is_read: true,
        sums_are_read: false,
        sign: None,
    };
    if makes_vector(op) {
        return group;
    }
    let mut value = root;
    while group.stages.len() < MAX_STAGES
        && let Some(next) = next_stage(graph, &readers[value], taken, value)
    {
        taken[next] = true;
        group.stages.push(next);
        value = next;
    }
    group.value = Some(value);
    group.sign = readers[value].iter().copied().find(|&id| is_ready_sign(graph, taken, id, value));
    if let Some(sign) = group.sign {
        taken[sign] = true;
    }
    let is_last = value + 1 == graph.nodes.len();
    let sums_only = |id: usize| reads_sums_only(&graph.nodes[id].op);
    group.value_is_read =
        is_last || readers[value].iter().any(|&id| group.sign != Some(id) && !sums_only(id));
    group.sums_are_read = readers[value].iter().any(|&id| reads_sums(&graph.nodes[id].op));
    group
}

fn reads_sums(op: &Op) -> bool {
    matches!(op, Op::GlobalAvgPool | Op::HyperTrunk { .. })
}

fn reads_sums_only(op: &Op) -> bool {
    matches!(op, Op::GlobalAvgPool | Op::HyperTrunk { statistics: Statistics::Mean, .. })
}

fn next_stage(graph: &Graph, readers: &[usize], taken: &[bool], value: usize) -> Option<usize> {
    let &[next] = readers else { return None };
    let node = &graph.nodes[next];
    let reads_value = match node.op {
        Op::Add => true,
        _ => is_elementwise(&node.op) && node.inputs[0].0 == value,
    };
    (reads_value && !taken[next]).then_some(next)
}

fn makes_vector(op: &Op) -> bool {
    matches!(
        op,
        Op::GlobalAvgPool | Op::Linear { .. } | Op::HyperTrunk { .. } | Op::HyperHead { .. }
    )
}

fn is_elementwise(op: &Op) -> bool {
    matches!(op, Op::Affine | Op::Prelu { .. } | Op::Add)
}

fn is_ready_sign(graph: &Graph, taken: &[bool], id: usize, value: usize) -> bool {
    let node = &graph.nodes[id];
    let ready = match node.op {
        Op::Sign { threshold: Threshold::Dynamic } => node.inputs[1].0 < value,
        Op::Sign { .. } => true,
        _ => false,
    };
    ready && !taken[id] && node.inputs[0].0 == value
}
