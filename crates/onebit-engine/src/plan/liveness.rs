//! The liveness of values: which step uses each for the last time, and the place in memory that it has until then.

#![deny(clippy::wildcard_enum_match_arm)]

use alloc::vec;
use alloc::vec::Vec;

use onebit_model::{Model, Op, Shape, bits};

use super::Sign;
use super::planner::Planner;
use crate::arena::{Area, Span};
use crate::exec::{Location, Work};
use crate::fuse::FusedOp;
use crate::map::stride;

/// Places of what a step gives.
pub(super) struct Reserved {
    pub(super) floats: Option<Span>,
    pub(super) sign: Option<Sign>,
    pub(super) inner_sign: Option<Sign>,
    pub(super) sums: Option<Span>,
}

/// When each value is used for the last time, and the areas of memory whose places are free again then.
pub(super) struct Liveness {
    pub(super) floats: Area,
    pub(super) bits: Area,
    /// For each step, the values that it is the last to use.
    last_uses: Vec<Vec<usize>>,
}

impl Liveness {
    pub(super) fn new(model: &Model, shapes: &[Shape], fused_ops: &[FusedOp]) -> Self {
        let mut last_use = vec![usize::MAX; shapes.len()];
        for (index, fused) in fused_ops.iter().enumerate() {
            for input in fused.members().into_iter().flat_map(|id| &model.graph.nodes[id].inputs) {
                last_use[input.0] = index;
            }
        }
        let mut last_uses = vec![Vec::new(); fused_ops.len()];
        for (value, &step) in last_use.iter().enumerate() {
            if let Some(values) = last_uses.get_mut(step) {
                values.push(value);
            }
        }
        Liveness { floats: Area::default(), bits: Area::default(), last_uses }
    }

    pub(super) fn reserve(
        &mut self,
        step: usize,
        fused: &FusedOp,
        planner: &Planner<'_>,
    ) -> Option<Reserved> {
        let shapes = planner.shapes;
        let mut reserved = Reserved { floats: None, sign: None, inner_sign: None, sums: None };
        if let Some(value) = fused.value {
            let shape = shapes[value];
            reserved.floats = match self.overwritten(step, fused, planner) {
                None if fused.value_is_read => Some(self.floats.take(real_len(shape)?)?),
                overwritten => overwritten,
            };
            if fused.sums_are_read {
                reserved.sums =
                    Some(self.floats.take(shape.height.checked_mul(stride(shape.channels))?)?);
            }
        }
        let mut sign =
            |node: usize| Some(Sign { node, bits: self.bits.take(bit_words(shapes[node])?)? });
        if let Some(node) = fused.sign {
            reserved.sign = Some(sign(node)?);
        }
        if let Some(node) = fused.inner.as_ref().and_then(|inner| inner.sign) {
            reserved.inner_sign = Some(sign(node)?);
        }
        Some(reserved)
    }

    /// Place of a value that the step is the last to read and whose place it may take: the input of a rectifier that is
    /// its only node, or a shortcut of the output's shape that nothing of it but additions reads.
    fn overwritten(&self, step: usize, fused: &FusedOp, planner: &Planner<'_>) -> Option<Span> {
        let members = fused.members();
        let is_alone = members.len() == 1;
        let reads = |&id: &usize, x: usize| planner.node(id).inputs.iter().any(|i| i.0 == x);
        let may_go = |id: usize, x: usize| {
            let node = planner.node(id);
            let lone_rectifier =
                matches!(node.op, Op::Prelu { .. }) && is_alone && id == fused.root;
            let shapes = planner.shapes;
            let is_stage = id != fused.root && fused.stages.contains(&id);
            let shortcut = node.op == Op::Add && is_stage && shapes[x] == shapes[fused.position()];
            lone_rectifier && node.inputs[0].0 == x || shortcut
        };
        let place = |x: usize| match planner.locations[x] {
            Location::Floats(span) => Some(span),
            Location::Image | Location::Bits(_) => None,
        };
        let mut last_used = self.last_uses[step].iter().filter(|&&x| {
            let mut readers = members.iter().filter(|id| reads(id, x)).peekable();
            fused.value_is_read && readers.peek().is_some() && readers.all(|&id| may_go(id, x))
        });
        last_used.find_map(|&x| place(x))
    }

    /// Places of what a step works in, [`Work::vectors`] and [`Work::prepared`], which the next step may have again.
    pub(super) fn working(&mut self, work: &Work) -> Option<[Span; 2]> {
        let vectors = self.floats.take(work.vectors())?;
        let prepared = self.bits.take(work.prepared())?;
        self.floats.release(vectors);
        self.bits.release(prepared);
        Some([vectors, prepared])
    }

    /// Gives back what is read for the last time, but for the place that the step has written.
    pub(super) fn release(&mut self, step: usize, written: Option<Span>, planner: &Planner<'_>) {
        for &value in &self.last_uses[step] {
            match planner.locations[value] {
                Location::Floats(span) if Some(span) == written => {}
                Location::Floats(span) => self.floats.release(span),
                Location::Bits(span) => self.bits.release(span),
                Location::Image => {}
            }
            if let Some(span) = planner.sums[value] {
                self.floats.release(span);
            }
        }
    }
}

/// Floats of a real map in memory.
pub(super) fn real_len(shape: Shape) -> Option<usize> {
    shape.pixels().checked_mul(stride(shape.channels))
}

fn bit_words(shape: Shape) -> Option<usize> {
    shape.pixels().checked_mul(bits::words(shape.channels))
}
