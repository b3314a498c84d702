//! The engine: a planned network, its working memory, and the ways to run it.

use alloc::string::String;
use alloc::vec::Vec;

use onebit_model::infer::shapes_for;
use onebit_model::{Model, NodeId, Shape, Verified, bits};

use crate::aligned::Aligned;
use crate::arena::{Span, split};
use crate::exec::{Location, MAX_PARTS, Outputs, ParallelFor, Read, Temp, Work};
use crate::front::front;
use crate::kernel::{self, Kernels};
use crate::map::stride;
use crate::plan::{MAX_SCRATCH_BYTES, Plan, Sign, Sizes, Step};
use crate::{EngineError, Isa, StepInfo};

/// Choices of [`Engine::new`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Height and width of the images; the model's own when absent.
    pub input: Option<[usize; 2]>,
    /// Instruction set; the fastest that this CPU has when absent.
    pub isa: Option<Isa>,
    /// The node whose value a run gives in place of the logits: `height x width x channels` floats, of a sign +-1.
    pub output: Option<NodeId>,
}

/// A network planned for images of one size. Shared by threads, each with its own [`Scratch`].
///
/// ```
/// use onebit_engine::{Engine, Options};
/// use onebit_model::file;
///
/// # let bytes = include_bytes!("../../onebit-model/tests/file/tiny.onebit");
/// let model = file::read_model(bytes)?;
/// let engine = Engine::new(&model, Options::default())?;
/// let image = [1.0, -1.0, -1.0, 1.0, 1.0, 1.0, -1.0, -1.0]; // 2x2 pixels of 2 channels, normalised
/// let mut logits = vec![0.0; engine.classes()];
/// engine.run(&image, &mut logits, &mut engine.scratch()?)?;
/// assert_eq!(logits, [3.0, 2.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    plan: Plan,
    kernels: &'static Kernels,
    input: [usize; 3],
    /// Shape of the last value.
    output: Shape,
    names: Vec<String>,
    weights: usize,
}

/// Working memory of one run at a time; made by [`Engine::scratch`].
#[derive(Debug)]
pub struct Scratch {
    sizes: Sizes,
    floats: Aligned<f32>,
    bits: Aligned<u64>,
    /// One for each thread.
    buffers: Vec<Aligned<f32>>,
}

/// Bytes of memory that an engine needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// One [`Scratch`].
    pub scratch: usize,
    /// Weights and other parameters in the kernels' order.
    pub weights: usize,
}

impl Engine {
    /// Plans a model: shapes, fusion, places in memory, repacked weights.
    ///
    /// # Errors
    /// The network does not take this image size, it needs too much memory, or the instruction set is missing.
    pub fn new(model: &Verified<Model>, options: Options) -> Result<Self, EngineError> {
        let kernels = kernel::select(options.isa)?;
        let [channels, height, width] = model.graph.input_shape();
        let [height, width] = options.input.unwrap_or([height, width]);
        let shapes = shapes_for(&model.graph, [channels, height, width])
            .map_err(|source| EngineError::InputSize { height, width, source })?;
        let Some(output) = options.output else {
            return Engine::planned(model, &shapes, kernels);
        };
        if output.0 >= shapes.len() {
            return Err(EngineError::NoSuchNode { node: output.0, nodes: shapes.len() });
        }
        let (model, shapes) = front(model, &shapes, output);
        Engine::planned(&model, &shapes, kernels)
    }

    fn planned(
        model: &Model,
        shapes: &[Shape],
        kernels: &'static Kernels,
    ) -> Result<Self, EngineError> {
        let plan = Plan::new(model, shapes, kernels)?;
        let (first, last) = (shapes[0], shapes[shapes.len() - 1]);
        Ok(Engine {
            kernels,
            input: [first.channels, first.height, first.width],
            output: last,
            names: model.graph.nodes.iter().map(|node| node.name.clone()).collect(),
            weights: plan.steps.iter().map(|step| step.work.weight_bytes()).sum(),
            plan,
        })
    }

    /// Working memory for this engine.
    ///
    /// # Errors
    /// The system has no such memory.
    pub fn scratch(&self) -> Result<Scratch, EngineError> {
        self.scratch_for(1)
    }

    /// Working memory with which so many threads can compute an image together, at most 32 (`ThreadPool::MAX_THREADS`).
    ///
    /// # Errors
    /// The system has no such memory, or it is more than one program may take.
    pub fn scratch_for(&self, threads: usize) -> Result<Scratch, EngineError> {
        let threads = threads.clamp(1, MAX_PARTS);
        check_together(threads, self.plan.sizes.bytes(threads))?;
        self.allocate(threads)
    }

    /// Working memory for each of so many threads that compute images of their own.
    ///
    /// # Errors
    /// The system has no such memory, or all of it is more than one program may take.
    pub fn scratches(&self, threads: usize) -> Result<Vec<Scratch>, EngineError> {
        check_together(
            threads,
            self.plan.sizes.bytes(1).and_then(|bytes| bytes.checked_mul(threads)),
        )?;
        (0..threads).map(|_| self.allocate(1)).collect()
    }

    fn allocate(&self, threads: usize) -> Result<Scratch, EngineError> {
        let sizes = self.plan.sizes;
        Ok(Scratch {
            sizes,
            floats: Aligned::new(sizes.floats)?,
            bits: Aligned::new(sizes.bits)?,
            buffers: (0..threads).map(|_| Aligned::new(sizes.buffer)).collect::<Result<_, _>>()?,
        })
    }

    /// Computes the logits of one normalised image, NHWC (`height x width x channels`). Allocates nothing.
    ///
    /// # Errors
    /// An image, logits or scratch of the wrong size.
    pub fn run(
        &self,
        image: &[f32],
        logits: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<(), EngineError> {
        self.run_all(image, logits, scratch, None)
    }

    /// Like [`Engine::run`], but the threads of `pool` share the rows of each map, as many of them as `scratch` is for.
    /// The logits are the same.
    ///
    /// # Errors
    /// Those of [`Engine::run`].
    ///
    /// # Panics
    /// Another run with the same pool goes on.
    #[cfg(feature = "std")]
    pub fn run_with(
        &self,
        image: &[f32],
        logits: &mut [f32],
        scratch: &mut Scratch,
        pool: &crate::ThreadPool,
    ) -> Result<(), EngineError> {
        self.run_all(image, logits, scratch, Some(&|parts, work| pool.run(parts, work)))
    }

    fn run_all(
        &self,
        image: &[f32],
        logits: &mut [f32],
        scratch: &mut Scratch,
        parallel_for: Option<ParallelFor<'_>>,
    ) -> Result<(), EngineError> {
        self.check(image, logits, scratch)?;
        for step in &self.plan.steps {
            self.execute(step, image, scratch, parallel_for);
        }
        self.finish(image, logits, scratch);
        Ok(())
    }

    /// Like [`Engine::run`]; shows `observer` every sign node's name and packed bits: pixel-major,
    /// `onebit_model::bits::words(channels)` words for each pixel.
    ///
    /// # Errors
    /// Those of [`Engine::run`].
    pub fn run_observed(
        &self,
        image: &[f32],
        logits: &mut [f32],
        scratch: &mut Scratch,
        observer: &mut dyn FnMut(&str, &[u64]),
    ) -> Result<(), EngineError> {
        self.check(image, logits, scratch)?;
        for step in &self.plan.steps {
            self.execute(step, image, scratch, None);
            for sign in step.inner_sign.into_iter().chain(step.sign) {
                observer(&self.names[sign.node], sign.bits.of(&scratch.bits));
            }
        }
        self.finish(image, logits, scratch);
        Ok(())
    }

    /// Like [`Engine::run`]; puts into `times` what `clock` advanced during each of [`Engine::steps`].
    ///
    /// # Errors
    /// Those of [`Engine::run`], or `times` without one place for each step.
    pub fn run_profiled(
        &self,
        image: &[f32],
        logits: &mut [f32],
        scratch: &mut Scratch,
        clock: &mut dyn FnMut() -> u64,
        times: &mut [u64],
    ) -> Result<(), EngineError> {
        self.check(image, logits, scratch)?;
        let (found, expected) = (times.len(), self.plan.steps.len());
        if found != expected {
            return Err(EngineError::TimesLength { found, expected });
        }
        let mut before = clock();
        for (step, time) in self.plan.steps.iter().zip(times) {
            self.execute(step, image, scratch, None);
            let now = clock();
            *time = now.wrapping_sub(before);
            before = now;
        }
        self.finish(image, logits, scratch);
        Ok(())
    }

    /// What each step of a run computes, in order.
    #[must_use]
    pub fn steps(&self) -> &[StepInfo] {
        &self.plan.infos
    }

    /// The image's `[channels, height, width]`.
    #[must_use]
    pub fn input_shape(&self) -> [usize; 3] {
        self.input
    }

    /// Number of logits, or of values of [`Options::output`].
    #[must_use]
    pub fn classes(&self) -> usize {
        self.output.len()
    }

    /// Shape of what a run gives.
    #[must_use]
    pub fn output_shape(&self) -> Shape {
        self.output
    }

    /// The instruction set in use.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.kernels.isa
    }

    /// Bytes in use.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory { scratch: self.plan.sizes.bytes(1).unwrap_or(usize::MAX), weights: self.weights }
    }

    fn check(&self, image: &[f32], logits: &[f32], scratch: &Scratch) -> Result<(), EngineError> {
        let [channels, height, width] = self.input;
        let expected = channels * height * width;
        if image.len() != expected {
            let found = image.len();
            return Err(EngineError::ImageLength { found, expected, channels, height, width });
        }
        let (found, expected) = (logits.len(), self.classes());
        if found != expected {
            return Err(EngineError::LogitsLength { found, expected });
        }
        if scratch.sizes != self.plan.sizes {
            return Err(EngineError::ForeignScratch);
        }
        Ok(())
    }

    fn execute(
        &self,
        step: &Step,
        image: &[f32],
        scratch: &mut Scratch,
        parallel_for: Option<ParallelFor<'_>>,
    ) {
        let Scratch { floats, bits, buffers, .. } = scratch;
        let place = |span: Option<Span>| span.unwrap_or(Span::EMPTY);
        let bits_of = |sign: Option<Sign>| place(sign.map(|sign| sign.bits));
        let ([out, out_sums, vectors], floats) =
            split(floats, [place(step.floats), place(step.sums), step.vectors]);
        let ([out_bits, inner_bits, prepared], bits) =
            split(bits, [bits_of(step.sign), bits_of(step.inner_sign), step.prepared]);
        let read = Read { image, floats, bits };
        match &step.work {
            Work::Map(map) => {
                let outputs = Outputs {
                    floats: step.floats.map(|_| out),
                    bits: step.sign.map(|_| out_bits),
                    inner_bits: step.inner_sign.map(|_| inner_bits),
                    sums: step.sums.map(|_| out_sums),
                };
                let temp = Temp { vectors, prepared, buffers };
                map.run(self.kernels, read, outputs, temp, parallel_for);
            }
            Work::GlobalAvgPool(x) => x.means(self.kernels, &read, vectors, out),
            Work::Linear(linear) => linear.run(self.kernels, &read, vectors, out),
            Work::HyperTrunk(trunk) => trunk.run(self.kernels, &read, vectors, out),
            Work::HyperHead(head) => head.run(self.kernels, &read, vectors, out),
        }
    }

    fn finish(&self, image: &[f32], logits: &mut [f32], scratch: &Scratch) {
        let channels = self.output.channels;
        let pixels = logits.chunks_exact_mut(channels);
        match self.plan.logits {
            Location::Floats(span) => {
                let values = span.of(&scratch.floats).chunks_exact(stride(channels));
                pixels.zip(values).for_each(|(to, from)| to.copy_from_slice(&from[..channels]));
            }
            Location::Bits(span) => {
                let values = span.of(&scratch.bits).chunks_exact(bits::words(channels));
                for (to, from) in pixels.zip(values) {
                    to.iter_mut().enumerate().for_each(|(c, to)| *to = bits::value(from, c));
                }
            }
            Location::Image => logits.copy_from_slice(image),
        }
    }
}

/// The working memory of all threads, `bytes` unless that overflows, is within the limit.
fn check_together(threads: usize, bytes: Option<usize>) -> Result<(), EngineError> {
    match bytes {
        Some(bytes) if bytes <= MAX_SCRATCH_BYTES => Ok(()),
        _ => Err(EngineError::TooLargeTogether { threads, limit: MAX_SCRATCH_BYTES }),
    }
}
