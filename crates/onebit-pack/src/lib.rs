//! From a trained model, [`Weights`](onebit_model::file::Weights), to a packed one, [`Model`](onebit_model::Model), and
//! its file.
//!
//! [`load_weights`] finds and checks a checkpoint, [`lower`] folds and packs it, `onebit_model::file` turns the
//! result into bytes and [`write_atomic`] puts them on disk. [`Agreement`] then compares what the trainer and the
//! engine compute, [`int8`] rounds the first and the last layers where that is asked for, [`Inspection`] describes a packed
//! file, and [`export`] turns it into files of other programs. [`import`] reads checkpoints of PyTorch instead.
#![forbid(unsafe_code)]

pub mod agreement;
mod error;
pub mod export;
pub mod fold;
pub mod import;
mod inspect;
pub mod int8;
mod io;
mod lower;
mod pack;

pub use agreement::{Agreement, Disagreement, Observed};
pub use error::PackError;
pub use inspect::{InspectedLayer, Inspection, Totals};
pub use io::read_checkpoint_file;
pub use lower::lower;
pub use onebit_files::{Loaded, load_weights, write_atomic};
pub use pack::pack_weights;
