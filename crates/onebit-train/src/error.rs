//! The error of this crate.

use std::io;
use std::path::{Path, PathBuf};

use onebit_data::ErrorKind;
use onebit_model::arch::ArchError;
use onebit_model::quote::number;
use onebit_model::{GraphError, ModelError};

/// Why a run could not start or go on, in one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A recipe that is not TOML, lacks a key or has an unknown one, or has a value of another type.
    #[error("{origin}: {reason}")]
    Recipe {
        /// The recipe's file, or the override.
        origin: String,
        /// What is wrong.
        reason: String,
    },
    /// A value outside its range.
    #[error("{origin}: {key} is {value}, expected {expected}")]
    Setting {
        /// The recipe's file, or the override.
        origin: String,
        /// The dotted key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// The images cannot be read.
    #[error(transparent)]
    Data(#[from] onebit_data::Error),
    /// The network cannot be built.
    #[error(transparent)]
    Arch(#[from] ArchError),
    /// Test images that do not belong to the training images.
    #[error(
        "data set `{test}` has {property} {found}, but `{train}`, which the network learns from, has {expected}"
    )]
    SplitsDiffer {
        /// The data set for testing.
        test: String,
        /// The data set for training.
        train: String,
        /// What differs.
        property: &'static str,
        /// That of the test images.
        found: String,
        /// That of the training images.
        expected: String,
    },
    /// The operating system refused to read a file.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The operating system refused to write a file.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file of a run that does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// A run is there already.
    #[error(
        "{}: holds a run already", path.display()
    )]
    RunExists {
        /// The run's folder.
        path: PathBuf,
    },
    /// A run of another recipe is there already.
    #[error(
        "{}: holds a run of another recipe ({key} is {theirs} there and {ours} here)", path.display()
    )]
    OtherRecipe {
        /// The run's folder.
        path: PathBuf,
        /// The first key that differs.
        key: String,
        /// Its value in the folder's recipe.
        theirs: String,
        /// Its value in the given recipe.
        ours: String,
    },
    /// A run cannot end before the epoch that it is in.
    #[error(
        "{}: train.epochs is {asked}, expected {least} or more, as the run has come so far already", path.display()
    )]
    FewerEpochs {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The number of epochs with binary weights that was asked for.
        asked: usize,
        /// Those that are finished or begun.
        least: usize,
    },
    /// Files that belong to no run are in the way.
    #[error("{}: is not empty and holds no run", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing to resume.
    #[error("{}: there is no run to resume, expected a recipe.toml", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// Checkpoints without a recipe.
    #[error(
        "{}: holds checkpoints, but not the recipe.toml that they were made with; give that recipe and --resume",
        path.display()
    )]
    RecipeLost {
        /// The folder.
        path: PathBuf,
    },
    /// Another process works in the folder.
    #[error("{}: another process is training in this folder", path.display())]
    InUse {
        /// The run's folder.
        path: PathBuf,
    },
    /// Every checkpoint is damaged.
    #[error("{}: no checkpoint is whole ({skipped})", path.display())]
    NoWholeCheckpoint {
        /// The folder of the checkpoints.
        path: PathBuf,
        /// What is wrong with each.
        skipped: String,
    },
    /// A batch normalization that would see a single value of each channel.
    #[error(
        "node `{node}` has a map of {height}x{width} and the batch {batch} image, which is 1 value for each channel; \
         expected more than 1 value per channel when training: a larger train.batch, or larger images"
    )]
    OneValue {
        /// The batch normalization.
        node: String,
        /// Images of a batch.
        batch: usize,
        /// Height of its map.
        height: usize,
        /// Width of its map.
        width: usize,
    },
    /// More memory than there is.
    #[error(
        "training with a batch of {batch} takes {} of memory, {}; expected a smaller train.batch, smaller images or fewer \
         channels", bytes_in_words(*needed), match there {
            Some(there) => format!("and this machine has {}", bytes_in_words(*there)),
            None => "which the system does not give".into(),
        }
    )]
    Memory {
        /// Bytes that training takes.
        needed: u64,
        /// Bytes that there are; `None` if the system has refused to give them.
        there: Option<u64>,
        /// Images of a batch.
        batch: usize,
    },
    /// A graph whose shapes do not fit.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The weights and the graph do not belong together.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A packed network where one that can be trained is needed.
    #[error(
        "node `{node}` belongs to a packed network, which cannot be trained; give a run or checkpoint"
    )]
    Lowered {
        /// The first such node.
        node: String,
    },
    /// Weights of another network.
    #[error("the weights belong to another network ({found}) than the one that is to use them")]
    OtherGraph {
        /// The architecture that the weights are for.
        found: String,
    },
    /// A file or folder that is refused for another reason.
    #[error(transparent)]
    Files(Box<onebit_files::Error>),
    /// Initial weights that cannot be read.
    #[error("train.init: {0}")]
    Init(#[source] Box<onebit_files::Error>),
    /// A teacher's weights that cannot be read.
    #[error("train.teacher.path: {0}")]
    TeacherFile(#[source] Box<onebit_files::Error>),
    /// Weights that a teacher's ONNX file keeps in another file, which cannot be read.
    #[error(
        "train.teacher.path: {}: keeps its weights in another file, expected in the same folder: {source}",
        path.display()
    )]
    TeacherWeights {
        /// The ONNX file.
        path: PathBuf,
        /// What is wrong with the other.
        source: Box<onebit_files::Error>,
    },
    /// A teacher that cannot be used.
    #[error("train.teacher.path: {}: {reason}", path.display())]
    Teacher {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A run that goes on with another teacher.
    #[error(
        "train.teacher.path: {}: is not the teacher that the run began with (SHA-256 {found}, expected {expected}){}",
        path.display(), behind(skipped)
    )]
    OtherTeacher {
        /// The file.
        path: PathBuf,
        /// Its SHA-256.
        found: String,
        /// That of the first teacher.
        expected: String,
        /// What is wrong with weights that would have been preferred.
        skipped: Vec<String>,
    },
    /// Initial weights of another network.
    #[error(
        "{}: tensor `{tensor}` is {found}, expected {expected} for the recipe's network; train.init takes weights of \
         the same [network]", path.display()
    )]
    Misfit {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its shape, or that it is missing.
        found: String,
        /// The shape that was expected.
        expected: String,
    },
    /// Training ran away.
    #[error(
        "{what} is not finite in epoch {epoch}, step {step}, at the learning rate {}, expected a lower train.lr \
         ({})", number(*lr), kept(checkpoint.as_deref())
    )]
    NotFinite {
        /// The loss or a gradient.
        what: String,
        /// Epoch, counted from 1.
        epoch: usize,
        /// Step of the epoch, counted from 1.
        step: usize,
        /// The step's learning rate.
        lr: f64,
        /// The last good checkpoint.
        checkpoint: Option<PathBuf>,
    },
}

impl TrainError {
    /// The kind of this error, for exit codes.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Data(error) => error.kind(),
            Self::Arch(_)
            | Self::RunExists { .. }
            | Self::OtherRecipe { .. }
            | Self::FewerEpochs { .. }
            | Self::NotARun { .. }
            | Self::InUse { .. } => ErrorKind::Usage,
            Self::Recipe { .. }
            | Self::Setting { .. }
            | Self::SplitsDiffer { .. }
            | Self::OneValue { .. }
            | Self::Memory { .. }
            | Self::Graph(_)
            | Self::Model(_)
            | Self::Lowered { .. }
            | Self::OtherGraph { .. }
            | Self::Misfit { .. }
            | Self::Teacher { .. }
            | Self::OtherTeacher { .. }
            | Self::Damaged { .. }
            | Self::NoWholeCheckpoint { .. }
            | Self::NotFinite { .. } => ErrorKind::BadData,
            Self::Files(error)
            | Self::Init(error)
            | Self::TeacherFile(error)
            | Self::TeacherWeights { source: error, .. } => error.kind(),
            Self::NoRun { .. } | Self::RecipeLost { .. } => ErrorKind::MissingInput,
            Self::Read { source, .. } => source.into(),
            Self::Write { .. } => ErrorKind::Io,
        }
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Read { path, source }
    }

    /// The error, or what was expected where there is nothing.
    pub(crate) fn expecting(self, expected: &str) -> Self {
        match self {
            Self::Read { path, source } => {
                onebit_files::Error::Read { path, source }.expecting(expected).into()
            }
            error => error,
        }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Write { path, source }
    }

    pub(crate) fn damaged(path: &Path, reason: impl ToString) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.to_string() }
    }
}

fn kept(checkpoint: Option<&Path>) -> String {
    match checkpoint {
        Some(path) => format!("the last good checkpoint is {}", path.display()),
        None => "no checkpoint had been written yet".into(),
    }
}

/// Reasons behind a sentence.
fn behind(reasons: &[String]) -> String {
    reasons.iter().map(|reason| format!("; {reason}")).collect()
}

fn bytes_in_words(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{:.2} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::TrainError;

    #[test]
    fn little_memory_is_told_in_megabytes() {
        let error = TrainError::Memory { needed: 12_345_678, there: Some(4_000_000_000), batch: 2 };
        let text = error.to_string();
        assert!(text.contains("takes 12.35 MB of memory, and this machine has 4.00 GB;"), "{text}");
    }
}
