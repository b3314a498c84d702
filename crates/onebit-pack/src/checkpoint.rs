use std::fs;
use std::path::{Path, PathBuf};

use onebit_files::{MANIFEST, WEIGHTS, checkpoints, read_folder};
use onebit_model::Verified;
use onebit_model::file::{self, Weights};

use crate::PackError;
use crate::io::{MAX_WEIGHTS_FILE_BYTES, parse, read_weights_file};

/// Weights and where they come from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The network and its trained values.
    pub weights: Verified<Weights>,
    /// The file they were read from.
    pub path: PathBuf,
    /// Checkpoints that would have been preferred but are damaged; worth a warning.
    pub skipped: Vec<Skipped>,
}

/// A checkpoint that was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its folder.
    pub folder: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Finds and reads trained weights: a `weights.safetensors` file, a checkpoint folder whose manifest verifies, or a
/// run folder, of which `best/` is taken, or else the newest intact checkpoint of `checkpoints/`.
///
/// # Errors
/// Nothing there, nothing intact, or weights that are refused.
pub fn load_weights(path: &Path) -> Result<Loaded, PackError> {
    let found = fs::metadata(path)
        .map_err(|source| PackError::Read { path: path.to_path_buf(), source })?;
    if !found.is_dir() {
        let weights = read_weights_file(path)?;
        return Ok(Loaded { weights, path: path.to_path_buf(), skipped: Vec::new() });
    }
    if path.join(WEIGHTS).exists() || path.join(MANIFEST).exists() {
        let weights = load_checkpoint(path)?;
        return Ok(Loaded { weights, path: path.join(WEIGHTS), skipped: Vec::new() });
    }
    let mut skipped = Vec::new();
    for folder in candidates(path)? {
        match load_checkpoint(&folder) {
            Ok(weights) => return Ok(Loaded { weights, path: folder.join(WEIGHTS), skipped }),
            Err(error) => skipped.push(Skipped { folder, reason: error.to_string() }),
        }
    }
    let path = path.to_path_buf();
    if skipped.is_empty() {
        return Err(PackError::NoCheckpoint { path });
    }
    let reasons: Vec<_> = skipped.into_iter().map(|s| s.reason).collect();
    Err(PackError::NoIntactCheckpoint { path, reasons: reasons.join("; ") })
}

/// `best/`, then `checkpoints/*` from the newest to the oldest.
fn candidates(run: &Path) -> Result<Vec<PathBuf>, PackError> {
    let best = Some(run.join("best")).filter(|best| best.is_dir());
    let checkpoints = checkpoints(&run.join("checkpoints"))?.into_iter().map(|(_, path)| path);
    Ok(best.into_iter().chain(checkpoints).collect())
}

fn load_checkpoint(folder: &Path) -> Result<Verified<Weights>, PackError> {
    let [weights] = read_folder(folder, [WEIGHTS], MAX_WEIGHTS_FILE_BYTES)?;
    parse(&folder.join(WEIGHTS), file::read_weights(&weights))
}
