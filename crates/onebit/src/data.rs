//! Data sets for a network that exists already.

use std::sync::Arc;

use onebit_data::{Dataset, Loader, LoaderConfig, OpenOptions, Share, Split};
use onebit_model::Graph;

use crate::Error;
use crate::labels::{self, Renamed};
use crate::preprocessed::Preprocessed;

/// Images of the size that a network takes, with labels of their own.
pub struct Unlabelled {
    /// The images.
    pub images: Arc<dyn Dataset>,
    /// What should be said about them, such as files that were passed over: one sentence each.
    pub warnings: Vec<String>,
}

/// Images whose labels are classes of a network.
pub struct Labelled {
    /// The images.
    pub images: Arc<dyn Dataset>,
    /// Classes of the network that are among those of the data.
    pub classes: usize,
    /// What should be said about them, such as files that were passed over: one sentence each.
    pub warnings: Vec<String>,
    /// What should be said about the comparison of classes, if there is anything: one sentence each.
    pub notes: Vec<String>,
}

impl Unlabelled {
    /// Opens the data `spec` (see [`onebit_data::open`]), its test images unless it says otherwise, `limit` of them
    /// spread evenly, for the network `graph`.
    ///
    /// # Errors
    /// Data that cannot be read, or images of another size.
    pub fn open(graph: &Graph, spec: &str, limit: Option<usize>) -> Result<Self, Error> {
        let [_, height, width] = graph.input_shape();
        let image_size = Some((height, width));
        let options = OpenOptions { image_size, limit, ..OpenOptions::default() };
        let dataset = onebit_data::open(spec, Split::Test, &options)?;
        let (expected, found) = (graph.input_shape(), dataset.shape());
        if expected != found {
            return Err(Error::OtherImages {
                spec: spec.to_owned(),
                found,
                classes: dataset.classes().len(),
                expected,
                network_classes: graph.classes.len(),
            });
        }
        let warnings = dataset.warnings().to_vec();
        Ok(Unlabelled { images: Preprocessed::of(graph, Arc::from(dataset))?, warnings })
    }
}

impl Labelled {
    /// Opens `spec` as [`Unlabelled::open`] does, with labels that are the network's classes of the same names. Where the
    /// names of one side are just numbers and both have as many, number n is number n.
    ///
    /// # Errors
    /// As [`Unlabelled::open`], or a class that the network does not have.
    pub fn open(graph: &Graph, spec: &str, limit: Option<usize>) -> Result<Self, Error> {
        let Unlabelled { images, warnings } = Unlabelled::open(graph, spec, limit)?;
        let matched = labels::matched(&graph.classes, images.classes())
            .map_err(|reason| Error::OtherClasses { spec: spec.to_owned(), reason })?;
        let (classes, all) = (matched.classes(), graph.classes.len());
        let mut notes = Vec::new();
        if matched.by_number {
            notes.push(format!(
                "the classes of data `{spec}` or of the network are numbers, so number n of one is number n of the other"
            ));
        }
        if classes < all {
            notes.push(format!(
                "data `{spec}` has images of {classes} of the network's {all} classes; the network chooses among all {all}"
            ));
        }
        let images = Arc::new(Renamed::new(images, graph.classes.clone(), matched.class_of));
        Ok(Labelled { images, classes, warnings, notes })
    }
}

/// Batches of all images in order, normalised as `graph` says.
///
/// # Errors
/// No images, or a normalization for another number of channels.
pub fn loader(graph: &Graph, images: Arc<dyn Dataset>, batch: usize) -> Result<Loader, Error> {
    let config = LoaderConfig {
        batch,
        normalization: graph.normalization.clone(),
        augment: None,
        seed: 0,
        shuffle: false,
        drop_last: false,
        share: Share::WHOLE,
    };
    Ok(Loader::new(images, config)?)
}

/// Refuses logits of the images `indices` of `images` if any is not finite.
///
/// # Errors
/// [`Error::NotFinite`], which names the first such image.
pub fn check_logits(images: &dyn Dataset, indices: &[u32], logits: &[f32]) -> Result<(), Error> {
    let classes = logits.len() / indices.len().max(1);
    match crate::not_finite(logits, classes).first() {
        None => Ok(()),
        Some(&bad) => {
            let index = indices.get(bad).map_or(bad, |&index| index as usize);
            Err(Error::NotFinite { image: images.image_name(index) })
        }
    }
}
