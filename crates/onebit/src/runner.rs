//! Runs a packed network on many images, over several threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use onebit_data::Dataset;
use onebit_engine::{Engine, Isa, Options, Scratch, Team};
use onebit_model::{Graph, Model, Verified};
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::dataset;
use crate::failure::Failure;
use crate::finite;
use crate::machine;
use crate::memory;

const IMAGES_PER_THREAD: usize = 32;
/// Most bytes of images that are handed over at once, unless a single one has more.
const BATCH_BYTES: usize = 128 << 20;

/// An engine, and its working memory.
pub(crate) struct Runner {
    engine: Engine,
    /// Where the network came from.
    path: PathBuf,
    /// Threads that share the rows of an image, and their memory.
    team: Team,
    shared: Scratch,
    /// Threads that share images, and the memory of each, once there are images for all of them.
    pool: ThreadPool,
    scratches: Vec<Scratch>,
}

impl Runner {
    /// Plans `model`, which came from the file `path`; all hardware threads unless `threads` says how many.
    pub(crate) fn new(
        path: &Path,
        model: &Verified<Model>,
        options: Options,
        threads: Option<usize>,
    ) -> anyhow::Result<Self> {
        let engine = Engine::new(model, options).with_context(|| path.display().to_string())?;
        let threads = threads.unwrap_or_else(machine::threads);
        let pool = machine::pool(threads)?;
        let shared = threads.min(Team::MAX_THREADS);
        let team = Team::new(shared).map_err(|e| {
            Failure::bad_data(format!("{shared} threads for one image cannot be started: {e}"))
        })?;
        let shared =
            engine.scratch_for(team.threads()).with_context(|| path.display().to_string())?;
        let path = path.to_path_buf();
        Ok(Runner { engine, path, team, shared, pool, scratches: Vec::new() })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn pool(&self) -> &ThreadPool {
        &self.pool
    }

    pub(crate) fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Images that are worth handing over at once.
    pub(crate) fn batch(&self) -> usize {
        let most = BATCH_BYTES / (size_of::<f32>() * self.image_len()).max(1);
        (IMAGES_PER_THREAD * self.threads()).min(most).max(1)
    }

    fn image_len(&self) -> usize {
        self.engine.input_shape().iter().product()
    }

    /// Logits of whole NHWC images; `name` says what the image at a position is called.
    ///
    /// # Errors
    /// An image whose logits are not finite numbers.
    pub(crate) fn run(
        &mut self,
        images: &[f32],
        logits: &mut [f32],
        name: impl Fn(usize) -> String,
    ) -> anyhow::Result<()> {
        self.compute(images, logits)?;
        finite::check(&self.path, logits, self.engine.classes(), name)
    }

    /// Logits of whole NHWC images, and the positions of those whose logits are not finite numbers.
    pub(crate) fn run_each(
        &mut self,
        images: &[f32],
        logits: &mut [f32],
    ) -> anyhow::Result<Vec<usize>> {
        self.compute(images, logits)?;
        Ok(finite::not_finite(logits, self.engine.classes()))
    }

    /// Each thread takes its share of the images, or, where they are fewer, its share of each.
    fn compute(&mut self, images: &[f32], logits: &mut [f32]) -> anyhow::Result<()> {
        let (image, classes) = (self.image_len(), self.engine.classes());
        let (count, threads) = (images.len() / image, self.threads());
        let mut pairs = images.chunks(image).zip(logits.chunks_mut(classes));
        let Runner { engine, team, shared, pool, scratches, .. } = self;
        if threads == 1 {
            return Ok(pairs.try_for_each(|(image, logits)| engine.run(image, logits, shared))?);
        }
        if count < threads {
            let mut run = |(image, logits)| engine.run_with(image, logits, shared, team);
            return Ok(pairs.try_for_each(&mut run)?);
        }
        if scratches.is_empty() {
            *scratches = engine.scratches(threads)?;
        }
        let share = count.div_ceil(threads);
        let run = |((images, logits), scratch): ((&[f32], &mut [f32]), &mut Scratch)| {
            let mut pairs = images.chunks(image).zip(logits.chunks_mut(classes));
            pairs.try_for_each(|(image, logits)| engine.run(image, logits, scratch))
        };
        let work = images.par_chunks(share * image).zip(logits.par_chunks_mut(share * classes));
        Ok(pool.install(|| work.zip(scratches.par_iter_mut()).try_for_each(run))?)
    }

    /// Runs all images of `dataset`, normalised as `graph` says; `each` gets the labels and logits of some
    /// images in order.
    ///
    /// # Errors
    /// An image that cannot be read, or whose logits are not finite numbers.
    pub(crate) fn run_all(
        &mut self,
        dataset: Arc<dyn Dataset>,
        graph: &Graph,
        each: &mut dyn FnMut(&[u32], &[f32]),
    ) -> anyhow::Result<()> {
        let loader = dataset::loader(graph, Arc::clone(&dataset), self.batch())?;
        let mut logits = Vec::new();
        for batch in loader.epoch(0, 0) {
            let batch = batch?;
            memory::grow(&mut logits, batch.labels.len() * self.engine.classes(), "the logits")?;
            self.compute(&batch.images, &mut logits)?;
            dataset::check_logits(&self.path, &*dataset, &batch.indices, &logits)?;
            each(&batch.labels, &logits);
        }
        Ok(())
    }
}

/// The instruction set called `name` on the command line.
pub(crate) fn parse_isa(name: &str) -> Result<Isa, String> {
    Isa::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Isa::available().iter().map(|isa| isa.name()).collect();
        format!("this build has no such kernels, available are: {}", names.join(", "))
    })
}

/// A number of threads on the command line.
pub(crate) fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=1024) => Ok(threads),
        _ => Err("expected 1 to 1024".to_owned()),
    }
}
