//! What a value of an ONNX graph is to our graph.

use onebit_model::{NodeId, Slope, Statistics};

/// `scale * x + shift` of a node's value `x`, one number for each channel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Map {
    pub(super) node: NodeId,
    pub(super) scale: Vec<f64>,
    pub(super) shift: Vec<f64>,
    /// Whether something, be it 0, was added since: an affine node is a product and a sum.
    pub(super) is_sum: bool,
    /// Whether it is a vector, channel by channel, of what is a map to our graph.
    pub(super) is_flat: bool,
}

impl Map {
    /// A node's value as it is.
    pub(super) fn of(node: NodeId, channels: usize) -> Self {
        Map {
            node,
            scale: vec![1.0; channels],
            shift: vec![0.0; channels],
            is_sum: false,
            is_flat: false,
        }
    }

    /// Whether it is more than the node's value.
    pub(super) fn is_scaled(&self) -> bool {
        self.scale.iter().any(|&scale| scale != 1.0)
    }

    /// Whether something is added to the node's value.
    pub(super) fn is_shifted(&self) -> bool {
        self.shift.iter().any(|&shift| shift != 0.0)
    }
}

/// Whether each element of a real value is above a limit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Above {
    /// Name of the value.
    pub(super) of: String,
    pub(super) limit: Limit,
    /// Poolings of the truth values, by their positions among the operators: each is true where one in its window is.
    pub(super) pools: Vec<usize>,
}

/// What elements are compared with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Limit {
    /// A number for each channel: true above it.
    Static(Vec<f32>),
    /// The value of that name, a number for each channel of each image: true above it.
    Dynamic(String),
}

/// One of two numbers for each element.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) above: Above,
    /// Name of the value that was the first to be one of these two.
    pub(super) base: String,
    /// The two numbers of `base`, for elements above and others; one for each channel, or one for all.
    pub(super) first: [Vec<f64>; 2],
    /// Those of this value.
    pub(super) numbers: [Vec<f64>; 2],
    pub(super) channels: usize,
    /// Whether it is a vector, channel by channel, of what is a map to our graph.
    pub(super) is_flat: bool,
}

impl Choice {
    /// `scale` and `shift` with which the bits +1 and -1 are this value; none where channels differ.
    pub(super) fn of_bits(&self) -> Option<[f64; 2]> {
        let uniform = |numbers: &[f64]| {
            let first = *numbers.first()?;
            numbers.iter().all(|&number| number == first).then_some(first)
        };
        let (above, below) = (uniform(&self.numbers[0])?, uniform(&self.numbers[1])?);
        (above != below).then_some([(above - below) / 2.0, (above + below) / 2.0])
    }

    /// Whether its numbers are whole.
    pub(super) fn is_whole(&self) -> bool {
        self.numbers.iter().flatten().all(|number| number.fract() == 0.0)
    }
}

/// Statistics of a map over height and width, on the way to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statistic {
    /// `x - mean`.
    Centred,
    /// Its square.
    SquaredDistance,
    /// The mean of it.
    Variance,
    /// With the eps of DyBNN's standard deviation.
    PaddedVariance,
    Std,
    /// `x * x`.
    Square,
    /// `x * x * x`.
    Cube,
    /// The mean of it.
    Third,
}

/// Some channels of a vector, plus a number for each of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) vector: NodeId,
    pub(super) start: usize,
    pub(super) own: Vec<f64>,
}

/// A rectifier.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rectifier {
    pub(super) slope: Slope,
    /// Slopes above and below 0, where they are parameters.
    pub(super) positive: Vec<f32>,
    pub(super) negative: Vec<f32>,
}

/// What a value of the ONNX graph is.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A real map, or a vector.
    Map(Map),
    /// Truth values.
    Above(Above),
    /// One of two numbers each.
    Choice(Choice),
    /// A map or bits with something around them: pads of the top, left, bottom, right, and what is put there.
    Padded(Box<Value>, [usize; 4], f32),
    /// An odd, rising function of the value of that name: only its sign is known.
    Squashed(String),
    /// A map whose channels are `groups` rows, then those rows and columns exchanged.
    Grouped { map: Map, groups: usize, exchanged: bool },
    /// A map with its channels as the last axis.
    ChannelsLast(Map),
    /// Part of a vector.
    Part(Part),
    /// A map, named, less a part of a vector.
    Moved { of: String, by: Part },
    /// A rectifier of it.
    Bent { of: String, by: Part, rectifier: Rectifier },
    /// Statistics of the map of a node.
    Statistic(NodeId, Statistic),
    /// Two statistics of the map of a node, one behind the other.
    Statistics(NodeId, Statistics),
    /// A layer of two statistics: a node whose input is the map.
    Hidden(NodeId, Statistics),
    /// `scale * sigmoid(x) + shift` of a layer's node.
    Sigmoid { layer: NodeId, scale: f64, shift: f64 },
    /// What could not be read, which is said elsewhere.
    Unreadable,
}
