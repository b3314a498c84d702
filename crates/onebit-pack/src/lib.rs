#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod agreement;
mod error;
pub mod export;
pub mod fold;
pub mod import;
mod inspect;
pub mod int8_layers;
mod io;
mod lower;
mod onnx_proto;
mod pack;

pub use agreement::{Agreement, Disagreement, Observed};
pub use error::PackError;
pub use inspect::{InspectedLayer, Inspection, Totals};
pub use io::read_checkpoint_file;
pub use lower::lower;
pub use onebit_files::{Loaded, load_weights, write_atomic};
pub use pack::pack_weights;
