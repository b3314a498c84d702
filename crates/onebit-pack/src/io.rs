use std::path::Path;

use onebit_files::{MAX_WEIGHTS_FILE_BYTES, parse_limited, read_if};
use onebit_model::file;
use onebit_model::{Model, Verified};

use crate::{PackError, import};

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
/// Unreadable, above [`MAX_WEIGHTS_FILE_BYTES`], or no checkpoint by its first bytes, after which it is not read on; each
/// names the file.
pub fn read_checkpoint_file(path: &Path) -> Result<Vec<u8>, PackError> {
    let read = read_if(path, MAX_WEIGHTS_FILE_BYTES, import::START_BYTES, import::is_start)?;
    let source = import::ImportError::NotACheckpoint;
    read.ok_or_else(|| PackError::Import { path: path.to_owned(), source })
}
