//! Trained weights found in a file, a checkpoint or a run, and read.

use std::fs;
use std::path::{Path, PathBuf};

use onebit_model::Verified;
use onebit_model::file::{self, Weights};
use serde_json::Value;

use crate::{
    Error, MANIFEST, RunPaths, STATE, WEIGHTS, checkpoints, parse_limited, read_folder,
    read_regular,
};

/// What trained weights are found in.
const SOUGHT: &str = "a run folder, a checkpoint folder or a weights.safetensors file";
const MAX_STATE_BYTES: u64 = 1 << 20;

/// Largest `weights.safetensors` that is read, in bytes.
pub const MAX_WEIGHTS_FILE_BYTES: u64 = 4 << 30;

/// Weights and where they come from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The network and its trained values.
    pub weights: Verified<Weights>,
    /// The file they were read from.
    pub path: PathBuf,
    /// Checkpoints that would have been preferred but are damaged or missing; worth a warning.
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
pub fn load_weights(path: &Path) -> Result<Loaded, Error> {
    let found = fs::metadata(path).map_err(|source| Error::read(path)(source).expecting(SOUGHT))?;
    if !found.is_dir() {
        let weights = read_weights_file(path)?;
        return Ok(Loaded { weights, path: path.to_path_buf(), skipped: Vec::new() });
    }
    if path.join(WEIGHTS).exists() || path.join(MANIFEST).exists() {
        let weights = load_checkpoint(path)?;
        return Ok(Loaded { weights, path: path.join(WEIGHTS), skipped: Vec::new() });
    }
    let mut skipped = Vec::new();
    let run = RunPaths::new(path);
    for folder in candidates(&run)? {
        match load_checkpoint(&folder) {
            Ok(weights) => {
                skipped.extend(missing_best(&run, &folder));
                return Ok(Loaded { weights, path: folder.join(WEIGHTS), skipped });
            }
            Err(error) => skipped.push(Skipped { folder, reason: error.to_string() }),
        }
    }
    let path = path.to_path_buf();
    if skipped.is_empty() {
        return Err(Error::NoCheckpoint { path });
    }
    let reasons: Vec<_> = skipped.into_iter().map(|s| s.reason).collect();
    Err(Error::NoIntactCheckpoint { path, reasons: reasons.join("; ") })
}

/// `best/`, then `checkpoints/*` from the newest to the oldest.
fn candidates(run: &RunPaths) -> Result<Vec<PathBuf>, Error> {
    let best = Some(run.best()).filter(|best| best.exists());
    let checkpoints = checkpoints(&run.checkpoints())?.into_iter().map(|(_, path)| path);
    Ok(best.into_iter().chain(checkpoints).collect())
}

/// The best weights of `run`, if they are missing although its checkpoint in `folder` tells of them.
fn missing_best(run: &RunPaths, folder: &Path) -> Option<Skipped> {
    let best = run.best();
    if best.exists() {
        return None;
    }
    let state = read_regular(&folder.join(STATE), MAX_STATE_BYTES).ok()?;
    let state: Value = serde_json::from_slice(&state).ok()?;
    let reason = format!("{}: is missing, and the run had one", best.display());
    state.get("best")?.is_object().then_some(Skipped { folder: best, reason })
}

fn load_checkpoint(folder: &Path) -> Result<Verified<Weights>, Error> {
    let [weights] = read_folder(folder, [WEIGHTS], MAX_WEIGHTS_FILE_BYTES)?;
    let path = folder.join(WEIGHTS);
    file::read_weights(&weights).map_err(|source| Error::Format { path, source })
}

/// Reads and verifies a `weights.safetensors` file.
///
/// # Errors
/// Unreadable, above [`MAX_WEIGHTS_FILE_BYTES`], or refused; each names the file.
pub fn read_weights_file(path: &Path) -> Result<Verified<Weights>, Error> {
    parse_limited(path, MAX_WEIGHTS_FILE_BYTES, file::read_weights_from)
}
