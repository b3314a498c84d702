use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use onebit_model::file::{self, FileError, Weights};
use onebit_model::{Model, Verified};

use crate::PackError;

/// Largest `.onebit` file that is read, in bytes.
pub const MAX_MODEL_FILE_BYTES: u64 = 2 << 30;
/// Largest `weights.safetensors` that is read, in bytes.
pub const MAX_WEIGHTS_FILE_BYTES: u64 = 4 << 30;

/// Reads and verifies a `.onebit` file.
///
/// # Errors
/// Unreadable, above [`MAX_MODEL_FILE_BYTES`], or refused; each names the file.
pub fn read_model_file(path: &Path) -> Result<Verified<Model>, PackError> {
    parse(path, file::read_model(&read_file(path, MAX_MODEL_FILE_BYTES)?))
}

/// Reads and verifies a `weights.safetensors` file.
///
/// # Errors
/// Unreadable, above [`MAX_WEIGHTS_FILE_BYTES`], or refused; each names the file.
pub fn read_weights_file(path: &Path) -> Result<Verified<Weights>, PackError> {
    parse(path, file::read_weights(&read_file(path, MAX_WEIGHTS_FILE_BYTES)?))
}

pub(crate) fn parse<T>(path: &Path, parsed: Result<T, FileError>) -> Result<T, PackError> {
    parsed.map_err(|source| PackError::Format { path: path.to_path_buf(), source })
}

pub(crate) fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, PackError> {
    let failed = |source| PackError::Read { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(failed)?;
    let announced = file.metadata().map_err(failed)?.len();
    let too_large = || PackError::TooLarge { path: path.to_path_buf(), limit };
    if announced > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    bytes.try_reserve(announced as usize).map_err(|e| failed(io::Error::other(e)))?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
}

/// Writes a file that is there in full or not at all: temporary file in the same folder, fsync, rename, fsync of
/// the folder. On failure the temporary file is removed and what was at `path` before still is.
///
/// # Errors
/// Anything that the system refuses, with the path.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), PackError> {
    replace(path, bytes).map_err(|source| PackError::Write { path: path.to_path_buf(), source })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(io::Error::other("the path names no file"));
    }
    if path.exists() && !path.is_file() {
        return Err(io::Error::other("something other than a file is there"));
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let (temporary, file) = create_temporary(folder)?;
    if let Err(error) = fill(file, bytes).and_then(|()| fs::rename(&temporary, path)) {
        return Err(match fs::remove_file(&temporary) {
            Ok(()) => error,
            Err(left) => {
                let message = format!("{error}; {} is left behind: {left}", temporary.display());
                io::Error::new(error.kind(), message)
            }
        });
    }
    sync_folder(folder)
}

fn create_temporary(folder: &Path) -> io::Result<(PathBuf, File)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    loop {
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".onebit-{}-{count}.tmp", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created.map(|file| (path, file)),
        }
    }
}

fn fill(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
