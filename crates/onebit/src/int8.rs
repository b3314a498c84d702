//! First and last layers of 8 bits: what they read is measured, and what they change.

use std::path::Path;
use std::sync::Arc;

use onebit_data::Dataset;
use onebit_engine::Options;
use onebit_model::{Model, Verified};
use onebit_pack::int8::{self, Changes, Comparison, Layers, Ranges};
use serde::Serialize;

use crate::dataset::{self, Labelled};
use crate::failure::Failure;
use crate::memory;
use crate::output::count;
use crate::progress::Progress;
use crate::runner::Runner;

/// Most images on which the input of the classifier is measured, spread evenly over the data.
pub(crate) const CALIBRATION_IMAGES: usize = 1024;

/// What is asked for.
pub(crate) struct Request<'a> {
    /// Data on which ranges are measured and predictions compared.
    pub(crate) spec: &'a str,
    /// Which layers.
    pub(crate) layers: Layers,
    /// Share of predictions that may change.
    pub(crate) max_changed: f64,
}

/// What 8-bit layers change.
#[derive(Serialize)]
pub(crate) struct Report {
    /// Layers that have 8 bits now.
    nodes: Vec<String>,
    /// Images on which the input of the classifier was measured.
    calibration_images: u64,
    /// Classes of the network that are among those of the data.
    classes_evaluated: usize,
    #[serde(flatten)]
    changes: Changes,
    /// Bytes of the file without 8-bit layers, less those with them.
    pub(crate) bytes_saved: i64,
}

/// The network with 8-bit layers, and what they change on the data; `path` is where the network comes from.
///
/// # Errors
/// Data of another kind, nothing to round, or too many changes.
pub(crate) fn quantize(
    path: &Path,
    model: &Verified<Model>,
    request: &Request<'_>,
) -> anyhow::Result<(Verified<Model>, Report)> {
    let Labelled { images, classes } = dataset::open_labelled(&model.graph, request.spec, None)?;
    let (ranges, calibration_images) = match request.layers {
        Layers::First => (None, 0),
        Layers::All | Layers::Last => measure(path, model, request.spec)?,
    };
    let quantized = int8::quantize(model, request.layers, ranges.as_ref())?;
    let comparison = compare(path, [model, &quantized.model], images)?;
    let refused = |error| {
        Failure::bad_data(format!(
            "{error}; --int8-layers last keeps the first layer, --int8-max-changed allows more"
        ))
    };
    let changes = comparison.verdict(request.max_changed).map_err(refused)?;
    let nodes = quantized.nodes;
    let report =
        Report { nodes, calibration_images, classes_evaluated: classes, changes, bytes_saved: 0 };
    Ok((quantized.model, report))
}

/// Ranges of what the classifier reads, and of how many images.
fn measure(
    path: &Path,
    model: &Verified<Model>,
    spec: &str,
) -> anyhow::Result<(Option<Ranges>, u64)> {
    let Some(front) = int8::features(model)? else { return Ok((None, 0)) };
    let channels = onebit_model::infer::shapes(&front.graph)?.last().map_or(1, |x| x.channels);
    let dataset = dataset::open(&model.graph, spec, Some(CALIBRATION_IMAGES))?;
    let mut progress = Progress::new("calibrate", dataset.len() as u64);
    let mut runner = Runner::new(path, &front, Options::default(), None)?;
    let (mut ranges, mut images) = (Ranges::new(channels), 0);
    runner.run_all(dataset, &model.graph, &mut |labels, features| {
        ranges.add(features);
        images += labels.len() as u64;
        progress.at(images, "");
    })?;
    Ok((Some(ranges), images))
}

/// Logits of a network and of its form with 8-bit layers, on all images.
fn compare(
    path: &Path,
    models: [&Verified<Model>; 2],
    dataset: Arc<dyn Dataset>,
) -> anyhow::Result<Comparison> {
    let graph = &models[0].graph;
    let mut progress = Progress::new("compare", dataset.len() as u64);
    let mut float = Runner::new(path, models[0], Options::default(), None)?;
    let mut int8 = Runner::new(path, models[1], Options::default(), None)?;
    let loader = dataset::loader(graph, Arc::clone(&dataset), float.batch())?;
    let classes = graph.classes.len();
    let mut logits = [Vec::new(), Vec::new()];
    let mut comparison = Comparison::default();
    let mut images = 0;
    for batch in loader.epoch(0, 0) {
        let batch = batch?;
        let name = |image: usize| dataset.image_name(batch.indices[image] as usize);
        for (runner, logits) in [&mut float, &mut int8].into_iter().zip(&mut logits) {
            memory::grow(logits, batch.labels.len() * classes, "the logits")?;
            runner.run(&batch.images, logits, name)?;
        }
        let pairs = logits[0].chunks_exact(classes).zip(logits[1].chunks_exact(classes));
        for (&label, (float, int8)) in batch.labels.iter().zip(pairs) {
            comparison.image(label, float, int8);
        }
        images += batch.labels.len() as u64;
        progress.at(images, "");
    }
    Ok(comparison)
}

impl Report {
    pub(crate) fn text(&self) -> String {
        let Changes { images, changed, changed_allowed, top1_float, top1_int8, .. } = self.changes;
        format!(
            "8 bits for {}: {changed} of {} changed (allowed: {changed_allowed}), top-1 {:.2}% \
             (floats: {:.2}%), logits within {:.1e} of their standard deviation, bytes saved: {}\n",
            self.nodes.join(", "),
            count(images, "prediction"),
            100.0 * top1_int8,
            100.0 * top1_float,
            self.changes.max_logit_difference,
            self.bytes_saved,
        )
    }
}

/// Layers on the command line.
pub(crate) fn parse_layers(text: &str) -> Result<Layers, String> {
    match text {
        "all" => Ok(Layers::All),
        "first" => Ok(Layers::First),
        "last" => Ok(Layers::Last),
        _ => Err("expected all, first or last".to_owned()),
    }
}

/// A share on the command line.
pub(crate) fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a share of all predictions, 0 to 1".to_owned()),
    }
}
