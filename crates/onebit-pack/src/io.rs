use std::path::Path;

use onebit_files::read_limited;
use onebit_model::file::{self, FileError, Weights};
use onebit_model::{Model, Verified};

use crate::PackError;

/// Largest `.onebit` file that is read, in bytes.
pub const MAX_MODEL_FILE_BYTES: u64 = 2 << 30;
/// Largest `weights.safetensors` or checkpoint of PyTorch that is read, in bytes.
pub const MAX_WEIGHTS_FILE_BYTES: u64 = 4 << 30;

/// Reads and verifies a `.onebit` file.
///
/// # Errors
/// Unreadable, above [`MAX_MODEL_FILE_BYTES`], or refused; each names the file.
pub fn read_model_file(path: &Path) -> Result<Verified<Model>, PackError> {
    parse(path, file::read_model(&read_limited(path, MAX_MODEL_FILE_BYTES)?))
}

/// Reads and verifies a `weights.safetensors` file.
///
/// # Errors
/// Unreadable, above [`MAX_WEIGHTS_FILE_BYTES`], or refused; each names the file.
pub fn read_weights_file(path: &Path) -> Result<Verified<Weights>, PackError> {
    parse(path, file::read_weights(&read_limited(path, MAX_WEIGHTS_FILE_BYTES)?))
}

/// Reads a checkpoint of PyTorch, for [`crate::import::Checkpoint::parse`].
///
/// # Errors
/// Unreadable, or above [`MAX_WEIGHTS_FILE_BYTES`]; each names the file.
pub fn read_checkpoint_file(path: &Path) -> Result<Vec<u8>, PackError> {
    Ok(read_limited(path, MAX_WEIGHTS_FILE_BYTES)?)
}

pub(crate) fn parse<T>(path: &Path, parsed: Result<T, FileError>) -> Result<T, PackError> {
    parsed.map_err(|source| PackError::Format { path: path.to_path_buf(), source })
}

/// Writes a file that is there in full or not at all; see [`onebit_files::write_atomic`].
///
/// # Errors
/// Anything that the system refuses, with the path.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), PackError> {
    Ok(onebit_files::write_atomic(path, bytes)?)
}
