//! The error of this crate.

use std::io;
use std::path::{Path, PathBuf};

use onebit_files::{Error as FileError, ErrorKind};

/// What went wrong with a data set, an image or an array, in one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file is not there, cannot be read or written, or is larger than what this crate agrees to load.
    #[error(transparent)]
    File(#[from] onebit_files::Error),
    /// A field of a file is not what the format asks for.
    #[error("{}: {field} is {found}, expected {expected}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The field of the file.
        field: String,
        /// What the file holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// A size in a file is beyond what this crate agrees to load.
    #[error("{}: {field} is {found}, over the limit of {limit}", path.display())]
    Limit {
        /// The file.
        path: PathBuf,
        /// The field of the file.
        field: String,
        /// What the file asks for.
        found: String,
        /// The largest value accepted.
        limit: String,
    },
    /// An image file could not be decoded.
    #[error("{}: the image cannot be decoded ({reason}); expected a whole JPEG, PNG, WebP or BMP file", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// The decoder's reason.
        reason: String,
    },
    /// The system has not so much memory left.
    #[error("there is not enough memory for {what}: {bytes} bytes are needed")]
    Memory {
        /// What it is for.
        what: String,
        /// Bytes asked for at once.
        bytes: u64,
    },
    /// The system starts no thread.
    #[error("no thread can be started for {what}: {source}")]
    Thread {
        /// What it is for.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A data spec could not be understood.
    #[error("data spec `{spec}`: {reason}")]
    Spec {
        /// The spec as given.
        spec: String,
        /// What is wrong with it and what is accepted.
        reason: String,
    },
    /// A known data set has not been downloaded yet.
    #[error("data set `{name}` has not been fetched, expected it in {}", path.display())]
    NotFetched {
        /// The name of the data set.
        name: String,
        /// The folder where it should be.
        path: PathBuf,
    },
    /// A setting given by the caller cannot be used.
    #[error("{field} is {found}, expected {expected}")]
    Setting {
        /// The setting.
        field: String,
        /// The value given.
        found: String,
        /// The values accepted.
        expected: String,
    },
    /// A download failed.
    #[error("{url}: {reason}")]
    Download {
        /// The address.
        url: String,
        /// What went wrong and what to do.
        reason: String,
    },
    /// The content of a file is not the published one.
    #[error(
        "{origin}: the sha256 of the content is {found}, expected {expected}; the file is damaged or another version"
    )]
    Checksum {
        /// The file or address that the content came from.
        origin: String,
        /// The checksum of what was read, in hexadecimal.
        found: String,
        /// The checksum of the published content, in hexadecimal.
        expected: String,
    },
}

impl Error {
    /// The kind of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Spec { .. } | Self::Setting { .. } => ErrorKind::Usage,
            Self::File(error) => error.kind(),
            Self::Download { .. } => ErrorKind::Io,
            Self::Format { .. }
            | Self::Limit { .. }
            | Self::Image { .. }
            | Self::Memory { .. }
            | Self::Thread { .. }
            | Self::Checksum { .. } => ErrorKind::BadData,
            Self::NotFetched { .. } => ErrorKind::MissingInput,
        }
    }

    #[cfg(feature = "datasets")]
    pub(crate) fn read(path: &Path, source: io::Error, expected: &str) -> Self {
        FileError::read(path)(source).expecting(expected).into()
    }

    /// The error for a folder that cannot be read.
    pub(crate) fn list(path: &Path, source: io::Error, expected: &str) -> Self {
        FileError::list(path)(source).expecting(expected).into()
    }

    #[cfg(feature = "datasets")]
    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        FileError::Write { path: path.to_owned(), source }.into()
    }

    pub(crate) fn format(
        path: &Path,
        field: impl Into<String>,
        found: impl ToString,
        expected: impl ToString,
    ) -> Self {
        Self::Format {
            path: path.to_owned(),
            field: field.into(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }

    pub(crate) fn limit(
        path: &Path,
        field: impl Into<String>,
        found: impl ToString,
        limit: impl ToString,
    ) -> Self {
        Self::Limit {
            path: path.to_owned(),
            field: field.into(),
            found: found.to_string(),
            limit: limit.to_string(),
        }
    }

    pub(crate) fn setting(
        field: impl Into<String>,
        found: impl ToString,
        expected: impl ToString,
    ) -> Self {
        Self::Setting {
            field: field.into(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }
}
