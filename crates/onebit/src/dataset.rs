//! Data sets for a network that exists already.

use std::sync::Arc;

use onebit_data::{Dataset, Loader, LoaderConfig, Normalization, OpenOptions, Split};
use onebit_model::Graph;

use crate::failure::Failure;
use crate::size::show;

/// Opens `spec`, its test images unless it says otherwise, and refuses images or classes that are not those
/// of the network.
pub(crate) fn open(
    graph: &Graph,
    spec: &str,
    limit: Option<usize>,
) -> anyhow::Result<Arc<dyn Dataset>> {
    let [_, height, width] = graph.input_shape();
    let image_size = Some((height, width));
    let options = OpenOptions { image_size, limit, ..OpenOptions::default() };
    let dataset = onebit_data::open(spec, Split::Test, &options)?;
    let (takes, has) = (graph.input_shape(), dataset.shape());
    let (classes, names) = (graph.classes.len(), dataset.classes().len());
    if takes != has || classes != names {
        return Err(Failure::bad_data(format!(
            "data `{spec}` has {} images of {names} classes, but the network takes {} images of {classes} classes",
            show(has),
            show(takes),
        )));
    }
    Ok(Arc::from(dataset))
}

/// Batches of all images in order, normalised as `graph` says.
pub(crate) fn loader(
    graph: &Graph,
    dataset: Arc<dyn Dataset>,
    batch: usize,
) -> anyhow::Result<Loader> {
    let normalization = Normalization {
        mean: graph.normalization.mean.clone(),
        std: graph.normalization.std.clone(),
    };
    let config = LoaderConfig {
        batch,
        normalization,
        augment: None,
        seed: 0,
        shuffle: false,
        drop_last: false,
    };
    Ok(Loader::new(dataset, config)?)
}

/// A number of images on the command line.
pub(crate) fn parse_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit) if limit > 0 => Ok(limit),
        _ => Err("expected a number of images, at least 1".to_owned()),
    }
}
