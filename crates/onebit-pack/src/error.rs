//! The error of this crate.

use std::path::PathBuf;

use onebit_model::memory::has_room;
use onebit_model::quote::count;
use onebit_model::{GraphError, ModelError};

use crate::export::MAX_ONNX_BYTES;
use crate::import::ImportError;

/// Why a checkpoint could not be packed, or a file not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// A file or folder that cannot be read or written, or whose contents are refused.
    #[error(transparent)]
    Files(#[from] onebit_files::Error),
    /// The lowered network breaks a rule, such as a folded factor too large for 32 bits.
    #[error("the lowered network is not valid: {0}")]
    Lowered(#[from] ModelError),
    /// The graph's shapes or costs cannot be computed.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Less memory than is needed.
    #[error("there is not enough memory for {what}: {bytes} bytes are needed")]
    OutOfMemory {
        /// What it is needed for.
        what: &'static str,
        /// How much is needed.
        bytes: u64,
    },
    /// A running variance below zero.
    #[error("tensor `{tensor}`: the variance of channel {channel} is {value}, expected 0 or more")]
    NegativeVariance {
        /// The tensor.
        tensor: String,
        /// The channel.
        channel: usize,
        /// Its value.
        value: f32,
    },
    /// A network without a layer that could have 8 bits.
    #[error(
        "the network has no layer to round: neither a convolution of the image without groups nor a classifier, \
         of 32-bit floats"
    )]
    NothingToQuantize,
    /// 8-bit layers that change too many predictions.
    #[error(
        "8-bit layers change {changed} of {}, more than the {allowed} that are allowed, so the file is not written",
        count(*images, "prediction")
    )]
    Int8Changes {
        /// Predictions compared.
        images: u64,
        /// Those that differ.
        changed: u64,
        /// How many may.
        allowed: u64,
    },
    /// 8-bit layers that lose too many right answers.
    #[error(
        "8-bit layers give {lost} right answers fewer on {}, more than the {allowed} that are allowed, so the file is not written",
        count(*images, "image")
    )]
    Int8Loses {
        /// Images compared.
        images: u64,
        /// By how many the right answers are fewer.
        lost: i64,
        /// How many may be.
        allowed: u64,
    },
    /// A checkpoint of PyTorch that cannot be imported.
    #[error("{path}: {source}", path = .path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ImportError,
    },
    /// An image size that the network cannot be exported for.
    #[error("the network does not take {}x{}x{} images: {source}", .input[0], .input[1], .input[2])]
    ExportInput {
        /// Channels, height and width.
        input: [usize; 3],
        /// Why.
        source: GraphError,
    },
    /// A network whose float weights exceed what an ONNX file can hold.
    #[error(
        "the network has {bytes} bytes as float32, an ONNX file holds at most {MAX_ONNX_BYTES}"
    )]
    ExportTooLarge {
        /// How large the file would be.
        bytes: u64,
    },
}

/// Refuses what the system has no memory for, before it is asked for where that would end the program.
///
/// # Errors
/// [`PackError::OutOfMemory`].
pub(crate) fn check_room(bytes: u64, what: &'static str) -> Result<(), PackError> {
    match has_room(usize::try_from(bytes).unwrap_or(usize::MAX)) {
        true => Ok(()),
        false => Err(PackError::OutOfMemory { what, bytes }),
    }
}
