//! The published data sets, and which of them are there.

use std::path::{Path, PathBuf};

use crate::sets::SETS;

/// What is known about a published data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The name in a data spec.
    pub name: &'static str,
    /// The number of classes.
    pub classes: usize,
    /// The number of training images.
    pub train: usize,
    /// The number of test images.
    pub test: usize,
    /// Channels, height and width of an image.
    pub shape: [usize; 3],
    /// The bytes that the set takes in the data folder; 0 for a set that is part of the program.
    pub bytes: u64,
    /// The licence, or what is known about it, and who made the set.
    pub licence: &'static str,
    /// Whether the set can be opened.
    pub state: SetState,
}

/// Whether a published data set can be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetState {
    /// It is part of the program.
    Bundled,
    /// All its files are in this folder, each of the right length.
    Present(PathBuf),
    /// It has to be fetched.
    Absent {
        /// The command that gets it.
        how: String,
    },
}

/// Lists the published data sets, and whether each is in the folder `data_dir`.
#[must_use]
pub fn list(data_dir: &Path) -> Vec<Listing> {
    let listing = |set: &&crate::sets::Set| Listing {
        name: set.name,
        classes: set.classes,
        train: set.train,
        test: set.test,
        shape: set.shape,
        bytes: set.download_plan.map_or(0, |plan| plan.bytes()),
        licence: set.licence,
        state: state(set, &data_dir.join(set.name)),
    };
    SETS.iter().map(listing).collect()
}

fn state(set: &crate::sets::Set, folder: &Path) -> SetState {
    let Some(plan) = &set.download_plan else {
        return SetState::Bundled;
    };
    let whole = plan.contents().all(|content| {
        let metadata = folder.join(content.file).metadata();
        metadata.is_ok_and(|metadata| metadata.is_file() && metadata.len() == content.bytes)
    });
    if whole {
        SetState::Present(folder.to_owned())
    } else {
        SetState::Absent { how: format!("onebit data fetch {}", set.name) }
    }
}
