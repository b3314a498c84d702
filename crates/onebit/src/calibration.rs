//! First and last layers of 8 bits: what they read is measured, and what they change.

use std::sync::Arc;

use onebit_pack::int8_layers::{
    Bounds, Changes, Comparison, Layers, Left, Ranges, features, quantize,
};
use serde::Serialize;

use crate::data::{check_logits, loader};
use crate::{Error, Labelled, Model, Session, Unlabelled};

/// Most images on which the input of the classifier is measured, spread evenly over the data.
pub const CALIBRATION_IMAGES: usize = 1024;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Data on which ranges are measured and predictions compared.
    pub spec: &'a str,
    /// Which layers.
    pub layers: Layers,
    /// What they may change.
    pub bounds: Bounds,
    /// Threads.
    pub threads: usize,
}

/// What is done at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The input of the classifier is measured.
    Calibrate,
    /// Predictions with and without are compared.
    Compare,
}

/// What 8-bit layers change.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Layers that have 8 bits now.
    pub nodes: Vec<String>,
    /// Layers that were asked for and stay as they are.
    pub left: Vec<Left>,
    /// Images on which the input of the classifier was measured.
    pub calibration_images: u64,
    /// Classes of the network that are among those of the data.
    pub classes_evaluated: usize,
    /// Predictions compared.
    #[serde(flatten)]
    pub changes: Changes,
}

/// Gives a network 8-bit layers, and measures what they change on `data`, which is that of the request; `progress` gets
/// what is done, the images done and all of them.
///
/// # Errors
/// Data of another kind, nothing to round, or too many changes.
pub fn with_8_bit_layers(
    model: &Model,
    request: &Request<'_>,
    data: &Labelled,
    progress: &mut dyn FnMut(Phase, u64, u64),
) -> Result<(Model, Report), Error> {
    let (ranges, calibration_images) = match request.layers {
        Layers::First => (None, 0),
        Layers::All | Layers::Last => measure(model, request, progress)?,
    };
    let quantized = quantize(model.verified(), request.layers, ranges.as_ref())?;
    let int8 = Model::from(quantized.model);
    let comparison = compare([model, &int8], request.threads, data, progress)?;
    let changes = comparison.verdict(request.bounds)?;
    let (nodes, left, classes_evaluated) = (quantized.nodes, quantized.left, data.classes);
    Ok((int8, Report { nodes, left, calibration_images, classes_evaluated, changes }))
}

/// Ranges of what the classifier reads, and of how many images.
fn measure(
    model: &Model,
    request: &Request<'_>,
    progress: &mut dyn FnMut(Phase, u64, u64),
) -> Result<(Option<Ranges>, u64), Error> {
    let Some(output) = features(model.verified()) else { return Ok((None, 0)) };
    let limit = Some(CALIBRATION_IMAGES);
    let Unlabelled { images, .. } = Unlabelled::open(model.graph(), request.spec, limit)?;
    let all = images.len() as u64;
    let mut session = model.session().threads(request.threads).output(output).build()?;
    let (mut ranges, mut done) = (Ranges::new(session.engine().output_shape().channels), 0);
    session.run_all(images, &mut |labels, features| {
        ranges.add(features);
        done += labels.len() as u64;
        progress(Phase::Calibrate, done, all);
    })?;
    Ok((Some(ranges), done))
}

/// Logits of a network and of its form with 8-bit layers, on all images.
fn compare(
    models: [&Model; 2],
    threads: usize,
    data: &Labelled,
    progress: &mut dyn FnMut(Phase, u64, u64),
) -> Result<Comparison, Error> {
    let session = |model: &Model| model.session().threads(threads).build();
    let mut sessions: [Session; 2] = [session(models[0])?, session(models[1])?];
    let images = &data.images;
    let loader = loader(models[0].graph(), Arc::clone(images), sessions[0].batch())?;
    let classes = models[0].classes().len();
    let mut comparison = Comparison::default();
    let (mut done, all) = (0, images.len() as u64);
    for batch in loader.epoch(0, 0) {
        let batch = batch?;
        let mut both = [Vec::new(), Vec::new()];
        for (session, logits) in sessions.iter_mut().zip(&mut both) {
            *logits = session.logits(&batch.images)?;
            check_logits(&**images, &batch.indices, logits)?;
        }
        let pairs = both[0].chunks_exact(classes).zip(both[1].chunks_exact(classes));
        for (&label, (float, int8)) in batch.labels.iter().zip(pairs) {
            comparison.image(label, float, int8);
        }
        done += batch.labels.len() as u64;
        progress(Phase::Compare, done, all);
    }
    Ok(comparison)
}
