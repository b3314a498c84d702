//! Trains 1-bit networks on the CPU with explicit forward and backward passes.
//!
//! [`Net`] is the network: a graph with parameters, gradients and planned buffers. [`train`] is a run: a
//! [`Recipe`] in, a folder of checkpoints out.

mod average;
mod best;
pub mod binarize;
mod check;
pub mod checkpoint;
mod config;
mod error;
mod evaluate;
mod event;
mod feasible;
mod gemm;
mod images;
mod init;
pub mod loss;
pub mod metrics;
mod microbatch;
mod net;
mod op;
pub mod optim;
mod params;
mod plan;
pub mod probe;
pub mod recipe;
mod resume;
mod run;
pub mod schedule;
mod simd;
mod stages;
mod structure;
mod teacher;
mod text;
mod trainer;

pub use check::{Checked, Counts, check};
pub use config::NetConfig;
pub use error::TrainError;
pub use event::{Event, Summary, TrainOptions};
pub use net::Net;
pub use params::{Parameter, Params};
pub use recipe::Recipe;
pub use run::RunPaths;
pub use trainer::train;
