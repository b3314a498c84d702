//! Data sets for a network that exists already.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use onebit_data::{Dataset, Loader, LoaderConfig, Normalization, OpenOptions, Split};
use onebit_model::Graph;

use crate::classes::{self, Renamed};
use crate::failure::Failure;
use crate::finite;
use crate::machine;
use crate::output::{self, count};
use crate::size::show;

/// Images whose labels are classes of the network.
pub(crate) struct Labelled {
    pub(crate) images: Arc<dyn Dataset>,
    /// Classes of the network that are among those of the data.
    pub(crate) classes: usize,
}

/// Opens `spec`, its test images unless it says otherwise, for a network that takes images of that size; their labels
/// are those of the data.
pub(crate) fn open(
    graph: &Graph,
    spec: &str,
    limit: Option<usize>,
) -> anyhow::Result<Arc<dyn Dataset>> {
    machine::start_shared_pool()?;
    let [_, height, width] = graph.input_shape();
    let image_size = Some((height, width));
    let options = OpenOptions { image_size, limit, ..OpenOptions::default() };
    let dataset = onebit_data::open(spec, Split::Test, &options)?;
    warn_once(dataset.warnings());
    let (takes, has) = (graph.input_shape(), dataset.shape());
    if takes != has {
        return Err(Failure::bad_data(format!(
            "data `{spec}` has {} images of {}, but the network takes {} images of {}",
            show(has),
            count(dataset.classes().len() as u64, "class"),
            show(takes),
            count(graph.classes.len() as u64, "class"),
        )));
    }
    Ok(Arc::from(dataset))
}

/// Opens `spec` as [`open`] does, with labels that are the network's classes of the same names, and says on stderr
/// where these are not all or have no names.
///
/// # Errors
/// Data with a class that the network does not have.
pub(crate) fn open_labelled(
    graph: &Graph,
    spec: &str,
    limit: Option<usize>,
) -> anyhow::Result<Labelled> {
    let images = open(graph, spec, limit)?;
    let matched = classes::matched(&graph.classes, images.classes())
        .map_err(|reason| Failure::bad_data(format!("data `{spec}` {reason}")))?;
    let (classes, all) = (matched.classes(), graph.classes.len());
    if matched.by_number {
        output::note(&format!(
            "note: the classes of data `{spec}` or of the network are numbers, so number n of one is number n of the other"
        ));
    }
    if classes < all {
        output::note(&format!(
            "note: data `{spec}` has images of {classes} of the network's {all} classes; the network chooses among all {all}"
        ));
    }
    let images = Arc::new(Renamed::new(images, graph.classes.clone(), matched.class_of));
    Ok(Labelled { images, classes })
}

/// Says on stderr what has not been said before.
fn warn_once(warnings: &[String]) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    for warning in warnings {
        if said.insert(warning.clone()) {
            output::note(&format!("warning: {warning}"));
        }
    }
}

/// Batches of all images in order, normalised as `graph` says.
pub(crate) fn loader(
    graph: &Graph,
    dataset: Arc<dyn Dataset>,
    batch: usize,
) -> anyhow::Result<Loader> {
    let config = LoaderConfig {
        batch,
        normalization: normalization(graph),
        augment: None,
        seed: 0,
        shuffle: false,
        drop_last: false,
    };
    Ok(Loader::new(dataset, config)?)
}

/// Mean and standard deviation that the network's images are normalised with.
pub(crate) fn normalization(graph: &Graph) -> Normalization {
    let onebit_model::Normalization { mean, std } = graph.normalization.clone();
    Normalization { mean, std }
}

/// Refuses logits that the network at `path` gave for the images `indices` of `dataset` if any is not finite.
pub(crate) fn check_logits(
    path: &Path,
    dataset: &dyn Dataset,
    indices: &[u32],
    logits: &[f32],
) -> anyhow::Result<()> {
    let classes = logits.len() / indices.len().max(1);
    let index = |image: usize| indices.get(image).map_or(image, |&index| index as usize);
    finite::check(path, logits, classes, |image| dataset.image_name(index(image)))
}

/// A number of images on the command line.
pub(crate) fn parse_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit) if limit > 0 => Ok(limit),
        _ => Err("expected a number of images, at least 1".to_owned()),
    }
}
