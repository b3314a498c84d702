//! Checkpoints: a folder that appears by one rename, whole or not at all.
//!
//! ```text
//! checkpoints/epoch-00005             after 5 epochs
//! checkpoints/epoch-00005-step-000123 after 123 steps of the sixth
//!   weights.safetensors    all parameters and running statistics, or their average with `train.ema`
//!   current.safetensors    where those are averages, the values that training goes on from
//!   optimizer.safetensors  Adam's moments
//!   state.json             where the run stands
//!   manifest.json          length and SHA-256 of each of these, written last
//! ```

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use onebit_files::recover;
pub use onebit_files::{MANIFEST, STATE, Skipped, WEIGHTS};
use onebit_files::{Position, checkpoints, read_folder, remove_folder, set_aside, write_folder};
use onebit_model::Verified;
use onebit_model::file::{Weights, read_weights, write_weights};
use serde::{Deserialize, Serialize};

use crate::TrainError;
use onebit_model::quote::{plain, shown_within};

/// The values that training goes on from, where [`WEIGHTS`] holds averages.
pub const CURRENT: &str = "current.safetensors";
/// The optimizer's state.
pub const OPTIMIZER: &str = "optimizer.safetensors";

/// Largest file of a checkpoint that is read, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 30;

/// Longest reason for which a state is refused, in characters.
const LONGEST_REASON: usize = 400;

/// A stage of training, by what its weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainingStage {
    /// Binary activations, real weights: the first of two stages.
    RealWeights,
    /// Binary activations and weights.
    BinaryWeights,
}

impl TrainingStage {
    /// The name in files and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TrainingStage::RealWeights => "real_weights",
            TrainingStage::BinaryWeights => "binary_weights",
        }
    }

    /// The stage of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [TrainingStage::RealWeights, TrainingStage::BinaryWeights]
            .into_iter()
            .find(|stage| stage.name() == name)
    }
}

/// The best test result of the stage with binary weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Epochs finished when it was reached.
    pub epoch: usize,
    /// Share of the test images classified correctly.
    pub top1: f64,
}

/// Sums over the steps of an epoch that is not finished; zero between epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sums {
    /// Sum of the steps' losses.
    pub loss: f64,
    /// Images classified correctly.
    pub correct: usize,
    /// Seconds spent on the steps.
    pub seconds: f64,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Finished epochs, over all stages.
    pub epoch: usize,
    /// Steps made of the next epoch.
    pub step_in_epoch: usize,
    /// Steps made, over all stages.
    pub global_step: u64,
    /// The stage that the weights come from.
    pub stage: TrainingStage,
    /// The recipe's seed.
    pub seed: u64,
    /// Number of training images.
    pub images: usize,
    /// [`crate::Recipe::fingerprint`] of the recipe that the checkpoint was made with.
    pub recipe_sha256: String,
    /// That recipe's `train.epochs`, which a run may change as it goes on; `None` in checkpoints of runs that could
    /// not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// SHA-256 of the weights that the run began with, as a `weights.safetensors`; `None` for random ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_sha256: Option<String>,
    /// SHA-256 of the teacher's file; `None` without a teacher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher_sha256: Option<String>,
    /// The best result so far.
    pub best: Option<Best>,
    /// Sums over the steps of the next epoch.
    pub sums: Sums,
}

impl State {
    fn position(&self) -> Position {
        Position { epoch: self.epoch, step: self.step_in_epoch }
    }
}

/// A checkpoint as read from its folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Its folder.
    pub path: PathBuf,
    /// Parameters and running statistics.
    pub weights: Verified<Weights>,
    /// The values that training goes on from, where `weights` are averages.
    pub current: Option<Verified<Weights>>,
    /// Bytes of the optimizer's state; see [`crate::optim::Optimizer::from_bytes`].
    pub optimizer: Vec<u8>,
    /// Where the run stood.
    pub state: State,
}

/// The newest whole checkpoint, and what is wrong with those that are newer.
#[derive(Clone, Debug, PartialEq)]
pub struct Latest {
    /// `None` if there is no whole checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// The damaged checkpoints.
    pub skipped: Vec<Skipped>,
}

/// A damaged checkpoint that has been given another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// What is wrong with it, in one sentence that names the file as it was.
    pub reason: String,
    /// Where it is.
    pub kept_as: PathBuf,
}

/// Writes a checkpoint into `folder` and removes those that are no longer needed: all but the newest `kept`, and
/// any of a later epoch, which the run has gone back from. A folder that holds other files too stays. Returns the
/// checkpoint's folder.
///
/// # Errors
/// A file that cannot be written; then nothing of it is left, and earlier checkpoints are as they were.
pub fn save(
    folder: &Path,
    state: &State,
    weights: &Verified<Weights>,
    current: Option<&Verified<Weights>>,
    optimizer: Vec<u8>,
    kept: usize,
) -> Result<PathBuf, TrainError> {
    let position = state.position();
    let path = folder.join(position.to_string());
    let mut files = common_files(&path, state, weights)?;
    files.insert(1, (OPTIMIZER, optimizer));
    if let Some(current) = current {
        files.insert(1, (CURRENT, weights_bytes(&path, current)?));
    }
    write_folder(&path, &files)?;
    let mut others = checkpoints(folder)?;
    others.retain(|&(other, _)| other != position);
    let ahead = others.iter().filter(|&&(other, _)| other > position).count();
    let kept = ahead..ahead.saturating_add(kept.saturating_sub(1));
    for (i, (_, path)) in others.iter().enumerate() {
        if !kept.contains(&i) && holds_nothing_else(path)? {
            remove_folder(path)?;
        }
    }
    Ok(path)
}

/// Whether a folder has only files that a checkpoint has.
fn holds_nothing_else(folder: &Path) -> Result<bool, TrainError> {
    let own = [WEIGHTS, CURRENT, OPTIMIZER, STATE, MANIFEST];
    if !folder.is_dir() {
        return Ok(false);
    }
    for entry in fs::read_dir(folder).map_err(TrainError::read(folder))? {
        let name = entry.map_err(TrainError::read(folder))?.file_name();
        if !own.iter().any(|own| name == *own) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes the weights that gave the best result, without the optimizer, in the place of earlier ones.
///
/// # Errors
/// A file that cannot be written; then earlier ones are as they were.
pub fn save_best(
    path: &Path,
    state: &State,
    weights: &Verified<Weights>,
) -> Result<(), TrainError> {
    Ok(write_folder(path, &common_files(path, state, weights)?)?)
}

/// The newest checkpoint in `folder` whose manifest fits its files and that stands where its name says, or, if none does,
/// the newest whose manifest fits; without such a folder, none.
///
/// # Errors
/// The folder itself or a file cannot be read, or the files of that checkpoint are whole but hold something else, such
/// as what another version has written.
pub fn latest(folder: &Path) -> Result<Latest, TrainError> {
    let (mut skipped, mut misnamed) = (Vec::new(), None);
    for (name, path) in checkpoints(folder)? {
        match read_whole(&path) {
            Ok(files) => {
                let checkpoint = parse(&path, files)?;
                let position = checkpoint.state.position();
                if position == name {
                    return Ok(Latest { checkpoint: Some(checkpoint), skipped });
                }
                misnamed.get_or_insert(skipped.len());
                let state = path.join(STATE);
                let reason = format!(
                    "{}: stands at {position}, expected {name}, the name of its folder",
                    state.display()
                );
                skipped.push(Skipped { folder: path, reason });
            }
            Err(error) if error.is_damage() => {
                skipped.push(Skipped { folder: path, reason: error.to_string() });
            }
            Err(error) => return Err(error),
        }
    }
    let checkpoint = match misnamed {
        Some(number) => Some(load(&skipped.remove(number).folder)?),
        None => None,
    };
    Ok(Latest { checkpoint, skipped })
}

/// The checkpoints in `folder` that were written between two epochs, damaged ones too, with the number of finished
/// epochs, oldest first.
///
/// # Errors
/// The folder itself cannot be read.
pub fn of_epochs(folder: &Path) -> Result<Vec<(usize, PathBuf)>, TrainError> {
    let oldest_first = checkpoints(folder)?.into_iter().rev();
    let between = oldest_first.filter(|(position, _)| position.step == 0);
    Ok(between.map(|(position, path)| (position.epoch, path)).collect())
}

/// Gives damaged checkpoints another name, so that they are none and nothing of them is lost.
///
/// # Errors
/// A folder that cannot be renamed.
pub fn keep_aside(skipped: Vec<Skipped>) -> Result<Vec<SetAside>, TrainError> {
    let aside =
        |Skipped { folder, reason }: Skipped| Ok(SetAside { reason, kept_as: set_aside(&folder)? });
    skipped.into_iter().map(aside).collect()
}

/// Reads a checkpoint.
///
/// # Errors
/// A file that is missing, does not fit the manifest, or holds something else.
pub fn load(path: &Path) -> Result<Checkpoint, TrainError> {
    parse(path, read_whole(path)?)
}

/// The bytes of a checkpoint's files.
struct Bytes {
    weights: Vec<u8>,
    current: Option<Vec<u8>>,
    optimizer: Vec<u8>,
    state: Vec<u8>,
}

/// Reads the files of a checkpoint that are as its manifest says.
fn read_whole(path: &Path) -> Result<Bytes, TrainError> {
    let names = [WEIGHTS, OPTIMIZER, STATE];
    let [weights, optimizer, state] = read_folder(path, names, MAX_FILE_BYTES)?;
    let current = if path.join(CURRENT).exists() {
        let [current] = read_folder(path, [CURRENT], MAX_FILE_BYTES)?;
        Some(current)
    } else {
        None
    };
    Ok(Bytes { weights, current, optimizer, state })
}

fn parse(path: &Path, files: Bytes) -> Result<Checkpoint, TrainError> {
    let state = parse_state(path, &files.state)?;
    let current = files.current.map(|bytes| parse_weights(path, CURRENT, &bytes)).transpose()?;
    Ok(Checkpoint {
        path: path.to_owned(),
        weights: parse_weights(path, WEIGHTS, &files.weights)?,
        current,
        optimizer: files.optimizer,
        state,
    })
}

/// Reads weights: those of a checkpoint, or the best ones, which come without an optimizer.
///
/// # Errors
/// As [`load`].
pub fn load_weights(path: &Path) -> Result<(Verified<Weights>, State), TrainError> {
    let [weights, state] = read_folder(path, [WEIGHTS, STATE], MAX_FILE_BYTES)?;
    Ok((parse_weights(path, WEIGHTS, &weights)?, parse_state(path, &state)?))
}

/// Writes a file that is there in full or not at all.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    Ok(onebit_files::write_atomic(path, bytes)?)
}

impl From<onebit_files::Error> for TrainError {
    fn from(error: onebit_files::Error) -> Self {
        use onebit_files::Error;
        match error {
            Error::Read { path, source } => Self::Read { path, source },
            Error::Write { path, source } => Self::Write { path, source },
            Error::TooLarge { path, limit } => {
                Self::damaged(&path, format!("is larger than the {limit} bytes allowed"))
            }
            Error::NotText { path, line } => {
                Self::damaged(&path, format!("line {line} is not UTF-8 text"))
            }
            Error::NotRegular { path, found } => {
                Self::damaged(&path, format!("is {found}, expected a regular file"))
            }
            Error::NotFolder { path, found } => {
                Self::damaged(&path, format!("is {found}, expected a folder"))
            }
            Error::BadManifest { path, reason }
            | Error::NoIntactCheckpoint { path, reasons: reason } => Self::Damaged { path, reason },
            Error::Format { path, source } => Self::damaged(&path, source),
            Error::NoCheckpoint { path } => Self::NoRun { path },
            Error::Damaged { path, found, expected } => Self::damaged(
                &path,
                format!("has {found}, but manifest.json says {expected}, so the file is damaged"),
            ),
            error => Self::Files(Box::new(error)),
        }
    }
}

type Files = Vec<(&'static str, Vec<u8>)>;

fn common_files(
    path: &Path,
    state: &State,
    weights: &Verified<Weights>,
) -> Result<Files, TrainError> {
    let weights = weights_bytes(path, weights)?;
    let mut state = serde_json::to_vec(state).map_err(|e| TrainError::damaged(path, e))?;
    state.push(b'\n');
    Ok(vec![(WEIGHTS, weights), (STATE, state)])
}

fn weights_bytes(path: &Path, weights: &Verified<Weights>) -> Result<Vec<u8>, TrainError> {
    write_weights(weights).map_err(|e| TrainError::damaged(path, e))
}

fn parse_weights(path: &Path, name: &str, bytes: &[u8]) -> Result<Verified<Weights>, TrainError> {
    read_weights(bytes).map_err(|e| TrainError::damaged(&path.join(name), e))
}

fn parse_state(path: &Path, bytes: &[u8]) -> Result<State, TrainError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let reason = format!("does not tell where a run stands: {}", plain(&error.to_string()));
        TrainError::damaged(&path.join(STATE), shown_within(&reason, LONGEST_REASON))
    })
}
