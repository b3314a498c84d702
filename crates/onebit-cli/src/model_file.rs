//! Packed files, and the weights they are made of.

use std::path::Path;

use onebit::Model;
use onebit_files::{Loaded, RunPaths};

use crate::failure::Failure;
use crate::output;

/// A packed file, read and checked.
pub(crate) struct Packed {
    /// What is in it.
    pub(crate) model: Model,
    /// Its length.
    pub(crate) bytes: u64,
}

/// Reads and checks a `.onebit` file.
pub(crate) fn read(path: &Path) -> anyhow::Result<Packed> {
    if path.is_dir() {
        return Err(Failure::bad_data(format!(
            "{path} is a folder, expected a packed model; `onebit pack {path} -o FILE` makes one from a run",
            path = path.display()
        )));
    }
    let model = Model::open(path)?;
    let bytes = model.file_bytes().unwrap_or_default();
    Ok(Packed { model, bytes })
}

/// Whether a path is that of a packed file, by its name.
pub(crate) fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "onebit")
}

/// Weights of a run or checkpoint, with a warning for each checkpoint that was passed over because it is damaged or gone.
pub(crate) fn load_weights(path: &Path) -> anyhow::Result<Loaded> {
    let loaded = onebit_files::load_weights(path)?;
    for skipped in &loaded.skipped {
        output::note(&format!(
            "warning: {} is skipped: {}",
            skipped.folder.display(),
            skipped.reason
        ));
    }
    let best = RunPaths::new(path).best();
    if loaded.skipped.iter().any(|skipped| skipped.folder == best) {
        output::note(&format!(
            "{} is used in its place; `onebit train --resume --out {}` restores the best of the run",
            loaded.path.display(),
            path.display()
        ));
    }
    Ok(loaded)
}
