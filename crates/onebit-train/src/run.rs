//! The folder of a run.
//!
//! ```text
//! RUN/recipe.toml   the recipe, overrides and seed included
//! RUN/metrics.csv   one row for each epoch
//! RUN/checkpoints/  the newest checkpoints
//! RUN/best/         the weights with the best test result of the stage with binary weights
//! ```

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::checkpoint::{recover, write_file};
use crate::{Recipe, TrainError};

/// Paths of a run's files, without any claim that they exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPaths {
    root: PathBuf,
}

impl RunPaths {
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
        self.root.join("recipe.toml")
    }

    /// One row for each epoch; see [`crate::metrics`].
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.csv")
    }

    /// The checkpoints; see [`crate::checkpoint::latest`].
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// The best weights; see [`crate::checkpoint::load_weights`].
    #[must_use]
    pub fn best(&self) -> PathBuf {
        self.root.join("best")
    }
}

/// A run's folder that this process alone writes to, until this is dropped.
pub(crate) struct OpenRun {
    pub(crate) paths: RunPaths,
    /// The epochs with binary weights that the recipe in the folder says.
    pub(crate) epochs: usize,
    _lock: File,
}

/// How a run is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It must not be there yet.
    Start,
    /// It is there, with the same recipe.
    Resume,
    /// It is there, with the same recipe but for `train.epochs`.
    ChangeEpochs,
}

impl OpenRun {
    /// Starts a run in an empty or new folder, or opens the run of the same recipe that is to be resumed.
    pub(crate) fn open(root: &Path, recipe: &Recipe, mode: Mode) -> Result<Self, TrainError> {
        let paths = RunPaths::new(root);
        let is_run = paths.recipe().exists();
        let epochs = match (is_run, mode) {
            (true, _) => check_recipe(&paths, recipe, mode)?,
            (false, Mode::Start) => {
                check_empty(root)?;
                recipe.train.epochs
            }
            (false, Mode::Resume | Mode::ChangeEpochs) => {
                return Err(TrainError::NoRun { path: root.to_owned() });
            }
        };
        fs::create_dir_all(root).map_err(TrainError::write(root))?;
        let lock = lock(root)?;
        recover(root)?;
        recover(&paths.checkpoints())?;
        let run = OpenRun { paths, epochs, _lock: lock };
        if !is_run {
            run.write_recipe(recipe)?;
        }
        Ok(run)
    }

    /// Puts a recipe in the place of the one in the folder.
    pub(crate) fn write_recipe(&self, recipe: &Recipe) -> Result<(), TrainError> {
        write_file(&self.paths.recipe(), recipe.to_toml()?.as_bytes())
    }
}

fn check_recipe(paths: &RunPaths, recipe: &Recipe, mode: Mode) -> Result<usize, TrainError> {
    let path = paths.root.clone();
    let theirs = Recipe::load(&paths.recipe())?;
    let epochs = theirs.train.epochs;
    let mut comparable = recipe.clone();
    if mode == Mode::ChangeEpochs {
        comparable.train.epochs = epochs;
    }
    if let Some((key, ours, theirs)) = comparable.difference(&theirs)? {
        return Err(TrainError::OtherRecipe { path, key, theirs, ours });
    }
    match mode {
        Mode::Start => Err(TrainError::RunExists { path }),
        Mode::Resume | Mode::ChangeEpochs => Ok(epochs),
    }
}

fn check_empty(root: &Path) -> Result<(), TrainError> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(TrainError::write(root)(error)),
    };
    for entry in entries {
        let name = entry.map_err(TrainError::read(root))?.file_name();
        if !name.to_string_lossy().starts_with('.') {
            return Err(TrainError::NotARun { path: root.to_owned() });
        }
    }
    Ok(())
}

/// The lock goes with the process, however it ends.
fn lock(root: &Path) -> Result<File, TrainError> {
    let path = root.join(".lock");
    let file = File::create(&path).map_err(TrainError::write(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(TrainError::InUse { path: root.to_owned() }),
        // Some network file systems have no locks; there one process at a time is up to the user.
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(TrainError::write(&path)(error)),
    }
}
