//! The order of work and the place of every buffer, decided once for a graph.
//!
//! Batch statistics are the only values that need the whole batch, so they cut the graph into
//! levels: a batch normalization and all that follows it lies one level above its input. Within a
//! level a microbatch of the batch is worked through in tiles of a few images, operation by operation, so
//! that what one operation writes the next one still finds in the cache. An activation that no
//! other level and no backward pass reads has no buffer for the whole microbatch, only for those images.

#![deny(clippy::wildcard_enum_match_arm)]

use onebit_model::{Element, Graph, NodeId, Op, Shape, Shift, Threshold, bits};

/// Pixels that a tile of images should have together, so that matrix products are large enough.
const TILE_PIXELS: usize = 1024;

/// Where an activation or gradient lives in a microbatch's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: usize,
    /// Whether the slot holds all images of the microbatch or only the current tile.
    pub(crate) whole: bool,
}

/// A node with what the walk needs to know about it.
#[derive(Clone, Debug)]
pub(crate) struct PlannedNode {
    pub(crate) inputs: Vec<usize>,
    pub(crate) shape: Shape,
    /// Elements of one image: floats or words.
    pub(crate) len: usize,
    pub(crate) value: Place,
    pub(crate) grad: Place,
    /// For each input: whether a gradient is sent there, and whether it is the first one.
    pub(crate) sends: Vec<Contribution>,
}

impl PlannedNode {
    /// Whether both inputs are the same node.
    pub(crate) fn reads_twice(&self) -> bool {
        matches!(self.inputs[..], [first, second] if first == second)
    }
}

/// What the backward pass of a node does with the gradient of one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contribution {
    /// Nothing: no parameter lies behind that input, or it shares this node's gradient buffer.
    Nothing,
    /// Writes it: this is the first contribution.
    First,
    /// Adds to it.
    More,
}

/// The plan of a graph for microbatches of a number of images.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<PlannedNode>,
    /// Nodes of each level in evaluation order.
    pub(crate) levels: Vec<Vec<usize>>,
    /// Images worked on at a time in each level.
    pub(crate) tile: Vec<usize>,
    /// Floats of each slot.
    pub(crate) slots: Vec<usize>,
    /// Words of each bit slot (always whole).
    pub(crate) bit_slots: Vec<usize>,
}

impl Plan {
    /// `observed` nodes keep their output for the whole microbatch.
    pub(crate) fn new(
        graph: &Graph,
        shapes: &[Shape],
        microbatch: usize,
        observed: &[NodeId],
    ) -> Self {
        let level = levels(graph);
        let depth = level.iter().max().map_or(0, |l| l + 1);
        let mut by_level = vec![Vec::new(); depth];
        level.iter().enumerate().for_each(|(id, &l)| by_level[l].push(id));
        let tile: Vec<usize> =
            by_level.iter().map(|ids| images_per_tile(ids, shapes, microbatch)).collect();
        let mut allocator =
            SlotAllocator { tile: &tile, microbatch, slots: Vec::new(), bit_slots: Vec::new() };
        let values = values(graph, shapes, &level, observed, &mut allocator);
        let alias = aliases(graph);
        let grads = grads(graph, shapes, &level, &alias, &mut allocator);
        let sends = sends(graph, &level, &by_level, &alias);
        let (slots, bit_slots) = (allocator.slots, allocator.bit_slots);
        let nodes = graph.nodes.iter().enumerate().map(|(id, node)| PlannedNode {
            inputs: node.inputs.iter().map(|i| i.0).collect(),
            shape: shapes[id],
            len: stored_len(shapes[id]),
            value: values[id],
            grad: grads[id],
            sends: sends[id].clone(),
        });
        Plan { nodes: nodes.collect(), levels: by_level, tile, slots, bit_slots }
    }
}

/// Level of each node: one more than its input's for a batch normalization.
fn levels(graph: &Graph) -> Vec<usize> {
    let mut level: Vec<usize> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let below = node.inputs.iter().map(|i| level[i.0]).max().unwrap_or(0);
        level.push(below + usize::from(is_norm(&node.op)));
    }
    level
}

fn images_per_tile(ids: &[usize], shapes: &[Shape], microbatch: usize) -> usize {
    let pixels = ids.iter().map(|&id| shapes[id].pixels()).max().unwrap_or(1);
    (TILE_PIXELS / pixels).clamp(1, microbatch)
}

fn stored_len(shape: Shape) -> usize {
    match shape.element {
        Element::Float => shape.len(),
        Element::Bit => shape.pixels() * bits::words(shape.channels),
    }
}

/// Hands out slots; those for one tile of images are shared between levels.
struct SlotAllocator<'a> {
    tile: &'a [usize],
    microbatch: usize,
    slots: Vec<usize>,
    bit_slots: Vec<usize>,
}

impl SlotAllocator<'_> {
    fn whole(&mut self, len: usize) -> Place {
        self.slots.push(len.saturating_mul(self.microbatch));
        Place { slot: self.slots.len() - 1, whole: true }
    }

    fn bits(&mut self, len: usize) -> Place {
        self.bit_slots.push(len.saturating_mul(self.microbatch));
        Place { slot: self.bit_slots.len() - 1, whole: true }
    }

    /// The next shared slot of `shared`, grown to hold a tile of that level.
    fn tile(&mut self, shared: &mut SharedSlots, level: usize, len: usize) -> Place {
        let position = shared.used[level];
        shared.used[level] += 1;
        if position == shared.slots.len() {
            self.slots.push(0);
            shared.slots.push(self.slots.len() - 1);
        }
        let slot = shared.slots[position];
        self.slots[slot] = self.slots[slot].max(len.saturating_mul(self.tile[level]));
        Place { slot, whole: false }
    }
}

struct SharedSlots {
    slots: Vec<usize>,
    used: Vec<usize>,
}

fn values(
    graph: &Graph,
    shapes: &[Shape],
    level: &[usize],
    observed: &[NodeId],
    allocator: &mut SlotAllocator<'_>,
) -> Vec<Place> {
    let mut shared = SharedSlots { slots: Vec::new(), used: vec![0; allocator.tile.len()] };
    let last = graph.nodes.len() - 1;
    let mut kept = vec![false; graph.nodes.len()];
    kept[0] = true;
    kept[last] = true;
    observed.iter().for_each(|id| kept[id.0] = true);
    for (id, node) in graph.nodes.iter().enumerate() {
        for (position, input) in node.inputs.iter().enumerate() {
            kept[input.0] |= level[input.0] != level[id] || reads_back(&node.op, position);
        }
    }
    let place = |id: usize| match (shapes[id].element, kept[id]) {
        (Element::Bit, _) => allocator.bits(stored_len(shapes[id])),
        (Element::Float, true) => allocator.whole(shapes[id].len()),
        (Element::Float, false) => allocator.tile(&mut shared, level[id], shapes[id].len()),
    };
    (0..graph.nodes.len()).map(place).collect()
}

/// Whether the backward pass of `op` reads its input `position` again.
fn reads_back(op: &Op, position: usize) -> bool {
    match op {
        Op::Conv { .. }
        | Op::ConvBin { .. }
        | Op::LinearBin { .. }
        | Op::BatchNorm { .. }
        | Op::MaxPool { .. }
        | Op::Linear { .. }
        | Op::HyperTrunk { .. }
        | Op::HyperHead { .. } => true,
        Op::Sign { threshold } => position == 0 || *threshold == Threshold::Dynamic,
        Op::Prelu { shift, .. } => position == 0 || *shift == Shift::Dynamic,
        Op::Input { .. }
        | Op::Affine
        | Op::ConvI8 { .. }
        | Op::LinearI8 { .. }
        | Op::Add
        | Op::Concat
        | Op::ChannelShuffle { .. }
        | Op::AvgPool { .. }
        | Op::GlobalAvgPool => false,
    }
}

fn is_norm(op: &Op) -> bool {
    matches!(op, Op::BatchNorm { .. })
}

/// The node whose gradient buffer each node uses: that of the sum, for what only a sum reads.
fn aliases(graph: &Graph) -> Vec<usize> {
    let mut readers = vec![0usize; graph.nodes.len()];
    for input in graph.nodes.iter().flat_map(|node| &node.inputs) {
        readers[input.0] += 1;
    }
    let mut alias: Vec<usize> = (0..graph.nodes.len()).collect();
    for (id, node) in graph.nodes.iter().enumerate().rev() {
        if node.op == Op::Add {
            for input in node.inputs.iter().filter(|i| readers[i.0] == 1) {
                alias[input.0] = alias[id];
            }
        }
    }
    alias
}

fn grads(
    graph: &Graph,
    shapes: &[Shape],
    level: &[usize],
    alias: &[usize],
    allocator: &mut SlotAllocator<'_>,
) -> Vec<Place> {
    let mut kept = vec![false; graph.nodes.len()];
    kept[alias[graph.nodes.len() - 1]] = true;
    for (id, node) in graph.nodes.iter().enumerate() {
        let is_norm = is_norm(&node.op);
        for input in &node.inputs {
            // A batch normalization sends its gradient while the level of its input is worked on.
            let sent_at = if is_norm { level[input.0] } else { level[id] };
            kept[alias[input.0]] |= sent_at != level[input.0];
        }
        kept[alias[id]] |= is_norm || level[alias[id]] != level[id];
    }
    let mut shared = SharedSlots { slots: Vec::new(), used: vec![0; allocator.tile.len()] };
    let mut own: Vec<Option<Place>> = vec![None; graph.nodes.len()];
    for id in (0..graph.nodes.len()).filter(|&id| alias[id] == id) {
        own[id] = Some(if kept[id] {
            allocator.whole(shapes[id].len())
        } else {
            allocator.tile(&mut shared, level[id], shapes[id].len())
        });
    }
    let nowhere = Place { slot: usize::MAX, whole: false };
    alias.iter().map(|&id| own[id].unwrap_or(nowhere)).collect()
}

/// Follows the backward pass to find which contribution to each gradient comes first.
fn sends(
    graph: &Graph,
    level: &[usize],
    by_level: &[Vec<usize>],
    alias: &[usize],
) -> Vec<Vec<Contribution>> {
    let nodes = &graph.nodes;
    let mut written = vec![false; nodes.len()];
    let mut sends: Vec<Vec<Contribution>> =
        nodes.iter().map(|n| vec![Contribution::Nothing; n.inputs.len()]).collect();
    let mut send = |id: usize| {
        for (position, input) in nodes[id].inputs.iter().enumerate() {
            let shares = nodes[id].op == Op::Add && alias[input.0] == alias[id];
            if shares || input.0 == 0 {
                continue;
            }
            let first = !core::mem::replace(&mut written[input.0], true);
            sends[id][position] = if first { Contribution::First } else { Contribution::More };
        }
    };
    for (depth, ids) in by_level.iter().enumerate().rev() {
        let is_norm = |id: &usize| is_norm(&nodes[*id].op);
        let norms =
            (0..nodes.len()).filter(|id| is_norm(id) && level[nodes[*id].inputs[0].0] == depth);
        norms.for_each(&mut send);
        ids.iter().rev().filter(|id| !is_norm(id)).for_each(|&id| send(id));
    }
    sends
}
