//! Runs a packed network on many images, over several threads.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use onebit_data::Dataset;
use onebit_engine::{Engine, Isa, Options, Scratch, Team};
use onebit_model::{Graph, Model, Verified};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::dataset;
use crate::machine;

const IMAGES_PER_THREAD: usize = 32;

/// An engine, and its working memory.
pub(crate) struct Runner {
    engine: Engine,
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
        let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
        let team = Team::new(threads.min(Team::MAX_THREADS))?;
        let shared =
            engine.scratch_for(team.threads()).with_context(|| path.display().to_string())?;
        Ok(Runner { engine, team, shared, pool, scratches: Vec::new() })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Images that are worth handing over at once.
    pub(crate) fn batch(&self) -> usize {
        IMAGES_PER_THREAD * self.threads()
    }

    /// Logits of whole NHWC images: each thread takes its share of them, or, where they are fewer, its share of each.
    pub(crate) fn run(&mut self, images: &[f32], logits: &mut [f32]) -> anyhow::Result<()> {
        let image: usize = self.engine.input_shape().iter().product();
        let classes = self.engine.classes();
        let (count, threads) = (images.len() / image, self.threads());
        let mut pairs = images.chunks(image).zip(logits.chunks_mut(classes));
        let Runner { engine, team, shared, pool, scratches } = self;
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
    pub(crate) fn run_all(
        &mut self,
        dataset: Arc<dyn Dataset>,
        graph: &Graph,
        each: &mut dyn FnMut(&[u32], &[f32]),
    ) -> anyhow::Result<()> {
        let loader = dataset::loader(graph, dataset, self.batch())?;
        let mut logits = Vec::new();
        for batch in loader.epoch(0, 0) {
            let batch = batch?;
            logits.resize(batch.labels.len() * self.engine.classes(), 0.0);
            self.run(&batch.images, &mut logits)?;
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
