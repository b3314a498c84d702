//! Whether a checkpoint belongs to the run that is to go on from it, and its state to its recipe.

use std::fmt::Display;
use std::path::Path;

use onebit_files::Position;
use onebit_model::Graph;

use crate::checkpoint::{
    Best, CURRENT, Checkpoint, OPTIMIZER, STATE, State, Sums, TrainingStage, WEIGHTS,
};
use crate::optim::Optimizer;
use crate::stages::stage_of;
use crate::teacher::Teacher;
use crate::{Recipe, TrainError};
use onebit_model::quote::{count, number, shown};

/// Longest time that the steps of an epoch are believed to have taken, in seconds.
const MAX_SECONDS: f64 = 1e10;
/// Largest loss of a step: twice the largest difference of two logits.
const MAX_LOSS: f64 = 2.0 * f32::MAX as f64;

/// What the state of a checkpoint must agree with.
pub(crate) struct Expected<'a> {
    /// The recipe that the run is to go on with.
    pub(crate) recipe: &'a Recipe,
    /// The epochs with binary weights that the run's folder says; those of a checkpoint that does not say.
    pub(crate) epochs: usize,
    /// Training images.
    pub(crate) images: usize,
    /// Steps of an epoch.
    pub(crate) steps: usize,
    pub(crate) graph: &'a Graph,
    pub(crate) teacher: Option<&'a Teacher>,
}

impl Expected<'_> {
    /// The checkpoint's state, every number of which fits the recipe and the images.
    ///
    /// # Errors
    /// The first thing that does not; names the file and the field.
    pub(crate) fn state(&self, checkpoint: &Checkpoint) -> Result<State, TrainError> {
        let Checkpoint { path, state, .. } = checkpoint;
        let made_with = self.made_with(path, state)?;
        let in_state = |reason: String| TrainError::damaged(&path.join(STATE), reason);
        self.identity(state).map_err(in_state)?;
        self.position(path, state, &made_with).map_err(in_state)?;
        best(state, &made_with).map_err(in_state)?;
        sums(state, &made_with).map_err(in_state)?;
        self.weights(checkpoint)?;
        if let (Some(teacher), Some(expected)) = (self.teacher, &state.teacher_sha256)
            && teacher.sha256 != *expected
        {
            return Err(TrainError::OtherTeacher {
                path: teacher.path.clone(),
                found: teacher.sha256.clone(),
                expected: expected.clone(),
                skipped: teacher.skipped.clone(),
            });
        }
        self.enough_epochs(path, state, &made_with)?;
        Ok(state.clone())
    }

    /// The recipe that the checkpoint was made with: it may have had another number of epochs.
    fn made_with(&self, path: &Path, state: &State) -> Result<Recipe, TrainError> {
        let mut recipe = self.recipe.clone();
        recipe.train.epochs = state.epochs.unwrap_or(self.epochs);
        let own = recipe.validate("").is_ok() && recipe.fingerprint()? == state.recipe_sha256;
        if own {
            return Ok(recipe);
        }
        let reason = "the checkpoint was made with another recipe than the run is to go on with";
        Err(TrainError::damaged(&path.join(STATE), reason))
    }

    fn identity(&self, state: &State) -> Result<(), String> {
        let train = &self.recipe.train;
        require(state.seed == train.seed, "seed", state.seed, train.seed)?;
        if state.images != self.images {
            return Err(format!(
                "the run was started with {}, expected as many now, found {}",
                count(state.images, "training image"),
                self.images
            ));
        }
        presence("init_sha256", state.init_sha256.is_some(), "train.init", train.init.is_some())?;
        let (found, expected) = (state.teacher_sha256.is_some(), train.teacher.is_some());
        presence("teacher_sha256", found, "train.teacher", expected)
    }

    fn position(&self, path: &Path, state: &State, recipe: &Recipe) -> Result<(), String> {
        let State { epoch, step_in_epoch: step, global_step, stage, .. } = *state;
        let total = recipe.total_epochs();
        require(epoch <= total, "epoch", epoch, format!("0 to {total}, the epochs of the recipe"))?;
        let steps = if epoch == total { 0 } else { self.steps };
        let expected = format!("0 to {steps} after {epoch} of {}", count(total, "epoch"));
        require(step <= steps, "step_in_epoch", step, expected)?;
        let made = (epoch as u64).checked_mul(self.steps as u64);
        let made = made.and_then(|made| made.checked_add(step as u64));
        let expected = format!(
            "{} after {} of {} and {step} more",
            made.map_or("fewer".into(), |made| made.to_string()),
            count(epoch, "epoch"),
            count(self.steps, "step")
        );
        require(made == Some(global_step), "global_step", global_step, expected)?;
        let real = recipe.train.real_weight_epochs;
        let between = (epoch, step) == (real, 0) && real > 0 && stage == TrainingStage::RealWeights;
        let expected =
            if epoch == total { TrainingStage::BinaryWeights } else { stage_of(recipe, epoch) };
        require(between || stage == expected, "stage", stage.name(), expected.name())?;
        let name = path.file_name().and_then(|name| name.to_str()).and_then(Position::from_name);
        let position = Position { epoch, step };
        match name {
            Some(name) if name != position => {
                Err(format!("stands at {position}, expected {name}, the name of its folder"))
            }
            _ => Ok(()),
        }
    }

    fn weights(&self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        let Checkpoint { path, weights, current, .. } = checkpoint;
        let average = self.recipe.train.ema.is_some();
        if current.is_some() != average {
            let reason = match average {
                true => "is missing, expected the values that train.ema averages",
                false => "is there, expected none in a run without train.ema",
            };
            return Err(TrainError::damaged(&path.join(CURRENT), reason));
        }
        for (name, weights) in [(WEIGHTS, Some(weights)), (CURRENT, current.as_ref())] {
            let Some(weights) = weights else { continue };
            network(&weights.graph, self.graph)
                .map_err(|reason| TrainError::damaged(&path.join(name), reason))?;
        }
        Ok(())
    }

    /// Whether the run can still end after the number of epochs that it is to have.
    fn enough_epochs(&self, path: &Path, state: &State, old: &Recipe) -> Result<(), TrainError> {
        let begun = state.epoch + usize::from(state.step_in_epoch > 0);
        if begun <= self.recipe.total_epochs() {
            return Ok(());
        }
        let least = begun - old.train.real_weight_epochs;
        let (path, asked) = (path.to_owned(), self.recipe.train.epochs);
        Err(TrainError::FewerEpochs { path, asked, least })
    }
}

/// The optimizer of a checkpoint, which has made as many steps as its stage.
///
/// # Errors
/// A file that holds something else.
pub(crate) fn check_optimizer(
    optimizer: &Optimizer,
    path: &Path,
    state: &State,
    recipe: &Recipe,
    steps: usize,
) -> Result<(), TrainError> {
    let before = match state.stage {
        TrainingStage::RealWeights => 0,
        TrainingStage::BinaryWeights => recipe.train.real_weight_epochs as u64 * steps as u64,
    };
    let expected = state.global_step.saturating_sub(before);
    if optimizer.steps() == expected {
        return Ok(());
    }
    let reason = format!("metadata `steps` is {}, expected {expected}", optimizer.steps());
    Err(TrainError::damaged(&path.join(OPTIMIZER), reason))
}

/// Whether weights are those of the network `expected` for the same classes.
pub(crate) fn network(found: &Graph, expected: &Graph) -> Result<(), String> {
    if found.nodes != expected.nodes {
        let (found, expected) = (shown(&found.arch), &expected.arch);
        return Err(format!("holds another network ({found}), expected the recipe's ({expected})"));
    }
    if found.classes != expected.classes {
        let [found, expected] = [found, expected].map(|graph| shown(&graph.classes.join(", ")));
        return Err(format!("has the classes {found}, expected those of the images, {expected}"));
    }
    Ok(())
}

fn best(state: &State, recipe: &Recipe) -> Result<(), String> {
    let Some(Best { epoch, top1 }) = state.best else { return Ok(()) };
    let first = recipe.train.real_weight_epochs + 1;
    let expected = match first <= state.epoch {
        true => format!("{first} to {}", state.epoch),
        false => "none before an epoch with binary weights is finished".into(),
    };
    require((first..=state.epoch).contains(&epoch), "best.epoch", epoch, expected)?;
    require((0.0..=1.0).contains(&top1), "best.top1", number(top1), "a share from 0 to 1")
}

fn sums(state: &State, recipe: &Recipe) -> Result<(), String> {
    let Sums { loss, correct, seconds } = state.sums;
    let steps = state.step_in_epoch;
    let most = steps as f64 * MAX_LOSS;
    let expected = format!("the sum of the losses of {}", count(steps, "step"));
    require((-most..=most).contains(&loss), "sums.loss", number(loss), expected)?;
    let most = steps.saturating_mul(recipe.train.batch);
    require(correct <= most, "sums.correct", correct, format!("0 to {most}"))?;
    let most = if steps == 0 { 0.0 } else { MAX_SECONDS };
    let expected = format!("0 to {} for {}", count(most as u64, "second"), count(steps, "step"));
    require((0.0..=most).contains(&seconds), "sums.seconds", number(seconds), expected)
}

fn presence(field: &str, found: bool, key: &str, expected: bool) -> Result<(), String> {
    let word = |is_there| if is_there { "there" } else { "missing" };
    let with = if expected { "with" } else { "without" };
    let wanted = format!("{} in a run {with} {key}", word(expected));
    require(found == expected, field, word(found), wanted)
}

fn require(
    allowed: bool,
    field: &str,
    found: impl Display,
    expected: impl Display,
) -> Result<(), String> {
    if allowed { Ok(()) } else { Err(format!("{field} is {found}, expected {expected}")) }
}
