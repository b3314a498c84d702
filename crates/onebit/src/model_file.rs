//! Packed files, and the weights they are made of.

use std::fs;
use std::io::Read;
use std::path::Path;

use onebit_model::{Model, Verified, file};
use onebit_pack::{Loaded, PackError};

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
    let model = onebit_pack::read_model_file(path).map_err(|error| explained(path, error))?;
    let failed = |source| onebit_files::Error::Read { path: path.to_path_buf(), source };
    let info = fs::metadata(path).map_err(failed)?;
    // What comes through a pipe has no length of its own, but a model has one file only.
    let bytes = if info.is_file() { info.len() } else { file::write_model(&model)?.len() as u64 };
    Ok(Packed { model, bytes })
}

/// Whether a path is that of a packed file, by its name.
pub(crate) fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "onebit")
}

/// The error, or what the file is instead of a model if its first bytes tell.
fn explained(path: &Path, error: PackError) -> anyhow::Error {
    let is_refused = matches!(error, PackError::Files(onebit_files::Error::Format { .. }));
    match kind(path).filter(|_| is_refused) {
        Some(kind) => Failure::bad_data(format!(
            "{}: this is {kind}, expected a packed model (.onebit)",
            path.display()
        )),
        None => error.into(),
    }
}

/// What a file is that people give in place of a packed model, by its first bytes; none for what begins as one does,
/// with the length of a JSON header.
fn kind(path: &Path) -> Option<&'static str> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut start = Vec::new();
    fs::File::open(path).ok()?.take(16).read_to_end(&mut start).ok()?;
    if start.get(8) == Some(&b'{') {
        return None;
    }
    KINDS.iter().find(|(bytes, _)| start.starts_with(bytes)).map(|(_, kind)| *kind)
}

const KINDS: [(&[u8], &str); 8] = [
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG\r\n", "a PNG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "a WebP image"),
    (b"BM", "a BMP image"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PK\x03\x04", "a zip container, such as a PyTorch checkpoint, which `onebit import` reads"),
    (b"\x08", "an ONNX network"),
];

/// Weights of a run or checkpoint, with a warning for each checkpoint that was passed over because it is damaged or gone.
pub(crate) fn load_weights(path: &Path) -> anyhow::Result<Loaded> {
    let loaded = onebit_pack::load_weights(path)?;
    for skipped in &loaded.skipped {
        output::note(&format!(
            "warning: {} is skipped: {}",
            skipped.folder.display(),
            skipped.reason
        ));
    }
    let best = path.join("best");
    if loaded.skipped.iter().any(|skipped| skipped.folder == best) {
        output::note(&format!(
            "{} is used in its place; `onebit train --resume --out {}` restores the best of the run",
            loaded.path.display(),
            path.display()
        ));
    }
    Ok(loaded)
}
