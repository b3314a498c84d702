//! Which nodes are computed together.
//!
//! A group is a root (a convolution, a pooling, ...), the elementwise nodes behind it while each value has a
//! single reader, and the sign of the last value. It runs where its last real value stands in the graph, so
//! that every other operand (a shortcut, the offsets of a hyper function) is already there. A hyper function runs as
//! soon as its map is there, wherever it stands in the graph: where it reads the input of a whole block, its
//! thresholds and shifts are known before the convolutions that end with them.
//!
//! Two binary convolutions of the same bits whose results are concatenated (how ReActNet doubles its channels) are
//! one convolution with the filters of both: no copy, and the nodes behind the concatenation follow in the same
//! pass.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use onebit_model::{Graph, Node, Op, Shift, Statistics, Threshold};

use crate::op::{CHANNEL_ALIGN, MAX_STAGES};

/// Nodes of one step, by their position in the graph.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    /// What produces the first value; an elementwise node or a sign stands here with a copy of its input.
    pub(crate) root: usize,
    /// Elementwise nodes applied to that value, in order (the root itself when it is elementwise).
    pub(crate) stages: Vec<usize>,
    /// The second convolution and its elementwise nodes, where two are computed as one: the twins of `root` and of
    /// the first `stages`.
    pub(crate) twins: Vec<usize>,
    /// The node that concatenates the twins' results, in front of the other stages.
    pub(crate) concat: Option<usize>,
    /// What produces the rows of a pooling that nothing else reads but its own sign, or a sign of the map that is
    /// pooled.
    pub(crate) inner: Option<Box<Group>>,
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
    /// Position in the graph of the last real value, or of the sign where there is none.
    pub(crate) fn position(&self) -> usize {
        self.value.unwrap_or(self.root)
    }

    /// Every node of the group.
    pub(crate) fn members(&self) -> Vec<usize> {
        let mut members = vec![self.root];
        members.extend(self.stages.iter().chain(&self.sign).filter(|&&id| id != self.root));
        members.extend(self.twins.iter().chain(&self.concat));
        members.extend(self.inner.iter().flat_map(|inner| inner.members()));
        members
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
    let ready = ready(graph);
    let mut taken = vec![false; graph.nodes.len()];
    let mut groups = Vec::new();
    for (id, node) in graph.nodes.iter().enumerate() {
        if !taken[id] && !matches!(node.op, Op::Input { .. }) {
            taken[id] = true;
            groups.push(group(graph, &readers, &ready, &mut taken, id));
        }
    }
    groups.sort_by_key(|group| (ready[group.position()], group.position()));
    while let Some((concat, twins)) = find_twins(graph, &readers, &groups) {
        join(&mut groups, concat, twins);
    }
    while let Some((pool, inner)) = find_pooled(graph, &readers, &groups) {
        groups[pool].inner = Some(Box::new(groups[inner].clone()));
        groups.remove(inner);
    }
    while let Some((pool, sign)) = find_signed(graph, &groups) {
        groups[pool].inner = Some(Box::new(groups[sign].clone()));
        groups.remove(sign);
    }
    groups
}

/// The node behind which each one is computed: itself, but for a hyper function the map that it reads.
fn ready(graph: &Graph) -> Vec<usize> {
    let mut ready: Vec<usize> = (0..graph.nodes.len()).collect();
    for (id, node) in graph.nodes.iter().enumerate() {
        if matches!(node.op, Op::HyperTrunk { .. } | Op::HyperHead { .. }) {
            ready[id] = ready[node.inputs[0].0];
        }
    }
    ready
}

/// Position among the groups of a pooling, and of the convolution whose values only it reads.
fn find_pooled(graph: &Graph, readers: &[Vec<usize>], groups: &[Group]) -> Option<(usize, usize)> {
    groups.iter().enumerate().find_map(|(index, group)| {
        let node = &graph.nodes[group.root];
        let overlaps = match node.op {
            Op::MaxPool { kernel, stride, .. } | Op::AvgPool { kernel, stride } => kernel >= stride,
            _ => return None,
        };
        let x = node.inputs.first()?.0;
        let position = groups.iter().position(|group| group.value == Some(x))?;
        let inner = &groups[position];
        let whole = match &graph.nodes[inner.root].op {
            Op::Conv { geometry } | Op::ConvI8 { geometry } | Op::ConvBin { geometry, .. } => {
                geometry.groups == 1
            }
            _ => false,
        };
        let is_static = !inner.members().iter().any(|&id| is_dynamic(&graph.nodes[id].op));
        let reads_sign = |group: &Group| inner.sign.is_some_and(|sign| reads(graph, group, sign));
        let alone = readers[x].iter().all(|&id| id == group.root || Some(id) == inner.sign);
        let in_time = inner.sign.is_none() || overlaps && !groups[..index].iter().any(reads_sign);
        (whole && is_static && alone && in_time).then_some((index, position))
    })
}

/// Position among the groups of a pooling, and of a sign of the same map that it can give while it reads the rows.
fn find_signed(graph: &Graph, groups: &[Group]) -> Option<(usize, usize)> {
    groups.iter().enumerate().find_map(|(index, group)| {
        let node = &graph.nodes[group.root];
        let x = match node.op {
            Op::MaxPool { kernel, stride, .. } | Op::AvgPool { kernel, stride }
                if kernel >= stride && group.inner.is_none() =>
            {
                node.inputs.first()?.0
            }
            _ => return None,
        };
        let before = &groups[..index];
        let is_sign = |group: &Group| group.value.is_none() && reads(graph, group, x);
        let sign = before.iter().position(is_sign)?;
        let in_time = !before.iter().any(|group| reads(graph, group, groups[sign].root));
        in_time.then_some((index, sign))
    })
}

/// Whether a node of the group reads a value.
fn reads(graph: &Graph, group: &Group, value: usize) -> bool {
    group.members().iter().any(|&id| graph.nodes[id].inputs.iter().any(|x| x.0 == value))
}

/// Whether an operation has parameters that depend on the image.
fn is_dynamic(op: &Op) -> bool {
    matches!(
        op,
        Op::Prelu { shift: Shift::Dynamic, .. } | Op::Sign { threshold: Threshold::Dynamic }
    )
}

/// Position of a concatenation among the groups, and of the two that it joins.
fn find_twins(
    graph: &Graph,
    readers: &[Vec<usize>],
    groups: &[Group],
) -> Option<(usize, [usize; 2])> {
    let of_value = |value: usize| groups.iter().position(|group| group.value == Some(value));
    groups.iter().enumerate().find_map(|(index, group)| {
        let node = &graph.nodes[group.root];
        let (Op::Concat, [a, b]) = (&node.op, &node.inputs[..]) else { return None };
        let twins = [of_value(a.0)?, of_value(b.0)?];
        let [first, second] = twins.map(|twin| &groups[twin]);
        let single = readers[a.0].len() == 1 && readers[b.0].len() == 1 && a != b;
        let short = first.stages.len() + group.stages.len() <= MAX_STAGES;
        (single && short && are_twins(graph, first, second)).then_some((index, twins))
    })
}

/// Whether two groups are binary convolutions of the same bits that differ in nothing but parameters.
fn are_twins(graph: &Graph, first: &Group, second: &Group) -> bool {
    let [a, b] = [first, second].map(|group| &graph.nodes[group.root]);
    let Op::ConvBin { geometry, .. } = &a.op else { return false };
    let whole = geometry.groups == 1 && geometry.out_channels.is_multiple_of(CHANNEL_ALIGN);
    let plain = first.twins.is_empty() && second.twins.is_empty();
    if !(whole && plain && a.op == b.op && a.inputs == b.inputs) {
        return false;
    }
    let mut values = [first.root, second.root];
    let pairs = first.stages.iter().zip(&second.stages);
    first.stages.len() == second.stages.len()
        && pairs.into_iter().all(|(&a, &b)| {
            let [x, y] = [&graph.nodes[a], &graph.nodes[b]];
            let others = [(x, values[0]), (y, values[1])].map(|(node, value)| other(node, value));
            values = [a, b];
            let shift_moves = matches!(x.op, Op::Prelu { shift: Shift::Dynamic, .. });
            x.op == y.op && !shift_moves && others[0] == others[1]
        })
}

/// The operand of an addition beside `value`.
fn other(node: &Node, value: usize) -> Option<usize> {
    match (&node.op, &node.inputs[..]) {
        (Op::Add, [a, b]) => Some(if a.0 == value { b.0 } else { a.0 }),
        _ => None,
    }
}

fn join(groups: &mut Vec<Group>, concat: usize, [first, second]: [usize; 2]) {
    let (root, mut stages) = (groups[first].root, groups[first].stages.clone());
    let twins =
        [groups[second].root].into_iter().chain(groups[second].stages.iter().copied()).collect();
    let group = &mut groups[concat];
    stages.append(&mut group.stages);
    (group.concat, group.root, group.stages, group.twins) = (Some(group.root), root, stages, twins);
    groups.remove(first.max(second));
    groups.remove(first.min(second));
}

fn group(
    graph: &Graph,
    readers: &[Vec<usize>],
    ready: &[usize],
    taken: &mut [bool],
    root: usize,
) -> Group {
    let op = &graph.nodes[root].op;
    if matches!(op, Op::Sign { .. }) {
        let (stages, value) = (Vec::new(), None);
        return Group {
            root,
            stages,
            twins: Vec::new(),
            concat: None,
            inner: None,
            value,
            value_is_read: false,
            sums_are_read: false,
            sign: Some(root),
        };
    }
    let mut group = Group {
        root,
        stages: if is_elementwise(op) { vec![root] } else { Vec::new() },
        twins: Vec::new(),
        concat: None,
        inner: None,
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
    let is_ready = |&id: &usize| is_ready_sign(graph, ready, taken, id, value);
    group.sign = readers[value].iter().copied().find(is_ready);
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
        Op::GlobalAvgPool
            | Op::Linear { .. }
            | Op::LinearI8 { .. }
            | Op::HyperTrunk { .. }
            | Op::HyperHead { .. }
    )
}

fn is_elementwise(op: &Op) -> bool {
    matches!(op, Op::Affine | Op::Prelu { .. } | Op::Add)
}

fn is_ready_sign(graph: &Graph, ready: &[usize], taken: &[bool], id: usize, value: usize) -> bool {
    let node = &graph.nodes[id];
    let is_ready = match node.op {
        Op::Sign { threshold: Threshold::Dynamic } => ready[node.inputs[1].0] < value,
        Op::Sign { .. } => true,
        _ => false,
    };
    is_ready && !taken[id] && node.inputs[0].0 == value
}
