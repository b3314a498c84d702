//! Whether fused ops compute what the graph says, each from what is there by then.

use alloc::vec;
use alloc::vec::Vec;

use onebit_model::{Graph, NodeId, Op};

use super::{FusedOp, is_dynamic, is_elementwise, pooling, reads_sums_only};
use crate::map::MAX_STAGES;

/// Checks fused ops in the order in which they run.
pub(super) fn is_sound(graph: &Graph, fused_ops: &[FusedOp]) -> bool {
    let nodes = graph.nodes.len();
    let mut there = There {
        graph,
        values: vec![false; nodes],
        sums: vec![false; nodes],
        computed: vec![false; nodes],
    };
    for made in [&mut there.values, &mut there.computed] {
        made[..nodes.min(1)].fill(true);
    }
    fused_ops.iter().all(|fused| there.compute(fused))
        && there.computed.iter().all(|&computed| computed)
        && there.values.last() == Some(&true)
}

/// What there is after some of the fused ops.
struct There<'a> {
    graph: &'a Graph,
    /// Real values and bits in memory.
    values: Vec<bool>,
    /// Values of whose rows there are sums.
    sums: Vec<bool>,
    /// Nodes that a fused op has computed.
    computed: Vec<bool>,
}

impl There<'_> {
    fn compute(&mut self, fused: &FusedOp) -> bool {
        let sound = self.reads(fused)
            && fused
                .members()
                .into_iter()
                .all(|id| !core::mem::replace(&mut self.computed[id], true));
        if let Some(value) = fused.value {
            self.values[value] = fused.value_is_read;
            self.sums[value] = fused.sums_are_read;
        }
        for sign in fused.sign.into_iter().chain(fused.inner.as_ref().and_then(|inner| inner.sign))
        {
            self.values[sign] = true;
        }
        sound
    }

    /// Whether everything that a fused op reads is there, and each of its values where the next node expects it.
    fn reads(&self, fused: &FusedOp) -> bool {
        let root = &self.graph.nodes[fused.root];
        let produced = match &fused.inner {
            Some(inner) => self.pools(fused.root, inner),
            None => root.inputs.iter().all(|&x| self.has(fused.root, x)),
        };
        let is_stage = is_elementwise(&root.op);
        let first = if is_stage { root.inputs[0].0 } else { fused.root };
        let Some(value) = self.through_stages(fused, first) else { return false };
        let gives = match fused.value {
            Some(given) => {
                given == value && (!is_stage || fused.stages.first() == Some(&fused.root))
            }
            None => fused.sign == Some(fused.root) && fused.stages.is_empty(),
        };
        let signs = fused.sign.is_none_or(|sign| {
            let inputs = &self.graph.nodes[sign].inputs;
            let compares = inputs[0].0 == value || sign == fused.root;
            compares && inputs[1..].iter().all(|&d| self.has(sign, d))
        });
        produced && gives && signs && fused.stages.len() <= MAX_STAGES
    }

    /// The last value of a fused op whose stages begin with `value`, if each has its operands.
    fn through_stages(&self, fused: &FusedOp, mut value: usize) -> Option<usize> {
        let mut sibling = fused.siblings.first().copied();
        if let Some(sibling) = sibling {
            let [a, b] = [fused.root, sibling].map(|id| &self.graph.nodes[id]);
            let alike = a.op == b.op && a.inputs == b.inputs && matches!(a.op, Op::ConvBin { .. });
            alike.then_some(())?;
        }
        let sibling_stages = fused.siblings.get(1..).unwrap_or_default();
        for i in 0..=fused.stages.len() {
            if let (Some(concat), Some(sibling_value)) = (fused.concat, sibling)
                && i == sibling_stages.len()
            {
                let joined = [NodeId(value), NodeId(sibling_value)];
                (self.graph.nodes[concat].inputs == joined).then_some(())?;
                (value, sibling) = (concat, None);
            }
            let Some(&stage) = fused.stages.get(i) else { break };
            let other = self.stage(stage, value)?;
            if let Some(sibling_value) = sibling {
                let sibling_stage = *sibling_stages.get(i)?;
                let alike = self.graph.nodes[stage].op == self.graph.nodes[sibling_stage].op;
                (alike && self.stage(sibling_stage, sibling_value)? == other).then_some(())?;
                sibling = Some(sibling_stage);
            }
            value = stage;
        }
        sibling.is_none().then_some(value)
    }

    /// The other operand of a stage of `value`, if it has one, where both are there.
    fn stage(&self, id: usize, value: usize) -> Option<Option<NodeId>> {
        let node = &self.graph.nodes[id];
        let other = match (&node.op, &node.inputs[..]) {
            (Op::Add, &[a, b]) if a.0 == value => Some(b),
            (Op::Add, &[a, b]) if b.0 == value => Some(a),
            (op, &[x, ref offsets @ ..])
                if is_elementwise(op) && x.0 == value && *op != Op::Add =>
            {
                offsets.first().copied()
            }
            _ => return None,
        };
        other.is_none_or(|other| self.has(id, other)).then_some(other)
    }

    /// Whether the pooling `root` can compute what it reads, or give its sign, on the way.
    fn pools(&self, root: usize, inner: &FusedOp) -> bool {
        let Some((x, overlaps)) = pooling(&self.graph.nodes[root]) else { return false };
        let is_static = || !inner.members().iter().any(|&id| is_dynamic(&self.graph.nodes[id].op));
        let reads = match inner.value {
            Some(value) => value == x && is_static(),
            None => {
                let map = self.graph.nodes[inner.root].inputs[0];
                map.0 == x && self.has(root, map)
            }
        };
        reads && inner.inner.is_none() && (inner.sign.is_none() || overlaps) && self.reads(inner)
    }

    /// Whether what `node` needs of a value is there: sums are enough for means.
    fn has(&self, node: usize, NodeId(value): NodeId) -> bool {
        let means = reads_sums_only(&self.graph.nodes[node].op) && self.sums[value];
        self.values[value] || means
    }
}
