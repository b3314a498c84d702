//! The one description of a 1-bit network that the trainer, the packer and the engine share.
//!
//! An architecture ([`arch`]) is a function that returns a [`Graph`]: nodes with typed operations
//! ([`Op`]) in evaluation order. [`infer`] gives every node its shape, [`cost`] counts what it costs,
//! [`Verified`] is the proof that both succeeded. [`mod@file`] reads and writes the packed `.onebit` form.
//!
//! ```
//! use onebit_model::{file, infer};
//!
//! # let bytes = include_bytes!("../tests/file/tiny.onebit");
//! let model = file::read_model(bytes)?; // refused unless every field, size and checksum is right
//! let shapes = infer::shapes(&model.graph)?;
//! for (node, shape) in model.graph.nodes.iter().zip(&shapes) {
//!     println!("{}: {} channels of {}x{}", node.name, shape.channels, shape.height, shape.width);
//! }
//! assert_eq!(model.graph.input_shape(), [2, 2, 2]);
//! assert_eq!(model.graph.classes, ["cat", "dog"]);
//! assert_eq!(file::write_model(&model)?, bytes); // one model, one file
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod arch;
pub mod bits;
pub mod cost;
mod error;
pub mod file;
mod graph;
mod hex;
pub mod infer;
pub mod int8;
mod json;
pub mod limits;
mod model;
pub mod op;
pub mod quote;
mod verify;

pub use error::GraphError;
pub use graph::{Graph, Node, NodeId, Normalization};
pub use hex::hex;
pub use infer::{Element, Shape};
pub use model::{Data, Model, ModelError, Tensor, packed_shape, row_scale};
pub use op::{
    Geometry, HyperRange, Op, PadValue, Precision, Shift, Slope, Statistics, Threshold, WeightScale,
};
pub use verify::Verified;
