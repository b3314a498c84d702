//! Kinds of errors, for exit codes.

use std::io;

use crate::Error;

/// The kind of an error, for exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The caller asked for something that cannot be (sysexits 64).
    Usage,
    /// A file holds bad data, or more than there is memory for (sysexits 65).
    BadData,
    /// An input is missing (sysexits 66).
    MissingInput,
    /// Reading, writing or downloading failed (sysexits 74).
    Io,
}

impl From<&io::Error> for ErrorKind {
    /// That of a file that could not be read.
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::MissingInput,
            io::ErrorKind::OutOfMemory => Self::BadData,
            _ => Self::Io,
        }
    }
}

impl Error {
    /// The kind of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } => source.into(),
            Self::Missing { .. } | Self::NoCheckpoint { .. } => ErrorKind::MissingInput,
            Self::Write { .. } => ErrorKind::Io,
            Self::TooLarge { .. }
            | Self::NotRegular { .. }
            | Self::NotFolder { .. }
            | Self::NotText { .. }
            | Self::BadManifest { .. }
            | Self::Damaged { .. }
            | Self::Format { .. }
            | Self::NoIntactCheckpoint { .. } => ErrorKind::BadData,
        }
    }
}
