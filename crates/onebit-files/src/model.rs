//! Packed models on disk.

use std::path::Path;

use onebit_model::file::{self, ByteSource};
use onebit_model::{Model, Verified};

use crate::{Error, parse_limited};

/// Largest `.onebit` file that is read, in bytes.
pub const MAX_MODEL_FILE_BYTES: u64 = 2 << 30;

/// Reads and verifies a `.onebit` file.
///
/// # Errors
/// Unreadable, above [`MAX_MODEL_FILE_BYTES`], or refused; each names the file.
pub fn read_model(path: &Path) -> Result<Verified<Model>, Error> {
    Ok(read_model_file(path)?.model)
}

/// A `.onebit` file that has been read and verified.
#[derive(Debug)]
pub struct ModelFile {
    /// What is in it.
    pub model: Verified<Model>,
    /// Version of the format.
    pub version: u32,
    /// Its length.
    pub bytes: u64,
}

/// [`read_model`], with what is known of the file.
///
/// # Errors
/// Like [`read_model`].
pub fn read_model_file(path: &Path) -> Result<ModelFile, Error> {
    let parsed = parse_limited(path, MAX_MODEL_FILE_BYTES, |source| {
        let bytes = source.bytes() as u64;
        let (model, version) = file::read_versioned_from(source)?;
        Ok(ModelFile { model, version, bytes })
    });
    parsed.map_err(|error| error.expecting("a packed model (.onebit)"))
}
