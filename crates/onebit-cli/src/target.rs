//! A file that a verb makes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::output::{self, count};

/// Where a file is to be written; checked before anything is computed.
pub(crate) struct Target {
    path: PathBuf,
}

impl Target {
    /// Refuses names with another ending than `endings`, if they have one, which `hint` then explains, and files that are
    /// read.
    pub(crate) fn new(
        path: &Path,
        endings: &[&str],
        hint: &str,
        read: &[&Path],
    ) -> anyhow::Result<Self> {
        let shown = path.display();
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        if ending.is_some_and(|ending| !endings.contains(&ending.as_str())) {
            let endings: Vec<_> = endings.iter().map(|ending| format!(".{ending}")).collect();
            return Err(Failure::usage(format!(
                "{shown}: expected a name that ends in {}; {hint}",
                endings.join(" or ")
            )));
        }
        Self::of(path, read)
    }

    /// Refuses files that are read.
    pub(crate) fn of(path: &Path, read: &[&Path]) -> anyhow::Result<Self> {
        let target = Self { path: path.to_owned() };
        target.differs_from(read)?;
        Ok(target)
    }

    /// Refuses a file that is read.
    pub(crate) fn differs_from(&self, read: &[&Path]) -> anyhow::Result<()> {
        let Ok(place) = fs::canonicalize(&self.path) else { return Ok(()) };
        if read.iter().any(|read| fs::canonicalize(read).is_ok_and(|read| read == place)) {
            let shown = self.path.display();
            return Err(Failure::usage(match place.is_dir() {
                true => format!(
                    "{shown}: is the folder that is read here, expected the name of a file to write"
                ),
                false => format!(
                    "{shown}: is a file that is read here, which would be replaced; give the output another name"
                ),
            }));
        }
        Ok(())
    }

    /// Writes the file as a whole. A note says so, and the result is true, if one was there before.
    pub(crate) fn write(&self, content: &[u8]) -> anyhow::Result<bool> {
        self.write_by(|path| Ok(onebit_pack::write_atomic(path, content)?))
    }

    /// The same where `write` writes it.
    pub(crate) fn write_by(
        &self,
        write: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let before = fs::metadata(&self.path).ok().map(|before| before.len());
        write(&self.path)?;
        if let Some(bytes) = before {
            let shown = self.path.display();
            output::note(&format!("replaced {shown} ({})", count(bytes, "byte")));
        }
        Ok(before.is_some())
    }
}
