//! The plan: fused steps with their parameters repacked and their places in memory.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use onebit_model::{
    Geometry, Model, Node, Op, Precision, Shape, Shift, Slope, Threshold, Verified, bits, int8,
};

use crate::EngineError;
use crate::arena::{Area, Span};
use crate::fuse::{Group, groups};
use crate::kernel::Kernels;
use crate::op::{
    Affine, Conv, ConvBin, HyperHead, HyperTrunk, Linear, Map, Offsets, Pool, PoolKind, Prelu,
    Producer, SignStage, Source, Stage, Window, Work,
};

/// Most bytes of working memory for one image.
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
    /// Place of the packed bits, if the step ends in a sign.
    pub(crate) bits: Option<Span>,
    /// Position of that sign in the graph.
    pub(crate) sign: Option<usize>,
}

/// Sizes of the areas of a scratch memory, in elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) floats: usize,
    pub(crate) bits: usize,
    pub(crate) row: usize,
    pub(crate) vectors: usize,
    pub(crate) regrouped: usize,
}

/// A network ready to run on images of one size.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) infos: Vec<StepInfo>,
    pub(crate) logits: Source,
    pub(crate) sizes: Sizes,
}

impl Plan {
    pub(crate) fn new(
        model: &Verified<Model>,
        shapes: &[Shape],
        kernels: &'static Kernels,
    ) -> Result<Self, EngineError> {
        let groups = groups(&model.graph);
        let mut places = Places::new(model, shapes, &groups);
        let mut planner = Planner { model, shapes, kernels, places: Vec::new() };
        planner.places = vec![Source::Image; shapes.len()];
        let mut plan = Plan {
            steps: Vec::new(),
            infos: Vec::new(),
            logits: Source::Image,
            sizes: Sizes::default(),
        };
        for (index, group) in groups.iter().enumerate() {
            let (floats, bits) = places.reserve(group, shapes).ok_or(TOO_LARGE)?;
            let work = planner.work(group)?;
            plan.sizes.row = plan.sizes.row.max(planner.row(group, &work));
            plan.sizes.vectors = plan.sizes.vectors.max(work.vectors());
            plan.sizes.regrouped = plan.sizes.regrouped.max(planner.regrouped(group, &work));
            if let (Some(value), Some(span)) = (group.value, floats) {
                planner.places[value] = Source::Floats(span);
            }
            if let (Some(sign), Some(span)) = (group.sign, bits) {
                planner.places[sign] = Source::Bits(span);
            }
            plan.infos.push(planner.info(group));
            plan.steps.push(Step { work, floats, bits, sign: group.sign });
            places.release(index, &planner.places);
        }
        plan.logits = planner.places.last().copied().unwrap_or(Source::Image);
        plan.sizes.floats = places.floats.len();
        plan.sizes.bits = places.bits.len();
        plan.sizes.check()?;
        Ok(plan)
    }
}

const TOO_LARGE: EngineError = EngineError::TooLarge { limit: MAX_SCRATCH_BYTES };

impl Sizes {
    fn check(&self) -> Result<(), EngineError> {
        let bytes = |n: usize, size: usize| n.checked_mul(size);
        let areas = [
            bytes(self.floats, 4),
            bytes(self.bits, 8),
            bytes(self.row, 4),
            bytes(self.vectors, 4),
            bytes(self.regrouped, 8),
        ];
        let total = areas.into_iter().try_fold(0usize, |sum, area| sum.checked_add(area?));
        match total {
            Some(total) if total <= MAX_SCRATCH_BYTES => Ok(()),
            _ => Err(TOO_LARGE),
        }
    }

    /// Bytes of a scratch memory.
    pub(crate) fn bytes(&self) -> usize {
        4 * (self.floats + self.row + self.vectors) + 8 * (self.bits + self.regrouped)
    }
}

/// Lifetimes of the values and the two areas they live in.
struct Places {
    floats: Area,
    bits: Area,
    /// For each step, the values whose last reader it is.
    dying: Vec<Vec<usize>>,
}

impl Places {
    fn new(model: &Verified<Model>, shapes: &[Shape], groups: &[Group]) -> Self {
        let mut last_read = vec![usize::MAX; shapes.len()];
        for (index, group) in groups.iter().enumerate() {
            let members = group.stages.iter().chain([&group.root]).chain(&group.sign);
            for input in members.flat_map(|&id| &model.graph.nodes[id].inputs) {
                last_read[input.0] = index;
            }
        }
        let mut dying = vec![Vec::new(); groups.len()];
        for (value, &step) in last_read.iter().enumerate() {
            if let Some(values) = dying.get_mut(step) {
                values.push(value);
            }
        }
        Places { floats: Area::default(), bits: Area::default(), dying }
    }

    fn reserve(&mut self, group: &Group, shapes: &[Shape]) -> Option<(Option<Span>, Option<Span>)> {
        let floats = match group.value {
            Some(value) if group.value_is_read => Some(self.floats.take(shapes[value].len())?),
            _ => None,
        };
        let bits = match group.sign {
            Some(sign) => Some(self.bits.take(bit_words(shapes[sign])?)?),
            None => None,
        };
        Some((floats, bits))
    }

    fn release(&mut self, step: usize, places: &[Source]) {
        for &value in &self.dying[step] {
            match places[value] {
                Source::Floats(span) => self.floats.release(span),
                Source::Bits(span) => self.bits.release(span),
                Source::Image => {}
            }
        }
    }
}

fn bit_words(shape: Shape) -> Option<usize> {
    shape.pixels().checked_mul(bits::words(shape.channels))
}

/// Turns groups into work, with the parameters in the kernels' order.
struct Planner<'a> {
    model: &'a Verified<Model>,
    shapes: &'a [Shape],
    kernels: &'static Kernels,
    /// Where the values computed so far live.
    places: Vec<Source>,
}

impl Planner<'_> {
    fn node(&self, id: usize) -> &Node {
        &self.model.graph.nodes[id]
    }

    /// Place of the input `position` of a node.
    fn source(&self, id: usize, position: usize) -> Source {
        self.places[self.node(id).inputs[position].0]
    }

    /// Shape of the first input of a node.
    fn input_shape(&self, id: usize) -> Shape {
        self.shapes[self.node(id).inputs[0].0]
    }

    fn floats(&self, id: usize, tensor: &'static str, len: usize) -> Result<Vec<f32>, EngineError> {
        let found = self.model.floats(self.node(id), tensor);
        if found.len() == len {
            return Ok(found.to_vec());
        }
        let (node, found) = (self.node(id).name.clone(), found.len());
        Err(EngineError::ParameterSize { node, tensor, found, expected: len })
    }

    fn work(&self, group: &Group) -> Result<Work, EngineError> {
        let id = group.root;
        let x = self.input_shape(id);
        match self.node(id).op {
            Op::GlobalAvgPool => Ok(Work::GlobalAvgPool {
                x: self.source(id, 0),
                channels: x.channels,
                pixels: x.pixels(),
            }),
            Op::Linear { out_features } => {
                Ok(Work::Linear(self.linear(id, x.len(), out_features, Precision::F32)?))
            }
            Op::HyperTrunk { statistics, hidden, precision } => {
                let inputs = statistics.count() * x.channels;
                Ok(Work::HyperTrunk(HyperTrunk {
                    x: self.source(id, 0),
                    channels: x.channels,
                    pixels: x.pixels(),
                    statistics,
                    hidden: self.linear(id, inputs, hidden, precision)?,
                }))
            }
            Op::HyperHead { outputs, range, precision } => Ok(Work::HyperHead(HyperHead {
                layer: self.linear(id, x.len(), outputs, precision)?,
                range,
            })),
            _ => Ok(Work::Map(self.map(group)?)),
        }
    }

    fn linear(
        &self,
        id: usize,
        inputs: usize,
        outputs: usize,
        precision: Precision,
    ) -> Result<Linear, EngineError> {
        let weight = match precision {
            Precision::F32 => self.floats(id, "weight", inputs * outputs)?,
            Precision::I8 => self.expanded(id, inputs, outputs)?,
        };
        let geometry =
            Geometry { out_channels: outputs, kernel: 1, stride: 1, padding: 0, groups: 1 };
        Ok(Linear {
            x: self.source(id, 0),
            weight: Conv::new(&weight, geometry, inputs, (self.kernels.conv_lanes)(outputs)),
            bias: self.floats(id, "bias", outputs)?,
        })
    }

    /// The 8-bit `weight` `[rows, columns]` as floats, each rounded once.
    fn expanded(&self, id: usize, columns: usize, rows: usize) -> Result<Vec<f32>, EngineError> {
        let (integers, scale) = self.model.integers(self.node(id), "weight");
        if integers.len() != rows * columns || scale.len() != rows {
            let (node, found) = (self.node(id).name.clone(), integers.len());
            let (tensor, expected) = ("weight", rows * columns);
            return Err(EngineError::ParameterSize { node, tensor, found, expected });
        }
        Ok(int8::expand(integers, scale))
    }

    fn map(&self, group: &Group) -> Result<Map, EngineError> {
        let output = self.shapes[group.position()];
        let mut vectors = 0;
        let mut reserve = |len: usize| {
            vectors += len;
            vectors - len
        };
        let mut stages = Vec::new();
        let mut value = match group.stages.first() {
            Some(&first) if first == group.root => self.node(group.root).inputs[0].0,
            _ => group.root,
        };
        for &id in &group.stages {
            stages.push(self.stage(id, value, output.channels, &mut reserve)?);
            value = id;
        }
        let sign = match group.sign {
            Some(id) => Some(self.sign(id, output.channels, &mut reserve)?),
            None => None,
        };
        Ok(Map {
            producer: self.producer(group)?,
            channels: output.channels,
            height: output.height,
            width: output.width,
            stages,
            sign,
            vectors,
        })
    }

    fn producer(&self, group: &Group) -> Result<Producer, EngineError> {
        let id = group.root;
        let (x, shape) = (self.source(id, 0), self.input_shape(id));
        let pool = |kind, kernel, stride, padding| Producer::Pool {
            x,
            height: shape.height,
            width: shape.width,
            pool: Pool { kind, window: Window { kernel, stride, padding } },
        };
        Ok(match self.node(id).op {
            Op::Conv { geometry } => {
                let len = geometry.weight_shape(shape.channels).iter().product();
                let weight = self.floats(id, "weight", len)?;
                let lanes = (self.kernels.conv_lanes)(geometry.out_channels / geometry.groups);
                let conv = Conv::new(&weight, geometry, shape.channels, lanes);
                Producer::Conv { x, height: shape.height, width: shape.width, conv }
            }
            Op::ConvBin { geometry, pad, .. } => {
                let words = self.model.words(self.node(id), "weight");
                let lanes = (self.kernels.conv_bin_lanes)(geometry.out_channels / geometry.groups);
                let conv = ConvBin::new(words, geometry, shape.channels, pad, lanes);
                Producer::ConvBin { x, height: shape.height, width: shape.width, conv }
            }
            Op::Concat => {
                let other = self.shapes[self.node(id).inputs[1].0];
                let channels = [shape.channels, other.channels];
                Producer::Concat { x: [x, self.source(id, 1)], channels }
            }
            Op::ChannelShuffle { groups } => Producer::Shuffle { x, groups },
            Op::AvgPool { kernel, stride } => pool(PoolKind::Average, kernel, stride, 0),
            Op::MaxPool { kernel, stride, padding } => pool(PoolKind::Max, kernel, stride, padding),
            _ => Producer::Copy { x },
        })
    }

    fn stage(
        &self,
        id: usize,
        value: usize,
        channels: usize,
        reserve: &mut impl FnMut(usize) -> usize,
    ) -> Result<Stage, EngineError> {
        Ok(match self.node(id).op {
            Op::Affine => Stage::Affine(Affine {
                scale: self.floats(id, "scale", channels)?,
                shift: self.floats(id, "shift", channels)?,
            }),
            Op::Prelu { slope, shift } => {
                Stage::Prelu(self.prelu(id, slope, shift, channels, reserve)?)
            }
            _ => {
                let other = usize::from(self.node(id).inputs[0].0 == value);
                Stage::Add { other: self.source(id, other) }
            }
        })
    }

    fn prelu(
        &self,
        id: usize,
        slope: Slope,
        shift: Shift,
        channels: usize,
        reserve: &mut impl FnMut(usize) -> usize,
    ) -> Result<Prelu, EngineError> {
        let floats = |name| self.floats(id, name, channels);
        let filled = |value: f32| vec![value; channels];
        let (slope_pos, slope_neg) = match slope {
            Slope::Relu => (filled(1.0), filled(0.0)),
            Slope::Negative => (filled(1.0), floats("slope_neg")?),
            Slope::Both => (floats("slope_pos")?, floats("slope_neg")?),
        };
        let (shift_x, shift_y) = match shift {
            Shift::None => (filled(0.0), filled(0.0)),
            Shift::Static | Shift::Dynamic => (floats("shift_x")?, floats("shift_y")?),
        };
        let offsets = (shift == Shift::Dynamic)
            .then(|| Offsets { values: self.source(id, 1), at: reserve(2 * channels) });
        Ok(Prelu { slope_pos, slope_neg, shift_x, shift_y, offsets })
    }

    fn sign(
        &self,
        id: usize,
        channels: usize,
        reserve: &mut impl FnMut(usize) -> usize,
    ) -> Result<SignStage, EngineError> {
        let Op::Sign { threshold } = self.node(id).op else {
            return Ok(SignStage { threshold: vec![0.0; channels], offsets: None });
        };
        let values = match threshold {
            Threshold::Zero => vec![0.0; channels],
            Threshold::Static | Threshold::Dynamic => self.floats(id, "threshold", channels)?,
        };
        let offsets = (threshold == Threshold::Dynamic)
            .then(|| Offsets { values: self.source(id, 1), at: reserve(channels) });
        Ok(SignStage { threshold: values, offsets })
    }

    /// Floats of the row buffer that a step needs when nothing reads its real output.
    fn row(&self, group: &Group, work: &Work) -> usize {
        match work {
            Work::Map(map) if !group.value_is_read => map.width * map.channels,
            _ => 0,
        }
    }

    /// Words of the input of a grouped binary convolution, each group in words of its own.
    fn regrouped(&self, group: &Group, work: &Work) -> usize {
        match work {
            Work::Map(Map { producer: Producer::ConvBin { conv, .. }, .. }) if conv.regroups() => {
                self.input_shape(group.root).pixels() * conv.pixel_words()
            }
            _ => 0,
        }
    }

    fn info(&self, group: &Group) -> StepInfo {
        let root = self.node(group.root);
        let mut members = vec![group.root];
        members.extend(group.stages.iter().chain(&group.sign).filter(|&&id| id != group.root));
        let (x, y) = (self.input_shape(group.root), self.shapes[group.root]);
        let isa = self.kernels.isa;
        let (kernel, flops, bops) = match root.op {
            Op::Conv { geometry } => (window_name("conv", &geometry), geometry.macs(x, y), 0),
            Op::ConvBin { geometry, .. } => {
                (window_name("conv_bin", &geometry), 0, geometry.macs(x, y))
            }
            Op::Linear { out_features } => {
                (String::from("linear"), (x.len() * out_features) as u64, 0)
            }
            Op::HyperTrunk { statistics, hidden, .. } => {
                let macs = statistics.count() * x.channels * hidden;
                (String::from("hyper_trunk"), macs as u64, 0)
            }
            Op::HyperHead { outputs, .. } => {
                (String::from("hyper_head"), (x.len() * outputs) as u64, 0)
            }
            _ => (String::from(root.op.name()), 0, 0),
        };
        StepInfo {
            name: root.name.clone(),
            ops: members.iter().map(|&id| self.node(id).op.name()).collect(),
            kernel: alloc::format!("{kernel}_{isa}"),
            output: self.shapes[group.sign.unwrap_or(group.position())],
            flops,
            bops,
        }
    }
}

fn window_name(op: &str, geometry: &Geometry) -> String {
    let k = geometry.kernel;
    let stride = if geometry.stride == 1 { "" } else { "_strided" };
    alloc::format!("{op}_{k}x{k}{stride}")
}
