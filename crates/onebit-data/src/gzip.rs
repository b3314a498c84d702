//! Files that may be compressed with gzip, and content of a known length.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use onebit_files::count;

use crate::Error;
use crate::files::open_regular;

pub(crate) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

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
