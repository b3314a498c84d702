//! Training from a recipe to a folder of checkpoints.

mod going_on;
mod start;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use onebit_data::Batch;
use onebit_model::file::Weights;
use onebit_model::{Graph, ModelError, Verified, arch};

use self::start::{first_state, new_net};
use crate::average::Average;
use crate::checkpoint::{self, Best, Latest, State, Sums, TrainingStage};
use crate::evaluate::{Evaluation, evaluate, teacher_top1};
use crate::feasible::{self, Needs};
use crate::images::Images;
use crate::init::Init;
use crate::loss::{Loss, distillation};
use crate::metrics::{self, Row};
use crate::optim::Optimizer;
use crate::resume::Expected;
use crate::run::{Mode, OpenRun, check_folder};
use crate::schedule::LearningRate;
use crate::stages::{epochs_of, stage_of, weight_decay};
use crate::teacher::Teacher;
use crate::{Event, Net, Recipe, Summary, TrainError, TrainOptions};

/// Test images that a teacher is tried on before it teaches.
const TEACHER_SAMPLE: usize = 512;

/// Trains a network, from the start or from the newest whole checkpoint.
///
/// The same recipe and images give the same weights, bit for bit, on the same kind of CPU, on any number of threads
/// (those of the current rayon pool) and however often the run was interrupted and resumed.
///
/// # Errors
/// A recipe, data set or folder that cannot be used; a file that cannot be written; a loss or gradient that is not
/// finite. Checkpoints that were written stay; a new run that fails before it has finished an epoch leaves nothing.
pub fn train(
    options: &TrainOptions<'_>,
    events: &mut dyn FnMut(Event),
) -> Result<Summary, TrainError> {
    let recipe = &options.recipe;
    recipe.validate("recipe")?;
    check_folder(&options.out)?;
    let images = Images::open(recipe, options.data_dir.as_deref())?;
    let graph = arch::build(&recipe.network, &images.task)?;
    feasible::check_norms(&graph, recipe.train.batch)?;
    let needs = Needs::of(recipe, &graph)?;
    feasible::check_memory(needs, recipe.train.batch)?;
    let teacher = match &recipe.train.teacher {
        Some(section) => Some(Teacher::of_run(section, &images, recipe.train.batch)?),
        None => None,
    };
    let init = match &recipe.train.init {
        Some(path) if !options.resume => Some(Init::read(path, &graph)?),
        _ => None,
    };
    feasible::reserve(needs, recipe.train.batch)?;
    let mode = match (options.resume, options.change_epochs) {
        (false, _) => Mode::Start,
        (true, false) => Mode::Resume,
        (true, true) => Mode::ChangeEpochs,
    };
    let run = OpenRun::open(&options.out, recipe, mode)?;
    let material = Material { images, graph, teacher, init };
    let summary = Session::begin(options, material, &run, events).and_then(Session::train);
    if summary.is_err() {
        run.give_up();
    }
    summary
}

/// What a run works with, checked against its recipe.
struct Material {
    images: Images,
    graph: Verified<Graph>,
    teacher: Option<Teacher>,
    init: Option<Init>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Finished,
    Stopped,
}

struct Session<'a> {
    recipe: &'a Recipe,
    run: &'a OpenRun,
    stop: &'a AtomicBool,
    events: &'a mut dyn FnMut(Event),
    images: Images,
    graph: Verified<Graph>,
    teacher: Option<Teacher>,
    net: Net,
    optimizer: Optimizer,
    average: Option<Average>,
    state: State,
    /// The best weights that are kept, if they are of an epoch that the run comes to again.
    ahead: Option<Best>,
    /// The stage that was last announced.
    announced: Option<TrainingStage>,
    newest: Option<PathBuf>,
    started: Instant,
}

impl<'a> Session<'a> {
    fn begin(
        options: &'a TrainOptions<'_>,
        material: Material,
        run: &'a OpenRun,
        events: &'a mut dyn FnMut(Event),
    ) -> Result<Self, TrainError> {
        let recipe = &options.recipe;
        let Material { images, graph, teacher, init } = material;
        let Latest { checkpoint, skipped } = checkpoint::latest(&run.paths.checkpoints())?;
        let state = match &checkpoint {
            Some(checkpoint) => {
                let expected = Expected {
                    recipe,
                    epochs: run.epochs,
                    images: images.count(),
                    steps: images.train.batches(),
                    graph: &graph,
                    teacher: teacher.as_ref(),
                };
                expected.state(checkpoint)?
            }
            None if skipped.is_empty() => first_state(recipe, &images, teacher.as_ref())?,
            None => {
                let reasons: Vec<_> = skipped.into_iter().map(|skipped| skipped.reason).collect();
                let (path, skipped) = (run.paths.checkpoints(), reasons.join("; "));
                return Err(TrainError::NoWholeCheckpoint { path, skipped });
            }
        };
        let net = new_net(recipe, &graph, state.stage)?;
        let optimizer = Optimizer::new(recipe.train.rule(), &net.params);
        let mut session = Session {
            recipe,
            run,
            stop: options.stop,
            events,
            images,
            graph,
            teacher,
            net,
            optimizer,
            average: None,
            state,
            ahead: None,
            announced: None,
            newest: None,
            started: Instant::now(),
        };
        session.announce_start()?;
        let from_start = checkpoint.is_none();
        if run.begins_anew {
            (session.events)(Event::Warning(format!(
                "{}: holds a run that ended before its first checkpoint, which begins anew",
                run.paths.root().display()
            )));
        }
        if options.resume {
            session.resume(checkpoint, skipped)?;
        }
        match &recipe.train.init {
            Some(path) if from_start => session.initialize(match init {
                Some(init) => init,
                None => Init::read(path, &session.graph)?,
            }),
            Some(path) => session.compare_init(path),
            None => {}
        }
        if from_start {
            session.start_average();
        }
        session.change_epochs()?;
        let missing = metrics::begin(&run.paths.metrics(), session.state.epoch)?;
        if missing > 0 {
            (session.events)(Event::RowsMissing { epochs: missing });
        }
        Ok(session)
    }

    fn train(mut self) -> Result<Summary, TrainError> {
        while self.state.epoch < self.recipe.total_epochs() {
            self.enter_stage()?;
            if self.epoch()? == Progress::Stopped {
                return self.interrupted();
            }
        }
        Ok(self.summary(false))
    }

    fn announce_start(&mut self) -> Result<(), TrainError> {
        for warning in std::mem::take(&mut self.images.warnings) {
            (self.events)(Event::Warning(warning));
        }
        let dataset = self.images.train.dataset();
        (self.events)(Event::Started {
            arch: self.graph.arch.clone(),
            parameters: self.net.params.trainable(),
            images: dataset.len(),
            test_images: self.images.test.dataset().len(),
            classes: dataset.classes().len(),
            epochs: self.recipe.total_epochs(),
            steps: self.images.train.batches(),
        });
        if let Some(teacher) = &mut self.teacher {
            let sample = self.images.test_sample(TEACHER_SAMPLE)?;
            let (path, images) = (teacher.path.clone(), sample.dataset().len());
            let top1 = teacher_top1(teacher, &sample)?;
            let skipped = teacher.skipped.clone();
            (self.events)(Event::Teacher { path, images, top1, skipped });
        }
        Ok(())
    }

    /// Begins with trained weights.
    fn initialize(&mut self, init: Init) {
        init.apply(&mut self.net.params);
        self.state.init_sha256 = Some(init.sha256);
        let Init { path, classifier_anew, hyper_functions, skipped, .. } = init;
        (self.events)(Event::Initialized { path, classifier_anew, hyper_functions, skipped });
    }

    /// Says so if the initial weights are others now; the run has its own and needs them no more, so that they may
    /// also be gone.
    fn compare_init(&mut self, path: &Path) {
        if let Ok(init) = Init::read(path, &self.graph)
            && self.state.init_sha256.as_ref() != Some(&init.sha256)
        {
            (self.events)(Event::InitChanged { path: init.path });
        }
    }

    /// Begins the second stage, from the weights of the first, when its time has come.
    fn enter_stage(&mut self) -> Result<(), TrainError> {
        let stage = stage_of(self.recipe, self.state.epoch);
        if stage != self.state.stage {
            let weights = self.weights()?;
            self.net = new_net(self.recipe, &self.graph, stage)?;
            self.net.load_weights(&weights)?;
            self.optimizer = Optimizer::new(self.recipe.train.rule(), &self.net.params);
            self.start_average();
            self.state.stage = stage;
        }
        if self.announced != Some(stage) {
            self.announced = Some(stage);
            let (_, epochs) = epochs_of(self.recipe, stage);
            (self.events)(Event::StageStarted { stage, epochs });
        }
        Ok(())
    }

    /// The rest of the current epoch: steps, evaluation, row, best weights, checkpoint.
    fn epoch(&mut self) -> Result<Progress, TrainError> {
        let start = Instant::now();
        let (first_step, seconds_before) = (self.state.step_in_epoch, self.state.sums.seconds);
        for batch in self.images.train.epoch(self.state.epoch as u64, first_step) {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Progress::Stopped);
            }
            let loss = self.step(&batch?)?;
            let seconds = start.elapsed().as_secs_f64();
            self.state.sums.seconds = seconds_before + seconds;
            let images = (self.state.step_in_epoch - first_step) * self.recipe.train.batch;
            self.announce_step(loss, images as f64 / seconds);
        }
        self.swap_average();
        let test = evaluate(&mut self.net, &self.images.test, self.stop);
        self.swap_average();
        match test? {
            Some(test) => self.finish_epoch(&test).map(|()| Progress::Finished),
            None => Ok(Progress::Stopped),
        }
    }

    /// One step; returns its loss.
    fn step(&mut self, batch: &Batch) -> Result<f64, TrainError> {
        let loss = self.learn(batch)?;
        if !loss.value.is_finite() {
            return Err(self.not_finite("the loss".into()));
        }
        let (recipe, stage) = (self.recipe, self.state.stage);
        let lr = self.learning_rate(self.state.step_in_epoch);
        let moved =
            self.optimizer.step(&mut self.net.params, lr, |p| weight_decay(recipe, stage, p));
        moved.map_err(|name| self.not_finite(format!("the gradient of `{name}`")))?;
        self.state.step_in_epoch += 1;
        self.state.global_step += 1;
        if let Some(average) = &mut self.average {
            average.update(&self.net.params, self.state.global_step);
        }
        self.state.sums.loss += loss.value;
        self.state.sums.correct += loss.correct;
        Ok(loss.value)
    }

    /// Begins the average, if there is to be one, at the weights as they are.
    fn start_average(&mut self) {
        self.average = self.recipe.train.ema.map(|decay| Average::new(decay, &self.net.params));
    }

    /// Exchanges the weights with their average, if there is one.
    fn swap_average(&mut self) {
        if let Some(average) = &mut self.average {
            average.swap(&mut self.net.params);
        }
    }

    /// Loss and gradients of a batch, from the teacher's outputs or the labels.
    fn learn(&mut self, batch: &Batch) -> Result<Loss, TrainError> {
        let Batch { images, labels, .. } = batch;
        let Some(teacher) = &mut self.teacher else {
            let smoothing = self.recipe.train.label_smoothing as f32;
            return Ok(self.net.step(images, labels, smoothing));
        };
        let target = teacher.logits(images)?;
        let classes = self.graph.classes.len();
        Ok(self.net.step_with(images, |logits, gradient| {
            distillation(logits, &target, labels, classes, gradient)
        }))
    }

    fn announce_step(&mut self, loss: f64, images_per_second: f64) {
        let (epochs, steps) = (self.recipe.total_epochs(), self.images.train.batches());
        let step = self.state.step_in_epoch;
        let batch = self.recipe.train.batch;
        let left = (epochs - self.state.epoch) * steps - step;
        (self.events)(Event::Step {
            epoch: self.state.epoch + 1,
            epochs,
            step,
            steps,
            loss,
            top1: self.state.sums.correct as f64 / (step * batch) as f64,
            images_per_second,
            seconds_left: (left * batch) as f64 / images_per_second,
        });
    }

    fn finish_epoch(&mut self, test: &Evaluation) -> Result<(), TrainError> {
        let row = self.row(test);
        metrics::append(&self.run.paths.metrics(), row)?;
        self.state.epoch = row.epoch;
        self.state.step_in_epoch = 0;
        self.state.sums = Sums::default();
        let is_binary = self.state.stage == TrainingStage::BinaryWeights;
        let better_than = |best: Option<Best>| best.is_none_or(|best| test.top1 > best.top1);
        let better = is_binary && better_than(self.state.best);
        let best = better && better_than(self.ahead);
        (self.events)(Event::Epoch { row, best });
        if better {
            self.state.best = Some(Best { epoch: row.epoch, top1: test.top1 });
        }
        if best {
            self.ahead = None;
            let weights = self.weights()?;
            checkpoint::save_best(&self.run.paths.best(), &self.state, &weights)?;
        } else if self.ahead.is_some_and(|ahead| ahead.epoch <= row.epoch) {
            self.state.best = self.ahead.take();
        }
        let (first, epochs) = epochs_of(self.recipe, self.state.stage);
        let last_of_stage = row.epoch == first + epochs;
        if last_of_stage || row.epoch.is_multiple_of(self.recipe.train.save_every) {
            self.save()?;
        }
        Ok(())
    }

    fn row(&self, test: &Evaluation) -> Row {
        let Sums { loss, correct, seconds } = self.state.sums;
        let steps = self.state.step_in_epoch;
        let images = (steps * self.recipe.train.batch) as f64;
        Row {
            epoch: self.state.epoch + 1,
            stage: self.state.stage,
            step: self.state.global_step,
            lr: self.learning_rate(steps - 1),
            train_loss: loss / steps as f64,
            train_top1: correct as f64 / images,
            test_loss: test.loss,
            test_top1: test.top1,
            img_per_s: images / seconds,
            seconds: seconds + test.seconds,
        }
    }

    fn interrupted(mut self) -> Result<Summary, TrainError> {
        let path = self.save()?;
        (self.events)(Event::Interrupted { path });
        Ok(self.summary(true))
    }

    fn summary(self, interrupted: bool) -> Summary {
        Summary {
            epoch: self.state.epoch,
            epochs: self.recipe.total_epochs(),
            best: self.ahead.or(self.state.best),
            checkpoint: self.newest,
            interrupted,
            seconds: self.started.elapsed().as_secs_f64(),
        }
    }

    fn save(&mut self) -> Result<PathBuf, TrainError> {
        let optimizer = self.optimizer.to_bytes(&self.net.params);
        let checkpoints = self.run.paths.checkpoints();
        let optimizer = optimizer.map_err(|e| TrainError::damaged(&checkpoints, e))?;
        let weights = self.weights()?;
        let current = self.average.is_some().then(|| self.current_weights()).transpose()?;
        let kept = self.recipe.train.keep_checkpoints;
        let state = &self.state;
        let path =
            checkpoint::save(&checkpoints, state, &weights, current.as_ref(), optimizer, kept)?;
        self.newest = Some(path.clone());
        (self.events)(Event::Checkpoint { path: path.clone() });
        Ok(path)
    }

    /// The weights, or their average.
    fn weights(&mut self) -> Result<Verified<Weights>, TrainError> {
        self.swap_average();
        let weights = self.current_weights();
        self.swap_average();
        weights
    }

    fn current_weights(&self) -> Result<Verified<Weights>, TrainError> {
        Verified::<Weights>::new(self.net.weights()).map_err(|error| match error {
            ModelError::NotFinite(name) => self.not_finite(format!("`{name}`")),
            error => error.into(),
        })
    }

    /// Learning rate of a step of the current epoch.
    fn learning_rate(&self, step: usize) -> f64 {
        self.learning_rate_of(self.recipe, step)
    }

    fn learning_rate_of(&self, recipe: &Recipe, step: usize) -> f64 {
        let train = &recipe.train;
        let stage = stage_of(recipe, self.state.epoch);
        let (first, epochs) = epochs_of(recipe, stage);
        let rate = LearningRate {
            lr: train.lr,
            schedule: train.schedule,
            granularity: train.granularity,
            epochs,
            steps: self.images.train.batches(),
        };
        rate.at(self.state.epoch - first, step)
    }

    fn not_finite(&self, what: String) -> TrainError {
        TrainError::NotFinite {
            what,
            epoch: self.state.epoch + 1,
            step: self.state.step_in_epoch + 1,
            lr: self.learning_rate(self.state.step_in_epoch),
            checkpoint: self.newest.clone(),
        }
    }
}
