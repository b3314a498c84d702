//! What each step computes, with its parameters in the kernels' order.

#![deny(clippy::wildcard_enum_match_arm)]

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use onebit_model::cost::macs;
use onebit_model::op::{INPUT_OFFSET, INPUT_SCALE};
use onebit_model::{Geometry, Model, Node, Op, Precision, Shape, Shift, Slope, Threshold};

use super::StepInfo;
use crate::EngineError;
use crate::aligned::{Aligned, BumpAllocator};
use crate::arena::Span;
use crate::exec::{
    Affine, Channels, FusedMap, HyperHead, HyperTrunk, Linear, LinearWeights, Location, Offsets,
    Prelu, Producer, SignStage, Stage, Work,
};
use crate::fuse::FusedOp;
use crate::kernel::{Filters, Kernels};
use crate::map::stride;
use crate::packed::{Conv, ConvBin, ConvI8, LinearI8, Pool, PoolKind, TensorsI8, Window, Winograd};

/// Turns fused ops into work, with the parameters in the kernels' order.
pub(super) struct Planner<'a> {
    pub(super) model: &'a Model,
    pub(super) shapes: &'a [Shape],
    pub(super) kernels: &'static Kernels,
    /// Where the values computed so far live.
    pub(super) locations: Vec<Location>,
    /// Where the sums of their rows live.
    pub(super) sums: Vec<Option<Span>>,
    /// Where the parameters go.
    pub(super) memory: BumpAllocator,
}

impl Planner<'_> {
    pub(super) fn node(&self, id: usize) -> &Node {
        &self.model.graph.nodes[id]
    }

    /// Place of the input `position` of a node.
    fn location(&self, id: usize, position: usize) -> Location {
        self.locations[self.node(id).inputs[position].0]
    }

    /// Shape of the first input of a node.
    fn input_shape(&self, id: usize) -> Shape {
        self.shapes[self.node(id).inputs[0].0]
    }

    fn floats(&self, id: usize, tensor: &'static str, len: usize) -> Result<&[f32], EngineError> {
        let found = self.model.floats(self.node(id), tensor);
        if found.len() == len {
            return Ok(found);
        }
        let (node, found) = (self.node(id).name.clone(), found.len());
        Err(EngineError::ParameterSize { node, tensor, found, expected: len })
    }

    /// A parameter for each channel, a whole stride of them; that of siblings one after the other.
    fn padded(
        &self,
        ids: &[usize],
        tensor: &'static str,
        channels: usize,
    ) -> Result<Aligned<f32>, EngineError> {
        let mut padded = self.memory.take(stride(channels))?;
        let each = channels / ids.len();
        for (&id, values) in ids.iter().zip(padded.chunks_exact_mut(each)) {
            values.copy_from_slice(self.floats(id, tensor, each)?);
        }
        Ok(padded)
    }

    /// The same number for each channel, then `rest` up to a whole stride.
    fn filled(&self, value: f32, channels: usize, rest: f32) -> Result<Aligned<f32>, EngineError> {
        let mut filled = self.memory.take(stride(channels))?;
        filled.fill(rest);
        filled[..channels].fill(value);
        Ok(filled)
    }

    /// Whether anything but a convolution or a classifier reads the image, whose pixels lie side by side.
    pub(super) fn pads_image(&self) -> bool {
        let others = |node: &Node| {
            let reads = node.inputs.iter().any(|input| input.0 == 0);
            let side_by_side = matches!(
                node.op,
                Op::Conv { .. } | Op::ConvI8 { .. } | Op::Linear { .. } | Op::LinearI8 { .. }
            );
            reads && !side_by_side
        };
        self.model.graph.nodes.iter().any(others)
    }

    /// The step that gives every pixel of the image a whole stride.
    pub(super) fn copy(&self) -> FusedMap {
        let Shape { channels, height, width, .. } = self.shapes[0];
        let producer = Producer::Copy { x: Location::Image };
        FusedMap { producer, channels, height, width, stages: Vec::new(), sign: None, vectors: 0 }
    }

    pub(super) fn image(&self) -> StepInfo {
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

    pub(super) fn work(&self, fused: &FusedOp, written: Option<Span>) -> Result<Work, EngineError> {
        let id = fused.root;
        let x = self.input_shape(id);
        match self.node(id).op {
            Op::GlobalAvgPool => Ok(Work::GlobalAvgPool(self.channels(id))),
            Op::Linear { out_features } => {
                Ok(Work::Linear(self.linear(id, x.len(), out_features, Precision::F32)?))
            }
            Op::LinearI8 { out_features } => {
                Ok(Work::Linear(self.linear_i8(id, x.len(), out_features)?))
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
            Op::Input { .. }
            | Op::Conv { .. }
            | Op::ConvBin { .. }
            | Op::ConvI8 { .. }
            | Op::LinearBin { .. }
            | Op::BatchNorm { .. }
            | Op::Affine
            | Op::Sign { .. }
            | Op::Prelu { .. }
            | Op::Add
            | Op::Concat
            | Op::ChannelShuffle { .. }
            | Op::AvgPool { .. }
            | Op::MaxPool { .. } => {
                let mut map = self.map(fused, written)?;
                if let Producer::Copy { x: Location::Floats(span) } = map.producer
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
        Channels { x: self.location(id, 0), sums, channels, height, width }
    }

    fn linear(
        &self,
        id: usize,
        inputs: usize,
        outputs: usize,
        precision: Precision,
    ) -> Result<Linear, EngineError> {
        let bias = self.padded(&[id], "bias", outputs)?;
        let weights = match precision {
            Precision::F32 => {
                let weight = self.floats(id, "weight", inputs * outputs)?;
                let geometry =
                    Geometry { out_channels: outputs, kernel: 1, stride: 1, padding: 0, groups: 1 };
                let lanes = self.kernels.linear_lanes;
                LinearWeights::F32 {
                    weight: Conv::new(weight, geometry, inputs, lanes, &self.memory)?,
                    bias,
                }
            }
            Precision::I8 => {
                let (integers, scale) = self.integers(id, inputs, outputs)?;
                let mut factors = self.filled(0.0, outputs, 0.0)?;
                factors[..outputs].copy_from_slice(scale);
                let lanes = self.kernels.linear_i8_lanes;
                let vectors = [factors, bias];
                LinearWeights::I8(LinearI8::new(integers, vectors, inputs, lanes, &self.memory)?)
            }
        };
        Ok(Linear { x: self.location(id, 0), channels: self.input_shape(id).channels, weights })
    }

    fn linear_i8(&self, id: usize, inputs: usize, outputs: usize) -> Result<Linear, EngineError> {
        let geometry =
            Geometry { out_channels: outputs, kernel: 1, stride: 1, padding: 0, groups: 1 };
        let bias = self.floats(id, "bias", outputs)?;
        let conv = self.conv_i8(id, geometry, inputs, bias)?;
        let channels = self.input_shape(id).channels;
        Ok(Linear { x: self.location(id, 0), channels, weights: LinearWeights::Dot(conv) })
    }

    /// The 8-bit convolution of a node, of `inputs` channels side by side.
    fn conv_i8(
        &self,
        id: usize,
        geometry: Geometry,
        inputs: usize,
        bias: &[f32],
    ) -> Result<ConvI8, EngineError> {
        let Geometry { out_channels, kernel, .. } = geometry;
        let (weight, weight_scale) = self.integers(id, kernel * kernel * inputs, out_channels)?;
        let channels = self.input_shape(id).channels;
        let input_scale = self.floats(id, INPUT_SCALE, channels)?;
        let input_offset = self.floats(id, INPUT_OFFSET, channels)?;
        let tensors = TensorsI8 { weight, weight_scale, input_scale, input_offset, bias };
        let layout = (self.kernels.conv_i8_layout)(out_channels);
        ConvI8::new(tensors, geometry, inputs, layout, &self.memory)
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

    fn map(&self, fused: &FusedOp, written: Option<Span>) -> Result<FusedMap, EngineError> {
        let output = self.shapes[fused.position()];
        let producer = self.producer(fused)?;
        let mut vectors = producer.inner().map_or(0, |inner| inner.vectors);
        let mut reserve = |len: usize| {
            vectors += len;
            vectors - len
        };
        let mut stages = Vec::new();
        let mut value = match fused.stages.first() {
            Some(&first) if first == fused.root => self.node(fused.root).inputs[0].0,
            _ => fused.root,
        };
        for (i, &id) in fused.stages.iter().enumerate() {
            let ids: Vec<usize> =
                [id].into_iter().chain(fused.siblings.get(i + 1).copied()).collect();
            if let (Some(concat), true) = (fused.concat, i + 1 == fused.siblings.len()) {
                value = concat;
            }
            stages.push(self.stage(&ids, value, output.channels, written, &mut reserve)?);
            value = id;
        }
        let sign = match fused.sign {
            Some(id) => Some(self.sign(id, output.channels, &mut reserve)?),
            None => None,
        };
        Ok(FusedMap {
            producer,
            channels: output.channels,
            height: output.height,
            width: output.width,
            stages,
            sign,
            vectors,
        })
    }

    fn producer(&self, fused: &FusedOp) -> Result<Producer, EngineError> {
        let id = fused.root;
        let (x, shape) = (self.location(id, 0), self.input_shape(id));
        let inner = match &fused.inner {
            Some(inner) => Some(Box::new(self.map(inner, None)?)),
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
                    let conv =
                        Winograd::new(weight, geometry, shape.channels, lanes, &self.memory)?;
                    let Shape { height, width, .. } = shape;
                    return Ok(Producer::Winograd { x, height, width, conv });
                }
                let conv = Conv::new(weight, geometry, shape.channels, lanes, &self.memory)?;
                Producer::Conv {
                    x,
                    channels: shape.channels,
                    height: shape.height,
                    width: shape.width,
                    conv,
                }
            }
            Op::ConvI8 { geometry } => {
                let conv = self.conv_i8(id, geometry, shape.channels, &[])?;
                Producer::ConvI8 { x, height: shape.height, width: shape.width, conv }
            }
            Op::ConvBin { geometry, pad, .. } => {
                let words = |id| self.model.words(self.node(id), "weight");
                let words = match fused.siblings.first() {
                    Some(&sibling) => Cow::from(one_behind_the_other(words(id), words(sibling))?),
                    None => Cow::from(words(id)),
                };
                let geometry = both(geometry, fused);
                let layout = (self.kernels.conv_bin_layout)(Filters::of(geometry, shape.channels));
                let conv =
                    ConvBin::new(&words, geometry, shape.channels, pad, layout, &self.memory)?;
                Producer::ConvBin { x, height: shape.height, width: shape.width, conv }
            }
            Op::LinearBin { out_features, .. } => {
                let words = self.model.words(self.node(id), "weight");
                let filters = Filters { outputs: out_features, products: shape.len() };
                let layout = (self.kernels.conv_bin_layout)(filters);
                let conv = ConvBin::flat(words, out_features, shape, layout, &self.memory)?;
                Producer::ConvBin { x, height: 1, width: 1, conv }
            }
            Op::Concat => {
                let other = self.shapes[self.node(id).inputs[1].0];
                let channels = [shape.channels, other.channels];
                Producer::Concat { x: [x, self.location(id, 1)], channels }
            }
            Op::ChannelShuffle { groups } => Producer::Shuffle { x, groups },
            Op::AvgPool { kernel, stride } => pool(PoolKind::Average, kernel, stride, 0),
            Op::MaxPool { kernel, stride, padding } => pool(PoolKind::Max, kernel, stride, padding),
            Op::Affine | Op::Sign { .. } | Op::Prelu { .. } | Op::Add => Producer::Copy { x },
            Op::Input { .. }
            | Op::BatchNorm { .. }
            | Op::GlobalAvgPool
            | Op::Linear { .. }
            | Op::LinearI8 { .. }
            | Op::HyperTrunk { .. }
            | Op::HyperHead { .. } => unreachable!("`{}` produces no map", self.node(id).op.name()),
        })
    }

    /// The stage of a node, or of a node and its sibling, of a step that writes to the place `written`.
    fn stage(
        &self,
        ids: &[usize],
        value: usize,
        channels: usize,
        written: Option<Span>,
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
            Op::Add => {
                let other = usize::from(self.node(id).inputs[0].0 == value);
                let channels = self.shapes[self.node(id).inputs[other].0].channels;
                match self.location(id, other) {
                    Location::Floats(span) if Some(span) == written => Stage::Accumulate,
                    other @ (Location::Image | Location::Floats(_) | Location::Bits(_)) => {
                        Stage::Add { other, channels }
                    }
                }
            }
            Op::Input { .. }
            | Op::Conv { .. }
            | Op::ConvBin { .. }
            | Op::ConvI8 { .. }
            | Op::LinearBin { .. }
            | Op::BatchNorm { .. }
            | Op::Sign { .. }
            | Op::Concat
            | Op::ChannelShuffle { .. }
            | Op::AvgPool { .. }
            | Op::MaxPool { .. }
            | Op::GlobalAvgPool
            | Op::Linear { .. }
            | Op::LinearI8 { .. }
            | Op::HyperTrunk { .. }
            | Op::HyperHead { .. } => unreachable!("`{}` is no stage", self.node(id).op.name()),
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
        let filled = |value: f32| self.filled(value, channels, 0.0);
        let (slope_pos, slope_neg) = match slope {
            Slope::Relu => (filled(1.0)?, filled(0.0)?),
            Slope::Negative => (filled(1.0)?, floats("slope_neg")?),
            Slope::Both => (floats("slope_pos")?, floats("slope_neg")?),
        };
        let (shift_x, shift_y) = match shift {
            Shift::None => (filled(0.0)?, filled(0.0)?),
            Shift::Static | Shift::Dynamic => (floats("shift_x")?, floats("shift_y")?),
        };
        let offsets = (shift == Shift::Dynamic).then(|| Offsets {
            values: self.location(ids[0], 1),
            at: reserve(2 * stride(channels)),
        });
        Ok(Prelu { channels, slope_pos, slope_neg, shift_x, shift_y, offsets })
    }

    fn sign(
        &self,
        id: usize,
        channels: usize,
        reserve: &mut impl FnMut(usize) -> usize,
    ) -> Result<SignStage, EngineError> {
        let mut threshold = self.filled(0.0, channels, f32::INFINITY)?;
        let mut offsets = None;
        if let Op::Sign { threshold: kind @ (Threshold::Static | Threshold::Dynamic) } =
            self.node(id).op
        {
            threshold[..channels].copy_from_slice(self.floats(id, "threshold", channels)?);
            offsets = (kind == Threshold::Dynamic)
                .then(|| Offsets { values: self.location(id, 1), at: reserve(stride(channels)) });
        }
        Ok(SignStage { threshold, offsets })
    }

    pub(super) fn info(&self, fused: &FusedOp) -> StepInfo {
        let inner = fused.inner.as_deref().filter(|inner| inner.value.is_some());
        let producer = inner.unwrap_or(fused);
        let root = self.node(producer.root);
        let siblings = &producer.siblings;
        let mut firsts: Vec<usize> =
            fused.members().into_iter().filter(|id| !siblings.contains(id)).collect();
        firsts.sort_unstable();
        let (x, y) = (self.input_shape(producer.root), self.shapes[producer.root]);
        let filters = if siblings.is_empty() { 1 } else { 2 };
        let (flops, bops) = macs(&root.op, x, Shape { channels: filters * y.channels, ..y });
        let kernel = if let Op::Conv { geometry }
        | Op::ConvI8 { geometry }
        | Op::ConvBin { geometry, .. } = root.op
        {
            let transforms = matches!(root.op, Op::Conv { .. }) && Winograd::suits(&geometry);
            window_name(if transforms { "conv_winograd" } else { root.op.name() }, &geometry)
        } else {
            String::from(root.op.name())
        };
        let isa = self.kernels.isa;
        StepInfo {
            name: root.name.clone(),
            ops: firsts.iter().map(|&id| self.node(id).op.name()).collect(),
            kernel: alloc::format!("{kernel}_{isa}"),
            output: self.shapes[fused.sign.unwrap_or(fused.position())],
            flops,
            bops,
        }
    }
}

/// The convolution with the filters of its sibling, if it has one.
fn both(geometry: Geometry, fused: &FusedOp) -> Geometry {
    let filters = if fused.siblings.is_empty() { 1 } else { 2 };
    Geometry { out_channels: filters * geometry.out_channels, ..geometry }
}

fn one_behind_the_other(a: &[u64], b: &[u64]) -> Result<Vec<u64>, EngineError> {
    let mut words = Vec::new();
    let bytes = size_of_val(a) + size_of_val(b);
    words.try_reserve_exact(a.len() + b.len()).map_err(|_| EngineError::OutOfMemory { bytes })?;
    words.extend_from_slice(a);
    words.extend_from_slice(b);
    Ok(words)
}

fn window_name(op: &str, geometry: &Geometry) -> String {
    let k = geometry.kernel;
    let stride = if geometry.stride == 1 { "" } else { "_strided" };
    alloc::format!("{op}_{k}x{k}{stride}")
}
