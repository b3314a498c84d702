//! Checkpoints of PyTorch on disk.

use std::path::Path;

use onebit_files::{MAX_WEIGHTS_FILE_BYTES, read_if};

use crate::{PackError, import};

/// Reads a checkpoint of PyTorch, for [`crate::import::Checkpoint::parse`].
///
/// # Errors
/// Unreadable, above [`MAX_WEIGHTS_FILE_BYTES`], or no checkpoint by its first bytes, after which it is not read on; each
/// names the file.
pub fn read_checkpoint_file(path: &Path) -> Result<Vec<u8>, PackError> {
    let read = read_if(path, MAX_WEIGHTS_FILE_BYTES, import::START_BYTES, import::is_start)
        .map_err(|error| error.expecting("a checkpoint of PyTorch"))?;
    let source = import::ImportError::NotACheckpoint;
    read.ok_or_else(|| PackError::Import { path: path.to_owned(), source })
}
