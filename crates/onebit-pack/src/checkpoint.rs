use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use onebit_model::Verified;
use onebit_model::file::{self, Weights};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::PackError;
use crate::io::{MAX_WEIGHTS_FILE_BYTES, parse, read_file, read_weights_file};

const WEIGHTS: &str = "weights.safetensors";
const MANIFEST: &str = "manifest.json";
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

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
    let found = fs::metadata(path).map_err(|source| read_error(path, source))?;
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
    let best = run.join("best");
    let mut found: Vec<PathBuf> = best.is_dir().then_some(best).into_iter().collect();
    let folder = run.join("checkpoints");
    if !folder.is_dir() {
        return Ok(found);
    }
    let failed = |source| read_error(&folder, source);
    let mut numbered = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let position = path.file_name().and_then(|name| position(name.to_str()?));
        numbered.extend(position.map(|position| (Reverse(position), path)));
    }
    numbered.sort();
    found.extend(numbered.into_iter().map(|(_, path)| path));
    Ok(found)
}

/// Epoch and step of `epoch-00005` or `epoch-00005-step-000123`.
fn position(name: &str) -> Option<(u64, u64)> {
    let rest = name.strip_prefix("epoch-")?;
    match rest.split_once("-step-") {
        Some((epoch, step)) => Some((epoch.parse().ok()?, step.parse().ok()?)),
        None => Some((rest.parse().ok()?, 0)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    files: BTreeMap<String, Listed>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    bytes: u64,
    sha256: String,
}

fn load_checkpoint(folder: &Path) -> Result<Verified<Weights>, PackError> {
    let manifest = read_manifest(&folder.join(MANIFEST))?;
    for (name, listed) in &manifest {
        if name != WEIGHTS {
            let path = folder.join(name);
            let file = File::open(&path).map_err(|source| read_error(&path, source))?;
            check(&path, file, listed)?;
        }
    }
    let path = folder.join(WEIGHTS);
    let bytes = read_file(&path, MAX_WEIGHTS_FILE_BYTES)?;
    if let Some(listed) = manifest.get(WEIGHTS) {
        check(&path, bytes.as_slice(), listed)?;
    }
    parse(&path, file::read_weights(&bytes))
}

fn read_manifest(path: &Path) -> Result<BTreeMap<String, Listed>, PackError> {
    let bad = |reason: String| PackError::BadManifest { path: path.to_path_buf(), reason };
    let bytes = read_file(path, MAX_MANIFEST_BYTES)?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
    let plain = |name: &String| Path::new(name).file_name().is_some_and(|n| n == name.as_str());
    if let Some(name) = manifest.files.keys().find(|name| !plain(name)) {
        return Err(bad(format!("`{name}` is not the name of a file in this folder")));
    }
    if !manifest.files.contains_key(WEIGHTS) {
        return Err(bad(format!("it does not list {WEIGHTS}")));
    }
    Ok(manifest.files)
}

fn check(path: &Path, mut contents: impl Read, listed: &Listed) -> Result<(), PackError> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        let n = match contents.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(read_error(path, source)),
        };
        hash.update(&buffer[..n]);
        bytes += n as u64;
    }
    let damaged =
        |found, expected| PackError::Damaged { path: path.to_path_buf(), found, expected };
    if bytes != listed.bytes {
        return Err(damaged(format!("{bytes} bytes"), format!("{} bytes", listed.bytes)));
    }
    let sha256: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if sha256 != listed.sha256 {
        return Err(damaged(format!("SHA-256 {sha256}"), format!("SHA-256 {}", listed.sha256)));
    }
    Ok(())
}

fn read_error(path: &Path, source: io::Error) -> PackError {
    PackError::Read { path: path.to_path_buf(), source }
}
