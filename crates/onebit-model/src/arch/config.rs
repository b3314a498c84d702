use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{ArchError, bad_option};
use crate::{HyperRange, PadValue, Slope, Statistics, Threshold, WeightScale, op};

/// The `[network]` section of a recipe: an architecture and the options of its blocks.
///
/// `method` sets `sign`, `nonlinearity` and `dyprelu` together; each can be overridden.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the architecture.
    pub arch: String,
    /// The paper whose block is built.
    #[serde(default)]
    pub method: Method,
    /// Output channels of each stage; the architecture's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub widths: Option<Vec<usize>>,
    /// Binary 3x3 convolutions of each stage; the architecture's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<Vec<usize>>,
    /// Factor on all widths (FTBNN's group execution, in our form: widen and group).
    #[serde(default = "one")]
    pub width_multiplier: f32,
    /// Groups of the 3x3 binary convolutions, with a channel shuffle behind them when more than 1.
    #[serde(default = "one_group")]
    pub groups: usize,
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
    /// The shortcut of blocks that change resolution.
    #[serde(default)]
    pub downsample: Downsample,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Bi-Real Net: plain sign, no further non-linearity.
    Bireal,
    /// ReActNet: RSign and RPReLU.
    #[default]
    Reactnet,
    /// FTBNN-style: RSign and FPReLU.
    Ftbnn,
    /// DyBNN-style: DySign and DyPReLU.
    Dybnn,
}

/// How activations become bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// Shortcut of a block that halves the resolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Downsample {
    /// 2x2 average, real 1x1 convolution, BN (Bi-Real Net).
    #[default]
    Float,
    /// 2x2 average, sign, binary 1x1 convolution, BN (ours, in the spirit of FTBNN's compression).
    Binary,
    /// 2x2 average, channels duplicated (ReActNet-A); needs widths that double.
    Duplicate,
}

/// Options of DyBNN's hyper function; the paper's own values are not public, all of these are ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HyperConfig {
    /// What is read of each channel.
    pub statistics: Statistics,
    /// The hidden layer has `max(8, channels / reduction)` units.
    pub reduction: usize,
    /// Bounded by a sigmoid or not.
    pub range: Range,
    /// Largest threshold offset of a bounded DySign.
    pub sign_lambda: f32,
    /// Largest shift offset of a bounded DyPReLU.
    pub prelu_lambda: f32,
}

/// Whether the hyper function's outputs are bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// An architecture with the options of a method.
    #[must_use]
    pub fn new(arch: impl Into<String>, method: Method) -> Self {
        Config {
            arch: arch.into(),
            method,
            widths: None,
            blocks: None,
            width_multiplier: one(),
            groups: one_group(),
            sign: None,
            nonlinearity: None,
            dyprelu: None,
            nonlinearity_position: NonlinearityPosition::default(),
            downsample: Downsample::default(),
            padding: zero_padding(),
            weight_scale: l1_detached(),
            hyper: HyperConfig::default(),
        }
    }

    pub(super) fn threshold(&self) -> Threshold {
        let own = match self.method {
            Method::Bireal => SignKind::Plain,
            Method::Reactnet | Method::Ftbnn => SignKind::Rsign,
            Method::Dybnn => SignKind::Dysign,
        };
        match self.sign.unwrap_or(own) {
            SignKind::Plain => Threshold::Zero,
            SignKind::Rsign => Threshold::Static,
            SignKind::Dysign => Threshold::Dynamic,
        }
    }

    /// Slope and shift of the non-linear module, `None` for no module.
    pub(super) fn prelu(&self) -> Result<Option<(Slope, op::Shift)>, ArchError> {
        let own = match self.method {
            Method::Bireal => Nonlinearity::None,
            Method::Reactnet | Method::Dybnn => Nonlinearity::Rprelu,
            Method::Ftbnn => Nonlinearity::Fprelu,
        };
        let nonlinearity = self.nonlinearity.unwrap_or(own);
        let (slope, shift) = match nonlinearity {
            Nonlinearity::None => return self.no_module(),
            Nonlinearity::Relu => (Slope::Relu, op::Shift::None),
            Nonlinearity::Prelu => (Slope::Negative, op::Shift::None),
            Nonlinearity::Rprelu => (Slope::Negative, op::Shift::Static),
            Nonlinearity::Fprelu => (Slope::Both, op::Shift::None),
            Nonlinearity::Frprelu => (Slope::Both, op::Shift::Static),
        };
        let dynamic = self.dyprelu.unwrap_or(self.method == Method::Dybnn);
        Ok(Some((slope, if dynamic { op::Shift::Dynamic } else { shift })))
    }

    fn no_module(&self) -> Result<Option<(Slope, op::Shift)>, ArchError> {
        match self.dyprelu {
            Some(true) => Err(bad_option("dyprelu", true, "a nonlinearity other than none")),
            _ => Ok(None),
        }
    }
}

fn one() -> f32 {
    1.0
}

fn one_group() -> usize {
    1
}

fn zero_padding() -> PadValue {
    PadValue::Zero
}

fn l1_detached() -> WeightScale {
    WeightScale::L1Detached
}
