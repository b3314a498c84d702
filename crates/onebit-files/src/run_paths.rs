//! The files of a run's folder.
//!
//! ```text
//! RUN/recipe.toml   the recipe, overrides and seed included
//! RUN/metrics.csv   one row for each epoch
//! RUN/checkpoints/  the newest checkpoints, each in a folder that its [`Position`](crate::Position) names
//! RUN/best/         the weights with the best test result of the stage with binary weights
//! ```

use std::path::{Path, PathBuf};

use crate::{Error, checkpoints};

const RECIPE: &str = "recipe.toml";
const METRICS: &str = "metrics.csv";
const CHECKPOINTS: &str = "checkpoints";
const BEST: &str = "best";

/// Paths of a run's files, without any claim that they exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPaths {
    root: PathBuf,
}

impl RunPaths {
    /// Names of what a run has before its first epoch ends.
    pub const BEFORE_FIRST_EPOCH: [&str; 3] = [RECIPE, METRICS, CHECKPOINTS];

    /// Those of the run in the folder `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        RunPaths { root: root.to_owned() }
    }

    /// The run's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The recipe; a folder with this file is a run.
    #[must_use]
    pub fn recipe(&self) -> PathBuf {
        self.root.join(RECIPE)
    }

    /// One row for each epoch.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.root.join(METRICS)
    }

    /// The checkpoints; see [`checkpoints`].
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join(CHECKPOINTS)
    }

    /// The best weights; see [`load_weights`](crate::load_weights).
    #[must_use]
    pub fn best(&self) -> PathBuf {
        self.root.join(BEST)
    }

    /// Whether there are checkpoints, but no recipe that says what they are of.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn recipe_is_lost(&self) -> Result<bool, Error> {
        Ok(!self.recipe().exists() && !checkpoints(&self.checkpoints())?.is_empty())
    }
}
