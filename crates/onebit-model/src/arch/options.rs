//! The options of a network, with the architecture's own values where it has none.

use super::{ArchError, Config, Downsample, Method, Nonlinearity, SignKind, Stem, bad_option};
use crate::{Slope, Threshold, op};

/// What an architecture is where a [`Config`] does not say otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Defaults {
    /// The paper whose block is built.
    pub method: Method,
    /// The real convolutions at the image.
    pub stem: Stem,
    /// The 1x1 convolutions where the channels change.
    pub downsample: Downsample,
    /// Factor on all widths.
    pub width_multiplier: f32,
    /// Groups of the 3x3 binary convolutions.
    pub groups: usize,
}

/// A [`Config`] with the architecture's own values where it has none.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// What was asked for: the options that are the same for all architectures.
    pub config: &'a Config,
    /// The paper whose block is built.
    pub method: Method,
    /// The real convolutions at the image.
    pub stem: Stem,
    /// The 1x1 convolutions where the channels change.
    pub downsample: Downsample,
    /// Factor on all widths, from 0.05 to 64.
    pub width_multiplier: f32,
    /// Groups of the 3x3 binary convolutions.
    pub groups: usize,
}

impl<'a> Options<'a> {
    /// Settles what is absent in `config`.
    ///
    /// # Errors
    /// An option that no architecture can take.
    pub fn new(config: &'a Config, defaults: &Defaults) -> Result<Self, ArchError> {
        let options = Options {
            config,
            method: config.method.unwrap_or(defaults.method),
            stem: config.stem.unwrap_or(defaults.stem),
            downsample: config.downsample.unwrap_or(defaults.downsample),
            width_multiplier: config.width_multiplier.unwrap_or(defaults.width_multiplier),
            groups: config.groups.unwrap_or(defaults.groups),
        };
        if !(0.05..=64.0).contains(&options.width_multiplier) {
            return Err(bad_option("width_multiplier", options.width_multiplier, "0.05 to 64"));
        }
        if config.hyper.reduction == 0 {
            return Err(bad_option("hyper.reduction", 0, "1 or more"));
        }
        Ok(options)
    }

    pub(super) fn widened(&self, width: usize) -> usize {
        ((width as f32 * self.width_multiplier + 0.5) as usize).max(1)
    }

    pub(super) fn threshold(&self) -> Threshold {
        let own = match self.method {
            Method::Bireal => SignKind::Plain,
            Method::Reactnet | Method::Ftbnn => SignKind::Rsign,
            Method::Dybnn => SignKind::Dysign,
        };
        match self.config.sign.unwrap_or(own) {
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
        let (slope, shift) = match self.config.nonlinearity.unwrap_or(own) {
            Nonlinearity::None => return self.no_module(),
            Nonlinearity::Relu => (Slope::Relu, op::Shift::None),
            Nonlinearity::Prelu => (Slope::Negative, op::Shift::None),
            Nonlinearity::Rprelu => (Slope::Negative, op::Shift::Static),
            Nonlinearity::Fprelu => (Slope::Both, op::Shift::None),
            Nonlinearity::Frprelu => (Slope::Both, op::Shift::Static),
        };
        let dynamic = self.config.dyprelu.unwrap_or(self.method == Method::Dybnn);
        Ok(Some((slope, if dynamic { op::Shift::Dynamic } else { shift })))
    }

    fn no_module(&self) -> Result<Option<(Slope, op::Shift)>, ArchError> {
        match self.config.dyprelu {
            Some(true) => Err(bad_option("dyprelu", true, "a nonlinearity other than none")),
            _ => Ok(None),
        }
    }
}
