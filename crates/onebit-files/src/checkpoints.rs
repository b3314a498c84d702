//! The checkpoints of a run, by the names of their folders.

use std::cmp::Reverse;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::folder::names;

/// How far a run had come at a checkpoint; shown and read as the name of its folder, `epoch-00005` after 5 epochs or
/// `epoch-00005-step-000123` after 123 steps of the sixth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Finished epochs.
    pub epoch: usize,
    /// Steps made of the next epoch.
    pub step: usize,
}

impl Position {
    /// The position that a folder's name says, if it is the name of one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let numbers = name.strip_prefix("epoch-")?;
        let (epoch, step) = numbers.split_once("-step-").unwrap_or((numbers, "0"));
        let position = Self { epoch: epoch.parse().ok()?, step: step.parse().ok()? };
        (position.to_string() == name).then_some(position)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { epoch, step: 0 } => write!(f, "epoch-{epoch:05}"),
            Self { epoch, step } => write!(f, "epoch-{epoch:05}-step-{step:06}"),
        }
    }
}

/// All checkpoints in `folder`, damaged ones too, newest first; none if it does not exist.
///
/// # Errors
/// The folder cannot be read.
pub fn checkpoints(folder: &Path) -> Result<Vec<(Position, PathBuf)>, Error> {
    let found = names(folder)?.into_iter();
    let mut found: Vec<_> =
        found.filter_map(|name| Some((Position::from_name(&name)?, folder.join(name)))).collect();
    found.sort_unstable_by_key(|&(position, _)| Reverse(position));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (epoch, step, name) in [
            (0, 0, "epoch-00000"),
            (5, 0, "epoch-00005"),
            (5, 123, "epoch-00005-step-000123"),
            (123_456, 1_234_567, "epoch-123456-step-1234567"),
        ] {
            let position = Position { epoch, step };
            assert_eq!(position.to_string(), name);
            assert_eq!(Position::from_name(name), Some(position));
        }
        for other in [
            "epoch-",
            "epoch-x",
            "epoch-5",
            "epoch-+0005",
            "epoch-1-step-",
            "epoch-00001-step-000000",
            "best",
            ".tmp-epoch-00005",
            "damaged-epoch-00005",
        ] {
            assert_eq!(Position::from_name(other), None, "{other}");
        }
    }
}
