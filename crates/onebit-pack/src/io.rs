use std::path::Path;

use onebit_files::{MAX_WEIGHTS_FILE_BYTES, parse_limited, read_limited};
use onebit_model::file;
use onebit_model::{Model, Verified};

use crate::PackError;

/// Largest `.onebit` file that is read, in bytes.
pub const MAX_MODEL_FILE_BYTES: u64 = 2 << 30;

/// Reads and verifies a `.onebit` file.
///
/// # Errors
/// Unreadable, above [`MAX_MODEL_FILE_BYTES`], or refused; each names the file.
pub fn read_model_file(path: &Path) -> Result<Verified<Model>, PackError> {
    Ok(parse_limited(path, MAX_MODEL_FILE_BYTES, file::read_model_from)?)
}

/// Reads a checkpoint of PyTorch, for [`crate::import::Checkpoint::parse`].
///
/// # Errors
/// Unreadable, or above [`MAX_WEIGHTS_FILE_BYTES`]; each names the file.
pub fn read_checkpoint_file(path: &Path) -> Result<Vec<u8>, PackError> {
    Ok(read_limited(path, MAX_WEIGHTS_FILE_BYTES)?)
}
