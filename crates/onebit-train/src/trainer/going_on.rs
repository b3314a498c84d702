//! Runs that go on from a checkpoint, perhaps to another number of epochs.

use super::Session;
use crate::best::{self, Found};
use crate::checkpoint::{self, Checkpoint, OPTIMIZER, Skipped};
use crate::optim::Optimizer;
use crate::resume::check_optimizer;
use crate::schedule::Schedule;
use crate::{Event, TrainError, metrics};

impl Session<'_> {
    /// Takes over a checkpoint.
    pub(super) fn resume(
        &mut self,
        checkpoint: Option<Checkpoint>,
        skipped: Vec<Skipped>,
    ) -> Result<(), TrainError> {
        let mut aside = Vec::new();
        if let Some(Checkpoint { path, weights, current, optimizer, .. }) = checkpoint {
            self.net.load_weights(&weights)?;
            self.start_average();
            if let Some(current) = current {
                self.net.load_weights(&current)?;
            }
            let optimizer =
                Optimizer::from_bytes(self.recipe.train.rule(), &self.net.params, &optimizer);
            self.optimizer =
                optimizer.map_err(|e| TrainError::damaged(&path.join(OPTIMIZER), e))?;
            let steps = self.images.train.batches();
            check_optimizer(&self.optimizer, &path, &self.state, self.recipe, steps)?;
            aside = checkpoint::keep_aside(skipped)?;
            self.newest = Some(path);
        }
        let (epoch, step) = (self.state.epoch, self.state.step_in_epoch);
        (self.events)(Event::Resumed { path: self.newest.clone(), epoch, step, skipped: aside });
        self.check_metrics()?;
        self.check_best()
    }

    /// Gives a damaged table of epochs another name.
    fn check_metrics(&mut self) -> Result<(), TrainError> {
        let path = self.run.paths.metrics();
        let damage = match metrics::read_whole_lines(&path) {
            Ok(_) => return Ok(()),
            Err(error) if error.is_damage() => error,
            Err(error) => return Err(error),
        };
        let aside = onebit_files::set_aside(&path)?;
        let warning = format!("{damage}; the file is kept as {}", aside.display());
        (self.events)(Event::Warning(warning));
        Ok(())
    }

    /// Finds out what the best weights are, and puts whole ones in their place if they are damaged.
    fn check_best(&mut self) -> Result<(), TrainError> {
        let run = best::Run {
            paths: &self.run.paths,
            recipe: self.recipe,
            graph: &self.graph,
            state: &self.state,
            test_images: self.images.test.dataset().len(),
        };
        match run.check_best()? {
            Found::Recorded => {}
            Found::Ahead(best) => {
                self.ahead = Some(best);
                if self.newest.is_none() {
                    (self.events)(Event::Warning(format!(
                        "{}: holds no checkpoint: the run begins anew, and its best weights (top-1 {:.2}% after epoch \
                         {}) stay until those of an epoch are better",
                        self.run.paths.root().display(),
                        100.0 * best.top1,
                        best.epoch
                    )));
                }
            }
            Found::Damaged { reason, kept_as, instead } => {
                self.state.best = instead;
                (self.events)(Event::BestDamaged { reason, kept_as, instead });
            }
        }
        Ok(())
    }

    /// Goes on to the recipe's number of epochs, which may be another one than the run's, and says when there is
    /// nothing left to do.
    pub(super) fn change_epochs(&mut self) -> Result<(), TrainError> {
        let lost = self.run.recipe_lost;
        let own = if lost { self.state.epochs } else { None };
        let (from, to) = (own.unwrap_or(self.run.epochs), self.recipe.train.epochs);
        if from != to || lost {
            self.run.write_recipe(self.recipe)?;
        }
        if from != to {
            self.announce_epochs(from);
        }
        self.state.epochs = Some(to);
        self.state.recipe_sha256 = self.recipe.fingerprint()?;
        let epochs = self.recipe.total_epochs();
        if self.state.epoch == epochs {
            (self.events)(Event::AlreadyFinished { epochs, binary_epochs: to });
        }
        Ok(())
    }

    fn announce_epochs(&mut self, from: usize) {
        let train = &self.recipe.train;
        let at = (self.state.epoch, self.state.step_in_epoch);
        let same_as_from_start =
            train.schedule == Schedule::Constant || at <= (train.real_weight_epochs, 0);
        let planned = |epochs: usize| {
            let mut recipe = self.recipe.clone();
            recipe.train.epochs = epochs;
            self.learning_rate_of(&recipe, at.1)
        };
        let left = at.0 < train.real_weight_epochs + from;
        let event = Event::EpochsChanged {
            from,
            to: train.epochs,
            same_as_from_start,
            lr_before: left.then(|| planned(from)),
            lr: planned(train.epochs),
        };
        (self.events)(event);
    }
}
