//! What goes into a run and what comes out of it.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use crate::Recipe;
use crate::checkpoint::{Best, SetAside, TrainingStage};
use crate::metrics::Row;

/// What to train, where, and how it can be stopped.
#[derive(Clone, Debug)]
pub struct TrainOptions<'a> {
    /// The recipe, overrides applied.
    pub recipe: Recipe,
    /// The run's folder.
    pub out: PathBuf,
    /// Continue the run that is there.
    pub resume: bool,
    /// The run that is continued may have had another `train.epochs`: it then goes on to those of `recipe`, which
    /// takes the place of its own.
    pub change_epochs: bool,
    /// When it becomes true, the step that is running is finished, a checkpoint is written and [`crate::train`] returns.
    pub stop: &'a AtomicBool,
    /// The folder of fetched data sets, instead of [`onebit_data::data_dir`].
    pub data_dir: Option<PathBuf>,
}

/// What happens in a run. Epochs and steps count from 1.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Something about the images that whoever trains should know, in one sentence: what was passed over or left out, or
    /// that training and test images are the same. Comes before [`Event::Started`].
    Warning(String),
    /// Images and network are ready.
    Started {
        /// Architecture.
        arch: String,
        /// Trained values.
        parameters: usize,
        /// Training images.
        images: usize,
        /// Test images.
        test_images: usize,
        /// Classes.
        classes: usize,
        /// Epochs of all stages.
        epochs: usize,
        /// Steps of one epoch.
        steps: usize,
    },
    /// A run goes on.
    Resumed {
        /// The checkpoint; `None` if none had been written and the run starts from the beginning.
        path: Option<PathBuf>,
        /// Finished epochs.
        epoch: usize,
        /// Finished steps of the next epoch.
        step: usize,
        /// Newer checkpoints that are damaged and have been given another name.
        skipped: Vec<SetAside>,
    },
    /// A run is resumed that has nothing left to do.
    AlreadyFinished {
        /// Epochs of all stages.
        epochs: usize,
        /// Epochs of the stage with binary weights, the recipe's `train.epochs`.
        binary_epochs: usize,
    },
    /// A run goes on to another number of epochs than it was planned for.
    EpochsChanged {
        /// `train.epochs` up to now.
        from: usize,
        /// `train.epochs` from now on.
        to: usize,
        /// The weights become those of a run that was planned so from its start, bit for bit: the learning rates of
        /// the steps made do not depend on the number of epochs.
        same_as_from_start: bool,
        /// Learning rate of the next step, as it was planned; `None` if there was to be none.
        lr_before: Option<f64>,
        /// Learning rate of the next step.
        lr: f64,
    },
    /// The weights in `best` are damaged or missing.
    BestDamaged {
        /// What is wrong, in one sentence that names the file or folder.
        reason: String,
        /// Where they are now, unless nothing was there.
        kept_as: Option<PathBuf>,
        /// What has taken their place: the best of the checkpoints that are kept. With `None` the best of the epochs to
        /// come will.
        instead: Option<Best>,
    },
    /// `metrics.csv` lacks rows of finished epochs; the curves have gaps.
    RowsMissing {
        /// How many.
        epochs: usize,
    },
    /// A teacher's outputs take the place of the labels.
    Teacher {
        /// The file it was read from.
        path: PathBuf,
        /// Test images that it was tried on: at most 512, spread evenly.
        images: usize,
        /// Share of them that it classifies correctly; a low one tells of a wrong normalization or wrong columns.
        top1: f64,
        /// What is wrong with weights that would have been preferred.
        skipped: Vec<String>,
    },
    /// The run begins with the weights of `train.init`.
    Initialized {
        /// The file they were read from.
        path: PathBuf,
        /// Whether the classifier starts anew, because it is for another number of classes.
        classifier_anew: bool,
        /// Hyper functions that the file lacks and that start as constants.
        hyper_functions: usize,
        /// What is wrong with weights that would have been preferred.
        skipped: Vec<String>,
    },
    /// A run goes on from its checkpoint although `train.init` holds other weights than those it began with.
    InitChanged {
        /// The file.
        path: PathBuf,
    },
    /// A stage begins or goes on.
    StageStarted {
        /// The stage.
        stage: TrainingStage,
        /// Epochs of this stage.
        epochs: usize,
    },
    /// A step has been made.
    Step {
        /// The epoch.
        epoch: usize,
        /// Epochs of all stages.
        epochs: usize,
        /// The step.
        step: usize,
        /// Steps of one epoch.
        steps: usize,
        /// Loss of this step.
        loss: f64,
        /// Share of correct answers in this epoch so far.
        top1: f64,
        /// The speed of this epoch.
        images_per_second: f64,
        /// Time that the remaining steps of the run will take at that speed.
        seconds_left: f64,
    },
    /// An epoch has ended.
    Epoch {
        /// What it gave.
        row: Row,
        /// Whether its weights are the best of the stage with binary weights up to now.
        best: bool,
    },
    /// A checkpoint has been written.
    Checkpoint {
        /// Its folder.
        path: PathBuf,
    },
    /// The run was stopped.
    Interrupted {
        /// The checkpoint from which it can be resumed.
        path: PathBuf,
    },
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Finished epochs.
    pub epoch: usize,
    /// Epochs of all stages.
    pub epochs: usize,
    /// The best test result of the stage with binary weights, whose weights are in the run's `best` folder.
    pub best: Option<Best>,
    /// The newest checkpoint.
    pub checkpoint: Option<PathBuf>,
    /// Whether the run was stopped before its end.
    pub interrupted: bool,
    /// Time since this call.
    pub seconds: f64,
}
