//! From trained weights to a packed model.

use std::path::Path;

use onebit_files::Loaded;
use onebit_model::Verified;
use onebit_model::file::Weights;

use crate::{Error, Model};

/// Reads trained weights: a run folder (its best checkpoint), a checkpoint folder or a `weights.safetensors`.
///
/// # Errors
/// Nothing there, nothing intact, or weights that are refused.
pub fn load_weights(path: impl AsRef<Path>) -> Result<Loaded, Error> {
    Ok(onebit_files::load_weights(path.as_ref())?)
}

/// Folds and packs trained weights.
///
/// # Errors
/// A negative variance, or a folded constant that 32-bit floats cannot hold.
pub fn pack(weights: &Verified<Weights>) -> Result<Model, Error> {
    let model = Model::from(onebit_pack::lower(weights)?);
    Model::from_bytes(&model.to_bytes()?)
}
