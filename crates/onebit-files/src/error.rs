use std::io;
use std::path::{Path, PathBuf};

use onebit_model::file::FileError;

/// Why a file or folder could not be read or written, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused to read a file or folder.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The operating system refused to write a file or folder. What was at its place before still is.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file above the limit.
    #[error("{}: is larger than the {limit} bytes allowed", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// Something else where a regular file was expected.
    #[error("{}: is {found}, expected a regular file", path.display())]
    NotRegular {
        /// Where.
        path: PathBuf,
        /// What is there, with an article.
        found: &'static str,
    },
    /// A text file that is not UTF-8.
    #[error("{}: line {line} is not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The line with the first byte that is wrong, counted from 1.
        line: usize,
    },
    /// A `manifest.json` that is none.
    #[error("{}: is not a checkpoint's manifest: {reason}", path.display())]
    BadManifest {
        /// The manifest.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file that is not what the manifest says.
    #[error("{}: has {found}, the manifest beside it says {expected}: the checkpoint is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its bytes or SHA-256.
        found: String,
        /// What the manifest says.
        expected: String,
    },
    /// A file whose contents are refused.
    #[error("{}: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        source: FileError,
    },
    /// A folder without any checkpoint.
    #[error(
        "{}: holds no checkpoint: expected a run folder with best/ or checkpoints/, a checkpoint folder, or a \
         weights.safetensors file",
        path.display()
    )]
    NoCheckpoint {
        /// The folder.
        path: PathBuf,
    },
    /// A run folder whose checkpoints are all damaged.
    #[error("{}: no checkpoint is intact: {reasons}", path.display())]
    NoIntactCheckpoint {
        /// The run folder.
        path: PathBuf,
        /// What is wrong with each.
        reasons: String,
    },
}

impl Error {
    pub(crate) fn read(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Read { path: path.to_owned(), source }
    }

    pub(crate) fn write(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Write { path: path.to_owned(), source }
    }
}
