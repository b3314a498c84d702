//! Which nodes are computed together.
//!
//! A fused op is a root (a convolution, a pooling, ...), the elementwise nodes behind it while each value has a
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

use crate::map::{CHANNEL_ALIGN, MAX_STAGES};

/// The nodes that one step of the plan computes, by their position in the graph. The step does, for each pixel:
///
/// 1. `root` gives a value; where that is a pooling with an `inner`, of rows that `inner` computes on the way.
/// 2. `stages` change it, one after the other. With `siblings`, two convolutions of the same input are computed as one:
///    `root` and the first stages give half of the channels, `siblings` the other half, `concat` stands for putting both
///    side by side, and the other stages apply to all channels.
/// 3. The outcome is `value`: written if `value_is_read`, added up for each row if `sums_are_read`, compared with
///    thresholds if there is a `sign`.
///
/// A block of ReActNet, for example, has the binary convolution as its `root`, the scale, the addition of the shortcut
/// and the rectifier as `stages`, and the sign in front of the next convolution as its `sign`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FusedOp {
    /// What produces the first value; an elementwise node or a sign stands here with a copy of its input.
    pub(crate) root: usize,
    /// Elementwise nodes applied to that value, in order (the root itself when it is elementwise).
    pub(crate) stages: Vec<usize>,
    /// The second convolution and its elementwise nodes, where two are computed as one: the siblings of `root` and of
    /// the first `stages`.
    pub(crate) siblings: Vec<usize>,
    /// The node that concatenates the siblings' results, in front of the other stages.
    pub(crate) concat: Option<usize>,
    /// What produces the rows of a pooling that nothing else reads but its own sign, or a sign of the map that is
    /// pooled.
    pub(crate) inner: Option<Box<FusedOp>>,
    /// The last real value, if there is one.
    pub(crate) value: Option<usize>,
    /// Whether anything outside the fused op reads that value, but for sums of it.
    pub(crate) value_is_read: bool,
    /// Whether anything reads the sums of that value's channels.
    pub(crate) sums_are_read: bool,
    /// The sign of that value (or the root, when it is a sign).
    pub(crate) sign: Option<usize>,
}

impl FusedOp {
    /// A fused op of nothing but its root, which gives nothing yet.
    fn of(graph: &Graph, root: usize) -> Self {
        let is_stage = is_elementwise(&graph.nodes[root].op);
        FusedOp {
            root,
            stages: if is_stage { vec![root] } else { Vec::new() },
            siblings: Vec::new(),
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

    /// Every node of the fused op.
    pub(crate) fn members(&self) -> Vec<usize> {
        let mut members = vec![self.root];
        members.extend(self.stages.iter().chain(&self.sign).filter(|&&id| id != self.root));
        members.extend(self.siblings.iter().chain(&self.concat));
        members.extend(self.inner.iter().flat_map(|inner| inner.members()));
        members
    }
}

/// Fused ops of a graph in the order in which they run: fused, or, were they to read anything before it is there, each
/// node by itself.
pub(crate) fn fused_ops(graph: &Graph) -> Vec<FusedOp> {
    let fused = fuse(graph);
    let is_sound = sound::is_sound(graph, &fused);
    debug_assert!(is_sound, "{fused:?}");
    if is_sound { fused } else { unfused(graph) }
}

fn fuse(graph: &Graph) -> Vec<FusedOp> {
    let readers = readers(graph);
    let ready = ready(graph);
    let mut taken = vec![false; graph.nodes.len()];
    let mut fused_ops = Vec::new();
    for (id, node) in graph.nodes.iter().enumerate() {
        if !taken[id] && role(&node.op) != Role::Image {
            taken[id] = true;
            fused_ops.push(fused_op(graph, &readers, &ready, &mut taken, id));
        }
    }
    fused_ops.sort_by_key(|fused| (ready[fused.position()], fused.position()));
    let mut merging = Merging::new(graph, &readers, fused_ops);
    merging.each(Merging::siblings);
    merging.each(Merging::pooled);
    merging.each(Merging::signed);
    merging.fused_ops.into_iter().flatten().collect()
}

/// A fused op for each node.
fn unfused(graph: &Graph) -> Vec<FusedOp> {
    let nodes = graph.nodes.iter().enumerate();
    nodes
        .filter(|(_, node)| role(&node.op) != Role::Image)
        .map(|(id, node)| {
            let is_sign = role(&node.op) == Role::Sign;
            FusedOp {
                value_is_read: !is_sign,
                sums_are_read: false,
                value: (!is_sign).then_some(id),
                sign: is_sign.then_some(id),
                ..FusedOp::of(graph, id)
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

/// Fused ops that become parts of others.
struct Merging<'a> {
    graph: &'a Graph,
    readers: &'a [Vec<usize>],
    /// In the order in which they run; those that have become parts of others are gone.
    fused_ops: Vec<Option<FusedOp>>,
    /// For each node, the position of its fused op.
    of: Vec<usize>,
}

impl<'a> Merging<'a> {
    fn new(graph: &'a Graph, readers: &'a [Vec<usize>], fused_ops: Vec<FusedOp>) -> Self {
        let mut of = vec![usize::MAX; graph.nodes.len()];
        for (index, fused) in fused_ops.iter().enumerate() {
            for id in fused.members() {
                of[id] = index;
            }
        }
        Merging { graph, readers, fused_ops: fused_ops.into_iter().map(Some).collect(), of }
    }

    /// Tries to `merge` something into each fused op, until nothing more can be: a fused op that has moved may have made
    /// way for another.
    fn each(&mut self, merge: fn(&mut Self, usize) -> Option<()>) {
        while (0..self.fused_ops.len()).filter(|&index| merge(self, index).is_some()).count() > 0 {}
    }

    /// Position of the fused op whose last real value this is.
    fn of_value(&self, value: usize) -> Option<usize> {
        let index = *self.of.get(value)?;
        let fused = self.fused_ops.get(index)?.as_ref()?;
        (fused.value == Some(value)).then_some(index)
    }

    /// Whether a fused op before `index` reads a value.
    fn is_read_before(&self, index: usize, value: usize) -> bool {
        self.readers[value].iter().any(|&id| self.of[id] < index)
    }

    /// Takes a fused op out, to become a part of the one at `index`.
    fn take(&mut self, from: usize, index: usize) -> Option<FusedOp> {
        let fused = self.fused_ops[from].take()?;
        for id in fused.members() {
            self.of[id] = index;
        }
        Some(fused)
    }

    /// Joins two binary convolutions in front of the concatenation that alone reads them. They must differ in nothing
    /// but parameters, and each register must belong to one of them; the stages behind them stay within the limit.
    fn siblings(&mut self, index: usize) -> Option<()> {
        let fused = self.fused_ops[index].as_ref()?;
        let node = &self.graph.nodes[fused.root];
        let (Op::Concat, [a, b]) = (&node.op, &node.inputs[..]) else { return None };
        let siblings = [self.of_value(a.0)?, self.of_value(b.0)?];
        let [first, second] =
            [self.fused_ops[siblings[0]].as_ref()?, self.fused_ops[siblings[1]].as_ref()?];
        let single = self.readers[a.0].len() == 1 && self.readers[b.0].len() == 1 && a != b;
        let short = first.stages.len() + fused.stages.len() <= MAX_STAGES;
        if !(single && short && are_siblings(self.graph, first, second)) {
            return None;
        }
        let [first, second] = [self.take(siblings[0], index)?, self.take(siblings[1], index)?];
        let fused = self.fused_ops[index].as_mut()?;
        let mut stages = first.stages;
        stages.append(&mut fused.stages);
        fused.concat = Some(fused.root);
        fused.siblings = [second.root].into_iter().chain(second.stages).collect();
        (fused.root, fused.stages) = (first.root, stages);
        Some(())
    }

    /// Computes the rows that a pooling reads as it reads them. Nothing else may read them but their own sign, whose bits
    /// are there only behind the pooling, and all of them only where its windows leave no gaps. What depends on the image
    /// would have to be there before, and groups that end inside a register need the whole map.
    fn pooled(&mut self, index: usize) -> Option<()> {
        let fused = self.fused_ops[index].as_ref()?;
        let (x, overlaps) = pooling(&self.graph.nodes[fused.root])?;
        let position = self.of_value(x)?;
        let inner = self.fused_ops[position].as_ref()?;
        let (Op::Conv { geometry } | Op::ConvI8 { geometry } | Op::ConvBin { geometry, .. }) =
            self.graph.nodes[inner.root].op
        else {
            return None;
        };
        let is_static = !inner.members().iter().any(|&id| is_dynamic(&self.graph.nodes[id].op));
        let alone = self.readers[x].iter().all(|&id| id == fused.root || Some(id) == inner.sign);
        let in_time = inner.sign.is_none_or(|sign| overlaps && !self.is_read_before(index, sign));
        if !(geometry.groups == 1 && is_static && alone && in_time && fused.inner.is_none()) {
            return None;
        }
        let inner = self.take(position, index)?;
        self.fused_ops[index].as_mut()?.inner = Some(Box::new(inner));
        Some(())
    }

    /// Lets a pooling give a sign of the map that it reads: one that compares this very map, whose bits nothing reads
    /// before, and windows without gaps.
    fn signed(&mut self, index: usize) -> Option<()> {
        let fused = self.fused_ops[index].as_ref()?;
        let (x, overlaps) = pooling(&self.graph.nodes[fused.root])?;
        if !overlaps || fused.inner.is_some() {
            return None;
        }
        let is_sign = |&id: &usize| {
            let node = &self.graph.nodes[id];
            let compares = matches!(node.op, Op::Sign { .. }) && node.inputs[0].0 == x;
            let fused = self.fused_ops[self.of[id]].as_ref();
            compares && fused.is_some_and(|fused| fused.root == id)
        };
        let signs = self.readers[x].iter().copied().filter(is_sign);
        let sign = signs.min_by_key(|&id| self.of[id])?;
        let position = self.of[sign];
        if position >= index || self.is_read_before(index, sign) {
            return None;
        }
        let inner = self.take(position, index)?;
        self.fused_ops[index].as_mut()?.inner = Some(Box::new(inner));
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

/// Whether two fused ops are binary convolutions of the same bits that differ in nothing but parameters.
fn are_siblings(graph: &Graph, first: &FusedOp, second: &FusedOp) -> bool {
    let [a, b] = [first, second].map(|fused| &graph.nodes[fused.root]);
    let Op::ConvBin { geometry, .. } = &a.op else { return false };
    let whole = geometry.groups == 1 && geometry.out_channels.is_multiple_of(CHANNEL_ALIGN);
    let plain = first.siblings.is_empty() && second.siblings.is_empty();
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

fn fused_op(
    graph: &Graph,
    readers: &[Vec<usize>],
    ready: &[usize],
    taken: &mut [bool],
    root: usize,
) -> FusedOp {
    let op = &graph.nodes[root].op;
    let mut fused = FusedOp::of(graph, root);
    if role(op) == Role::Sign {
        fused.sign = Some(root);
        return fused;
    }
    (fused.value, fused.value_is_read) = (Some(root), true);
    if makes_vector(op) {
        return fused;
    }
    let mut value = root;
    while fused.stages.len() < MAX_STAGES
        && let Some(next) = next_stage(graph, &readers[value], taken, value)
    {
        taken[next] = true;
        fused.stages.push(next);
        value = next;
    }
    fused.value = Some(value);
    let is_ready = |&id: &usize| is_ready_sign(graph, ready, taken, id, value);
    fused.sign = readers[value].iter().copied().find(is_ready);
    if let Some(sign) = fused.sign {
        taken[sign] = true;
    }
    let is_last = value + 1 == graph.nodes.len();
    let sums_only = |id: usize| reads_sums_only(&graph.nodes[id].op);
    fused.value_is_read =
        is_last || readers[value].iter().any(|&id| fused.sign != Some(id) && !sums_only(id));
    fused.sums_are_read = readers[value].iter().any(|&id| reads_sums(&graph.nodes[id].op));
    fused
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

/// What an operation can be in a fused op.
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
    /// A vector, in a fused op of its own.
    Vector,
}

fn role(op: &Op) -> Role {
    match op {
        Op::Input { .. } => Role::Image,
        // A packed model has no batch normalization; the planner would say so.
        Op::Conv { .. }
        | Op::ConvBin { .. }
        | Op::ConvI8 { .. }
        | Op::LinearBin { .. }
        | Op::BatchNorm { .. }
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
