//! The best weights of a run that goes on: whether they are there, and what takes their place.

use std::path::PathBuf;

use onebit_files::RunPaths;
use onebit_model::Graph;

use crate::checkpoint::{self, Best, State, TrainingStage};
use crate::metrics::{self, Row};
use crate::resume::network;
use crate::{Recipe, TrainError};

/// What the best weights of a run are.
pub(crate) enum Found {
    /// Those that its checkpoint tells of; none if it tells of none.
    Recorded,
    /// Better ones, of an epoch that the run comes to again: it was ahead of its newest checkpoint.
    Ahead(Best),
    /// Not whole, or not those of the run.
    Damaged {
        /// What is wrong with them, in one sentence that names the file or folder.
        reason: String,
        /// Where they are now, unless nothing was there.
        kept_as: Option<PathBuf>,
        /// The weights that have taken their place: the best ones among the checkpoints that the run has kept.
        instead: Option<Best>,
    },
}

/// A run as its newest checkpoint tells.
pub(crate) struct Run<'a> {
    pub(crate) paths: &'a RunPaths,
    pub(crate) recipe: &'a Recipe,
    pub(crate) graph: &'a Graph,
    pub(crate) state: &'a State,
    /// Test images.
    pub(crate) test_images: usize,
}

impl Run<'_> {
    /// Checks the best weights. If they are damaged, they get another name, and the best of the kept checkpoints their
    /// place.
    ///
    /// # Errors
    /// A file that cannot be read, renamed or written, for other reasons than damage.
    pub(crate) fn check_best(&self) -> Result<Found, TrainError> {
        let path = self.paths.best();
        let is_there = path.symlink_metadata().is_ok();
        if !is_there && self.state.best.is_none() {
            return Ok(Found::Recorded);
        }
        let reason = match self.found()? {
            Ok(found) => return Ok(found),
            Err(reason) => reason,
        };
        let kept_as = if is_there { Some(onebit_files::set_aside(&path)?) } else { None };
        let Some((best, state, checkpoint)) = self.best_checkpoint()? else {
            return Ok(Found::Damaged { reason, kept_as, instead: None });
        };
        let (weights, _) = checkpoint::load_weights(&checkpoint)?;
        let state = State { best: Some(best), ..state };
        checkpoint::save_best(&path, &state, &weights)?;
        Ok(Found::Damaged { reason, kept_as, instead: Some(best) })
    }

    /// What the best weights are, or what is wrong with them.
    fn found(&self) -> Result<Result<Found, String>, TrainError> {
        let path = self.paths.best();
        let (weights, state) = match checkpoint::load_weights(&path) {
            Ok(loaded) => loaded,
            Err(error) if error.is_damage() => return Ok(Err(error.to_string())),
            Err(error) => return Err(error),
        };
        let found = match (state.best, self.state.best) {
            (Some(own), _) if self.is_ahead(own, &state)? => Ok(Found::Ahead(own)),
            (own @ Some(_), recorded) if own == recorded => Ok(Found::Recorded),
            (_, Some(recorded)) => {
                Err(format!("is not of epoch {}, in which the run did best", recorded.epoch))
            }
            (_, None) => Err("is not of this run, which has no best epoch yet".into()),
        };
        let found = found.and_then(|found| network(&weights.graph, self.graph).map(|()| found));
        Ok(found.map_err(|reason| format!("{}: {reason}", path.display())))
    }

    /// Whether weights whose state is `state` are better than what the newest checkpoint knows of, and of a later epoch.
    fn is_ahead(&self, own: Best, state: &State) -> Result<bool, TrainError> {
        let better = self.state.best.is_none_or(|recorded| own.top1 > recorded.top1);
        Ok(state.epoch > self.state.epoch
            && own.epoch == state.epoch
            && better
            && self.made(state)?)
    }

    /// Whether a state is of this run, perhaps with another number of epochs.
    fn made(&self, state: &State) -> Result<bool, TrainError> {
        let mut recipe = self.recipe.clone();
        recipe.train.epochs = state.epochs.unwrap_or(recipe.train.epochs);
        Ok(state.recipe_sha256 == recipe.fingerprint()?)
    }

    /// The kept checkpoint with the best test result up to now, and the first of several.
    fn best_checkpoint(&self) -> Result<Option<(Best, State, PathBuf)>, TrainError> {
        let Some(lost) = self.state.best else { return Ok(None) };
        let rows = metrics::read_whole_lines(&self.paths.metrics())?;
        let mut found: Option<(Best, State, PathBuf)> = None;
        for (epoch, path) in checkpoint::of_epochs(&self.paths.checkpoints())? {
            let top1 = match rows.iter().find(|row| row.epoch == epoch) {
                Some(row) if epoch != lost.epoch || differs(row.test_top1, lost.top1) => {
                    self.exact_top1(row)
                }
                None if epoch != lost.epoch => continue,
                Some(_) | None => lost.top1,
            };
            if epoch > self.state.epoch
                || found.as_ref().is_some_and(|(best, ..)| best.top1 >= top1)
            {
                continue;
            }
            let Ok((weights, state)) = checkpoint::load_weights(&path) else { continue };
            let fits = state.epoch == epoch && network(&weights.graph, self.graph).is_ok();
            if fits && state.stage == TrainingStage::BinaryWeights {
                found = Some((Best { epoch, top1 }, state, path));
            }
        }
        Ok(found)
    }

    /// The share that a row gives in six places.
    fn exact_top1(&self, row: &Row) -> f64 {
        let images = self.test_images as f64;
        (row.test_top1 * images).round() / images
    }
}

/// Whether a share in six places is another than `exact`.
fn differs(rounded: f64, exact: f64) -> bool {
    (rounded - exact).abs() > 1e-6
}

impl TrainError {
    /// Whether a file or folder is missing or holds something else than it should, as against one that the system
    /// does not let us read.
    pub(crate) fn is_damage(&self) -> bool {
        use std::io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
        match self {
            Self::Read { source, .. } => {
                matches!(source.kind(), NotFound | NotADirectory | IsADirectory)
            }
            error => error.kind() == onebit_data::ErrorKind::BadData,
        }
    }
}
