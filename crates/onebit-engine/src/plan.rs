//! The plan: fused steps with their parameters repacked and their places in memory.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use onebit_model::{
    Geometry, Model, Node, Op, Precision, Shape, Shift, Slope, Threshold, Verified, bits,
};

use crate::EngineError;
use crate::aligned::Aligned;
use crate::arena::{Area, Span};
use crate::fuse::{Group, groups};
use crate::kernel::{Filters, Kernels};
use crate::op::{
    Affine, Channels, Conv, ConvBin, HyperHead, HyperTrunk, Layer, Linear, LinearI8, Map, Offsets,
    Pool, PoolKind, Prelu, Producer, SignStage, Source, Stage, Window, Winograd, Work, stride,
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
    /// Place of the sums of the output's rows, if anything reads them.
    pub(crate) sums: Option<Span>,
    /// Position of that sign in the graph.
    pub(crate) sign: Option<usize>,
}

/// Sizes of the areas of a scratch memory, in elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) floats: usize,
    pub(crate) bits: usize,
    pub(crate) sums: usize,
    pub(crate) vectors: usize,
    pub(crate) prepared: usize,
    pub(crate) transformed: usize,
    pub(crate) ragged: usize,
    pub(crate) pooled: usize,
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
        let mut planner = Planner {
            model,
            shapes,
            kernels,
            places: vec![Source::Image; shapes.len()],
            sums: vec![None; shapes.len()],
        };
        let mut plan = Plan {
            steps: Vec::new(),
            infos: Vec::new(),
            logits: Source::Image,
            sizes: Sizes::default(),
        };
        if planner.pads_image() {
            let image =
                places.floats.take(real_len(shapes[0]).ok_or(TOO_LARGE)?).ok_or(TOO_LARGE)?;
            plan.push(
                planner.image(),
                Step {
                    work: Work::Map(planner.copy()),
                    floats: Some(image),
                    bits: None,
                    sums: None,
                    sign: None,
                },
            );
            planner.places[0] = Source::Floats(image);
        }
        for (index, group) in groups.iter().enumerate() {
            let Reserved { floats, bits, sums } =
                places.reserve(index, group, &planner).ok_or(TOO_LARGE)?;
            let work = planner.work(group, floats)?;
            let step = Step { work, floats, bits, sums, sign: group.sign };
            plan.push(planner.info(group), step);
            if let Some(value) = group.value {
                if let Some(span) = floats {
                    planner.places[value] = Source::Floats(span);
                }
                planner.sums[value] = sums;
            }
            if let (Some(sign), Some(span)) = (group.sign, bits) {
                planner.places[sign] = Source::Bits(span);
            }
            places.release(index, floats, &planner);
        }
        plan.logits = planner.places.last().copied().unwrap_or(Source::Image);
        plan.sizes.floats = places.floats.len();
        plan.sizes.bits = places.bits.len();
        plan.sizes.sums = places.sums.len();
        plan.sizes.check()?;
        Ok(plan)
    }

    fn push(&mut self, info: StepInfo, step: Step) {
        let sizes = &mut self.sizes;
        sizes.vectors = sizes.vectors.max(step.work.vectors());
        if let Work::Map(map) = &step.work {
            sizes.prepared = sizes.prepared.max(map.prepared());
            sizes.transformed = sizes.transformed.max(map.transformed());
            sizes.pooled = sizes.pooled.max(map.pooled());
            sizes.ragged = sizes.ragged.max(map.ragged());
        }
        self.infos.push(info);
        self.steps.push(step);
    }
}

const TOO_LARGE: EngineError = EngineError::TooLarge { limit: MAX_SCRATCH_BYTES };

impl Sizes {
    fn check(&self) -> Result<(), EngineError> {
        let bytes = |n: usize, size: usize| n.checked_mul(size);
        let areas = [
            bytes(self.floats, 4),
            bytes(self.bits, 8),
            bytes(self.sums, 4),
            bytes(self.vectors, 4),
            bytes(self.prepared, 8),
            bytes(self.ragged, 4),
            bytes(self.transformed, 4),
            bytes(self.pooled, 4),
        ];
        let total = areas.into_iter().try_fold(0usize, |sum, area| sum.checked_add(area?));
        match total {
            Some(total) if total <= MAX_SCRATCH_BYTES => Ok(()),
            _ => Err(TOO_LARGE),
        }
    }

    /// Bytes of a scratch memory.
    pub(crate) fn bytes(&self) -> usize {
        4 * (self.floats + self.sums + self.vectors + self.ragged + self.transformed + self.pooled)
            + 8 * (self.bits + self.prepared)
    }
}

/// Places of what a step gives.
struct Reserved {
    floats: Option<Span>,
    bits: Option<Span>,
    sums: Option<Span>,
}

/// Lifetimes of the values and the areas they live in.
struct Places {
    floats: Area,
    bits: Area,
    sums: Area,
    /// For each step, the values whose last reader it is.
    dying: Vec<Vec<usize>>,
}

impl Places {
    fn new(model: &Verified<Model>, shapes: &[Shape], groups: &[Group]) -> Self {
        let mut last_read = vec![usize::MAX; shapes.len()];
        for (index, group) in groups.iter().enumerate() {
            for input in group.members().into_iter().flat_map(|id| &model.graph.nodes[id].inputs) {
                last_read[input.0] = index;
            }
        }
        let mut dying = vec![Vec::new(); groups.len()];
        for (value, &step) in last_read.iter().enumerate() {
            if let Some(values) = dying.get_mut(step) {
                values.push(value);
            }
        }
        Places { floats: Area::default(), bits: Area::default(), sums: Area::default(), dying }
    }

    fn reserve(&mut self, step: usize, group: &Group, planner: &Planner<'_>) -> Option<Reserved> {
        let shapes = planner.shapes;
        let mut reserved = Reserved { floats: None, bits: None, sums: None };
        if let Some(value) = group.value {
            let shape = shapes[value];
            reserved.floats = match self.overwritten(step, group, planner) {
                None if group.value_is_read => Some(self.floats.take(real_len(shape)?)?),
                overwritten => overwritten,
            };
            if group.sums_are_read {
                reserved.sums =
                    Some(self.sums.take(shape.height.checked_mul(stride(shape.channels))?)?);
            }
        }
        if let Some(sign) = group.sign {
            reserved.bits = Some(self.bits.take(bit_words(shapes[sign])?)?);
        }
        Some(reserved)
    }

    /// Place of the input of a rectifier that is the only node of its step and the last to read it.
    fn overwritten(&self, step: usize, group: &Group, planner: &Planner<'_>) -> Option<Span> {
        let node = planner.node(group.root);
        let alone = group.members().len() == 1 && matches!(node.op, Op::Prelu { .. });
        let x = node.inputs.first()?.0;
        match planner.places[x] {
            Source::Floats(span) if alone && self.dying[step].contains(&x) => Some(span),
            _ => None,
        }
    }

    /// Gives back what is read for the last time, but for the place that the step has written.
    fn release(&mut self, step: usize, written: Option<Span>, planner: &Planner<'_>) {
        for &value in &self.dying[step] {
            match planner.places[value] {
                Source::Floats(span) if Some(span) == written => {}
                Source::Floats(span) => self.floats.release(span),
                Source::Bits(span) => self.bits.release(span),
                Source::Image => {}
            }
            if let Some(span) = planner.sums[value] {
                self.sums.release(span);
            }
        }
    }
}

/// Floats of a real map in memory.
fn real_len(shape: Shape) -> Option<usize> {
    shape.pixels().checked_mul(stride(shape.channels))
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
    /// Where the sums of their rows live.
    sums: Vec<Option<Span>>,
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

    /// A parameter for each channel, a whole stride of them; that of twins one after the other.
    fn padded(
        &self,
        ids: &[usize],
        tensor: &'static str,
        channels: usize,
    ) -> Result<Aligned<f32>, EngineError> {
        let mut values = Vec::new();
        for &id in ids {
            values.extend(self.floats(id, tensor, channels / ids.len())?);
        }
        Ok(padded(&values, 0.0))
    }

    /// Whether anything but a convolution or a classifier reads the image, whose pixels lie side by side.
    fn pads_image(&self) -> bool {
        let others = |node: &Node| {
            let reads = node.inputs.iter().any(|input| input.0 == 0);
            reads && !matches!(node.op, Op::Conv { .. } | Op::Linear { .. })
        };
        self.model.graph.nodes.iter().any(others)
    }

    /// The step that gives every pixel of the image a whole stride.
    fn copy(&self) -> Map {
        let Shape { channels, height, width, .. } = self.shapes[0];
        let producer = Producer::Copy { x: Source::Image };
        Map { producer, channels, height, width, stages: Vec::new(), sign: None, vectors: 0 }
    }

    fn image(&self) -> StepInfo {
        let root = self.node(0);
        StepInfo {
            name: root.name.clone(),
            ops: vec![root.op.name()],
            kernel: alloc::format!("copy_{}", self.kernels.isa),
            output: self.shapes[0],
            flops: 0,
            bops: 0,
        }
    }

    fn work(&self, group: &Group, written: Option<Span>) -> Result<Work, EngineError> {
        let id = group.root;
        let x = self.input_shape(id);
        match self.node(id).op {
            Op::GlobalAvgPool => Ok(Work::GlobalAvgPool(self.channels(id))),
            Op::Linear { out_features } => {
                Ok(Work::Linear(self.linear(id, x.len(), out_features, Precision::F32)?))
            }
            Op::HyperTrunk { statistics, hidden, precision } => {
                let inputs = statistics.count() * x.channels;
                Ok(Work::HyperTrunk(HyperTrunk {
                    x: self.channels(id),
                    statistics,
                    hidden: self.linear(id, inputs, hidden, precision)?,
                }))
            }
            Op::HyperHead { outputs, range, precision } => Ok(Work::HyperHead(HyperHead {
                layer: self.linear(id, x.len(), outputs, precision)?,
                range,
            })),
            _ => {
                let mut map = self.map(group)?;
                if let Producer::Copy { x: Source::Floats(span) } = map.producer
                    && Some(span) == written
                {
                    map.producer = Producer::InPlace;
                }
                Ok(Work::Map(map))
            }
        }
    }

    fn channels(&self, id: usize) -> Channels {
        let Shape { channels, height, width, .. } = self.input_shape(id);
        let sums = self.sums[self.node(id).inputs[0].0];
        Channels { x: self.source(id, 0), sums, channels, height, width }
    }

    fn linear(
        &self,
        id: usize,
        inputs: usize,
        outputs: usize,
        precision: Precision,
    ) -> Result<Linear, EngineError> {
        let bias = self.padded(&[id], "bias", outputs)?;
        let layer = match precision {
            Precision::F32 => {
                let weight = self.floats(id, "weight", inputs * outputs)?;
                let geometry =
                    Geometry { out_channels: outputs, kernel: 1, stride: 1, padding: 0, groups: 1 };
                let lanes = (self.kernels.conv_lanes)(outputs);
                Layer::F32 { weight: Conv::new(&weight, geometry, inputs, lanes), bias }
            }
            Precision::I8 => {
                let (integers, scale) = self.integers(id, inputs, outputs)?;
                let vectors = [padded(scale, 0.0), bias];
                Layer::I8(LinearI8::new(integers, vectors, inputs, self.kernels.linear_i8_lanes))
            }
        };
        Ok(Linear { x: self.source(id, 0), channels: self.input_shape(id).channels, layer })
    }

    /// The 8-bit `weight` `[rows, columns]` and the factors of its rows.
    fn integers(
        &self,
        id: usize,
        columns: usize,
        rows: usize,
    ) -> Result<(&[i8], &[f32]), EngineError> {
        let (integers, scale) = self.model.integers(self.node(id), "weight");
        if integers.len() != rows * columns || scale.len() != rows {
            let (node, found) = (self.node(id).name.clone(), integers.len());
            let (tensor, expected) = ("weight", rows * columns);
            return Err(EngineError::ParameterSize { node, tensor, found, expected });
        }
        Ok((integers, scale))
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
        for (i, &id) in group.stages.iter().enumerate() {
            let ids: Vec<usize> = [id].into_iter().chain(group.twins.get(i + 1).copied()).collect();
            if let (Some(concat), true) = (group.concat, i + 1 == group.twins.len()) {
                value = concat;
            }
            stages.push(self.stage(&ids, value, output.channels, &mut reserve)?);
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
        let inner = match &group.inner {
            Some(inner) => Some(Box::new(self.map(inner)?)),
            None => None,
        };
        let pool = |kind, kernel, stride, padding| Producer::Pool {
            x,
            inner,
            height: shape.height,
            width: shape.width,
            pool: Pool { kind, window: Window { kernel, stride, padding } },
        };
        Ok(match self.node(id).op {
            Op::Conv { geometry } => {
                let len = geometry.weight_shape(shape.channels).iter().product();
                let weight = self.floats(id, "weight", len)?;
                let lanes = (self.kernels.conv_lanes)(geometry.out_channels / geometry.groups);
                if Winograd::suits(&geometry) {
                    let conv = Winograd::new(&weight, geometry, shape.channels, lanes);
                    let Shape { height, width, .. } = shape;
                    return Ok(Producer::Winograd { x, height, width, conv });
                }
                let conv = Conv::new(&weight, geometry, shape.channels, lanes);
                Producer::Conv {
                    x,
                    channels: shape.channels,
                    height: shape.height,
                    width: shape.width,
                    conv,
                }
            }
            Op::ConvBin { geometry, pad, .. } => {
                let mut words = self.model.words(self.node(id), "weight").to_vec();
                if let Some(&twin) = group.twins.first() {
                    words.extend(self.model.words(self.node(twin), "weight"));
                }
                let geometry = both(geometry, group);
                let layout = (self.kernels.conv_bin_layout)(Filters::of(geometry, shape.channels));
                let conv = ConvBin::new(&words, geometry, shape.channels, pad, layout);
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

    /// The stage of a node, or of a node and its twin.
    fn stage(
        &self,
        ids: &[usize],
        value: usize,
        channels: usize,
        reserve: &mut impl FnMut(usize) -> usize,
    ) -> Result<Stage, EngineError> {
        let id = ids[0];
        Ok(match self.node(id).op {
            Op::Affine => Stage::Affine(Affine {
                scale: self.padded(ids, "scale", channels)?,
                shift: self.padded(ids, "shift", channels)?,
            }),
            Op::Prelu { slope, shift } => {
                Stage::Prelu(self.prelu(ids, slope, shift, channels, reserve)?)
            }
            _ => {
                let other = usize::from(self.node(id).inputs[0].0 == value);
                let channels = self.shapes[self.node(id).inputs[other].0].channels;
                Stage::Add { other: self.source(id, other), channels }
            }
        })
    }

    fn prelu(
        &self,
        ids: &[usize],
        slope: Slope,
        shift: Shift,
        channels: usize,
        reserve: &mut impl FnMut(usize) -> usize,
    ) -> Result<Prelu, EngineError> {
        let floats = |name| self.padded(ids, name, channels);
        let filled = |value: f32| padded(&vec![value; channels], 0.0);
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
            .then(|| Offsets { values: self.source(ids[0], 1), at: reserve(2 * stride(channels)) });
        Ok(Prelu { channels, slope_pos, slope_neg, shift_x, shift_y, offsets })
    }

    fn sign(
        &self,
        id: usize,
        channels: usize,
        reserve: &mut impl FnMut(usize) -> usize,
    ) -> Result<SignStage, EngineError> {
        let (values, threshold) = match self.node(id).op {
            Op::Sign { threshold: threshold @ (Threshold::Static | Threshold::Dynamic) } => {
                (self.floats(id, "threshold", channels)?, threshold)
            }
            _ => (vec![0.0; channels], Threshold::Zero),
        };
        let offsets = (threshold == Threshold::Dynamic)
            .then(|| Offsets { values: self.source(id, 1), at: reserve(stride(channels)) });
        Ok(SignStage { threshold: padded(&values, f32::INFINITY), offsets })
    }

    fn info(&self, group: &Group) -> StepInfo {
        let producer = group.inner.as_deref().unwrap_or(group);
        let root = self.node(producer.root);
        let mut firsts: Vec<usize> =
            group.members().into_iter().filter(|id| !group.twins.contains(id)).collect();
        firsts.sort_unstable();
        let (x, y) = (self.input_shape(producer.root), self.shapes[producer.root]);
        let isa = self.kernels.isa;
        let (kernel, flops, bops) = match root.op {
            Op::Conv { geometry } => {
                let op = if Winograd::suits(&geometry) { "conv_winograd" } else { "conv" };
                (window_name(op, &geometry), geometry.macs(x, y), 0)
            }
            Op::ConvBin { geometry, .. } => {
                let geometry = both(geometry, group);
                let y = Shape { channels: geometry.out_channels, ..y };
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
            ops: firsts.iter().map(|&id| self.node(id).op.name()).collect(),
            kernel: alloc::format!("{kernel}_{isa}"),
            output: self.shapes[group.sign.unwrap_or(group.position())],
            flops,
            bops,
        }
    }
}

/// The convolution with the filters of its twin, if it has one.
fn both(geometry: Geometry, group: &Group) -> Geometry {
    let filters = if group.twins.is_empty() { 1 } else { 2 };
    Geometry { out_channels: filters * geometry.out_channels, ..geometry }
}

/// Values of the channels, then `fill` up to a whole stride.
fn padded(values: &[f32], fill: f32) -> Aligned<f32> {
    let mut padded = Aligned::new(stride(values.len()));
    padded.fill(fill);
    padded[..values.len()].copy_from_slice(values);
    padded
}

fn window_name(op: &str, geometry: &Geometry) -> String {
    let k = geometry.kernel;
    let stride = if geometry.stride == 1 { "" } else { "_strided" };
    alloc::format!("{op}_{k}x{k}{stride}")
}
