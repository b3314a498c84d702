use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use onebit_files::count;

use crate::Error;

pub(crate) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The folder that holds fetched data sets, one subfolder each.
///
/// It is `$ONEBIT_DATA`, or else `$XDG_DATA_HOME/onebit`, or else `~/.local/share/onebit`.
///
/// # Errors
///
/// If none of the three variables is set.
pub fn data_dir() -> Result<PathBuf, Error> {
    data_dir_from(|name| env::var_os(name).filter(|value| !value.is_empty()))
}

fn data_dir_from(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, Error> {
    if let Some(folder) = variable("ONEBIT_DATA") {
        return Ok(folder.into());
    }
    if let Some(folder) = variable("XDG_DATA_HOME") {
        return Ok(PathBuf::from(folder).join("onebit"));
    }
    match variable("HOME") {
        Some(home) => Ok(PathBuf::from(home).join(".local/share/onebit")),
        None => Err(Error::setting(
            "environment variable ONEBIT_DATA",
            "not set",
            "the folder that holds data sets, because HOME is not set either",
        )),
    }
}

/// `folder/name` or `folder/name.gz`, whichever is there; `expected` says what is, where neither is.
pub(crate) fn find_plain_or_gz(
    folder: &Path,
    name: &str,
    expected: &str,
) -> Result<PathBuf, Error> {
    let path = folder.join(name);
    let packed = folder.join(format!("{name}.gz"));
    match fs::metadata(&path) {
        Ok(_) => Ok(path),
        Err(_) if packed.exists() => Ok(packed),
        Err(source) => Err(Error::read(&path, source, expected)),
    }
}

/// Opens a file and undoes gzip if its first two bytes say gzip.
pub(crate) fn open_plain_or_gz(path: &Path, expected: &str) -> Result<Box<dyn Read>, Error> {
    let file = open_regular(path, expected)?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let start = reader.fill_buf().map_err(|source| Error::read(path, source, expected))?;
    if start.starts_with(&GZIP_MAGIC) {
        Ok(Box::new(MultiGzDecoder::new(reader)))
    } else {
        Ok(Box::new(reader))
    }
}

/// Turns a failure while reading content into the error that fits: damaged content or the system.
pub(crate) fn content_error(path: &Path, source: std::io::Error) -> Error {
    match source.kind() {
        ErrorKind::UnexpectedEof => {
            Error::format(path, "gzip content", "cut short", "a whole gzip stream")
        }
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            Error::format(path, "gzip content", source, "a whole gzip stream")
        }
        _ => Error::read(path, source, "a readable file"),
    }
}

/// Reads exactly `length` bytes, after which `reader` must end.
pub(crate) fn read_exactly(
    path: &Path,
    reader: &mut dyn Read,
    length: u64,
    field: &str,
) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    reader
        .take(length.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| content_error(path, source))?;
    let found = bytes.len() as u64;
    if found == length {
        return Ok(bytes);
    }
    let wanted = count(length, "byte");
    let found = if found > length { format!("more than {wanted}") } else { count(found, "byte") };
    Err(Error::format(path, field, found, wanted))
}

/// Reads a whole regular file that must not be longer than `limit` bytes.
pub(crate) fn read_limited(path: &Path, limit: u64, expected: &str) -> Result<Vec<u8>, Error> {
    onebit_files::read_regular(path, limit).map_err(|error| Error::expecting(error, expected))
}

/// Opens a regular file.
pub(crate) fn open_regular(path: &Path, expected: &str) -> Result<File, Error> {
    onebit_files::open_regular(path).map_err(|error| Error::expecting(error, expected))
}

/// Opens a regular file, or a pipe without a name.
pub(crate) fn open_to_read(path: &Path, expected: &str) -> Result<File, Error> {
    onebit_files::open_to_read(path).map_err(|error| Error::expecting(error, expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(variables: &[(&str, &str)]) -> Result<PathBuf, Error> {
        data_dir_from(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_data_folder_follows_the_environment() {
        let all = [("ONEBIT_DATA", "/a"), ("XDG_DATA_HOME", "/b"), ("HOME", "/c")];
        assert_eq!(dir(&all).unwrap(), Path::new("/a"));
        assert_eq!(dir(&all[1..]).unwrap(), Path::new("/b/onebit"));
        assert_eq!(dir(&all[2..]).unwrap(), Path::new("/c/.local/share/onebit"));
        assert!(dir(&[]).unwrap_err().to_string().contains("ONEBIT_DATA is not set"));
    }
}
