//! What is in a packed file, and why some layers are not 1-bit.

#![deny(clippy::wildcard_enum_match_arm)]

use onebit_model::cost::{Cost, LayerCost};
use onebit_model::{Graph, GraphError, Model, NodeId, Op, Origin, Preprocessing, Verified};
use serde::Serialize;

/// What is in a packed file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// Version of the format.
    pub version: u32,
    /// Architecture.
    pub arch: String,
    /// `[channels, height, width]` of the images it was trained with.
    pub input: [usize; 3],
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Mean of each channel, subtracted from pixels between 0 and 1.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel.
    pub std: Vec<f32>,
    /// How an image becomes those pixels.
    pub preprocessing: Preprocessing,
    /// Where it comes from.
    pub origin: Origin,
    /// Length of the file.
    pub file_bytes: usize,
    /// Weights in number.
    pub weights: Totals,
    /// Weights in bytes.
    pub bytes: Totals,
    /// Share of the binary weights in all weights, 0 to 1.
    pub binary_share: f64,
    /// Every node that has weights, in evaluation order.
    pub layers: Vec<InspectedLayer>,
}

/// Real weights, binary weights and their sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// 32-bit floats.
    pub float: usize,
    /// One bit each.
    pub binary: usize,
    /// Both.
    pub total: usize,
}

/// One node that has weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InspectedLayer {
    /// Its name.
    pub name: String,
    /// Its operation.
    pub op: &'static str,
    /// Shape of its output, such as `64x8x8`.
    pub output: String,
    /// Bits of one weight: 1, 8 or 32.
    pub bits: u32,
    /// Number of weights.
    pub weights: usize,
    /// Bytes of its tensors.
    pub bytes: usize,
    /// Why it is not 1-bit.
    pub reason: Option<&'static str>,
}

impl Inspection {
    /// Describes a model whose file has that version of the format and `file_bytes` bytes.
    ///
    /// # Errors
    /// Costs that cannot be computed, which a verified model does not have.
    pub fn of(
        model: &Verified<Model>,
        version: u32,
        file_bytes: usize,
    ) -> Result<Self, GraphError> {
        let graph = &model.graph;
        let cost = Cost::of(graph, graph.input_shape())?;
        let (float, binary) = cost.params();
        let (float_bytes, binary_bytes) = cost.bytes();
        let described = graph.ids().zip(&cost.layers).map(|(id, cost)| layer(graph, id, cost));
        Ok(Inspection {
            version,
            arch: graph.arch.clone(),
            input: graph.input_shape(),
            classes: graph.classes.clone(),
            mean: graph.normalization.mean.clone(),
            std: graph.normalization.std.clone(),
            preprocessing: graph.preprocessing,
            origin: model.origin.clone(),
            file_bytes,
            weights: Totals { float, binary, total: float + binary },
            bytes: Totals {
                float: float_bytes,
                binary: binary_bytes,
                total: float_bytes + binary_bytes,
            },
            binary_share: binary as f64 / ((float + binary).max(1)) as f64,
            layers: described.filter(|layer| layer.weights > 0).collect(),
        })
    }
}

fn layer(graph: &Graph, id: NodeId, cost: &LayerCost) -> InspectedLayer {
    let binary = cost.binary_params > 0;
    InspectedLayer {
        name: cost.name.clone(),
        op: cost.op,
        output: cost.output.to_string(),
        bits: cost.bits(),
        weights: cost.float_params + cost.binary_params,
        bytes: cost.float_bytes + cost.binary_bytes,
        reason: if binary { None } else { Some(reason(graph, id)) },
    }
}

fn reason(graph: &Graph, id: NodeId) -> &'static str {
    let node = &graph.nodes[id.0];
    match node.op {
        Op::Conv { .. } if node.inputs.first() == Some(&NodeId(0)) => {
            "reads the image, whose pixels are not bits"
        }
        Op::Conv { .. } => {
            "real-valued by the architecture, such as the shortcut where the resolution halves"
        }
        Op::ConvI8 { .. } if node.inputs.first() == Some(&NodeId(0)) => {
            "reads the image, whose pixels are 8-bit integers"
        }
        Op::ConvI8 { .. } => "a convolution of 8-bit integers",
        Op::LinearI8 { .. } => "the classifier stays real-valued, rounded to 8-bit integers",
        Op::Linear { .. } => "the classifier stays real-valued",
        Op::Affine => "batch normalization and weight scales, two numbers per channel",
        Op::Sign { .. } => "the thresholds that make bits, one number per channel",
        Op::Prelu { .. } => "slopes and shifts of the non-linearity, a few numbers per channel",
        Op::HyperTrunk { .. } | Op::HyperHead { .. } => {
            "computes thresholds or shifts for each image"
        }
        Op::Input { .. }
        | Op::ConvBin { .. }
        | Op::LinearBin { .. }
        | Op::BatchNorm { .. }
        | Op::Add
        | Op::Concat
        | Op::ChannelShuffle { .. }
        | Op::AvgPool { .. }
        | Op::MaxPool { .. }
        | Op::GlobalAvgPool => "real-valued by the architecture",
    }
}
