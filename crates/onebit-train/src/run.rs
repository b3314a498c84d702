//! The folder of a run, which is begun, resumed or given up.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;

use onebit_files::{RunPaths, checkpoints};

use crate::checkpoint::{recover, write_file};
use crate::{Recipe, TrainError, metrics};

const LOCK: &str = ".lock";

/// A run's folder that this process alone writes to, until this is dropped.
pub(crate) struct OpenRun {
    pub(crate) paths: RunPaths,
    /// The epochs with binary weights that the recipe in the folder says.
    pub(crate) epochs: usize,
    /// It starts in the folder of a run of the same recipe that has left no checkpoint.
    pub(crate) begins_anew: bool,
    /// The folder has checkpoints and no recipe; that of this run is to be written when one of them fits it.
    pub(crate) recipe_lost: bool,
    made: Made,
    _lock: File,
}

/// What this process has made of a run's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Nothing,
    /// The run, in a folder that was there.
    Run,
    Folder,
}

/// How a run is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It must not be there yet, or have ended before it left a checkpoint.
    Start,
    /// It is there, with the same recipe.
    Resume,
    /// It is there, with the same recipe but for `train.epochs`.
    ChangeEpochs,
}

impl OpenRun {
    /// Starts a run in an empty or new folder or in that of a run of the same recipe without any checkpoint, or opens the
    /// run of the same recipe that is to be resumed.
    pub(crate) fn open(root: &Path, recipe: &Recipe, mode: Mode) -> Result<Self, TrainError> {
        let paths = RunPaths::new(root);
        let is_run = paths.recipe().exists();
        let recipe_lost = !is_run && paths.recipe_is_lost()?;
        let epochs = match (is_run, mode) {
            (true, _) => check_recipe(&paths, recipe, mode)?,
            (false, Mode::Start) if recipe_lost => {
                return Err(TrainError::RecipeLost { path: root.to_owned() });
            }
            (false, Mode::Resume | Mode::ChangeEpochs) if recipe_lost => recipe.train.epochs,
            (false, Mode::Start) => {
                check_empty(root)?;
                recipe.train.epochs
            }
            (false, Mode::Resume | Mode::ChangeEpochs) => {
                return Err(TrainError::NoRun { path: root.to_owned() });
            }
        };
        let made = match (is_run || recipe_lost, root.exists()) {
            (true, _) => Made::Nothing,
            (false, true) => Made::Run,
            (false, false) => Made::Folder,
        };
        fs::create_dir_all(root).map_err(TrainError::write(root))?;
        let begins_anew = is_run && mode == Mode::Start;
        let run = OpenRun { paths, epochs, begins_anew, recipe_lost, made, _lock: lock(root)? };
        run.prepare(recipe).inspect_err(|_| run.give_up())?;
        Ok(run)
    }

    fn prepare(&self, recipe: &Recipe) -> Result<(), TrainError> {
        let root = self.paths.root();
        recover(root)?;
        recover(&self.paths.checkpoints())?;
        if self.made != Made::Nothing {
            return self.write_recipe(recipe);
        }
        match self.begins_anew && has_weights(&self.paths)? {
            true => Err(TrainError::RunExists { path: root.to_owned() }),
            false => Ok(()),
        }
    }

    /// Removes a run that this process began and that has not finished an epoch, unless something else is in its folder.
    /// The error that led here is the one to report: what cannot be removed stays, and a run of the same recipe can begin
    /// there.
    pub(crate) fn give_up(&self) {
        let root = self.paths.root();
        if self.made == Made::Nothing || !self.holds_nothing() {
            return;
        }
        fs::remove_file(self.paths.metrics()).ok();
        fs::remove_file(self.paths.recipe()).ok();
        fs::remove_dir(self.paths.checkpoints()).ok();
        let is_lock = |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|e| e.file_name() == LOCK);
        let is_empty = fs::read_dir(root).is_ok_and(|mut entries| entries.all(is_lock));
        if self.made == Made::Folder && is_empty {
            fs::remove_file(root.join(LOCK)).ok();
            fs::remove_dir(root).ok();
        }
    }

    /// Whether the folder has the files of a run without a finished epoch, hidden files, and no others.
    fn holds_nothing(&self) -> bool {
        let is_own = |entry: io::Result<fs::DirEntry>| {
            let name = entry.ok().and_then(|entry| entry.file_name().into_string().ok());
            name.is_some_and(|name| {
                name.starts_with('.') || RunPaths::BEFORE_FIRST_EPOCH.contains(&&*name)
            })
        };
        fs::read_dir(self.paths.root()).is_ok_and(|mut entries| entries.all(is_own))
            && metrics::read_whole_lines(&self.paths.metrics()).is_ok_and(|rows| rows.is_empty())
            && has_weights(&self.paths).is_ok_and(|has| !has)
    }

    /// Puts a recipe in the place of the one in the folder.
    pub(crate) fn write_recipe(&self, recipe: &Recipe) -> Result<(), TrainError> {
        write_file(&self.paths.recipe(), recipe.to_toml()?.as_bytes())
    }
}

fn check_recipe(paths: &RunPaths, recipe: &Recipe, mode: Mode) -> Result<usize, TrainError> {
    let path = paths.root().to_owned();
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
        Mode::Start if theirs != *recipe || has_weights(paths)? => {
            Err(TrainError::RunExists { path })
        }
        Mode::Start | Mode::Resume | Mode::ChangeEpochs => Ok(epochs),
    }
}

/// Whether a run has left a checkpoint or best weights, whole or not.
fn has_weights(paths: &RunPaths) -> Result<bool, TrainError> {
    let is_there = paths.best().symlink_metadata().is_ok();
    Ok(is_there || !checkpoints(&paths.checkpoints())?.is_empty())
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

/// Refuses a folder to write to where something else is in its place or in that of a folder above it.
///
/// # Errors
/// [`TrainError::Damaged`], which names what is there.
pub fn check_folder(path: &Path) -> Result<(), TrainError> {
    let there = path.ancestors().find(|place| place.symlink_metadata().is_ok());
    let Some(place) = there.filter(|place| !place.is_dir()) else { return Ok(()) };
    let found = match (place.exists(), place.is_file()) {
        (false, _) => "a link to nothing",
        (true, true) => "a file",
        (true, false) => "a named pipe or device",
    };
    Err(TrainError::damaged(place, format!("is {found}, expected a folder to write to")))
}

/// The lock goes with the process, however it ends.
fn lock(root: &Path) -> Result<File, TrainError> {
    let path = root.join(LOCK);
    let file = File::create(&path).map_err(TrainError::write(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(TrainError::InUse { path: root.to_owned() }),
        // Some network file systems have no locks; there one process at a time is up to the user.
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(TrainError::write(&path)(error)),
    }
}
