//! A packed network in the formats of other programs.

mod builder;
mod onnx;
#[cfg(test)]
mod tests;

pub use onnx::{IR_VERSION, MAX_ONNX_BYTES, OPSET, Onnx, to_onnx};
