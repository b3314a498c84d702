//! Files: the packed model (`.onebit`), the weights of a checkpoint, and the container that both share.
//!
//! `docs/format.md` is the normative description. A file is canonical or refused: reading recomputes the one
//! header that its contents can have and compares it byte for byte.

pub mod container;
mod dense;
mod error;
mod header;
mod packed;
mod weights;

pub use container::{ByteSource, Container, Kind, START_BYTES, check_start};
pub use error::FileError;
pub use packed::{read_model, read_model_from, read_versioned_from, version_of, write_model};
pub use weights::{Weights, read_weights, read_weights_from, write_weights};

/// The newest version of the format that this program writes and reads; it reads all before it.
pub const VERSION: u32 = 2;
