//! Folders that appear by one rename, with a manifest.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::MANIFEST;
use crate::TrainError;
use crate::recipe::hex;

const UNFINISHED: &str = ".tmp-";
const REPLACED: &str = ".old-";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    files: BTreeMap<String, Entry>,
}

#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    bytes: u64,
    sha256: String,
}

/// Writes a folder with `files` and their manifest: first under another name beside it, then, when all of it is on
/// the disk, by a rename. A folder that is there already is replaced.
pub(super) fn write_folder(target: &Path, files: &[(&str, Vec<u8>)]) -> Result<(), TrainError> {
    let unfinished = beside(target, UNFINISHED)?;
    let written = fill(&unfinished, files).and_then(|()| replace(&unfinished, target));
    if written.is_err() {
        // The first error is the one to report; what cannot be removed now is removed by `recover`.
        let _ = fs::remove_dir_all(&unfinished);
    }
    written
}

/// Writes a file under another name beside it, then renames it.
pub(crate) fn write_file(target: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let unfinished = beside(target, UNFINISHED)?;
    let written = write_synced(&unfinished, bytes)
        .and_then(|()| fs::rename(&unfinished, target).map_err(TrainError::write(target)))
        .and_then(|()| sync_parent(target));
    if written.is_err() {
        // As above.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// Removes what an interrupted write has left in `folder`, and puts back what it was about to replace.
pub(crate) fn recover(folder: &Path) -> Result<(), TrainError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(TrainError::read(folder)(error)),
    };
    for entry in entries {
        let path = entry.map_err(TrainError::read(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(UNFINISHED) {
            remove(&path)?;
        } else if let Some(name) = name.strip_prefix(REPLACED) {
            let target = folder.join(name);
            if target.exists() {
                remove(&path)?;
            } else {
                fs::rename(&path, &target).map_err(TrainError::write(&target))?;
            }
        }
    }
    Ok(())
}

/// Reads the files `names` of a folder after checking them against its manifest, in the order asked for.
pub(super) fn read_folder(folder: &Path, names: &[&str]) -> Result<Vec<Vec<u8>>, TrainError> {
    let path = folder.join(MANIFEST);
    let text = fs::read(&path).map_err(TrainError::read(&path))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|e| TrainError::damaged(&path, e))?;
    let read = |name: &&str| {
        let path = folder.join(name);
        let bytes = fs::read(&path).map_err(TrainError::read(&path))?;
        match manifest.files.get(*name) {
            Some(entry) if *entry == self::entry(&bytes) => Ok(bytes),
            Some(_) => Err(TrainError::damaged(
                &path,
                "does not have the length and SHA-256 that manifest.json gives, so the file is damaged",
            )),
            None => Err(TrainError::damaged(&path, "is not in manifest.json")),
        }
    };
    names.iter().map(read).collect()
}

/// Names of the folders in `folder`; none if it does not exist.
pub(super) fn subfolders(folder: &Path) -> Result<Vec<String>, TrainError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(TrainError::read(folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(TrainError::read(folder))?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

/// Removes a folder in such an order that what is left of an interrupted removal is no checkpoint.
pub(super) fn remove_folder(folder: &Path) -> Result<(), TrainError> {
    let doomed = beside(folder, UNFINISHED)?;
    fs::rename(folder, &doomed).map_err(TrainError::write(folder))?;
    remove(&doomed)
}

fn fill(folder: &Path, files: &[(&str, Vec<u8>)]) -> Result<(), TrainError> {
    if folder.exists() {
        remove(folder)?;
    }
    fs::create_dir_all(folder).map_err(TrainError::write(folder))?;
    let mut manifest = Manifest { files: BTreeMap::new() };
    for (name, bytes) in files {
        write_synced(&folder.join(name), bytes)?;
        manifest.files.insert((*name).to_owned(), entry(bytes));
    }
    let path = folder.join(MANIFEST);
    let mut text = serde_json::to_vec(&manifest).map_err(|e| TrainError::damaged(&path, e))?;
    text.push(b'\n');
    write_synced(&path, &text)?;
    sync_folder(folder)
}

fn replace(unfinished: &Path, target: &Path) -> Result<(), TrainError> {
    if !target.exists() {
        fs::rename(unfinished, target).map_err(TrainError::write(target))?;
        return sync_parent(target);
    }
    let replaced = beside(target, REPLACED)?;
    if replaced.exists() {
        remove(&replaced)?;
    }
    fs::rename(target, &replaced).map_err(TrainError::write(target))?;
    if let Err(error) = fs::rename(unfinished, target) {
        fs::rename(&replaced, target).map_err(TrainError::write(target))?;
        return Err(TrainError::write(target)(error));
    }
    sync_parent(target)?;
    remove(&replaced)
}

fn entry(bytes: &[u8]) -> Entry {
    Entry { bytes: bytes.len() as u64, sha256: hex(&Sha256::digest(bytes)) }
}

fn beside(target: &Path, prefix: &str) -> Result<PathBuf, TrainError> {
    match target.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok(target.with_file_name(format!("{prefix}{name}"))),
        None => Err(TrainError::write(target)(io::Error::from(ErrorKind::InvalidInput))),
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(TrainError::write(path))
}

fn sync_parent(path: &Path) -> Result<(), TrainError> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_folder(Path::new(".")),
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

/// Makes a rename last. Only Unix can open a folder for this.
fn sync_folder(folder: &Path) -> Result<(), TrainError> {
    if cfg!(unix) {
        let sync = || File::open(folder)?.sync_all();
        return sync().map_err(TrainError::write(folder));
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), TrainError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(TrainError::write(path))
}
