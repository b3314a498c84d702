//! The `[network]` section of a recipe: an architecture and its options.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{HyperRange, PadValue, Precision, Statistics, WeightScale};

/// The `[network]` section of a recipe: an architecture and the options of its blocks.
///
/// An option that is absent has the architecture's own value. `method` sets `sign`, `nonlinearity` and `dyprelu`
/// together; each can be overridden.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the architecture; `onebit summary` lists them.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = super::list::names())))]
    pub arch: String,
    /// The paper whose block is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Output channels of each stage (residual networks), or of the stem and each block or convolution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(inner(range(min = 1))))]
    pub widths: Option<Vec<usize>>,
    /// Binary 3x3 convolutions of each stage; only residual networks have stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(inner(range(min = 1))))]
    pub blocks: Option<Vec<usize>>,
    /// Factor on all widths (FTBNN's group execution, in our form: widen and group).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0.05, max = 64)))]
    pub width_multiplier: Option<f32>,
    /// Groups of the 3x3 binary convolutions, with a channel shuffle behind them when more than 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub groups: Option<usize>,
    /// The real convolutions at the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stem: Option<Stem>,
    /// How activations become bits; the method's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign: Option<SignKind>,
    /// The non-linear module; the method's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonlinearity: Option<Nonlinearity>,
    /// Whether the rectifier's shifts are dynamic (DyPReLU); the method's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dyprelu: Option<bool>,
    /// Where the non-linear module stands in the block.
    #[serde(default)]
    pub nonlinearity_position: NonlinearityPosition,
    /// The 1x1 convolutions where the channels change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downsample: Option<Downsample>,
    /// What padded taps of binary convolutions count.
    #[serde(default = "zero_padding")]
    pub padding: PadValue,
    /// Scale of the binary weights.
    #[serde(default = "l1_detached")]
    pub weight_scale: WeightScale,
    /// The hyper function of DySign and DyPReLU.
    #[serde(default)]
    pub hyper: HyperConfig,
}

/// The paper whose block is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Bi-Real Net: plain sign, no further non-linearity.
    Bireal,
    /// ReActNet: RSign and RPReLU.
    Reactnet,
    /// FTBNN-style: RSign and FPReLU.
    Ftbnn,
    /// DyBNN-style: DySign and DyPReLU.
    Dybnn,
}

/// How activations become bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SignKind {
    /// Threshold 0.
    Plain,
    /// Learned threshold per channel (ReActNet).
    Rsign,
    /// Learned threshold plus an offset from the hyper function (DyBNN).
    Dysign,
}

/// The non-linear modules that FTBNN's question, which one and where, is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Nonlinearity {
    /// Nothing: the sign of the next block is the only non-linearity.
    None,
    /// max(x, 0).
    Relu,
    /// Learned slope below zero.
    Prelu,
    /// PReLU between two learned shifts (ReActNet).
    Rprelu,
    /// Learned slopes on both sides (FTBNN).
    Fprelu,
    /// FPReLU between two learned shifts.
    Frprelu,
}

/// Where the non-linear module stands; the paper's own place is not public, the default is ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum NonlinearityPosition {
    /// conv, BN, add, module.
    #[default]
    AfterAdd,
    /// conv, BN, module, add.
    BeforeAdd,
    /// conv, module, BN, add.
    BeforeBn,
}

/// The 1x1 convolutions where the channels change: the shortcut in residual networks, the two pointwise
/// convolutions of a block that doubles its channels in ReActNet-A.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Downsample {
    /// Real. Residual networks: 2x2 average, 1x1 convolution, BN (Bi-Real Net). ReActNet-A: makes it ReActNet-C.
    Float,
    /// Real, in 4 groups. ReActNet-A: makes it ReActNet-B. In residual networks it is ours.
    FloatGrouped,
    /// Binary. ReActNet-A: its own. Residual networks: 2x2 average, sign, 1x1 convolution, BN (ours, in the
    /// spirit of FTBNN's compression).
    Binary,
    /// None. Residual networks: 2x2 average, channels duplicated (the shortcut of ReActNet-A); needs widths
    /// that double.
    Duplicate,
}

/// The real convolutions at the image. Inner widths are fractions of the stem's output channels C.
///
/// `full`, `strided` and `small` come from Bi-Real Net's and ReActNet's code; which stem FTBNN compresses to is not
/// public, so that `conv3x3`, `grouped` and `quick` are our choice of known cheap ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stem {
    /// 7x7 stride 2, BN, 3x3 maximum stride 2 (Bi-Real Net, ReActNet-18).
    Full,
    /// 3x3 stride 2, BN, no pooling (ReActNet-A).
    Strided,
    /// 3x3 stride 1, BN, no pooling (small images).
    Small,
    /// 3x3 stride 2, BN, 3x3 maximum stride 2.
    #[serde(rename = "conv3x3")]
    Conv3x3,
    /// 3x3 stride 2 to C/2, 3x3 in 4 groups, 3x3 in 8 groups to C, each with BN, ReLU in between, 3x3 maximum
    /// stride 2 (after MeliusNet's, as we remember it).
    Grouped,
    /// 3x3 stride 2 to C/4, BN, ReLU, 3x3 depthwise stride 2, BN, 1x1 to C, BN (QuickNet's convolutions; where BN
    /// stands is ours).
    Quick,
}

/// Options of DyBNN's hyper function; the paper's own values are not public, all of these are ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct HyperConfig {
    /// What is read of each channel.
    pub statistics: Statistics,
    /// The hidden layer has `max(8, channels / reduction)` units.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub reduction: usize,
    /// Whether the hyper functions of a block share their hidden layer.
    pub sharing: Sharing,
    /// How a packed file stores the weights.
    pub precision: Precision,
    /// Bounded by a sigmoid or not.
    pub range: Range,
    /// Largest threshold offset of a bounded DySign.
    #[cfg_attr(feature = "schema", schemars(extend("exclusiveMinimum" = 0)))]
    pub sign_lambda: f32,
    /// Largest shift offset of a bounded DyPReLU.
    #[cfg_attr(feature = "schema", schemars(extend("exclusiveMinimum" = 0)))]
    pub prelu_lambda: f32,
}

/// Which hyper functions share their statistics and hidden layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// None: each reads the map that its sign or rectifier reads.
    None,
    /// Those of a block (in ReActNet-A's layout of both its halves): all read the block's input.
    Block,
}

/// Whether the hyper function's outputs are bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Range {
    /// `lambda * (2 * sigmoid(v) - 1)`.
    Sigmoid,
    /// `v` itself.
    Raw,
}

impl Default for HyperConfig {
    fn default() -> Self {
        HyperConfig {
            statistics: Statistics::Mean,
            reduction: 8,
            sharing: Sharing::None,
            precision: Precision::I8,
            range: Range::Sigmoid,
            sign_lambda: 1.0,
            prelu_lambda: 0.5,
        }
    }
}

impl HyperConfig {
    pub(super) fn range(&self, lambda: f32) -> HyperRange {
        match self.range {
            Range::Sigmoid => HyperRange::Sigmoid { lambda },
            Range::Raw => HyperRange::Raw,
        }
    }

    pub(super) fn hidden(&self, channels: usize) -> usize {
        (channels / self.reduction.max(1)).max(8)
    }
}

impl Config {
    /// An architecture as it is.
    #[must_use]
    pub fn named(arch: impl Into<String>) -> Self {
        Config {
            arch: arch.into(),
            method: None,
            widths: None,
            blocks: None,
            width_multiplier: None,
            groups: None,
            stem: None,
            sign: None,
            nonlinearity: None,
            dyprelu: None,
            nonlinearity_position: NonlinearityPosition::default(),
            downsample: None,
            padding: zero_padding(),
            weight_scale: l1_detached(),
            hyper: HyperConfig::default(),
        }
    }

    /// An architecture with the options of a method.
    #[must_use]
    pub fn new(arch: impl Into<String>, method: Method) -> Self {
        Config { method: Some(method), ..Config::named(arch) }
    }
}

fn zero_padding() -> PadValue {
    PadValue::Zero
}

fn l1_detached() -> WeightScale {
    WeightScale::L1Detached
}
