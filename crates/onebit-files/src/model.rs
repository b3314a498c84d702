//! Packed models on disk.

use std::path::Path;

use onebit_model::{Model, Verified, file};

use crate::{Error, parse_limited};

/// Largest `.onebit` file that is read, in bytes.
pub const MAX_MODEL_FILE_BYTES: u64 = 2 << 30;

/// Reads and verifies a `.onebit` file.
///
/// # Errors
/// Unreadable, above [`MAX_MODEL_FILE_BYTES`], or refused; each names the file.
pub fn read_model(path: &Path) -> Result<Verified<Model>, Error> {
    parse_limited(path, MAX_MODEL_FILE_BYTES, file::read_model_from)
        .map_err(|error| error.expecting("a packed model (.onebit)"))
}
