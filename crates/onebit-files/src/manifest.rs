//! The manifest of a folder: length and SHA-256 of each file.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use onebit_model::hex;
use onebit_model::quote::{count, plain, shown_within};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, MANIFEST, open_regular, read_regular};

const MAX_MANIFEST_BYTES: u64 = 1 << 20;
/// Longest reason for which a manifest is refused, in characters.
const LONGEST_REASON: usize = 400;

/// Length and SHA-256 of each file of a folder, by name.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    files: BTreeMap<String, Entry>,
}

/// Length and SHA-256 of a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    bytes: u64,
    sha256: String,
}

impl Manifest {
    pub(crate) fn of(files: &[(&str, Vec<u8>)]) -> Self {
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), Entry::of(bytes)));
        Self { files: files.collect() }
    }

    pub(crate) fn to_json(&self) -> io::Result<Vec<u8>> {
        let mut json = serde_json::to_vec(self).map_err(io::Error::other)?;
        json.push(b'\n');
        Ok(json)
    }

    /// Reads the manifest of `folder`, which must list `names`, and none but files of that folder.
    pub(crate) fn read(folder: &Path, names: &[&str]) -> Result<Self, Error> {
        let path = folder.join(MANIFEST);
        let bad = |reason: String| Error::BadManifest { path: path.clone(), reason };
        let json = read_regular(&path, MAX_MANIFEST_BYTES)?;
        let manifest: Self = serde_json::from_slice(&json)
            .map_err(|e| bad(shown_within(&plain(&e.to_string()), LONGEST_REASON)))?;
        let plain = |name: &String| Path::new(name).file_name().is_some_and(|n| n == name.as_str());
        if let Some(name) = manifest.files.keys().find(|name| !plain(name)) {
            return Err(bad(format!("`{name}` is not the name of a file in this folder")));
        }
        match names.iter().find(|name| !manifest.files.contains_key(**name)) {
            Some(name) => Err(bad(format!("it does not list {name}"))),
            None => Ok(manifest),
        }
    }

    /// The files listed.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.files.iter().map(|(name, entry)| (name.as_str(), entry))
    }
}

impl Entry {
    fn of(content: &[u8]) -> Self {
        Self { bytes: content.len() as u64, sha256: hex(&Sha256::digest(content)) }
    }

    /// Checks the content that was read from the file at `path`.
    pub(crate) fn check(&self, path: &Path, content: &[u8]) -> Result<(), Error> {
        self.compare(path, &Self::of(content))
    }

    /// Checks the file at `path` without keeping its content.
    pub(crate) fn check_file(&self, path: &Path) -> Result<(), Error> {
        let mut file = open_regular(path)?;
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hash.update(&buffer[..count]);
                    bytes += count as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::read(path)(source)),
            }
        }
        self.compare(path, &Self { bytes, sha256: hex(&hash.finalize()) })
    }

    fn compare(&self, path: &Path, found: &Self) -> Result<(), Error> {
        let damaged = |found, expected| Error::Damaged { path: path.to_owned(), found, expected };
        if found.bytes != self.bytes {
            return Err(damaged(count(found.bytes, "byte"), count(self.bytes, "byte")));
        }
        if found.sha256 != self.sha256 {
            let sha256 = |entry: &Self| format!("SHA-256 {}", entry.sha256);
            return Err(damaged(sha256(found), sha256(self)));
        }
        Ok(())
    }
}
