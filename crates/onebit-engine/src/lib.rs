#![doc = include_str!("../README.md")]
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod aligned;
mod arena;
mod convolution;
mod engine;
mod error;
mod exec;
mod front;
mod fuse;
mod kernel;
mod map;
mod packed;
mod plan;
#[cfg(feature = "std")]
mod thread_pool;

pub use convolution::{BinaryConvolution, Workspace};
pub use engine::{Engine, Memory, Options, Scratch};
pub use error::EngineError;
pub use kernel::Isa;
pub use onebit_model::file::{FileError, read_model};
pub use onebit_model::{Model, NodeId, Verified};
pub use plan::StepInfo;
#[cfg(feature = "std")]
pub use thread_pool::{ThreadPool, check_thread, start_thread};
