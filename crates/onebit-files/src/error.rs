//! The error of this crate.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use onebit_model::file::FileError;

const LINK_TO_NOTHING: &str = "a link to nothing";

/// Why a file or folder could not be read or written, in one sentence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read a file or folder.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file or folder that is needed does not exist.
    #[error("{}: not found; expected {expected}", path.display())]
    Missing {
        /// The path that was looked for.
        path: PathBuf,
        /// What should be there.
        expected: String,
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
    /// Something else where a folder was expected.
    #[error("{}: is {found}, expected a folder", path.display())]
    NotFolder {
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
    /// The error for a file that the system refuses to read; it tells where something else is at its place.
    pub fn read(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| match source.kind() {
            ErrorKind::NotFound if path.is_symlink() => {
                Self::NotRegular { path: path.to_owned(), found: LINK_TO_NOTHING }
            }
            ErrorKind::NotFound => Self::not_found(path, source),
            ErrorKind::IsADirectory => {
                Self::NotRegular { path: path.to_owned(), found: "a folder" }
            }
            ErrorKind::NotADirectory => Self::below_file(path, source),
            _ => Self::Read { path: path.to_owned(), source },
        }
    }

    /// The error for a folder that the system refuses to read; it tells where something else is at its place.
    pub fn list(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| match source.kind() {
            ErrorKind::NotFound => Self::not_found(path, source),
            ErrorKind::NotADirectory => Self::below_file(path, source),
            _ => Self::Read { path: path.to_owned(), source },
        }
    }

    /// The error, or what was expected where there is nothing.
    #[must_use]
    pub fn expecting(self, expected: &str) -> Self {
        match self {
            Self::Read { path, source } if source.kind() == ErrorKind::NotFound => {
                Self::Missing { path, expected: expected.to_owned() }
            }
            error => error,
        }
    }

    /// The error for a path that leads to nothing, perhaps because a folder in it is a link to nothing.
    fn not_found(path: &Path, source: io::Error) -> Self {
        match path.ancestors().find(|place| place.is_symlink() && !place.exists()) {
            Some(link) => Self::NotFolder { path: link.to_owned(), found: LINK_TO_NOTHING },
            None => Self::Read { path: path.to_owned(), source },
        }
    }

    /// The error for a path that goes on behind something that is no folder.
    fn below_file(path: &Path, source: io::Error) -> Self {
        let there = path.ancestors().find(|folder| folder.exists());
        match there.filter(|there| !there.is_dir()) {
            Some(file) => Self::NotFolder { path: file.to_owned(), found: "a file" },
            None => Self::Read { path: path.to_owned(), source },
        }
    }

    pub(crate) fn write(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Write { path: path.to_owned(), source }
    }
}
