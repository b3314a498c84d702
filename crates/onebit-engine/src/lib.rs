//! Runs packed 1-bit networks with XOR and popcount.
//!
//! [`Engine::new`] turns a verified model into a plan: every convolution fused with what follows it, every
//! activation at its place in one arena, every weight in the order its kernel reads. [`Engine::run`] then
//! computes the logits of one image without allocating.
//!
//! Numbers: a bit is `x > threshold`; counts are exact integers; floats are summed in one fixed order (lanes
//! along output channels, taps and input channels in sequence) with fused multiply-add, so every [`Isa`] that
//! has it gives identical bits. [`Isa::Portable`] multiplies and adds in two roundings.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod arena;
mod convolution;
mod engine;
mod error;
mod fuse;
mod kernel;
mod op;
mod plan;

pub use convolution::BinaryConvolution;
pub use engine::{Engine, Memory, Options, Scratch};
pub use error::EngineError;
pub use kernel::Isa;
pub use plan::StepInfo;
