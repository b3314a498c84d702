//! Regular files, with errors that say what was expected.

#[cfg(feature = "datasets")]
use std::fs::File;
use std::path::Path;

use crate::Error;

/// Reads a whole regular file that must not be longer than `limit` bytes.
pub(crate) fn read_limited(path: &Path, limit: u64, expected: &str) -> Result<Vec<u8>, Error> {
    onebit_files::read_regular(path, limit).map_err(|error| error.expecting(expected).into())
}

/// Opens a regular file.
#[cfg(feature = "datasets")]
pub(crate) fn open_regular(path: &Path, expected: &str) -> Result<File, Error> {
    onebit_files::open_regular(path).map_err(|error| error.expecting(expected).into())
}

/// Opens a regular file, or a pipe without a name.
#[cfg(feature = "datasets")]
pub(crate) fn open_to_read(path: &Path, expected: &str) -> Result<File, Error> {
    onebit_files::open_to_read(path).map_err(|error| error.expecting(expected).into())
}
