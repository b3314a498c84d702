//! Which values live where, and until which step.

use alloc::vec;
use alloc::vec::Vec;

use onebit_model::{Model, Op, Shape, Verified, bits};

use super::planner::Planner;
use crate::arena::{Area, Span};
use crate::fuse::Group;
use crate::op::{Source, stride};

/// Places of what a step gives.
pub(super) struct Reserved {
    pub(super) floats: Option<Span>,
    pub(super) bits: Option<Span>,
    pub(super) sums: Option<Span>,
}

/// Lifetimes of the values and the areas they live in.
pub(super) struct Places {
    pub(super) floats: Area,
    pub(super) bits: Area,
    pub(super) sums: Area,
    /// For each step, the values whose last reader it is.
    dying: Vec<Vec<usize>>,
}

impl Places {
    pub(super) fn new(model: &Verified<Model>, shapes: &[Shape], groups: &[Group]) -> Self {
        let mut last_read = vec![usize::MAX; shapes.len()];
        for (index, group) in groups.iter().enumerate() {
            for input in group.members().into_iter().flat_map(|id| &model.graph.nodes[id].inputs) {
                last_read[input.0] = index;
            }
        }
        let mut dying = vec![Vec::new(); groups.len()];
        for (value, &step) in last_read.iter().enumerate() {
            if let Some(values) = dying.get_mut(step) {
                values.push(value);
            }
        }
        Places { floats: Area::default(), bits: Area::default(), sums: Area::default(), dying }
    }

    pub(super) fn reserve(
        &mut self,
        step: usize,
        group: &Group,
        planner: &Planner<'_>,
    ) -> Option<Reserved> {
        let shapes = planner.shapes;
        let mut reserved = Reserved { floats: None, bits: None, sums: None };
        if let Some(value) = group.value {
            let shape = shapes[value];
            reserved.floats = match self.overwritten(step, group, planner) {
                None if group.value_is_read => Some(self.floats.take(real_len(shape)?)?),
                overwritten => overwritten,
            };
            if group.sums_are_read {
                reserved.sums =
                    Some(self.sums.take(shape.height.checked_mul(stride(shape.channels))?)?);
            }
        }
        if let Some(sign) = group.sign {
            reserved.bits = Some(self.bits.take(bit_words(shapes[sign])?)?);
        }
        Some(reserved)
    }

    /// Place of the input of a rectifier that is the only node of its step and the last to read it.
    fn overwritten(&self, step: usize, group: &Group, planner: &Planner<'_>) -> Option<Span> {
        let node = planner.node(group.root);
        let alone = group.members().len() == 1 && matches!(node.op, Op::Prelu { .. });
        let x = node.inputs.first()?.0;
        match planner.places[x] {
            Source::Floats(span) if alone && self.dying[step].contains(&x) => Some(span),
            _ => None,
        }
    }

    /// Gives back what is read for the last time, but for the place that the step has written.
    pub(super) fn release(&mut self, step: usize, written: Option<Span>, planner: &Planner<'_>) {
        for &value in &self.dying[step] {
            match planner.places[value] {
                Source::Floats(span) if Some(span) == written => {}
                Source::Floats(span) => self.floats.release(span),
                Source::Bits(span) => self.bits.release(span),
                Source::Image => {}
            }
            if let Some(span) = planner.sums[value] {
                self.sums.release(span);
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
