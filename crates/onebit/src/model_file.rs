//! Packed files, and the weights they are made of.

use std::fs;
use std::path::Path;

use onebit_model::{Model, Verified, file};
use onebit_pack::Loaded;

use crate::failure::Failure;
use crate::output;

/// A packed file, read and checked.
pub(crate) struct Packed {
    /// What is in it.
    pub(crate) model: Verified<Model>,
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
    let model = onebit_pack::read_model_file(path)?;
    let failed = |source| onebit_files::Error::Read { path: path.to_path_buf(), source };
    let info = fs::metadata(path).map_err(failed)?;
    // What comes through a pipe has no length of its own, but a model has one file only.
    let bytes = if info.is_file() { info.len() } else { file::write_model(&model)?.len() as u64 };
    Ok(Packed { model, bytes })
}

/// Weights of a run or checkpoint, with a warning for each damaged checkpoint that was passed over.
pub(crate) fn load_weights(path: &Path) -> anyhow::Result<Loaded> {
    let loaded = onebit_pack::load_weights(path)?;
    for skipped in &loaded.skipped {
        output::note(&format!(
            "warning: {} is skipped: {}",
            skipped.folder.display(),
            skipped.reason
        ));
    }
    Ok(loaded)
}
