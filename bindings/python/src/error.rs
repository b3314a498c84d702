//! Errors of the library as exceptions of Python, one sentence each.

use std::io;

use onebit_files::Error as Files;
use pyo3::exceptions::{PyMemoryError, PyOSError, PyValueError};
use pyo3::{PyErr, create_exception};

create_exception!(
    onebit,
    FormatError,
    PyValueError,
    "A file that is damaged, of a newer version, or something else than expected."
);
create_exception!(
    onebit,
    DisagreementError,
    PyValueError,
    "A packed network does not compute what was trained or expected; nothing was written."
);

/// An error of any of the crates.
pub(crate) struct Failed(onebit::Error);

impl<E: Into<onebit::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Failed(error.into())
    }
}

impl From<Failed> for PyErr {
    fn from(Failed(error): Failed) -> PyErr {
        use onebit::Error;
        use onebit_pack::PackError;
        let text = error.to_string();
        match error {
            Error::Files(error) | Error::Pack(PackError::Files(error)) => of_files(error, text),
            Error::Data(error) => of_data(error, text),
            Error::Model(_) | Error::OtherFile { .. } | Error::Pack(PackError::Import { .. }) => {
                FormatError::new_err(text)
            }
            Error::OutOfMemory { .. } | Error::Threads { .. } => PyMemoryError::new_err(text),
            Error::Disagreement(_) => DisagreementError::new_err(text),
            _ => PyValueError::new_err(text),
        }
    }
}

fn of_files(error: Files, text: String) -> PyErr {
    match error {
        Files::Read { source, .. } | Files::Write { source, .. } => of_system(&source, text),
        Files::Missing { .. } | Files::NoCheckpoint { .. } => not_found(text),
        Files::NotRegular { .. } | Files::NotFolder { .. } => PyOSError::new_err(text),
        _ => FormatError::new_err(text),
    }
}

fn of_data(error: onebit_data::Error, text: String) -> PyErr {
    use onebit_data::{Error, ErrorKind};
    match (error.kind(), error) {
        (_, Error::NotFetched { name, .. }) => {
            not_found(format!("{text}; run `onebit data fetch {name}`"))
        }
        (ErrorKind::MissingInput, _) => not_found(text),
        (ErrorKind::Io, _) => PyOSError::new_err(text),
        (ErrorKind::BadData, _) => FormatError::new_err(text),
        (ErrorKind::Usage, _) => PyValueError::new_err(text),
    }
}

/// The subclass of `OSError` for an error of the system.
fn of_system(error: &io::Error, text: String) -> PyErr {
    match error.raw_os_error() {
        Some(number) => PyOSError::new_err((number, text)),
        None if error.kind() == io::ErrorKind::NotFound => not_found(text),
        None => PyOSError::new_err(text),
    }
}

fn not_found(text: String) -> PyErr {
    pyo3::exceptions::PyFileNotFoundError::new_err(text)
}

/// A `ValueError`.
pub(crate) fn value_error(text: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(text.to_string())
}
