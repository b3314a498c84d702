//! A packed file checked without running it.

use std::path::Path;

use serde::Serialize;

use crate::{Error, Model};

/// What a file that keeps every rule of the format says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// True: a file that breaks a rule is an error.
    pub ok: bool,
    /// The file.
    pub path: String,
    /// Version of the format.
    pub version: u32,
    /// Architecture.
    pub arch: String,
    /// Channels, height and width of the images, such as `3x224x224`.
    pub input: String,
    /// Number of classes.
    pub classes: usize,
    /// Number of nodes.
    pub nodes: usize,
    /// Number of tensors.
    pub tensors: usize,
    /// Length of the file.
    pub file_bytes: u64,
}

impl Verification {
    /// Of a model that was read from `path`.
    ///
    /// # Errors
    /// As [`Model::to_bytes`], if it was not read but made.
    pub fn of(path: &Path, model: &Model) -> Result<Self, Error> {
        let [channels, height, width] = model.input_shape();
        Ok(Verification {
            ok: true,
            path: path.display().to_string(),
            version: model.format_version()?,
            arch: model.arch().to_owned(),
            input: format!("{channels}x{height}x{width}"),
            classes: model.classes().len(),
            nodes: model.graph().nodes.len(),
            tensors: model.verified().tensors.len(),
            file_bytes: model.file_length()?,
        })
    }
}

/// Checks lengths, checksums, form and graph of a `.onebit` file.
///
/// # Errors
/// As [`Model::open`].
pub fn verify(path: impl AsRef<Path>) -> Result<Verification, Error> {
    Verification::of(path.as_ref(), &Model::open(path.as_ref())?)
}
