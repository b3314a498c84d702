//! The best weights of a run that goes on: whether they are there, and what takes their place.

use std::path::PathBuf;

use onebit_model::Graph;

use crate::checkpoint::{self, Best, Stage, State};
use crate::metrics::{self, Row};
use crate::resume::network;
use crate::run::RunPaths;
use crate::{Recipe, TrainError};

/// The best weights of a run are not whole, or not those that its checkpoint tells of.
pub(crate) struct Mended {
    /// What is wrong with them, in one sentence that names the file or folder.
    pub(crate) reason: String,
    /// The weights that have taken their place: the best ones among the checkpoints that the run has kept.
    pub(crate) instead: Option<Best>,
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
    /// Checks the weights that `state.best` is about, and replaces them if they are not whole.
    ///
    /// # Errors
    /// A file that cannot be read or written, for other reasons than damage.
    pub(crate) fn mend_best(&self) -> Result<Option<Mended>, TrainError> {
        let Some(best) = self.state.best else { return Ok(None) };
        let Some(reason) = self.what_is_wrong(best)? else { return Ok(None) };
        let Some((best, state, path)) = self.best_checkpoint(best)? else {
            return Ok(Some(Mended { reason, instead: None }));
        };
        let (weights, _) = checkpoint::load_weights(&path)?;
        let state = State { best: Some(best), ..state };
        checkpoint::save_best(&self.paths.best(), &state, &weights)?;
        Ok(Some(Mended { reason, instead: Some(best) }))
    }

    fn what_is_wrong(&self, best: Best) -> Result<Option<String>, TrainError> {
        let path = self.paths.best();
        let (weights, state) = match checkpoint::load_weights(&path) {
            Ok(loaded) => loaded,
            Err(error) if error.is_damage() => return Ok(Some(error.to_string())),
            Err(error) => return Err(error),
        };
        // A killed run may have been ahead of its newest checkpoint; it will come there again.
        let ahead = state.epoch > self.state.epoch
            && state.best.is_some_and(|own| own.epoch == state.epoch)
            && self.made(&state)?;
        let wrong = if !ahead && state.best != Some(best) {
            Err(format!("is not of epoch {}, in which the run did best", best.epoch))
        } else {
            network(&weights.graph, self.graph)
        };
        Ok(wrong.err().map(|reason| format!("{}: {reason}", path.display())))
    }

    /// Whether a state is of this run, perhaps with another number of epochs.
    fn made(&self, state: &State) -> Result<bool, TrainError> {
        let mut recipe = self.recipe.clone();
        recipe.train.epochs = state.epochs.unwrap_or(recipe.train.epochs);
        Ok(state.recipe_sha256 == recipe.fingerprint()?)
    }

    /// The kept checkpoint with the best test result up to now, and the first of several.
    fn best_checkpoint(&self, lost: Best) -> Result<Option<(Best, State, PathBuf)>, TrainError> {
        let rows = metrics::read_whole_lines(&self.paths.metrics())?;
        let mut found: Option<(Best, State, PathBuf)> = None;
        for (epoch, path) in checkpoint::of_epochs(&self.paths.checkpoints())? {
            let top1 = match rows.iter().find(|row| row.epoch == epoch) {
                _ if epoch == lost.epoch => lost.top1,
                Some(row) => self.exact_top1(row),
                None => continue,
            };
            if epoch > self.state.epoch
                || found.as_ref().is_some_and(|(best, ..)| best.top1 >= top1)
            {
                continue;
            }
            let Ok((weights, state)) = checkpoint::load_weights(&path) else { continue };
            let fits = state.epoch == epoch && network(&weights.graph, self.graph).is_ok();
            if fits && state.stage == Stage::BinaryWeights {
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
