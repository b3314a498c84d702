#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod arch;
pub mod bits;
pub mod cost;
pub mod description;
mod error;
pub mod explain;
pub mod file;
mod graph;
mod hex;
pub mod infer;
mod json;
pub mod limits;
pub mod logits;
pub mod memory;
mod model;
pub mod op;
mod origin;
mod preprocessing;
pub mod quantization;
pub mod quote;
mod verify;

pub use description::Description;
pub use error::GraphError;
pub use graph::{Graph, Node, NodeId, Normalization};
pub use hex::hex;
pub use infer::{Element, Shape};
pub use model::{Data, Model, ModelError, Tensor, packed_shape, row_scale};
pub use op::{
    Geometry, HyperRange, Op, PadValue, Precision, Shift, Slope, Statistics, Threshold, WeightScale,
};
pub use origin::Origin;
pub use preprocessing::{ChannelOrder, Gray, Interpolation, Preprocessing, Resize};
pub use verify::{Verified, check_class_name};
