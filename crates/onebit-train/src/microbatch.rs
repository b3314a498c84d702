//! A fixed share of the batch with all its buffers. Microbatches are worked on by any thread, in any order;
//! what they sum is added up in microbatch order, so results do not depend on the threads.

#![deny(clippy::wildcard_enum_match_arm)]

use std::collections::TryReserveError;

use onebit_model::Op;

use crate::op::batch_norm::{BatchStatistics, GradSums};
use crate::op::{Backward, Forward, Gradient, Pass, Workspace};
use crate::params::{Params, filled};
use crate::plan::{Contribution, Place};
use crate::structure::{Compute, Structure};

/// Buffers of one microbatch.
pub(crate) struct Microbatch {
    /// Images of the current batch in this microbatch.
    pub(crate) images: usize,
    floats: Vec<Vec<f32>>,
    bits: Vec<Vec<u64>>,
    /// Raw gradients of all parameters over this microbatch.
    pub(crate) grads: Vec<Vec<f32>>,
    /// For each batch normalization, by its position in [`Structure::norms`].
    pub(crate) statistics: Vec<BatchStatistics>,
    pub(crate) grad_sums: Vec<GradSums>,
    workspace: Workspace,
    /// Scratch gradients, one for each input position.
    scratch_grads: [Vec<f32>; 2],
}

impl Microbatch {
    /// # Errors
    /// More memory than the system gives.
    pub(crate) fn new(structure: &Structure, params: &Params) -> Result<Self, TryReserveError> {
        let plan = &structure.plan;
        let slots = plan.slots.iter().map(|&len| filled(len, 0.0));
        let bit_slots = plan.bit_slots.iter().map(|&len| filled(len, 0));
        let grads = params.entries.iter().map(|p| filled(p.grad.len(), 0.0));
        Ok(Microbatch {
            images: 0,
            floats: slots.collect::<Result<_, _>>()?,
            bits: bit_slots.collect::<Result<_, _>>()?,
            grads: grads.collect::<Result<_, _>>()?,
            statistics: vec![BatchStatistics::default(); structure.norms.len()],
            grad_sums: vec![GradSums::default(); structure.norms.len()],
            workspace: Workspace::default(),
            scratch_grads: [Vec::new(), Vec::new()],
        })
    }

    /// Bytes of activations and gradients.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let floats = self.floats.iter().chain(&self.grads).map(Vec::len).sum::<usize>();
        4 * floats + 8 * self.bits.iter().map(Vec::len).sum::<usize>()
    }

    /// Copies `images` (NHWC) into the input's buffer.
    pub(crate) fn load(&mut self, structure: &Structure, images: &[f32]) {
        let planned = &structure.plan.nodes[0];
        self.images = images.len() / planned.len;
        self.floats[planned.value.slot][..images.len()].copy_from_slice(images);
    }

    /// Output of the last node for this microbatch's images.
    pub(crate) fn logits(&self, structure: &Structure) -> &[f32] {
        self.map(structure, structure.plan.nodes.len() - 1)
    }

    /// Output for this microbatch's images of a node that keeps it, such as an observed one; batch normalizations that
    /// a sum computes itself have none.
    pub(crate) fn map(&self, structure: &Structure, id: usize) -> &[f32] {
        let planned = &structure.plan.nodes[id];
        let is_kept = planned.value.whole && (id == 0 || structure.compute[id] != Compute::Nothing);
        assert!(is_kept, "the output of `{}` is not kept", structure.graph.nodes[id].name);
        &self.floats[planned.value.slot][..self.images * planned.len]
    }

    /// Where the gradient of the logits goes.
    pub(crate) fn logits_grad(&mut self, structure: &Structure) -> &mut [f32] {
        let planned = structure.last();
        &mut self.floats[planned.grad.slot][..self.images * planned.len]
    }

    /// Packed bits of a sign node for one image.
    pub(crate) fn sign_bits(&self, structure: &Structure, id: usize, image: usize) -> &[u64] {
        let planned = &structure.plan.nodes[id];
        &self.bits[planned.value.slot][image * planned.len..][..planned.len]
    }

    pub(crate) fn clear_grads(&mut self) {
        self.grads.iter_mut().for_each(|g| g.fill(0.0));
    }

    /// Runs one level; in training it also measures what the next level normalizes with.
    pub(crate) fn forward(
        &mut self,
        structure: &Structure,
        params: &Params,
        level: usize,
        pass: Pass,
    ) {
        let readers = if pass == Pass::Train { structure.norms_reading(level) } else { &[] };
        for &norm in readers {
            self.statistics[norm].clear(structure.norms[norm].channels());
        }
        for tile in self.tiles(structure.plan.tile[level]) {
            for &id in &structure.plan.levels[level] {
                self.forward_node(structure, params, id, tile);
                for &norm in readers.iter().filter(|&&n| structure.norms[n].input == id) {
                    let planned = &structure.plan.nodes[id];
                    let x = span(planned.value, planned.len, tile);
                    self.statistics[norm].add(&self.floats[planned.value.slot][x]);
                }
            }
        }
    }

    fn forward_node(&mut self, structure: &Structure, params: &Params, id: usize, tile: Tile) {
        let planned = &structure.plan.nodes[id];
        if structure.compute[id] == Compute::Nothing {
            return;
        }
        let is_bits = matches!(structure.graph.nodes[id].op, Op::Sign { .. });
        let mut output = Vec::new();
        let mut output_bits = Vec::new();
        if is_bits {
            output_bits = core::mem::take(&mut self.bits[planned.value.slot]);
        } else {
            output = core::mem::take(&mut self.floats[planned.value.slot]);
        }
        let range = span(planned.value, planned.len, tile);
        let mut workspace = core::mem::take(&mut self.workspace);
        if let Compute::Norm { norm, shortcut } = structure.compute[id] {
            let norm = &structure.norms[norm];
            let shortcut = shortcut.map(|position| self.float_input(structure, id, position, tile));
            let x = self.float_input(structure, norm.node, 0, tile);
            norm.forward(params, x, shortcut, &mut output[range], &mut workspace.vectors);
        } else if let Some(layer) = &structure.layers[id] {
            layer.forward(Forward {
                images: tile.images,
                params,
                x: self.float_input(structure, id, 0, tile),
                x_bits: self.bit_input(structure, id, tile),
                x2: self.float_input(structure, id, 1, tile),
                y: if is_bits { &mut [] } else { &mut output[range.clone()] },
                y_bits: if is_bits { &mut output_bits[range] } else { &mut [] },
                workspace: &mut workspace,
            });
        }
        self.workspace = workspace;
        if is_bits {
            self.bits[planned.value.slot] = output_bits;
        } else {
            self.floats[planned.value.slot] = output;
        }
    }

    /// Runs one level backwards. A batch normalization sends its gradient only when the sums over the whole batch are
    /// there: its own level takes the sums, and the level of its input sends.
    pub(crate) fn backward(&mut self, structure: &Structure, params: &Params, level: usize) {
        for &norm in structure.norms_in(level) {
            self.grad_sums[norm].clear(structure.norms[norm].channels());
        }
        for tile in self.tiles(structure.plan.tile[level]) {
            for &norm in structure.norms_reading(level) {
                self.send_norm_gradient(structure, params, norm, tile);
            }
            for &id in structure.plan.levels[level].iter().rev() {
                match structure.norm_index[id] {
                    Some(norm) => self.sum_norm_gradient(structure, norm, tile),
                    None => self.backward_node(structure, params, id, tile),
                }
            }
        }
    }

    fn sum_norm_gradient(&mut self, structure: &Structure, norm: usize, tile: Tile) {
        let id = structure.norms[norm].node;
        let planned = &structure.plan.nodes[id];
        let mut sums = core::mem::take(&mut self.grad_sums[norm]);
        let gy = &self.floats[planned.grad.slot][span(planned.grad, planned.shape.len(), tile)];
        let x = self.float_input(structure, id, 0, tile);
        structure.norms[norm].sum_gradient(x, gy, &mut sums);
        self.grad_sums[norm] = sums;
    }

    fn send_norm_gradient(
        &mut self,
        structure: &Structure,
        params: &Params,
        norm: usize,
        tile: Tile,
    ) {
        let id = structure.norms[norm].node;
        let planned = &structure.plan.nodes[id];
        let (input, send) = (planned.inputs[0], planned.sends[0]);
        if send == Contribution::Nothing {
            return;
        }
        let target = structure.plan.nodes[input].grad;
        let mut gx = core::mem::take(&mut self.floats[target.slot]);
        let range = span(target, planned.shape.len(), tile);
        let gy = span(planned.grad, planned.shape.len(), tile);
        let mut workspace = core::mem::take(&mut self.workspace);
        let gy = &self.floats[planned.grad.slot][gy];
        let x = self.float_input(structure, id, 0, tile);
        let first = send == Contribution::First;
        let factors = &mut workspace.vectors;
        structure.norms[norm].backward(params, x, gy, &mut gx[range], first, factors);
        self.workspace = workspace;
        self.floats[target.slot] = gx;
    }

    fn backward_node(&mut self, structure: &Structure, params: &Params, id: usize, tile: Tile) {
        let Some(layer) = &structure.layers[id] else { return };
        let planned = &structure.plan.nodes[id];
        let mut targets = [Target::default(), Target::default()];
        for (position, target) in targets.iter_mut().take(planned.inputs.len()).enumerate() {
            *target = self.take_target(structure, id, position, tile);
        }
        let mut grads = core::mem::take(&mut self.grads);
        let mut workspace = core::mem::take(&mut self.workspace);
        let [first, second] = &mut targets;
        layer.backward(Backward {
            images: tile.images,
            params,
            x: self.float_input(structure, id, 0, tile),
            x_bits: self.bit_input(structure, id, tile),
            x2: self.float_input(structure, id, 1, tile),
            gy: &self.floats[planned.grad.slot][span(planned.grad, planned.shape.len(), tile)],
            gx: first.gradient(),
            gx2: second.gradient(),
            grads: &mut grads,
            workspace: &mut workspace,
        });
        self.grads = grads;
        self.workspace = workspace;
        let [first, second] = targets;
        self.put_back(0, first);
        if planned.reads_twice() {
            let source = &structure.plan.nodes[planned.inputs[0]];
            let main = span(source.grad, source.shape.len(), tile);
            let main = &mut self.floats[source.grad.slot][main];
            main.iter_mut().zip(&second.buffer[second.range.clone()]).for_each(|(a, b)| *a += b);
        }
        self.put_back(1, second);
    }

    /// Takes the gradient buffer of an input out of the microbatch, so that a layer can write to it. The second
    /// gradient of an input that is read twice, and one that nobody needs, go to a scratch gradient.
    fn take_target(
        &mut self,
        structure: &Structure,
        id: usize,
        position: usize,
        tile: Tile,
    ) -> Target {
        let planned = &structure.plan.nodes[id];
        let (input, send) = (planned.inputs[position], planned.sends[position]);
        let source = &structure.plan.nodes[input];
        let computed_anyway = !matches!(structure.graph.nodes[id].op, Op::Conv { .. } | Op::Add);
        if position == 1 && planned.reads_twice() || input == 0 && computed_anyway {
            let mut buffer = core::mem::take(&mut self.scratch_grads[position]);
            buffer.resize(tile.images * source.shape.len(), 0.0);
            return Target { owner: Owner::Scratch, range: 0..buffer.len(), buffer, first: true };
        }
        if send == Contribution::Nothing {
            return Target::default();
        }
        let slot = source.grad.slot;
        let buffer = core::mem::take(&mut self.floats[slot]);
        let range = span(source.grad, source.shape.len(), tile);
        Target { owner: Owner::Slot(slot), buffer, range, first: send == Contribution::First }
    }

    fn put_back(&mut self, position: usize, target: Target) {
        match target.owner {
            Owner::Slot(slot) => self.floats[slot] = target.buffer,
            Owner::Scratch => self.scratch_grads[position] = target.buffer,
            Owner::Nobody => {}
        }
    }

    /// The current images in tiles of at most `size`.
    fn tiles(&self, size: usize) -> impl Iterator<Item = Tile> + use<> {
        let total = self.images;
        (0..total).step_by(size).map(move |start| Tile { start, images: size.min(total - start) })
    }

    /// Input `position` of a node as floats; empty where there is none or it is a bit map.
    fn float_input(&self, structure: &Structure, id: usize, position: usize, tile: Tile) -> &[f32] {
        let Some(&input) = structure.plan.nodes[id].inputs.get(position) else { return &[] };
        if matches!(structure.graph.nodes[input].op, Op::Sign { .. }) {
            return &[];
        }
        let source = &structure.plan.nodes[input];
        &self.floats[source.value.slot][span(source.value, source.len, tile)]
    }

    fn bit_input(&self, structure: &Structure, id: usize, tile: Tile) -> &[u64] {
        let Some(&input) = structure.plan.nodes[id].inputs.first() else { return &[] };
        if !matches!(structure.graph.nodes[input].op, Op::Sign { .. }) {
            return &[];
        }
        let source = &structure.plan.nodes[input];
        &self.bits[source.value.slot][span(source.value, source.len, tile)]
    }
}

/// Images of a microbatch that are worked on together, so that what one operation writes is in the cache for the next.
#[derive(Clone, Copy)]
struct Tile {
    start: usize,
    images: usize,
}

/// Where a gradient buffer belongs.
#[derive(Default)]
enum Owner {
    Slot(usize),
    /// The scratch gradient of the input position.
    Scratch,
    #[default]
    Nobody,
}

/// A gradient buffer while a layer writes to it.
#[derive(Default)]
struct Target {
    owner: Owner,
    buffer: Vec<f32>,
    range: core::ops::Range<usize>,
    first: bool,
}

impl Target {
    fn gradient(&mut self) -> Gradient<'_> {
        Gradient { data: &mut self.buffer[self.range.clone()], first: self.first }
    }
}

/// Elements of a tile of images in a buffer with `len` elements for each image.
fn span(place: Place, len: usize, tile: Tile) -> core::ops::Range<usize> {
    let first = if place.whole { tile.start * len } else { 0 };
    first..first + tile.images * len
}
