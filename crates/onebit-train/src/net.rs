//! A trainable network: walks its graph level by level, forward and backward.
//!
//! ```text
//! step:  prepare parameters -> for each level: all microbatches forward, then batch statistics
//!        -> loss -> for each level, last first: all microbatches backward, then batch sums
//!        -> add up the microbatches' gradients in order -> gradients of the parameters
//! ```

#![deny(clippy::wildcard_enum_match_arm)]

use onebit_model::file::Weights;
use onebit_model::{Data, Graph, NodeId, Op, Tensor, Verified, infer};
use rayon::prelude::*;

use crate::NetConfig;
use crate::error::TrainError;
use crate::feasible::{net_bytes, no_memory};
use crate::loss::{self, Loss};
use crate::microbatch::Microbatch;
use crate::op::Pass;
use crate::op::batch_norm::BatchStatistics;
use crate::params::{Parameter, Params, initial};
use crate::structure::Structure;

/// Most microbatches that a batch is split into; the number of threads that can work at once.
const MAX_MICROBATCHES: usize = 8;

/// A network with its parameters and buffers.
pub struct Net {
    /// Parameters, gradients and running statistics.
    pub params: Params,
    structure: Structure,
    microbatches: Vec<Microbatch>,
    images_per_microbatch: usize,
}

/// Images of a microbatch of a batch.
pub(crate) fn images_per_microbatch(batch: usize) -> usize {
    batch.div_ceil(MAX_MICROBATCHES).max(1)
}

impl Net {
    /// A network with initial parameters drawn from `seed`.
    ///
    /// # Errors
    /// A lowered graph, which has no batch normalization to train, or more memory than the system gives.
    pub fn new(graph: Verified<Graph>, config: NetConfig, seed: u64) -> Result<Self, TrainError> {
        Self::observing(graph, config, seed, &[])
    }

    /// As [`Net::new`]; [`Net::maps`] has the real maps of the `observed` nodes.
    ///
    /// # Errors
    /// As [`Net::new`].
    pub(crate) fn observing(
        graph: Verified<Graph>,
        config: NetConfig,
        seed: u64,
        observed: &[NodeId],
    ) -> Result<Self, TrainError> {
        let lowered = |op: &Op| matches!(op, Op::Affine | Op::ConvI8 { .. } | Op::LinearI8 { .. });
        if let Some(node) = graph.nodes.iter().find(|node| lowered(&node.op)) {
            return Err(TrainError::Lowered { node: node.name.clone() });
        }
        let shapes = infer::shapes(&graph)?;
        let needed = net_bytes(&graph, config.batch)?;
        let refused = |_| no_memory(needed, config.batch);
        let (params, first) = initial(&graph, &shapes, seed).map_err(refused)?;
        let images_per_microbatch = images_per_microbatch(config.batch);
        let structure = Structure::new(graph, &first, images_per_microbatch, &config, observed)?;
        let count = config.batch.max(1).div_ceil(images_per_microbatch);
        let microbatches: Result<_, _> =
            (0..count).map(|_| Microbatch::new(&structure, &params)).collect();
        Ok(Net {
            params,
            structure,
            microbatches: microbatches.map_err(refused)?,
            images_per_microbatch,
        })
    }

    /// Bytes of parameters, gradients and activations.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let parameters = self.params.entries.iter().map(|p| p.value.len() + p.grad.len());
        4 * parameters.sum::<usize>()
            + self.microbatches.iter().map(Microbatch::bytes).sum::<usize>()
    }

    /// The graph that is trained.
    #[must_use]
    pub fn graph(&self) -> &Verified<Graph> {
        &self.structure.graph
    }

    /// Forward and backward pass over a batch with cross-entropy; fills all gradients and moves the
    /// running statistics. `images` is NHWC, normalised, at most the planned batch.
    ///
    /// # Panics
    /// If there are more images than planned, the last one is not whole, or there is not one label for each; or if a
    /// batch normalization would see a single value for each channel.
    pub fn step(&mut self, images: &[f32], labels: &[u32], label_smoothing: f32) -> Loss {
        let classes = self.structure.graph.classes.len();
        self.step_with(images, |logits, gradient| {
            loss::cross_entropy(logits, labels, classes, label_smoothing, gradient)
        })
    }

    /// As [`Net::step`] with any loss: it gets the logits `[N, classes]` and writes their gradient.
    ///
    /// # Panics
    /// If there are more images than planned or the last one is not whole, or as [`Net::step`] for a single value.
    pub fn step_with(
        &mut self,
        images: &[f32],
        loss: impl FnOnce(&[f32], &mut [f32]) -> Loss,
    ) -> Loss {
        self.load(images);
        self.forward(Pass::Train);
        let logits = self.logits();
        let mut gradient = vec![0.0; logits.len()];
        let loss = loss(&logits, &mut gradient);
        self.backward(&gradient);
        loss
    }

    /// Logits `[N, classes]` of any number of images, NHWC and normalised, with the running statistics.
    ///
    /// # Panics
    /// If the last image is not whole.
    pub fn predict(&mut self, images: &[f32]) -> Vec<f32> {
        self.predict_observed(images, &mut |_, _, _| {})
    }

    /// As [`Net::predict`]; `observe` is called with each image's index, the name of each sign node
    /// and the bits that it gave, pixel by pixel.
    ///
    /// # Panics
    /// As [`Net::predict`].
    pub fn predict_observed(
        &mut self,
        images: &[f32],
        observe: &mut dyn FnMut(usize, &str, &[u64]),
    ) -> Vec<f32> {
        let image_len = self.structure.plan.nodes[0].len;
        let batch = self.images_per_microbatch * self.microbatches.len() * image_len;
        let mut logits = Vec::new();
        for (part, images) in images.chunks(batch).enumerate() {
            self.load(images);
            self.forward(Pass::Predict);
            logits.extend(self.logits());
            self.observe(part * batch / image_len, observe);
        }
        logits
    }

    /// Output of the observed node `id` for the last images of the last pass, at most the planned batch, in
    /// order, some images at a time.
    pub(crate) fn maps(&self, id: NodeId) -> impl Iterator<Item = &[f32]> {
        let microbatches = self.microbatches.iter().filter(|microbatch| microbatch.images > 0);
        microbatches.map(move |microbatch| microbatch.map(&self.structure, id.0))
    }

    /// A copy of all parameters, as a checkpoint holds them.
    #[must_use]
    pub fn weights(&self) -> Weights {
        let tensor =
            |p: &Parameter| Tensor { shape: p.shape.clone(), data: Data::F32(p.value.clone()) };
        let tensors = self.params.entries.iter().map(|p| (p.name.clone(), tensor(p))).collect();
        Weights { graph: (*self.structure.graph).clone(), tensors }
    }

    /// Takes over the parameters of a checkpoint of the same graph.
    ///
    /// # Errors
    /// The checkpoint's graph is another one.
    pub fn load_weights(&mut self, weights: &Verified<Weights>) -> Result<(), TrainError> {
        let same = weights.graph.nodes == self.structure.graph.nodes;
        let found = weights.graph.arch.clone();
        if !same {
            return Err(TrainError::OtherGraph { found });
        }
        for entry in &mut self.params.entries {
            match weights.tensors.get(&entry.name) {
                Some(Tensor { data: Data::F32(values), .. })
                    if values.len() == entry.value.len() =>
                {
                    entry.value.copy_from_slice(values);
                }
                _ => return Err(TrainError::OtherGraph { found }),
            }
        }
        Ok(())
    }

    fn load(&mut self, images: &[f32]) {
        let image = self.structure.plan.nodes[0].len;
        let share = self.images_per_microbatch * image;
        assert!(images.len().is_multiple_of(image), "whole images of {image} values");
        assert!(
            images.len() <= share * self.microbatches.len(),
            "more images than the planned batch"
        );
        let mut parts = images.chunks(share);
        for microbatch in &mut self.microbatches {
            microbatch.load(&self.structure, parts.next().unwrap_or(&[]));
        }
    }

    fn forward(&mut self, pass: Pass) {
        let Net { params, structure, microbatches, .. } = self;
        for layer in structure.layers.iter_mut().flatten() {
            layer.prepare(params, pass);
        }
        if pass == Pass::Predict {
            structure.norms.iter_mut().for_each(|norm| norm.use_running(params));
        }
        for level in 0..structure.plan.levels.len() {
            if pass == Pass::Train {
                use_statistics(structure, microbatches, params, level);
            }
            let (params, structure) = (&*params, &*structure);
            microbatches.par_iter_mut().for_each(|m| m.forward(structure, params, level, pass));
        }
    }

    fn backward(&mut self, gradient: &[f32]) {
        let Net { params, structure, microbatches, .. } = self;
        let mut rest = gradient;
        for microbatch in &mut *microbatches {
            microbatch.clear_grads();
            let target = microbatch.logits_grad(structure);
            let (own, behind) = rest.split_at(target.len());
            target.copy_from_slice(own);
            rest = behind;
        }
        for level in (0..structure.plan.levels.len()).rev() {
            {
                let (params, structure) = (&*params, &*structure);
                microbatches.par_iter_mut().for_each(|m| m.backward(structure, params, level));
            }
            finish_sums(structure, microbatches, params, level);
        }
        self.sum_grads();
    }

    /// Adds up the microbatches' gradients in their order and lets the layers finish them.
    fn sum_grads(&mut self) {
        let Net { params, structure, microbatches, .. } = self;
        let is_norm = |index: usize| structure.norms.iter().any(|n| n.owns(index));
        params.entries.par_iter_mut().enumerate().for_each(|(index, entry)| {
            if entry.grad.is_empty() || is_norm(index) {
                return;
            }
            entry.grad.fill(0.0);
            for microbatch in microbatches.iter().filter(|m| m.images > 0) {
                entry
                    .grad
                    .iter_mut()
                    .zip(&microbatch.grads[index])
                    .for_each(|(g, part)| *g += part);
            }
        });
        for layer in structure.layers.iter().flatten() {
            layer.finish(params);
        }
    }

    fn logits(&self) -> Vec<f32> {
        self.microbatches.iter().flat_map(|m| m.logits(&self.structure)).copied().collect()
    }

    fn observe(&self, first: usize, observe: &mut dyn FnMut(usize, &str, &[u64])) {
        let signs: Vec<NodeId> = self
            .structure
            .graph
            .ids()
            .filter(|id| matches!(self.structure.graph.nodes[id.0].op, Op::Sign { .. }))
            .collect();
        for (position, microbatch) in self.microbatches.iter().enumerate() {
            for image in 0..microbatch.images {
                let index = first + position * self.images_per_microbatch + image;
                for id in &signs {
                    let name = &self.structure.graph.nodes[id.0].name;
                    observe(index, name, microbatch.sign_bits(&self.structure, id.0, image));
                }
            }
        }
    }
}

/// Gives the batch normalizations of a level the statistics of the whole batch, which the levels before have measured.
fn use_statistics(
    structure: &mut Structure,
    microbatches: &[Microbatch],
    params: &mut Params,
    level: usize,
) {
    for &n in &structure.norms_in[level] {
        let mut statistics = BatchStatistics::default();
        statistics.clear(structure.norms[n].channels());
        let used = microbatches.iter().filter(|m| m.images > 0);
        used.for_each(|m| statistics.merge(&m.statistics[n]));
        assert!(statistics.count() > 1.0, "a batch of more than 1 value per channel");
        structure.norms[n].use_batch(&statistics, params);
    }
}

/// Ends the backward sums of the batch normalizations of a level over the whole batch.
fn finish_sums(
    structure: &mut Structure,
    microbatches: &[Microbatch],
    params: &mut Params,
    level: usize,
) {
    let images: usize = microbatches.iter().map(|m| m.images).sum();
    for &n in &structure.norms_in[level] {
        let pixels = structure.plan.nodes[structure.norms[n].node].shape.pixels();
        let sums = microbatches.iter().filter(|m| m.images > 0).map(|m| &m.grad_sums[n]);
        structure.norms[n].finish_sums(sums, images * pixels, params);
    }
}
