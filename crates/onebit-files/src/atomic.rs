//! Files that are there in full or not at all.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use crate::{Error, UNFINISHED};
use onebit_model::hex;

/// Writes a file that is there in full or not at all: temporary file in the same folder, fsync, rename, fsync of
/// the folder. On failure the temporary file is removed and what was at `path` before still is.
///
/// # Errors
/// Anything that the system refuses, with the path.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = AtomicFile::create(path)?;
    file.write(bytes)?;
    file.commit()
}

/// A file that is written piece by piece under a temporary name and disappears unless
/// [`AtomicFile::commit`] is called. What a process that was killed has left of the same file is removed when the next one
/// begins; a lock tells it from what another process is writing.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    temporary: PathBuf,
    file: File,
    renamed: bool,
}

impl AtomicFile {
    /// A new, empty file in the folder of `target`.
    ///
    /// # Errors
    /// `target` names no file or something that is not one, such as a device; or the system refuses.
    pub fn create(target: &Path) -> Result<Self, Error> {
        let failed = Error::write(target);
        let Some(name) = target.file_name() else {
            return Err(failed(io::Error::other("the path names no file")));
        };
        if target.exists() && !target.is_file() {
            return Err(failed(io::Error::other("something other than a file is there")));
        }
        let folder = folder_of(target);
        let prefix = temporary_prefix(name);
        remove_leftovers(folder, &prefix);
        let (temporary, file) = create_temporary(folder, &prefix).map_err(failed)?;
        Ok(Self { target: target.to_owned(), temporary, file, renamed: false })
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// Anything that the system refuses, with the target's path.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(Error::write(&self.target))
    }

    /// Makes the content durable and gives the file its name, replacing what had it.
    ///
    /// # Errors
    /// Anything that the system refuses, with the target's path.
    pub fn commit(mut self) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::write(&self.target))?;
        fs::rename(&self.temporary, &self.target).map_err(Error::write(&self.target))?;
        self.renamed = true;
        sync_parent(&self.target)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.renamed {
            // The error that led here is the one to report; what stays is removed by the next write or `recover`.
            fs::remove_file(&self.temporary).ok();
        }
    }
}

/// Renames a file or folder within its file system and makes its new name last.
///
/// # Errors
/// Anything that the system refuses, with the path `to`.
pub fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(Error::write(to))?;
    sync_parent(to)
}

pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(Error::write(path))
}

pub(crate) fn sync_parent(path: &Path) -> Result<(), Error> {
    sync_folder(folder_of(path))
}

/// Makes a rename last. Only Unix can open a folder for this.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    if cfg!(unix) {
        let sync = || File::open(folder)?.sync_all();
        return sync().map_err(Error::write(folder));
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Start of the temporary names of a file: other files in the same folder have another one.
fn temporary_prefix(name: &OsStr) -> String {
    let digest = Sha256::digest(name.as_encoded_bytes());
    let digits = hex(&digest[..8]);
    format!("{UNFINISHED}{digits}-")
}

/// A new file with a lock on it, which ends with the process.
fn create_temporary(folder: &Path, prefix: &str) -> io::Result<(PathBuf, File)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    loop {
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{prefix}{}-{count}", process::id()));
        let file = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
            created => created?,
        };
        // Another process may have locked it first, and removed it as a leftover. Where there are no locks, nothing is
        // taken for one.
        let removed = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        if !removed && path.try_exists()? {
            return Ok((path, file));
        }
    }
}

/// Removes the temporary files that nobody writes any more. That some cannot be listed, opened or removed is no reason not
/// to write the file.
fn remove_leftovers(folder: &Path, prefix: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_temporary = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
        if !is_temporary || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let path = entry.path();
        if let Ok(file) = OpenOptions::new().write(true).open(&path)
            && file.try_lock().is_ok()
        {
            fs::remove_file(&path).ok();
        }
    }
}
