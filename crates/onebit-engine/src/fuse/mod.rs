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
//!
//! What each of these assumes is said where it is decided, here; [`sound`] checks the outcome against what the planner
//! makes of it.

#![deny(clippy::wildcard_enum_match_arm)]

mod sound;

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
    /// A group of nothing but its root, which gives nothing yet.
    fn of(graph: &Graph, root: usize) -> Self {
        let is_stage = is_elementwise(&graph.nodes[root].op);
        Group {
            root,
            stages: if is_stage { vec![root] } else { Vec::new() },
            twins: Vec::new(),
            concat: None,
            inner: None,
            value: None,
            value_is_read: false,
            sums_are_read: false,
            sign: None,
        }
    }

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

/// Groups of a graph in the order in which they run: fused, or, were they to read anything before it is there, each
/// node by itself.
pub(crate) fn groups(graph: &Graph) -> Vec<Group> {
    let fused = fused(graph);
    let is_sound = sound::is_sound(graph, &fused);
    debug_assert!(is_sound, "{fused:?}");
    if is_sound { fused } else { single(graph) }
}

fn fused(graph: &Graph) -> Vec<Group> {
    let readers = readers(graph);
    let ready = ready(graph);
    let mut taken = vec![false; graph.nodes.len()];
    let mut groups = Vec::new();
    for (id, node) in graph.nodes.iter().enumerate() {
        if !taken[id] && role(&node.op) != Role::Image {
            taken[id] = true;
            groups.push(group(graph, &readers, &ready, &mut taken, id));
        }
    }
    groups.sort_by_key(|group| (ready[group.position()], group.position()));
    let mut merging = Merging::new(graph, &readers, groups);
    merging.each(Merging::twins);
    merging.each(Merging::pooled);
    merging.each(Merging::signed);
    merging.groups.into_iter().flatten().collect()
}

/// A group for each node.
fn single(graph: &Graph) -> Vec<Group> {
    let nodes = graph.nodes.iter().enumerate();
    nodes
        .filter(|(_, node)| role(&node.op) != Role::Image)
        .map(|(id, node)| {
            let is_sign = role(&node.op) == Role::Sign;
            Group {
                value_is_read: !is_sign,
                sums_are_read: false,
                value: (!is_sign).then_some(id),
                sign: is_sign.then_some(id),
                ..Group::of(graph, id)
            }
        })
        .collect()
}

/// For each node, those that read it, as often as they do.
fn readers(graph: &Graph) -> Vec<Vec<usize>> {
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
    for (id, node) in graph.nodes.iter().enumerate() {
        for input in &node.inputs {
            readers[input.0].push(id);
        }
    }
    readers
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

/// Groups that become parts of others.
struct Merging<'a> {
    graph: &'a Graph,
    readers: &'a [Vec<usize>],
    /// In the order in which they run; those that have become parts of others are gone.
    groups: Vec<Option<Group>>,
    /// For each node, the position of its group.
    of: Vec<usize>,
}

impl<'a> Merging<'a> {
    fn new(graph: &'a Graph, readers: &'a [Vec<usize>], groups: Vec<Group>) -> Self {
        let mut of = vec![usize::MAX; graph.nodes.len()];
        for (index, group) in groups.iter().enumerate() {
            for id in group.members() {
                of[id] = index;
            }
        }
        Merging { graph, readers, groups: groups.into_iter().map(Some).collect(), of }
    }

    /// Tries to `merge` something into each group, until nothing more can be: a group that has moved may have made
    /// way for another.
    fn each(&mut self, merge: fn(&mut Self, usize) -> Option<()>) {
        while (0..self.groups.len()).filter(|&index| merge(self, index).is_some()).count() > 0 {}
    }

    /// Position of the group whose last real value this is.
    fn of_value(&self, value: usize) -> Option<usize> {
        let index = *self.of.get(value)?;
        let group = self.groups.get(index)?.as_ref()?;
        (group.value == Some(value)).then_some(index)
    }

    /// Whether a group before `index` reads a value.
    fn is_read_before(&self, index: usize, value: usize) -> bool {
        self.readers[value].iter().any(|&id| self.of[id] < index)
    }

    /// Takes a group out, to become a part of the one at `index`.
    fn take(&mut self, from: usize, index: usize) -> Option<Group> {
        let group = self.groups[from].take()?;
        for id in group.members() {
            self.of[id] = index;
        }
        Some(group)
    }

    /// Joins two binary convolutions in front of the concatenation that alone reads them. They must differ in nothing
    /// but parameters, and each register must belong to one of them; the stages behind them stay within the limit.
    fn twins(&mut self, index: usize) -> Option<()> {
        let group = self.groups[index].as_ref()?;
        let node = &self.graph.nodes[group.root];
        let (Op::Concat, [a, b]) = (&node.op, &node.inputs[..]) else { return None };
        let twins = [self.of_value(a.0)?, self.of_value(b.0)?];
        let [first, second] = [self.groups[twins[0]].as_ref()?, self.groups[twins[1]].as_ref()?];
        let single = self.readers[a.0].len() == 1 && self.readers[b.0].len() == 1 && a != b;
        let short = first.stages.len() + group.stages.len() <= MAX_STAGES;
        if !(single && short && are_twins(self.graph, first, second)) {
            return None;
        }
        let [first, second] = [self.take(twins[0], index)?, self.take(twins[1], index)?];
        let group = self.groups[index].as_mut()?;
        let mut stages = first.stages;
        stages.append(&mut group.stages);
        group.concat = Some(group.root);
        group.twins = [second.root].into_iter().chain(second.stages).collect();
        (group.root, group.stages) = (first.root, stages);
        Some(())
    }

    /// Computes the rows that a pooling reads as it reads them. Nothing else may read them but their own sign, whose bits
    /// are there only behind the pooling, and all of them only where its windows leave no gaps. What depends on the image
    /// would have to be there before, and groups that end inside a register need the whole map.
    fn pooled(&mut self, index: usize) -> Option<()> {
        let group = self.groups[index].as_ref()?;
        let (x, overlaps) = pooling(&self.graph.nodes[group.root])?;
        let position = self.of_value(x)?;
        let inner = self.groups[position].as_ref()?;
        let (Op::Conv { geometry } | Op::ConvI8 { geometry } | Op::ConvBin { geometry, .. }) =
            self.graph.nodes[inner.root].op
        else {
            return None;
        };
        let is_static = !inner.members().iter().any(|&id| is_dynamic(&self.graph.nodes[id].op));
        let alone = self.readers[x].iter().all(|&id| id == group.root || Some(id) == inner.sign);
        let in_time = inner.sign.is_none_or(|sign| overlaps && !self.is_read_before(index, sign));
        if !(geometry.groups == 1 && is_static && alone && in_time && group.inner.is_none()) {
            return None;
        }
        let inner = self.take(position, index)?;
        self.groups[index].as_mut()?.inner = Some(Box::new(inner));
        Some(())
    }

    /// Lets a pooling give a sign of the map that it reads: one that compares this very map, whose bits nothing reads
    /// before, and windows without gaps.
    fn signed(&mut self, index: usize) -> Option<()> {
        let group = self.groups[index].as_ref()?;
        let (x, overlaps) = pooling(&self.graph.nodes[group.root])?;
        if !overlaps || group.inner.is_some() {
            return None;
        }
        let is_sign = |&id: &usize| {
            let node = &self.graph.nodes[id];
            let compares = matches!(node.op, Op::Sign { .. }) && node.inputs[0].0 == x;
            let group = self.groups[self.of[id]].as_ref();
            compares && group.is_some_and(|group| group.root == id)
        };
        let signs = self.readers[x].iter().copied().filter(is_sign);
        let sign = signs.min_by_key(|&id| self.of[id])?;
        let position = self.of[sign];
        if position >= index || self.is_read_before(index, sign) {
            return None;
        }
        let inner = self.take(position, index)?;
        self.groups[index].as_mut()?.inner = Some(Box::new(inner));
        Some(())
    }
}

/// The map that a pooling reads, and whether its windows leave no gaps.
fn pooling(node: &Node) -> Option<(usize, bool)> {
    let (Op::MaxPool { kernel, stride, .. } | Op::AvgPool { kernel, stride }) = node.op else {
        return None;
    };
    Some((node.inputs.first()?.0, kernel >= stride))
}

/// Whether an operation has parameters that depend on the image.
fn is_dynamic(op: &Op) -> bool {
    matches!(
        op,
        Op::Prelu { shift: Shift::Dynamic, .. } | Op::Sign { threshold: Threshold::Dynamic }
    )
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

fn group(
    graph: &Graph,
    readers: &[Vec<usize>],
    ready: &[usize],
    taken: &mut [bool],
    root: usize,
) -> Group {
    let op = &graph.nodes[root].op;
    let mut group = Group::of(graph, root);
    if role(op) == Role::Sign {
        group.sign = Some(root);
        return group;
    }
    (group.value, group.value_is_read) = (Some(root), true);
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
    let reads_value = node.op == Op::Add || is_elementwise(&node.op) && node.inputs[0].0 == value;
    (reads_value && !taken[next]).then_some(next)
}

fn makes_vector(op: &Op) -> bool {
    role(op) == Role::Vector
}

fn is_elementwise(op: &Op) -> bool {
    role(op) == Role::Elementwise
}

/// What an operation can be in a group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The image.
    Image,
    /// The producer of a map.
    Producer,
    /// A stage behind the producer of its map.
    Elementwise,
    /// The sign of a map.
    Sign,
    /// A vector, in a group of its own.
    Vector,
}

fn role(op: &Op) -> Role {
    match op {
        Op::Input { .. } => Role::Image,
        // A packed model has no batch normalization; the planner would say so.
        Op::Conv { .. }
        | Op::ConvBin { .. }
        | Op::ConvI8 { .. }
        | Op::BatchNorm
        | Op::Concat
        | Op::ChannelShuffle { .. }
        | Op::AvgPool { .. }
        | Op::MaxPool { .. } => Role::Producer,
        Op::Affine | Op::Prelu { .. } | Op::Add => Role::Elementwise,
        Op::Sign { .. } => Role::Sign,
        Op::GlobalAvgPool
        | Op::Linear { .. }
        | Op::LinearI8 { .. }
        | Op::HyperTrunk { .. }
        | Op::HyperHead { .. } => Role::Vector,
    }
}

fn is_ready_sign(graph: &Graph, ready: &[usize], taken: &[bool], id: usize, value: usize) -> bool {
    let node = &graph.nodes[id];
    let Op::Sign { threshold } = node.op else { return false };
    let is_ready = threshold != Threshold::Dynamic || ready[node.inputs[1].0] < value;
    is_ready && !taken[id] && node.inputs[0].0 == value
}
