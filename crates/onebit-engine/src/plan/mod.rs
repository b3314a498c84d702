//! The plan: fused steps with their parameters repacked and their places in memory.

mod liveness;
mod planner;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use onebit_model::{Data, Model, Shape};

use self::liveness::{Liveness, Reserved, real_len};
use self::planner::Planner;
use crate::EngineError;
use crate::aligned::BumpAllocator;
use crate::arena::Span;
use crate::exec::{Location, Work};
use crate::fuse::fused_ops;
use crate::kernel::Kernels;

/// Most bytes of working memory for one image, and for all threads that have some.
pub(crate) const MAX_SCRATCH_BYTES: usize = 1 << 31;

/// What one step of the plan computes.
#[derive(Clone, Debug, PartialEq)]
pub struct StepInfo {
    /// Name of the node that the step starts with.
    pub name: String,
    /// Operations computed in one pass, in order, such as `["conv_bin", "affine", "add", "sign"]`.
    pub ops: Vec<&'static str>,
    /// The kernel that does most of the work, such as `conv_bin_3x3_avx512`.
    pub kernel: String,
    /// Shape of the last value.
    pub output: Shape,
    /// Real multiply-accumulates.
    pub flops: u64,
    /// Binary multiply-accumulates, padded taps included.
    pub bops: u64,
}

/// A step and where it reads and writes.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) work: Work,
    /// Place of the real output, if anything reads it.
    pub(crate) floats: Option<Span>,
    /// The sign that the step ends in.
    pub(crate) sign: Option<Sign>,
    /// The sign of the map that a pooling reads.
    pub(crate) inner_sign: Option<Sign>,
    /// Place of the sums of the output's rows, if anything reads them.
    pub(crate) sums: Option<Span>,
    /// Places that it works in: of [`Work::vectors`] and [`Work::prepared`].
    pub(crate) vectors: Span,
    pub(crate) prepared: Span,
}

/// A sign that a step gives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sign {
    /// Position in the graph.
    pub(crate) node: usize,
    /// Place of the packed bits.
    pub(crate) bits: Span,
}

/// Sizes of a scratch memory, in elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// The area of real values, sums and vectors.
    pub(crate) floats: usize,
    /// The area of bit maps.
    pub(crate) bits: usize,
    /// What each thread has for itself.
    pub(crate) buffer: usize,
}

/// A network ready to run on images of one size.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) infos: Vec<StepInfo>,
    pub(crate) logits: Location,
    pub(crate) sizes: Sizes,
}

impl Plan {
    pub(crate) fn new(
        model: &Model,
        shapes: &[Shape],
        kernels: &'static Kernels,
    ) -> Result<Self, EngineError> {
        let fused_ops = fused_ops(&model.graph);
        let mut liveness = Liveness::new(model, shapes, &fused_ops);
        let mut planner = Planner {
            model,
            shapes,
            kernels,
            locations: vec![Location::Image; shapes.len()],
            sums: vec![None; shapes.len()],
            memory: BumpAllocator::new(largest_weights(model)),
        };
        let mut plan = Plan {
            steps: Vec::new(),
            infos: Vec::new(),
            logits: Location::Image,
            sizes: Sizes::default(),
        };
        if planner.pads_image() {
            let image =
                liveness.floats.take(real_len(shapes[0]).ok_or(TOO_LARGE)?).ok_or(TOO_LARGE)?;
            plan.push(
                planner.image(),
                Step {
                    work: Work::Map(planner.copy()),
                    floats: Some(image),
                    sign: None,
                    inner_sign: None,
                    sums: None,
                    vectors: Span::EMPTY,
                    prepared: Span::EMPTY,
                },
            );
            planner.locations[0] = Location::Floats(image);
        }
        for (index, fused) in fused_ops.iter().enumerate() {
            let Reserved { floats, sign, inner_sign, sums } =
                liveness.reserve(index, fused, &planner).ok_or(TOO_LARGE)?;
            let work = planner.work(fused, floats)?;
            let [vectors, prepared] = liveness.working(&work).ok_or(TOO_LARGE)?;
            let step = Step { work, floats, sign, inner_sign, sums, vectors, prepared };
            plan.push(planner.info(fused), step);
            if let Some(value) = fused.value {
                if let Some(span) = floats {
                    planner.locations[value] = Location::Floats(span);
                }
                planner.sums[value] = sums;
            }
            for Sign { node, bits } in sign.into_iter().chain(inner_sign) {
                planner.locations[node] = Location::Bits(bits);
            }
            liveness.release(index, floats, &planner);
        }
        plan.logits = planner.locations.last().copied().unwrap_or(Location::Image);
        plan.sizes.floats = liveness.floats.len();
        plan.sizes.bits = liveness.bits.len();
        match plan.sizes.bytes(1) {
            Some(bytes) if bytes <= MAX_SCRATCH_BYTES => Ok(plan),
            _ => Err(TOO_LARGE),
        }
    }

    fn push(&mut self, info: StepInfo, step: Step) {
        self.sizes.buffer = self.sizes.buffer.max(step.work.buffer());
        self.infos.push(info);
        self.steps.push(step);
    }
}

/// Bytes that the parameters take at most in the kernels' order, but for what fills vectors up: the bits of a filter
/// take a byte for each four, the values of a stem at the points of minimal filtering are twice as many.
fn largest_weights(model: &Model) -> usize {
    let bytes = |data: &Data| match data {
        Data::U64(words) => size_of_val(&words[..]),
        Data::F32(floats) => size_of_val(&floats[..]),
        Data::I8(integers) => size_of_val(&integers[..]),
    };
    let stored: usize = model.tensors.values().map(|tensor| bytes(&tensor.data)).sum();
    stored.saturating_mul(2)
}

const TOO_LARGE: EngineError = EngineError::TooLarge { limit: MAX_SCRATCH_BYTES };

impl Sizes {
    /// Bytes of a scratch memory for so many threads, `None` where that overflows.
    pub(crate) fn bytes(&self, threads: usize) -> Option<usize> {
        let floats = self.buffer.checked_mul(threads)?.checked_add(self.floats)?;
        let bytes = self.bits.checked_mul(size_of::<u64>())?;
        floats.checked_mul(size_of::<f32>())?.checked_add(bytes)
    }
}
