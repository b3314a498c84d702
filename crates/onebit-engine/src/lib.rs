//! Runs packed 1-bit networks with XOR and popcount.
//!
//! [`Engine::new`] turns a verified model into a plan: every convolution fused with what follows it, every
//! activation at its place in one arena, every weight in the order its kernel reads. [`Engine::run`] then
//! computes the logits of one image without allocating.
//!
//! Numbers: a bit is `x > threshold`; counts are exact integers; floats are summed in one fixed order (lanes
//! along output channels, taps and input channels in sequence) with fused multiply-add, so every [`Isa`] that
//! has it gives identical bits. [`Isa::Portable`] and [`Isa::Simd128`] multiply and add in two roundings, alike.
//!
//! ```
//! use onebit_engine::{Engine, Options, read_model};
//!
//! # let bytes = include_bytes!("../../onebit-model/tests/file/tiny.onebit");
//! let model = read_model(bytes)?;
//! let engine = Engine::new(&model, Options::default())?;
//! let image = [1.0, -1.0, -1.0, 1.0, 1.0, 1.0, -1.0, -1.0]; // 2x2 pixels of 2 channels, normalised
//! let mut logits = vec![0.0; engine.classes()];
//! engine.run(&image, &mut logits, &mut engine.scratch()?)?;
//! assert_eq!(logits, [3.0, 2.5]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
mod fuse;
mod kernel;
mod op;
mod plan;
#[cfg(feature = "std")]
mod thread_pool;

pub use convolution::{BinaryConvolution, Workspace};
pub use engine::{Engine, Memory, Options, Scratch};
pub use error::EngineError;
pub use kernel::Isa;
pub use onebit_model::file::{FileError, read_model};
pub use onebit_model::{Model, Verified};
pub use plan::StepInfo;
#[cfg(feature = "std")]
pub use thread_pool::ThreadPool;
