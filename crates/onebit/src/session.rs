//! Running a model, on one thread or on several.

use std::sync::Arc;

use onebit_engine::{Engine, EngineError, Isa, Options, Scratch, ThreadPool};
use onebit_model::NodeId;
use rayon::prelude::*;

use crate::{Error, Model, memory, threads};

const IMAGES_PER_THREAD: usize = 32;
/// Most bytes of images that are worth handing over at once, unless a single one has more.
const BATCH_BYTES: usize = 128 << 20;

/// Choices of a [`Session`].
#[derive(Clone, Debug)]
#[must_use]
pub struct SessionBuilder {
    model: Model,
    threads: usize,
    options: Options,
}

impl SessionBuilder {
    pub(crate) fn new(model: Model) -> Self {
        SessionBuilder { model, threads: 1, options: Options::default() }
    }

    /// Threads that share the images that are handed over, or the rows of fewer images; 1 unless it is said.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// The instruction set; the fastest that this CPU has unless it is said.
    pub fn isa(mut self, isa: Isa) -> Self {
        self.options.isa = Some(isa);
        self
    }

    /// Height and width of the images; the model's own unless it is said.
    pub fn input_size(mut self, size: [usize; 2]) -> Self {
        self.options.input = Some(size);
        self
    }

    /// The node whose value is given in place of the logits: `height x width x channels` floats for each image, of a sign
    /// +-1. What does not lead to it is not computed.
    pub fn output(mut self, node: NodeId) -> Self {
        self.options.output = Some(node);
        self
    }

    /// Plans the network and takes the working memory.
    ///
    /// # Errors
    /// The network does not take images of that size, the instruction set is missing, or there is not enough memory.
    pub fn build(self) -> Result<Session, Error> {
        self.plan()?.session()
    }

    /// Plans the network, for several sessions that share its weights.
    ///
    /// # Errors
    /// As [`SessionBuilder::build`].
    pub fn plan(self) -> Result<Planned, Error> {
        let SessionBuilder { model, threads, options } = self;
        let engine = Arc::new(Engine::new(model.verified(), options)?);
        Ok(Planned { model, engine, threads })
    }
}

/// A model planned for images of one size. Copies share it, and its sessions share the weights: one for each thread of
/// the caller.
#[derive(Clone, Debug)]
pub struct Planned {
    model: Model,
    engine: Arc<Engine>,
    threads: usize,
}

impl Planned {
    /// The engine that runs it.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Takes the working memory and starts the threads of a session.
    ///
    /// # Errors
    /// There is not enough memory for them.
    pub fn session(&self) -> Result<Session, Error> {
        let Planned { model, engine, threads } = self.clone();
        let image_pool = threads::thread_pool(threads)?;
        let row_pool = ThreadPool::new(threads.min(ThreadPool::MAX_THREADS))
            .map_err(|error| Error::Threads { threads, reason: error.to_string() })?;
        let shared = engine.scratch_for(row_pool.threads())?;
        Ok(Session { model, engine, row_pool, shared, image_pool, scratches: Vec::new() })
    }
}

/// A model with working memory and threads. Logits are the same bits on any number of threads.
#[derive(Debug)]
pub struct Session {
    model: Model,
    engine: Arc<Engine>,
    /// Threads that share the rows of an image, and their memory.
    row_pool: ThreadPool,
    shared: Scratch,
    /// Threads that share images, and the memory of each, once there are images for all of them.
    image_pool: rayon::ThreadPool,
    scratches: Vec<Scratch>,
}

impl Session {
    /// The model that runs.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The engine that runs it, for measurements.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The instruction set in use.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.engine.isa()
    }

    /// Threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.image_pool.current_num_threads()
    }

    /// The threads that share images.
    #[cfg(feature = "decode")]
    pub(crate) fn pool(&self) -> &rayon::ThreadPool {
        &self.image_pool
    }

    /// Images that are worth handing over at once.
    #[must_use]
    pub fn batch(&self) -> usize {
        let most = BATCH_BYTES / (size_of::<f32>() * self.image_len()).max(1);
        (IMAGES_PER_THREAD * self.threads()).min(most).max(1)
    }

    /// Computes the logits `[N, classes]` of normalised images `[N, height, width, channels]`. Whether they are finite
    /// numbers is not checked; see [`crate::not_finite`].
    ///
    /// # Errors
    /// Images that are not whole, another number of logits, or not enough memory.
    pub fn run(&mut self, images: &[f32], logits: &mut [f32]) -> Result<(), Error> {
        let (image, classes) = (self.image_len(), self.engine.classes());
        let (count, threads) = (images.len() / image, self.threads());
        self.check(images, logits)?;
        let mut pairs = images.chunks(image).zip(logits.chunks_mut(classes));
        let Session { engine, row_pool, shared, image_pool, scratches, .. } = self;
        if threads == 1 {
            return Ok(pairs.try_for_each(|(image, logits)| engine.run(image, logits, shared))?);
        }
        if count < threads {
            let mut run = |(image, logits)| engine.run_with(image, logits, shared, row_pool);
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
        Ok(image_pool.install(|| work.zip(scratches.par_iter_mut()).try_for_each(run))?)
    }

    /// The logits `[N, classes]` of normalised images `[N, height, width, channels]`.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn logits(&mut self, images: &[f32]) -> Result<Vec<f32>, Error> {
        let mut logits = Vec::new();
        let count = images.len() / self.image_len();
        memory::grow(&mut logits, count.saturating_mul(self.engine.classes()), "the logits")?;
        self.run(images, &mut logits)?;
        Ok(logits)
    }

    /// Values of an image.
    pub(crate) fn image_len(&self) -> usize {
        self.engine.input_shape().iter().product()
    }

    /// Whole images, and a place for each logit.
    fn check(&self, images: &[f32], logits: &[f32]) -> Result<(), Error> {
        let [channels, height, width] = self.engine.input_shape();
        let (expected, classes) = (self.image_len(), self.engine.classes());
        if !images.len().is_multiple_of(expected) {
            let found = images.len() % expected;
            let error = EngineError::ImageLength { found, expected, channels, height, width };
            return Err(error.into());
        }
        let (found, expected) = (logits.len(), images.len() / expected * classes);
        match found == expected {
            true => Ok(()),
            false => Err(EngineError::LogitsLength { found, expected }.into()),
        }
    }
}
