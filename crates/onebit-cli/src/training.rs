//! What needs the trainer outside of training: accuracy of a run, comparison with the engine.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use onebit::{Error, Evaluation, Model, thread_pool, trained};
use onebit_model::Verified;
use onebit_model::file::Weights;
use onebit_pack::agreement::Report;

use crate::dataset;
use crate::model_file;
use crate::progress::Progress;

const MEASURED: Duration = Duration::from_secs(1);
const MIN_RUNS: usize = 5;

/// Accuracy of a run or checkpoint on `limit` images of `spec`, by the trainer.
pub(crate) fn eval(
    path: &Path,
    spec: &str,
    limit: Option<usize>,
    threads: usize,
) -> anyhow::Result<Evaluation> {
    let weights = model_file::load_weights(path)?.weights;
    let data = dataset::open_labelled(&weights.graph, spec, limit)?;
    let mut progress = Progress::new("images", data.images.len() as u64);
    let seen = trained::evaluate(&weights, &data, threads, &mut |accuracy| {
        progress.at(accuracy.images(), "");
    });
    named(path, seen)
}

/// Median time of the trainer for one image, on one thread.
pub(crate) fn milliseconds(weights: &Verified<Weights>) -> anyhow::Result<f64> {
    let mut net = trained::net(weights, 1)?;
    let image = vec![0.5; weights.graph.input_shape().iter().product()];
    let pool = thread_pool(1)?;
    let mut times = pool.install(|| {
        let started = Instant::now();
        let mut times = Vec::new();
        while times.len() < MIN_RUNS || started.elapsed() < MEASURED {
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
pub(crate) fn agreement(
    path: &Path,
    weights: &Verified<Weights>,
    model: &Model,
    spec: &str,
) -> anyhow::Result<Report> {
    let data = dataset::open(&weights.graph, spec, None)?;
    let mut progress = Progress::new("verify", data.images.len() as u64);
    let report = trained::agreement(weights, model, &data, &mut |report| {
        progress.at(report.images, &format!("{} with a flipped sign", report.flipped_images));
    });
    named(path, report)
}

/// The outcome; logits that are not finite are those of the network at `path`.
fn named<T>(path: &Path, outcome: Result<T, Error>) -> anyhow::Result<T> {
    match outcome {
        Err(Error::NotFinite { .. }) => outcome.with_context(|| path.display().to_string()),
        outcome => Ok(outcome?),
    }
}
