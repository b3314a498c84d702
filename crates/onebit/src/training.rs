//! What needs the trainer outside of training: accuracy of a run, comparison with the engine.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use onebit_data::Batch;
use onebit_engine::{Engine, Options};
use onebit_model::file::Weights;
use onebit_model::{Graph, Model, Verified};
use onebit_pack::prove::Report;
use onebit_pack::{Agreement, Observed};
use onebit_train::{Net, NetConfig};
use rayon::prelude::*;

use crate::accuracy::Accuracy;
use crate::dataset::{self, Labelled};
use crate::machine;
use crate::model_file;
use crate::progress::Progress;

const BATCH: usize = 64;
const MEASURED: Duration = Duration::from_secs(1);
const LEAST_RUNS: usize = 5;

/// Accuracy of a run or checkpoint on `limit` images of `spec`, by the trainer, and the classes that were evaluated.
pub(crate) fn eval(
    path: &Path,
    spec: &str,
    limit: Option<usize>,
    threads: Option<usize>,
) -> anyhow::Result<(Accuracy, usize)> {
    let weights = model_file::load_weights(path)?.weights;
    let Labelled { images, classes } = dataset::open_labelled(&weights.graph, spec, limit)?;
    let mut progress = Progress::new("images", images.len() as u64);
    let loader = dataset::loader(&weights.graph, Arc::clone(&images), BATCH)?;
    let mut net = net(&weights, BATCH)?;
    let mut accuracy = Accuracy::default();
    let pool = machine::pool(threads.unwrap_or_else(machine::threads))?;
    for batch in loader.epoch(0, 0) {
        let batch = batch?;
        let logits = pool.install(|| net.predict(&batch.images));
        dataset::check_logits(path, &*images, &batch.indices, &logits)?;
        accuracy.add(&batch.labels, &logits);
        progress.at(accuracy.images(), "");
    }
    Ok((accuracy, classes))
}

/// Median time of the trainer for one image, on one thread.
pub(crate) fn milliseconds(weights: &Verified<Weights>) -> anyhow::Result<f64> {
    let mut net = net(weights, 1)?;
    let image = vec![0.5; weights.graph.input_shape().iter().product()];
    let pool = machine::pool(1)?;
    let mut times = pool.install(|| {
        let started = Instant::now();
        let mut times = Vec::new();
        while times.len() < LEAST_RUNS || started.elapsed() < MEASURED {
            let before = Instant::now();
            net.predict(&image);
            times.push(before.elapsed());
        }
        times
    });
    times.sort_unstable();
    Ok(times[times.len() / 2].as_secs_f64() * 1e3)
}

/// Compares the trainer with `weights`, which came from `path`, and the engine with `model` on all images of `spec`,
/// whatever they show.
///
/// # Errors
/// More than rounding explains, or an image for which either gives logits that are not finite numbers.
pub(crate) fn agreement(
    path: &Path,
    weights: &Verified<Weights>,
    model: &Verified<Model>,
    spec: &str,
) -> anyhow::Result<Report> {
    let dataset = dataset::open(&weights.graph, spec, None)?;
    let mut progress = Progress::new("verify", dataset.len() as u64);
    let loader = dataset::loader(&weights.graph, Arc::clone(&dataset), BATCH)?;
    let mut net = net(weights, BATCH)?;
    let engine = Engine::new(model, Options::default())?;
    let mut agreement = Agreement::new(&weights.graph)?;
    for batch in loader.epoch(0, 0) {
        let batch = batch?;
        let trainer = observe_trainer(&mut net, &batch);
        let engine = observe_engine(&engine, &batch)?;
        for observed in [&trainer, &engine] {
            let logits: Vec<f32> = observed.iter().flat_map(|image| image.logits.clone()).collect();
            dataset::check_logits(path, &*dataset, &batch.indices, &logits)?;
        }
        for (trainer, engine) in trainer.iter().zip(&engine) {
            agreement.image(trainer, engine);
        }
        let report = agreement.report();
        progress.at(report.images, &format!("{} with a flipped sign", report.flipped_images));
    }
    Ok(agreement.verdict()?)
}

fn net(weights: &Verified<Weights>, batch: usize) -> anyhow::Result<Net> {
    let graph = Verified::<Graph>::new(weights.graph.clone())?;
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

fn observe_engine(engine: &Engine, batch: &Batch) -> anyhow::Result<Vec<Observed>> {
    let image = engine.input_shape().iter().product();
    let observe = |scratch: &mut onebit_engine::Scratch, image: &[f32]| {
        let mut signs = Vec::new();
        let mut logits = vec![0.0; engine.classes()];
        engine.run_observed(image, &mut logits, scratch, &mut |node, bits| {
            signs.push((node.to_owned(), bits.to_vec()));
        })?;
        Ok(Observed { logits, signs })
    };
    let threads = rayon::current_num_threads();
    let images: Vec<&[f32]> = batch.images.chunks_exact(image).collect();
    let share = images.len().div_ceil(threads).max(1);
    let shares = images.par_chunks(share).zip(engine.scratches(threads)?);
    let observed = shares.map(|(images, mut scratch)| {
        images.iter().map(|image| observe(&mut scratch, image)).collect::<anyhow::Result<Vec<_>>>()
    });
    Ok(observed.collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten().collect())
}
