//! The operations of a graph.

#![deny(clippy::wildcard_enum_match_arm)]

use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::Shape;

/// Added to the variance by batch normalization unless a graph says otherwise (PyTorch's default, unchanged by Bi-Real Net
/// and ReActNet).
pub const BATCH_NORM_EPS: f32 = 1e-5;

/// Added to the variance before [`Op::HyperTrunk`] takes its root.
pub const HYPER_STD_EPS: f32 = 1e-5;

/// Parameter of 8-bit operations: the real value between two neighbouring integers, for each channel of the input.
pub const INPUT_SCALE: &str = "input_scale";
/// Parameter of 8-bit operations: the number, between two integers in general, that stands for the real value 0.
pub const INPUT_OFFSET: &str = "input_offset";

/// One operation. Activations are maps of `channels x height x width`; layouts are NHWC in memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// The normalised image. Only the first node is an input.
    Input {
        /// Channels of the image.
        channels: usize,
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },
    /// Real-valued convolution, no bias. Parameter `weight` `[O, k, k, I/groups]`.
    Conv {
        /// Window and channels.
        geometry: Geometry,
    },
    /// 1-bit convolution of a bit map. Parameter `weight` `[O, k, k, I/groups]` (latent real values before
    /// lowering, bits after); with a learned scale also `scale` `[O]`.
    ConvBin {
        /// Window and channels.
        geometry: Geometry,
        /// What a padded tap counts.
        pad: PadValue,
        /// The real factor of each output channel's binary weights.
        #[serde(default)]
        scale: WeightScale,
    },
    /// Real-valued convolution of 8-bit integers: the input is rounded to steps of its channel, sums are exact. Only in
    /// a packed file, and without groups. Parameters `weight` `[O, k, k, I]`, `input_scale`, `input_offset` `[I]`.
    ConvI8 {
        /// Window and channels.
        geometry: Geometry,
    },
    /// 1-bit layer `y = W x` of a bit map, flattened with channels innermost. Parameter `weight` `[O, C*H*W]` (latent real
    /// values before lowering, bits after); with a learned scale also `scale` `[O]`. FINN's LFC and CNV, QONNX's TFC and
    /// BinaryNet have such layers.
    LinearBin {
        /// Number of outputs.
        out_features: usize,
        /// The real factor of each output's binary weights.
        #[serde(default)]
        scale: WeightScale,
    },
    /// Batch normalization over N, H, W. Parameters `weight`, `bias`; statistics `running_mean`, `running_var`, all `[C]`.
    BatchNorm {
        /// Added to the variance; [`BATCH_NORM_EPS`] unless a network was trained with another (TensorFlow: 1e-3).
        eps: f32,
    },
    /// `y = x * scale + shift` per channel: what batch normalization and weight scale become in a packed file.
    /// Parameters `scale`, `shift` `[C]`.
    Affine,
    /// `+1` where `x > threshold`, else `-1`; a bit map. Second input when dynamic: the offsets `[C]` of a
    /// [`Op::HyperHead`].
    Sign {
        /// Where the per-channel threshold comes from.
        threshold: Threshold,
    },
    /// The family of parametric rectifiers. Second input when the shift is dynamic: offsets `[2C]` of a
    /// [`Op::HyperHead`], those of `shift_x` first.
    Prelu {
        /// Which slopes are learned.
        slope: Slope,
        /// Whether the input and the output are shifted (RPReLU).
        shift: Shift,
    },
    /// Sum of two maps.
    Add,
    /// Concatenation along the channels.
    Concat,
    /// Channel `g * (C/groups) + i` moves to `i * groups + g`.
    ChannelShuffle {
        /// Number of groups; divides the channels.
        groups: usize,
    },
    /// Average over a square window, no padding.
    AvgPool {
        /// Side of the window.
        kernel: usize,
        /// Step.
        stride: usize,
    },
    /// Maximum over a square window; padded taps do not take part.
    MaxPool {
        /// Side of the window.
        kernel: usize,
        /// Step.
        stride: usize,
        /// Rows and columns of padding on every side.
        #[serde(default)]
        padding: usize,
    },
    /// Mean over height and width.
    GlobalAvgPool,
    /// `y = W x + b`. Parameters `weight` `[O, I]`, `bias` `[O]`.
    Linear {
        /// Number of outputs.
        out_features: usize,
    },
    /// `y = W x + b` of 8-bit integers, as [`Op::ConvI8`]. Parameters `weight` `[O, I]`, `bias` `[O]`, `input_scale`,
    /// `input_offset` `[C]`.
    LinearI8 {
        /// Number of outputs.
        out_features: usize,
    },
    /// First half of DyBNN's hyper function (our form of it; the paper's is not public): statistics of the map over
    /// height and width, then a layer with ReLU; a vector of `hidden` values. Parameters `weight` `[hidden, S*C]`, `bias`
    /// `[hidden]`.
    HyperTrunk {
        /// What is computed over height and width.
        statistics: Statistics,
        /// Number of hidden units.
        hidden: usize,
        /// How a packed file stores `weight`.
        precision: Precision,
    },
    /// Second half of DyBNN's hyper function: a layer on the vector of a [`Op::HyperTrunk`], bounded; a vector of
    /// offsets. Several may read one trunk. Parameters `weight` `[outputs, hidden]`, `bias` `[outputs]`.
    HyperHead {
        /// Number of offsets.
        outputs: usize,
        /// Bound of the offsets.
        range: HyperRange,
        /// How a packed file stores `weight`.
        precision: Precision,
    },
}

/// Channels, groups and window of a convolution with a square kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Geometry {
    /// Output channels.
    pub out_channels: usize,
    /// Side of the window.
    pub kernel: usize,
    /// Step.
    #[serde(default = "one")]
    pub stride: usize,
    /// Rows and columns of padding on every side.
    #[serde(default)]
    pub padding: usize,
    /// Groups; divides input and output channels.
    #[serde(default = "one")]
    pub groups: usize,
}

fn one() -> usize {
    1
}

/// What a padded tap of a binary convolution counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PadValue {
    /// Nothing: the zero padding that Bi-Real Net and ReActNet are trained with.
    Zero,
    /// As an activation of +1 (QuickNet).
    One,
}

/// The real factor of the binary weights of one output channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WeightScale {
    /// None: the weights are +-1. The only kind in a packed file, where the scale is folded into what follows.
    #[default]
    None,
    /// Mean of |W|, no gradient through it (Bi-Real Net, ReActNet).
    L1Detached,
    /// Mean of |W| with its gradient (XNOR-Net).
    L1Grad,
    /// A trained parameter (XNOR-Net++).
    Learned,
}

/// Where the threshold of a sign comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// Zero (Bi-Real Net).
    Zero,
    /// Parameter `threshold` `[C]` (ReActNet's RSign; the official code stores `bias = -threshold`).
    Static,
    /// `threshold` plus an offset per image and channel (DyBNN's DySign).
    Dynamic,
}

/// Slopes of a rectifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Slope {
    /// 1 above zero, 0 below, no parameter.
    Relu,
    /// 1 above zero, parameter `slope_neg` `[C]` below (PReLU).
    Negative,
    /// Parameters `slope_pos` and `slope_neg` `[C]` (FTBNN's FPReLU).
    Both,
}

/// Shifts of a rectifier: `y = f(x - shift_x) + shift_y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Shift {
    /// None.
    None,
    /// Parameters `shift_x`, `shift_y` `[C]` (ReActNet's RPReLU: gamma and zeta).
    Static,
    /// The parameters plus an offset per image and channel (DyBNN's DyPReLU).
    Dynamic,
}

/// What the hyper function reads of each channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Statistics {
    /// The mean.
    Mean,
    /// The mean, then the standard deviation `sqrt(var + HYPER_STD_EPS)`.
    MeanStd,
    /// The mean, then the third raw moment `E[x^3]`.
    MeanThird,
}

impl Statistics {
    /// Numbers per channel.
    #[must_use]
    pub fn count(self) -> usize {
        match self {
            Statistics::Mean => 1,
            Statistics::MeanStd | Statistics::MeanThird => 2,
        }
    }
}

/// How a packed file stores the real weights of a layer; while they are trained they are 32-bit floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// 8-bit integers `q` and, in the tensor `weight_scale`, a factor for each row: the weight is `q * scale[row]`.
    I8,
}

/// Bound of the outputs of the hyper function.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum HyperRange {
    /// `lambda * (2 * sigmoid(v) - 1)`.
    Sigmoid {
        /// Largest absolute output.
        lambda: f32,
    },
    /// `v` itself.
    Raw,
}

/// One parameter tensor of a node; its full name is `node.name + "." + suffix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Last part of the tensor's name.
    pub suffix: &'static str,
    /// Logical shape; convolution weights are OHWI.
    pub shape: Vec<usize>,
    /// What the optimizer and the packer do with it.
    pub role: Role,
}

/// What the optimizer and the packer do with a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Trained, real-valued when deployed.
    Float,
    /// Trained as real values, one bit each when deployed.
    Binary,
    /// Trained as real values, 8-bit integers with a factor for each row when deployed.
    Int8,
    /// Measured, not trained (running statistics).
    Statistic,
}

impl Param {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Op {
    /// The operation's name in JSON, tables and messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input { .. } => "input",
            Op::Conv { .. } => "conv",
            Op::ConvBin { .. } => "conv_bin",
            Op::ConvI8 { .. } => "conv_i8",
            Op::LinearBin { .. } => "linear_bin",
            Op::BatchNorm { .. } => "batch_norm",
            Op::Affine => "affine",
            Op::Sign { .. } => "sign",
            Op::Prelu { .. } => "prelu",
            Op::Add => "add",
            Op::Concat => "concat",
            Op::ChannelShuffle { .. } => "channel_shuffle",
            Op::AvgPool { .. } => "avg_pool",
            Op::MaxPool { .. } => "max_pool",
            Op::GlobalAvgPool => "global_avg_pool",
            Op::Linear { .. } => "linear",
            Op::LinearI8 { .. } => "linear_i8",
            Op::HyperTrunk { .. } => "hyper_trunk",
            Op::HyperHead { .. } => "hyper_head",
        }
    }

    /// Number of inputs.
    #[must_use]
    pub fn arity(&self) -> usize {
        match self {
            Op::Input { .. } => 0,
            Op::Add
            | Op::Concat
            | Op::Sign { threshold: Threshold::Dynamic }
            | Op::Prelu { shift: Shift::Dynamic, .. } => 2,
            Op::Conv { .. }
            | Op::ConvBin { .. }
            | Op::ConvI8 { .. }
            | Op::LinearBin { .. }
            | Op::BatchNorm { .. }
            | Op::Affine
            | Op::Sign { threshold: Threshold::Zero | Threshold::Static }
            | Op::Prelu { shift: Shift::None | Shift::Static, .. }
            | Op::ChannelShuffle { .. }
            | Op::AvgPool { .. }
            | Op::MaxPool { .. }
            | Op::GlobalAvgPool
            | Op::Linear { .. }
            | Op::LinearI8 { .. }
            | Op::HyperTrunk { .. }
            | Op::HyperHead { .. } => 1,
        }
    }

    /// Parameters of a node with this operation whose first input has the shape `x`.
    #[must_use]
    pub fn params(&self, x: Shape) -> Vec<Param> {
        let c = x.channels;
        let float = |suffix, shape| Param { suffix, shape, role: Role::Float };
        let int8 = |suffix, shape| Param { suffix, shape, role: Role::Int8 };
        match *self {
            Op::Conv { geometry } => vec![float("weight", geometry.weight_shape(c))],
            Op::ConvBin { geometry, scale, .. } => binary_params(geometry.weight_shape(c), scale),
            Op::LinearBin { out_features, scale } => {
                binary_params(vec![out_features, x.len()], scale)
            }
            Op::ConvI8 { geometry } => {
                let weight = int8("weight", geometry.weight_shape(c));
                [vec![weight], input_steps(c)].concat()
            }
            Op::BatchNorm { .. } => {
                let statistic = |suffix| Param { suffix, shape: vec![c], role: Role::Statistic };
                vec![
                    float("weight", vec![c]),
                    float("bias", vec![c]),
                    statistic("running_mean"),
                    statistic("running_var"),
                ]
            }
            Op::Affine => vec![float("scale", vec![c]), float("shift", vec![c])],
            Op::Sign { threshold: Threshold::Zero } => Vec::new(),
            Op::Sign { .. } => vec![float("threshold", vec![c])],
            Op::Prelu { slope, shift } => prelu_params(c, slope, shift),
            Op::Linear { out_features } => {
                vec![
                    float("weight", vec![out_features, x.len()]),
                    float("bias", vec![out_features]),
                ]
            }
            Op::LinearI8 { out_features } => {
                let weight = int8("weight", vec![out_features, x.len()]);
                [vec![weight, float("bias", vec![out_features])], input_steps(c)].concat()
            }
            Op::HyperTrunk { statistics, hidden, precision } => {
                layer_params(hidden, statistics.count() * c, precision)
            }
            Op::HyperHead { outputs, precision, .. } => layer_params(outputs, x.len(), precision),
            Op::Input { .. }
            | Op::Add
            | Op::Concat
            | Op::ChannelShuffle { .. }
            | Op::AvgPool { .. }
            | Op::MaxPool { .. }
            | Op::GlobalAvgPool => Vec::new(),
        }
    }
}

/// Binary weights, those of an output first, and their scale where it is learned.
fn binary_params(shape: Vec<usize>, scale: WeightScale) -> Vec<Param> {
    let outputs = shape[0];
    let mut params = vec![Param { suffix: "weight", shape, role: Role::Binary }];
    match scale {
        WeightScale::Learned => {
            params.push(Param { suffix: "scale", shape: vec![outputs], role: Role::Float });
        }
        WeightScale::None | WeightScale::L1Detached | WeightScale::L1Grad => {}
    }
    params
}

/// How an input of 8-bit integers is rounded, for each channel: a step, and the integer that stands for 0.
fn input_steps(channels: usize) -> Vec<Param> {
    let step = |suffix| Param { suffix, shape: vec![channels], role: Role::Statistic };
    vec![step(INPUT_SCALE), step(INPUT_OFFSET)]
}

fn layer_params(rows: usize, columns: usize, precision: Precision) -> Vec<Param> {
    let role = match precision {
        Precision::F32 => Role::Float,
        Precision::I8 => Role::Int8,
    };
    vec![
        Param { suffix: "weight", shape: vec![rows, columns], role },
        Param { suffix: "bias", shape: vec![rows], role: Role::Float },
    ]
}

fn prelu_params(c: usize, slope: Slope, shift: Shift) -> Vec<Param> {
    let slopes: &[&'static str] = match slope {
        Slope::Relu => &[],
        Slope::Negative => &["slope_neg"],
        Slope::Both => &["slope_pos", "slope_neg"],
    };
    let shifts: &[&'static str] = match shift {
        Shift::None => &[],
        Shift::Static | Shift::Dynamic => &["shift_x", "shift_y"],
    };
    let names = slopes.iter().chain(shifts);
    names.map(|&suffix| Param { suffix, shape: vec![c], role: Role::Float }).collect()
}

impl Geometry {
    /// An odd window padded so that stride 1 keeps the size.
    #[must_use]
    pub const fn same(out_channels: usize, kernel: usize, stride: usize, groups: usize) -> Self {
        Geometry { out_channels, kernel, stride, padding: kernel / 2, groups }
    }

    /// Shape `[O, k, k, I/groups]` of the weights for `channels` input channels.
    #[must_use]
    pub fn weight_shape(&self, channels: usize) -> Vec<usize> {
        vec![self.out_channels, self.kernel, self.kernel, channels / self.groups]
    }

    /// Output extent for an input extent, `None` where the window does not fit.
    #[must_use]
    pub fn output_extent(&self, input: usize) -> Option<usize> {
        window_extent(input, self.kernel, self.stride, self.padding)
    }
}

/// Positions of a window of side `kernel` moved by `stride` over `input + 2 * padding`.
#[must_use]
pub fn window_extent(input: usize, kernel: usize, stride: usize, padding: usize) -> Option<usize> {
    let padded = input.checked_add(padding.checked_mul(2)?)?;
    padded.checked_sub(kernel)?.checked_div(stride)?.checked_add(1)
}
