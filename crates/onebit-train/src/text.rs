//! Text files that a run reads.

use std::fs;
use std::path::Path;

use crate::TrainError;

/// Reads a text file of at most `limit` bytes. A named pipe or a device is refused before it is opened, as it could
/// keep the reader waiting for ever; a pipe without a name, such as a shell's `<(command)`, is read.
///
/// # Errors
/// A folder, a named pipe or device; unreadable, longer, or not UTF-8.
pub(crate) fn read(path: &Path, limit: u64) -> Result<String, TrainError> {
    let kind = fs::metadata(path).map_err(onebit_files::Error::read(path))?;
    if kind.is_dir() {
        return Err(TrainError::damaged(path, "is a folder, expected a text file"));
    }
    if !kind.is_file() && path.canonicalize().is_ok() {
        return Err(TrainError::damaged(path, "is a named pipe or device, expected a text file"));
    }
    Ok(onebit_files::read_text(path, limit)?)
}
