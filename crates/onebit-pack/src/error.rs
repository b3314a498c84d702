use std::io;
use std::path::PathBuf;

use onebit_model::file::FileError;
use onebit_model::{GraphError, ModelError};

use crate::export::MAX_ONNX_BYTES;
use crate::import::ImportError;

/// Why a checkpoint could not be packed, or a file not read or written.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The lowered network breaks a rule, such as a folded factor too large for 32 bits.
    #[error("the lowered network is not valid: {0}")]
    Lowered(#[from] ModelError),
    /// The graph's shapes or costs cannot be computed.
    #[error(transparent)]
    Graph(#[from] GraphError),
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
    /// A file or folder that cannot be read.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file that cannot be written. What was at its place before still is.
    #[error("cannot write {path}: {source}", path = .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file above the limit.
    #[error("{path} is larger than the {limit} bytes allowed", path = .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// A file whose contents are refused.
    #[error("{path}: {source}", path = .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        source: FileError,
    },
    /// A checkpoint of PyTorch that cannot be imported.
    #[error("{path}: {source}", path = .path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ImportError,
    },
    /// A `manifest.json` that is none.
    #[error("{path} is not a checkpoint's manifest: {reason}", path = .path.display())]
    BadManifest {
        /// The manifest.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file that is not what the manifest says.
    #[error("{path} has {found}, the manifest beside it says {expected}: the checkpoint is damaged", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its bytes or SHA-256.
        found: String,
        /// What the manifest says.
        expected: String,
    },
    /// A folder without any checkpoint.
    #[error(
        "{path} holds no checkpoint: expected a run folder with best/ or checkpoints/, a checkpoint folder, or a \
         weights.safetensors file",
        path = .path.display()
    )]
    NoCheckpoint {
        /// The folder.
        path: PathBuf,
    },
    /// A run folder whose checkpoints are all damaged.
    #[error("no checkpoint of {path} is intact: {reasons}", path = .path.display())]
    NoIntactCheckpoint {
        /// The run folder.
        path: PathBuf,
        /// What is wrong with each.
        reasons: String,
    },
    /// An image size that the network cannot be exported for.
    #[error("the network does not take {}x{}x{} images: {source}", .input[0], .input[1], .input[2])]
    ExportInput {
        /// Channels, height and width.
        input: [usize; 3],
        /// Why.
        source: GraphError,
    },
    /// An image size that gives a linear layer another number of inputs than it has weights for.
    #[error(
        "the network does not take {}x{}x{} images: they give node `{node}` {found} inputs, its weights are for \
         {expected}",
        .input[0], .input[1], .input[2]
    )]
    ExportLinear {
        /// Channels, height and width.
        input: [usize; 3],
        /// The linear layer.
        node: String,
        /// Inputs that it would get.
        found: usize,
        /// Inputs that it has weights for.
        expected: usize,
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

impl From<onebit_files::Error> for PackError {
    fn from(error: onebit_files::Error) -> Self {
        use onebit_files::Error;
        match error {
            Error::Read { path, source } => Self::Read { path, source },
            Error::Write { path, source } => Self::Write { path, source },
            Error::TooLarge { path, limit } => Self::TooLarge { path, limit },
            Error::BadManifest { path, reason } => Self::BadManifest { path, reason },
            Error::Damaged { path, found, expected } => Self::Damaged { path, found, expected },
        }
    }
}
