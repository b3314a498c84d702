//! The check of a data set: every image is read, and those that cannot be are named.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use onebit_files::count;
use onebit_model::check_class_name;
use rayon::prelude::*;

use crate::registry::{ToCheck, open_to_check};
use crate::{Dataset, Error, Split, same_images};

const NAMED: usize = 3;

/// An image that cannot be read.
#[derive(Debug)]
pub struct BadImage {
    /// Its index in the set.
    pub index: usize,
    /// What it is called: its file, or its number in the set.
    pub image: String,
    /// The index of its class.
    pub label: usize,
    /// Why it cannot be read, which names it.
    pub error: Error,
}

/// What a check of one split found.
#[derive(Debug)]
pub struct Checked {
    /// The split.
    pub split: Split,
    /// Whether the other split is the same images.
    pub one_for_both: bool,
    /// The name of each class, the number of its images, and how many of them are bad.
    pub classes: Vec<(String, usize, usize)>,
    /// What is wrong with the names of classes that no network can have, one sentence each.
    pub refused_names: Vec<String>,
    /// The images that cannot be read, in the order of the set.
    pub bad: Vec<BadImage>,
    /// What the set is warned of; see [`Dataset::warnings`].
    pub warnings: Vec<String>,
}

impl Checked {
    /// The number of images, bad ones included.
    #[must_use]
    pub fn images(&self) -> usize {
        self.classes.iter().map(|(_, images, _)| images).sum()
    }
}

/// Reads every image of the set that `spec` names (see [`crate::open`]), of both splits unless it names one, on all
/// threads, after comparing the files of a fetched set with their checksums. Of a folder whose splits are the same images, these are read once, as the training split.
///
/// `progress` is told, from any thread, how many images of a split are read, and how many it has.
///
/// # Errors
///
/// If the set cannot be opened or is not the published one. That an image cannot be read is no error, but part of the result.
pub fn check(
    spec: &str,
    data_dir: Option<&Path>,
    progress: &(dyn Fn(Split, u64, u64) + Sync),
) -> Result<Vec<Checked>, Error> {
    let opened = open_to_check(spec, data_dir)?;
    Ok(opened.into_iter().map(|opened| check_split(&opened, progress)).collect())
}

fn check_split(opened: &ToCheck, progress: &(dyn Fn(Split, u64, u64) + Sync)) -> Checked {
    let (split, dataset) = (opened.split, opened.dataset.as_ref());
    let total = dataset.len() as u64;
    let bad = find_bad(dataset, &|done| progress(split, done, total));
    let mut classes: Vec<_> = dataset.classes().iter().map(|name| (name.clone(), 0, 0)).collect();
    for i in 0..dataset.len() {
        if let Some((_, images, _)) = classes.get_mut(dataset.label(i)) {
            *images += 1;
        }
    }
    for bad in &bad {
        if let Some((_, _, count)) = classes.get_mut(bad.label) {
            *count += 1;
        }
    }
    let mut warnings = dataset.warnings().to_vec();
    warnings.extend(opened.one_for_both.then(|| same_images(dataset, dataset)).flatten());
    let refused = dataset.classes().iter().filter_map(|name| check_class_name(name).err());
    let refused_names = refused.map(|error| error.to_string()).collect();
    Checked { split, one_for_both: opened.one_for_both, classes, refused_names, bad, warnings }
}

/// Reads every image of a set on all threads; returns those that cannot be read, in the order of the set.
pub(crate) fn find_bad(dataset: &dyn Dataset, progress: &(dyn Fn(u64) + Sync)) -> Vec<BadImage> {
    let done = AtomicU64::new(0);
    let read = |index| {
        let result = dataset.original(index);
        progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        let error = result.err()?;
        Some(BadImage {
            index,
            image: dataset.image_name(index),
            label: dataset.label(index),
            error,
        })
    };
    (0..dataset.len()).into_par_iter().filter_map(read).collect()
}

/// Says which images of how many are left out.
pub(crate) fn left_out(dataset: &dyn Dataset, bad: &[BadImage]) -> String {
    let mut named: Vec<String> = bad.iter().take(NAMED).map(|bad| bad.error.to_string()).collect();
    if bad.len() > NAMED {
        named.push(format!("and {} more", bad.len() - NAMED));
    }
    let (name, all) = (dataset.name(), dataset.len());
    format!(
        "{name}: {} of {} cannot be read and {} left out: {}",
        bad.len(),
        count(all, "image"),
        if bad.len() == 1 { "is" } else { "are" },
        named.join("; ")
    )
}
