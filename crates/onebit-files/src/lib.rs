#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod atomic;
mod checkpoints;
mod error;
mod folder;
mod kind;
mod manifest;
mod model;
mod read;
mod run_paths;
mod weights;

pub use atomic::{AtomicFile, rename, write_atomic};
pub use checkpoints::{Position, checkpoints};
pub use error::Error;
pub use folder::{read_folder, recover, remove_folder, set_aside, write_folder};
pub use kind::ErrorKind;
pub use model::{MAX_MODEL_FILE_BYTES, ModelFile, read_model, read_model_file};
pub use onebit_model::hex;
pub use onebit_model::quote::{count, shown, shown_within};
pub use read::{
    Opened, Refused, open_regular, open_to_read, parse_limited, read_if, read_limited,
    read_regular, read_text,
};
pub use run_paths::RunPaths;
pub use weights::{Loaded, MAX_WEIGHTS_FILE_BYTES, Skipped, load_weights, read_weights_file};

/// A checkpoint's parameters and running statistics.
pub const WEIGHTS: &str = "weights.safetensors";
/// Where the run of a checkpoint stands.
pub const STATE: &str = "state.json";
/// Length and SHA-256 of the other files of a checkpoint.
pub const MANIFEST: &str = "manifest.json";

/// Start of the name of what is being written; [`recover`] removes what an interrupted process left under it.
const UNFINISHED: &str = ".tmp-";
