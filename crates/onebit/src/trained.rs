//! Trained weights by the trainer itself: their accuracy, and the proof that the packed network computes the same.

use std::sync::Arc;
use std::time::Instant;

use onebit_data::Batch;
use onebit_model::file::Weights;
use onebit_model::{Graph, Verified};
use onebit_pack::Observed;
use onebit_pack::agreement::Report;
use onebit_train::{Net, NetConfig, TrainError};

use crate::data::{check_logits, loader};
use crate::{Accuracy, Error, Evaluation, Labelled, Model, Proof, Unlabelled, threads};

const BATCH: usize = 64;

/// Accuracy of trained weights on labelled images, by the trainer; `progress` gets what was counted so far.
///
/// # Errors
/// An image that cannot be read, or whose logits are not finite numbers.
pub fn evaluate(
    weights: &Verified<Weights>,
    data: &Labelled,
    threads: usize,
    progress: &mut dyn FnMut(&Accuracy),
) -> Result<Evaluation, Error> {
    let started = Instant::now();
    let loader = loader(&weights.graph, Arc::clone(&data.images), BATCH)?;
    let mut net = net(weights, BATCH)?;
    let mut accuracy = Accuracy::default();
    let pool = threads::thread_pool(threads)?;
    for batch in loader.epoch(0, 0) {
        let batch = batch?;
        let logits = pool.install(|| net.predict(&batch.images));
        check_logits(&*data.images, &batch.indices, &logits)?;
        accuracy.add(&batch.labels, &logits);
        progress(&accuracy);
    }
    Ok(accuracy.evaluation(data.classes, started.elapsed().as_secs_f64()))
}

/// Compares the trainer with `weights` and the engine with `model` on all images, whatever they show: every sign of
/// every layer, and the logits. `progress` gets what was found so far.
///
/// # Errors
/// More than rounding explains, or an image for which either gives logits that are not finite numbers.
pub fn agreement(
    weights: &Verified<Weights>,
    model: &Model,
    data: &Unlabelled,
    progress: &mut dyn FnMut(&Report),
) -> Result<Report, Error> {
    let loader = loader(&weights.graph, Arc::clone(&data.images), BATCH)?;
    let mut net = net(weights, BATCH)?;
    let mut proof = Proof::new(&weights.graph, model)?;
    for batch in loader.epoch(0, 0) {
        let batch = batch?;
        let trainer = observe_trainer(&mut net, &batch);
        let logits: Vec<f32> = trainer.iter().flat_map(|image| image.logits.clone()).collect();
        check_logits(&*data.images, &batch.indices, &logits)?;
        let logits = proof.images(&batch.images, &trainer)?;
        check_logits(&*data.images, &batch.indices, &logits)?;
        progress(&proof.report());
    }
    Ok(proof.verdict()?)
}

/// The trainer's network with trained weights, for batches of so many images.
///
/// # Errors
/// Not enough memory.
pub fn net(weights: &Verified<Weights>, batch: usize) -> Result<Net, Error> {
    let graph = Verified::<Graph>::new(weights.graph.clone()).map_err(TrainError::from)?;
    let mut net = Net::new(graph, NetConfig::new(batch), 0)?;
    net.load_weights(weights)?;
    Ok(net)
}

fn observe_trainer(net: &mut Net, batch: &Batch) -> Vec<Observed> {
    let mut observed = vec![Observed::default(); batch.labels.len()];
    let logits = net.predict_observed(&batch.images, &mut |image, node, bits| {
        observed[image].signs.push((node.to_owned(), bits.to_vec()));
    });
    let classes = logits.len() / batch.labels.len();
    for (observed, logits) in observed.iter_mut().zip(logits.chunks_exact(classes)) {
        observed.logits = logits.to_vec();
    }
    observed
}
