//! Folders that appear by one rename, with a manifest.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::atomic::{rename, sync_folder, sync_parent, write_synced};
use crate::manifest::Manifest;
use crate::{Error, MANIFEST, UNFINISHED, read_regular};

const REPLACED: &str = ".old-";
const DAMAGED: &str = "damaged-";

/// Writes a folder with `files` and their manifest: first under another name beside it, then, when all of it is on
/// the disk, by a rename. A folder that is there already is replaced.
///
/// # Errors
/// Anything that the system refuses; then a folder that was there before still is.
pub fn write_folder(target: &Path, files: &[(&str, Vec<u8>)]) -> Result<(), Error> {
    let unfinished = beside(target, UNFINISHED)?;
    let written = fill(&unfinished, files).and_then(|()| replace(&unfinished, target));
    if written.is_err() {
        // The first error is the one to report; what cannot be removed now is removed by `recover`.
        fs::remove_dir_all(&unfinished).ok();
    }
    written
}

/// Checks every file of a folder against its manifest and gives the contents of `names`, each of at most `limit`
/// bytes.
///
/// # Errors
/// A file that cannot be read or is not what the manifest says, or a manifest that does not list one of `names`.
pub fn read_folder<const N: usize>(
    folder: &Path,
    names: [&str; N],
    limit: u64,
) -> Result<[Vec<u8>; N], Error> {
    let manifest = Manifest::read(folder, &names)?;
    let mut contents = [const { Vec::new() }; N];
    for (name, entry) in manifest.files() {
        let path = folder.join(name);
        match names.iter().position(|wanted| *wanted == name) {
            Some(i) => {
                contents[i] = read_regular(&path, limit)?;
                entry.check(&path, &contents[i])?;
            }
            None => entry.check_file(&path)?,
        }
    }
    Ok(contents)
}

/// Removes what an interrupted write has left in `folder`, and puts back what it was about to replace. Only the
/// one process that writes in `folder` may call it.
///
/// # Errors
/// Anything that the system refuses.
pub fn recover(folder: &Path) -> Result<(), Error> {
    for name in names(folder)? {
        let path = folder.join(&name);
        if name.starts_with(UNFINISHED) {
            remove(&path)?;
        } else if let Some(name) = name.strip_prefix(REPLACED) {
            let target = folder.join(name);
            if target.exists() { remove(&path)? } else { rename(&path, &target)? }
        }
    }
    Ok(())
}

/// Removes a folder in such an order that what is left of an interrupted removal is no checkpoint.
///
/// # Errors
/// Anything that the system refuses.
pub fn remove_folder(folder: &Path) -> Result<(), Error> {
    let doomed = beside(folder, UNFINISHED)?;
    fs::rename(folder, &doomed).map_err(Error::write(folder))?;
    remove(&doomed)
}

/// Gives a file or folder that is damaged the name `damaged-NAME` beside it, or `damaged-NAME-2` and so on where that is
/// taken, and returns the new path.
///
/// # Errors
/// Anything that the system refuses; then it has its name still.
pub fn set_aside(path: &Path) -> Result<PathBuf, Error> {
    let first = beside(path, DAMAGED)?;
    let mut aside = first.clone();
    for number in 2.. {
        match fs::symlink_metadata(&aside) {
            Err(error) if error.kind() == ErrorKind::NotFound => break,
            Err(error) => return Err(Error::read(&aside)(error)),
            Ok(_) => {}
        }
        let mut name = first.clone().into_os_string();
        name.push(format!("-{number}"));
        aside = name.into();
    }
    rename(path, &aside)?;
    Ok(aside)
}

/// Names of what is in `folder`, as far as they are Unicode; none if it does not exist.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let failed = Error::list(folder);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound && !folder.is_symlink() => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let names: io::Result<Vec<_>> =
        entries.map(|entry| Ok(entry?.file_name().into_string().ok())).collect();
    Ok(names.map_err(failed)?.into_iter().flatten().collect())
}

fn fill(folder: &Path, files: &[(&str, Vec<u8>)]) -> Result<(), Error> {
    if folder.exists() {
        remove(folder)?;
    }
    fs::create_dir_all(folder).map_err(Error::write(folder))?;
    for (name, bytes) in files {
        write_synced(&folder.join(name), bytes)?;
    }
    let path = folder.join(MANIFEST);
    let json = Manifest::of(files).to_json().map_err(Error::write(&path))?;
    write_synced(&path, &json)?;
    sync_folder(folder)
}

fn replace(unfinished: &Path, target: &Path) -> Result<(), Error> {
    if !target.exists() {
        return rename(unfinished, target);
    }
    let replaced = beside(target, REPLACED)?;
    if replaced.exists() {
        remove(&replaced)?;
    }
    fs::rename(target, &replaced).map_err(Error::write(target))?;
    if let Err(error) = fs::rename(unfinished, target) {
        rename(&replaced, target)?;
        return Err(Error::write(target)(error));
    }
    sync_parent(target)?;
    remove(&replaced)
}

fn beside(target: &Path, prefix: &str) -> Result<PathBuf, Error> {
    match target.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok(target.with_file_name(format!("{prefix}{name}"))),
        None => Err(Error::write(target)(io::Error::from(ErrorKind::InvalidInput))),
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(Error::write(path))
}
