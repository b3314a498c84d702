//! What a network costs: operations, parameters, bytes.
//!
//! One multiply-accumulate is one operation, `OPs = FLOPs + BOPs / 64`; batch normalization, rectifiers,
//! biases, pooling and additions are not counted (the convention of Bi-Real Net and ReActNet).

#![deny(clippy::wildcard_enum_match_arm)]

use alloc::string::String;
use alloc::vec::Vec;

use crate::bits;
use crate::infer::{self, Shape};
use crate::op::{Param, Role};
use crate::{Graph, GraphError, Node, Op, WeightScale};

/// Cost of one node for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerCost {
    /// Name of the node.
    pub name: String,
    /// Name of its operation.
    pub op: &'static str,
    /// Shape of its output.
    pub output: Shape,
    /// Trainable parameters that stay real.
    pub float_params: usize,
    /// Those of them that are stored as 8-bit integers.
    pub int8_params: usize,
    /// Trainable parameters that become one bit.
    pub binary_params: usize,
    /// Real multiply-accumulates.
    pub flops: u64,
    /// Binary multiply-accumulates.
    pub bops: u64,
    /// Bytes of its real parameters in a packed file.
    pub float_bytes: usize,
    /// Bytes of its bits in a packed file.
    pub binary_bytes: usize,
}

impl LayerCost {
    /// Bits of a weight in a packed file: 1, 8 or 32; 0 without parameters.
    #[must_use]
    pub fn bits(&self) -> u32 {
        match (self.binary_params, self.int8_params, self.float_params) {
            (0, 0, 0) => 0,
            (0, 0, _) => 32,
            (0, _, _) => 8,
            _ => 1,
        }
    }
}

/// Cost of a network for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// One entry for each node, in order.
    pub layers: Vec<LayerCost>,
}

impl Cost {
    /// Counts a graph for an input of `[channels, height, width]`.
    ///
    /// # Errors
    /// The graph does not take that input.
    pub fn of(graph: &Graph, input: [usize; 3]) -> Result<Self, GraphError> {
        let shapes = infer::shapes_for(graph, input)?;
        let layers = graph.nodes.iter().zip(&shapes).map(|(node, &output)| {
            let x = node.inputs.first().map(|id| shapes[id.0]);
            layer(node, x, output)
        });
        Ok(Cost { layers: layers.collect() })
    }

    /// Real multiply-accumulates.
    #[must_use]
    pub fn flops(&self) -> u64 {
        self.layers.iter().map(|l| l.flops).sum()
    }

    /// Binary multiply-accumulates.
    #[must_use]
    pub fn bops(&self) -> u64 {
        self.layers.iter().map(|l| l.bops).sum()
    }

    /// `FLOPs + BOPs / 64`.
    #[must_use]
    pub fn ops(&self) -> f64 {
        self.flops() as f64 + self.bops() as f64 / 64.0
    }

    /// Trainable parameters: those that stay real, those that become bits.
    #[must_use]
    pub fn params(&self) -> (usize, usize) {
        let sum = |f: fn(&LayerCost) -> usize| self.layers.iter().map(f).sum();
        (sum(|l| l.float_params), sum(|l| l.binary_params))
    }

    /// Bytes of parameters in a packed file: real ones, bits.
    #[must_use]
    pub fn bytes(&self) -> (usize, usize) {
        let sum = |f: fn(&LayerCost) -> usize| self.layers.iter().map(f).sum();
        (sum(|l| l.float_bytes), sum(|l| l.binary_bytes))
    }
}

fn layer(node: &Node, x: Option<Shape>, output: Shape) -> LayerCost {
    let params = x.map_or_else(Vec::new, |x| node.op.params(x));
    let count = |role| params.iter().filter(|p| p.role == role).map(Param::len).sum::<usize>();
    let (flops, bops) = x.map_or((0, 0), |x| macs(&node.op, x, output));
    LayerCost {
        name: node.name.clone(),
        op: node.op.name(),
        output,
        float_params: count(Role::Float) + count(Role::Int8),
        int8_params: count(Role::Int8),
        binary_params: count(Role::Binary),
        flops,
        bops,
        float_bytes: 4
            * (deployed_floats(&node.op, count(Role::Float))
                + deployed_statistics(&node.op, count(Role::Statistic)))
            + int8_bytes(&params),
        binary_bytes: binary_bytes(&params),
    }
}

/// Multiply-accumulates of a node on one image, real and binary ones, padded taps included.
#[must_use]
pub fn macs(op: &Op, x: Shape, output: Shape) -> (u64, u64) {
    match *op {
        Op::Conv { geometry } | Op::ConvI8 { geometry } => (geometry.macs(x, output), 0),
        Op::ConvBin { geometry, .. } => (0, geometry.macs(x, output)),
        Op::LinearBin { out_features, .. } => (0, (x.len() * out_features) as u64),
        Op::Linear { out_features } | Op::LinearI8 { out_features } => {
            ((x.len() * out_features) as u64, 0)
        }
        Op::HyperTrunk { statistics, hidden, .. } => {
            ((statistics.count() * x.channels * hidden) as u64, 0)
        }
        Op::HyperHead { outputs, .. } => ((x.len() * outputs) as u64, 0),
        Op::Input { .. }
        | Op::BatchNorm { .. }
        | Op::Affine
        | Op::Sign { .. }
        | Op::Prelu { .. }
        | Op::Add
        | Op::Concat
        | Op::ChannelShuffle { .. }
        | Op::AvgPool { .. }
        | Op::MaxPool { .. }
        | Op::GlobalAvgPool => (0, 0),
    }
}

/// Elementary operations of a node on one image: products of convolutions and layers, real or binary, places of pooling
/// windows, elements of everything else.
#[must_use]
pub fn operations(op: &Op, x: Shape, output: Shape) -> u64 {
    let [read, written] = [x, output].map(|shape| shape.len() as u64);
    match *op {
        Op::Conv { geometry } | Op::ConvBin { geometry, .. } | Op::ConvI8 { geometry } => {
            geometry.macs(x, output)
        }
        Op::AvgPool { kernel, .. } | Op::MaxPool { kernel, .. } => {
            written * (kernel * kernel) as u64
        }
        Op::Linear { .. } | Op::LinearBin { .. } | Op::LinearI8 { .. } | Op::HyperHead { .. } => {
            read * written
        }
        Op::HyperTrunk { statistics, .. } => {
            statistics.count() as u64 * (read + x.channels as u64 * written)
        }
        Op::Input { .. }
        | Op::BatchNorm { .. }
        | Op::Affine
        | Op::Sign { .. }
        | Op::Prelu { .. }
        | Op::Add
        | Op::Concat
        | Op::ChannelShuffle { .. }
        | Op::GlobalAvgPool => read.max(written),
    }
}

impl crate::Geometry {
    /// Multiply-accumulates for one image, padded taps included.
    #[must_use]
    pub fn macs(&self, x: Shape, output: Shape) -> u64 {
        output.len() as u64 * (self.kernel * self.kernel * (x.channels / self.groups)) as u64
    }
}

/// A learned weight scale folds into the affine that follows the convolution.
fn deployed_floats(op: &Op, trained: usize) -> usize {
    let folds = matches!(
        op,
        Op::ConvBin { scale: WeightScale::Learned, .. }
            | Op::LinearBin { scale: WeightScale::Learned, .. }
    );
    if folds { 0 } else { trained }
}

/// Statistics of a batch normalization are folded; steps of an 8-bit input stay.
fn deployed_statistics(op: &Op, measured: usize) -> usize {
    let stay = matches!(op, Op::ConvI8 { .. } | Op::LinearI8 { .. });
    if stay { measured } else { 0 }
}

/// The integers and the factors of their rows.
fn int8_bytes(params: &[Param]) -> usize {
    let int8 = params.iter().filter(|p| p.role == Role::Int8);
    int8.map(|p| p.len() + 4 * p.shape[0]).sum()
}

/// The bits, each output's in words of its own.
fn binary_bytes(params: &[Param]) -> usize {
    let binary = params.iter().filter(|p| p.role == Role::Binary);
    binary.map(|p| 8 * p.shape[0] * bits::words(p.len() / p.shape[0].max(1))).sum()
}
