//! The temporary folder in which a set is unpacked before it is published by a rename.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use onebit_files::rename;

use crate::{Content, Error};

const FOLDER: &str = "part";
const LOCK: &str = "lock";

/// A folder `.NAME.PID.part` beside the set's folder that disappears unless it is published. A lock on the file
/// `.NAME.PID.lock` beside it, which ends with the process, tells it from what a killed process has left.
pub(crate) struct Staging {
    folder: PathBuf,
    lock: PathBuf,
    _locked: File,
}

impl Staging {
    pub(crate) fn new(data_dir: &Path, name: &str) -> Result<Self, Error> {
        fs::create_dir_all(data_dir).map_err(|source| Error::write(data_dir, source))?;
        let stem = format!(".{name}.{}", std::process::id());
        let folder = data_dir.join(format!("{stem}.{FOLDER}"));
        let lock = data_dir.join(format!("{stem}.{LOCK}"));
        let locked = locked(&lock).map_err(|source| Error::write(&lock, source))?;
        let staging = Self { folder, lock, _locked: locked };
        fs::create_dir_all(&staging.folder)
            .map_err(|source| Error::write(&staging.folder, source))?;
        Ok(staging)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes it the set's folder, or moves its files into the one that is there.
    pub(crate) fn publish<'a>(
        self,
        folder: &Path,
        contents: impl Iterator<Item = &'a Content<'a>>,
    ) -> Result<(), Error> {
        if !folder.exists() {
            return Ok(rename(&self.folder, folder)?);
        }
        for content in contents {
            rename(&self.folder.join(content.file), &folder.join(content.file))?;
        }
        Ok(())
    }

    /// Removes what killed processes have left of the set `name`. That some of it cannot be is no reason not to fetch.
    pub(crate) fn remove_leftovers(data_dir: &Path, name: &str) {
        for entry in fs::read_dir(data_dir).into_iter().flatten().flatten() {
            let file = entry.file_name();
            let of_this_set =
                file.to_str().and_then(|file| file.strip_prefix(&format!(".{name}.")));
            let Some((process, kind)) = of_this_set.and_then(|rest| rest.split_once('.')) else {
                continue;
            };
            if process.parse::<u32>().is_err() || ![FOLDER, LOCK].contains(&kind) {
                continue;
            }
            let lock = entry.path().with_extension(LOCK);
            let left = match OpenOptions::new().write(true).open(&lock) {
                Ok(file) => file.try_lock().is_ok().then_some(Some(file)),
                Err(error) => (error.kind() == io::ErrorKind::NotFound).then_some(None),
            };
            if let Some(_locked) = left {
                fs::remove_dir_all(lock.with_extension(FOLDER)).ok();
                fs::remove_file(lock).ok();
            }
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
        fs::remove_file(&self.lock).ok();
    }
}

/// A new file with a lock on it.
fn locked(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        // Another process may have locked it first, and removed it as a leftover. Where there are no locks, nothing is
        // taken for one.
        let taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        if !taken && path.try_exists()? {
            return Ok(file);
        }
    }
}
