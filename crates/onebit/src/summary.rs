//! What a network costs, as numbers that can be printed or sent.

use onebit_model::cost::{Cost, LayerCost};
use onebit_model::{Graph, GraphError};
use serde::Serialize;

/// What a network costs for one image; one multiply-accumulate is one operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Architecture.
    pub arch: String,
    /// Channels, height and width of the image, such as `3x224x224`.
    pub input: String,
    /// Real multiply-accumulates.
    pub flops: u64,
    /// Binary multiply-accumulates.
    pub bops: u64,
    /// `flops + bops / 64`.
    pub ops: f64,
    /// Parameters in number.
    pub params: Parts,
    /// Parameters in bytes of a packed file.
    pub bytes: Parts,
    /// Each node, in evaluation order.
    pub layers: Vec<SummarizedLayer>,
}

/// Real ones, binary ones, and their sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// Real ones.
    pub float: usize,
    /// Binary ones.
    pub binary: usize,
    /// Both.
    pub total: usize,
}

/// What one node costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SummarizedLayer {
    /// Its name.
    pub name: String,
    /// Its operation.
    pub op: &'static str,
    /// Shape of its output.
    pub output: String,
    /// Number of parameters.
    pub params: usize,
    /// Real multiply-accumulates.
    pub flops: u64,
    /// Binary multiply-accumulates.
    pub bops: u64,
    /// Bits of a weight.
    pub bits: u32,
}

impl Summary {
    /// Of a network for images of `[channels, height, width]`.
    ///
    /// # Errors
    /// An image that the network does not take.
    pub fn of(graph: &Graph, input: [usize; 3]) -> Result<Self, GraphError> {
        Ok(Summary::new(graph, input, &Cost::of(graph, input)?))
    }

    /// Of a network whose cost is known.
    #[must_use]
    pub fn new(graph: &Graph, [channels, height, width]: [usize; 3], cost: &Cost) -> Self {
        let parts = |(float, binary)| Parts { float, binary, total: float + binary };
        Summary {
            arch: graph.arch.clone(),
            input: format!("{channels}x{height}x{width}"),
            flops: cost.flops(),
            bops: cost.bops(),
            ops: cost.ops(),
            params: parts(cost.params()),
            bytes: parts(cost.bytes()),
            layers: cost.layers.iter().map(SummarizedLayer::new).collect(),
        }
    }
}

impl SummarizedLayer {
    fn new(cost: &LayerCost) -> Self {
        SummarizedLayer {
            name: cost.name.clone(),
            op: cost.op,
            output: cost.output.to_string(),
            params: cost.float_params + cost.binary_params,
            flops: cost.flops,
            bops: cost.bops,
            bits: cost.bits(),
        }
    }
}
