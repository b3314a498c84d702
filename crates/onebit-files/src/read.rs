//! Files read within a limit: whole, as text, or while they are parsed.

use std::fs::{self, File, FileType};
use std::io::{self, Cursor, Read};
use std::path::Path;

use onebit_model::file::{ByteSource, FileError, START_BYTES, check_start};

use crate::Error;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads a whole file that must not be longer than `limit` bytes.
///
/// # Errors
/// Unreadable, or longer.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let (file, announced) = open(path, limit)?;
    read_all(&file, announced, path, limit, Vec::new())
}

/// As [`read_limited`] if the first `start` bytes, or all where there are fewer, are `wanted`; otherwise `None`, and no
/// more is read.
///
/// # Errors
/// Unreadable, or longer.
pub fn read_if(
    path: &Path,
    limit: u64,
    start: usize,
    wanted: impl FnOnce(&[u8]) -> bool,
) -> Result<Option<Vec<u8>>, Error> {
    let (file, announced) = open(path, limit)?;
    let mut bytes = Vec::new();
    read_more(&file, start as u64, path, &mut bytes)?;
    match wanted(&bytes) {
        true => read_all(&file, announced, path, limit, bytes).map(Some),
        false => Ok(None),
    }
}

/// As [`read_limited`], of a regular file only: anything else might never end, or never begin.
///
/// # Errors
/// Not a regular file or a link to one, unreadable, or longer.
pub fn read_regular(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let file = open_regular(path)?;
    let announced = announced(&file, path, limit)?;
    read_all(&file, announced, path, limit, Vec::new())
}

/// Opens a regular file, or a link to one, for reading; nothing else is even opened, as that alone can wait for ever.
///
/// # Errors
/// Not a regular file, or unreadable.
pub fn open_regular(path: &Path) -> Result<File, Error> {
    let failed = Error::read(path);
    match irregular(&fs::metadata(path).map_err(&failed)?.file_type()) {
        Some(found) => Err(Error::NotRegular { path: path.to_owned(), found }),
        None => File::open(path).map_err(&failed),
    }
}

/// What something that is no regular file is.
fn irregular(kind: &FileType) -> Option<&'static str> {
    if kind.is_file() {
        return None;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return Some("a named pipe");
        }
        if kind.is_socket() {
            return Some("a socket");
        }
        if kind.is_char_device() || kind.is_block_device() {
            return Some("a device");
        }
    }
    Some(if kind.is_dir() { "a folder" } else { "something else" })
}

/// Reads a whole text file that must not be longer than `limit` bytes; a byte order mark at its start is left out.
///
/// # Errors
/// Unreadable, longer, or not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String, Error> {
    let bytes = read_limited(path, limit)?;
    let mut text = String::from_utf8(bytes).map_err(|error| Error::NotText {
        path: path.to_owned(),
        line: 1 + newlines(&error.as_bytes()[..error.utf8_error().valid_up_to()]),
    })?;
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len_utf8());
    }
    Ok(text)
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

/// Parses a file in one of the onebit formats, of no more than `limit` bytes, without a copy of the whole file in memory.
///
/// # Errors
/// Unreadable, longer, or refused.
pub fn parse_limited<T>(
    path: &Path,
    limit: u64,
    parse: impl FnOnce(Opened) -> Result<T, Refused>,
) -> Result<T, Error> {
    let refused = |source| Error::Format { path: path.to_path_buf(), source };
    let (file, bytes) = open(path, limit)?;
    let opened = if file.metadata().map_err(Error::read(path))?.is_file() {
        Opened { reader: Box::new(file), bytes }
    } else {
        let mut content = Vec::new();
        read_more(&file, START_BYTES as u64, path, &mut content)?;
        check_start(&content).map_err(refused)?;
        let content = read_all(&file, bytes, path, limit, content)?;
        Opened { bytes: content.len(), reader: Box::new(Cursor::new(content)) }
    };
    parse(opened).map_err(|error| match error {
        Refused::Read(source) => Error::read(path)(source),
        Refused::Format(FileError::OutOfMemory { .. }) => {
            Error::read(path)(io::ErrorKind::OutOfMemory.into())
        }
        Refused::Format(source) => refused(source),
    })
}

/// The file and the length that the system tells.
fn open(path: &Path, limit: u64) -> Result<(File, usize), Error> {
    let file = open_to_read(path)?;
    let announced = announced(&file, path, limit)?;
    Ok((file, announced))
}

/// Opens a file for reading, or a pipe without a name, such as standard input or a shell's `<(command)`. A named pipe is
/// not opened, as that can wait for ever.
///
/// # Errors
/// A folder, a named pipe, or unreadable.
pub fn open_to_read(path: &Path) -> Result<File, Error> {
    let failed = Error::read(path);
    let kind = fs::metadata(path).map_err(&failed)?.file_type();
    let is_named_pipe = is_pipe(&kind) && path.canonicalize().is_ok();
    if let Some(found) = irregular(&kind).filter(|_| kind.is_dir() || is_named_pipe) {
        return Err(Error::NotRegular { path: path.to_owned(), found });
    }
    File::open(path).map_err(failed)
}

#[cfg(unix)]
fn is_pipe(kind: &FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(kind)
}

#[cfg(not(unix))]
fn is_pipe(_: &FileType) -> bool {
    false
}

fn announced(file: &File, path: &Path, limit: u64) -> Result<usize, Error> {
    let announced = file.metadata().map_err(Error::read(path))?.len();
    match usize::try_from(announced) {
        Ok(bytes) if announced <= limit => Ok(bytes),
        _ => Err(too_large(path, limit)),
    }
}

/// The bytes that were read, and all that follow.
fn read_all(
    file: &File,
    announced: usize,
    path: &Path,
    limit: u64,
    mut bytes: Vec<u8>,
) -> Result<Vec<u8>, Error> {
    let read = bytes.len();
    let reserved = bytes.try_reserve(announced.saturating_sub(read));
    reserved.map_err(|_| Error::read(path)(io::ErrorKind::OutOfMemory.into()))?;
    read_more(file, limit.saturating_add(1).saturating_sub(read as u64), path, &mut bytes)?;
    if bytes.len() as u64 > limit { Err(too_large(path, limit)) } else { Ok(bytes) }
}

/// Reads at most `most` bytes more.
fn read_more(file: &File, most: u64, path: &Path, to: &mut Vec<u8>) -> Result<(), Error> {
    file.take(most).read_to_end(to).map(drop).map_err(Error::read(path))
}

fn too_large(path: &Path, limit: u64) -> Error {
    Error::TooLarge { path: path.to_owned(), limit }
}

/// An open file, as far as it is not yet read.
pub struct Opened {
    reader: Box<dyn Read>,
    bytes: usize,
}

/// Why [`parse_limited`] has nothing to return.
pub enum Refused {
    /// The file cannot be read.
    Read(io::Error),
    /// Its contents are refused.
    Format(FileError),
}

impl From<FileError> for Refused {
    fn from(error: FileError) -> Self {
        Refused::Format(error)
    }
}

impl ByteSource for Opened {
    type Error = Refused;

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn read(&mut self, to: &mut [u8]) -> Result<(), Refused> {
        self.reader.read_exact(to).map_err(|error| {
            Refused::Read(match error.kind() {
                io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "it ends early"),
                _ => error,
            })
        })
    }
}
