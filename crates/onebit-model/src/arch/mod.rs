//! Architectures: each a function from a [`Config`] to a [`Graph`].
//!
//! A new architecture is one file here and one line in [`ARCHITECTURES`].

mod block;
mod builder;
mod config;
mod resnet_small;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

pub use builder::Builder;
pub use config::{
    Config, Downsample, HyperConfig, Method, Nonlinearity, NonlinearityPosition, Range, SignKind,
};

use crate::{Graph, GraphError, Normalization, Verified};

/// An architecture that can be asked for by name.
pub struct Architecture {
    /// Name on the command line and in recipes.
    pub name: &'static str,
    /// One line for lists.
    pub about: &'static str,
    /// Builds the graph.
    pub graph: fn(&Config, &Task) -> Result<Graph, ArchError>,
}

/// All architectures.
pub const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        name: "resnet20",
        about: "residual blocks of 16, 32 and 64 channels, 6 each (small images)",
        graph: resnet_small::resnet20,
    },
    Architecture {
        name: "resnet-small",
        about: "residual blocks with `widths` and `blocks` of your own (small images)",
        graph: resnet_small::resnet_small,
    },
];

/// What a network is for: the data set decides it, not the architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// `[channels, height, width]` of the images.
    pub input: [usize; 3],
    /// Names of the classes.
    pub classes: Vec<String>,
    /// What is done to the pixels.
    pub normalization: Normalization,
}

impl Task {
    /// A task for counting and timing: classes named by their numbers, no normalization.
    #[must_use]
    pub fn unnamed(input: [usize; 3], classes: usize) -> Self {
        let normalization =
            Normalization { mean: alloc::vec![0.0; input[0]], std: alloc::vec![1.0; input[0]] };
        Task { input, classes: (0..classes).map(|c| c.to_string()).collect(), normalization }
    }
}

/// Why no graph could be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ArchError {
    /// No architecture of that name.
    #[error("there is no architecture `{name}`; choose one of: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// An option with an impossible value.
    #[error("network option `{option}` is {value}, expected {expected}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// The options give a graph that does not hold together, such as an image too small for the depth.
    #[error("network `{arch}` cannot be built for this input: {source}")]
    Graph {
        /// The architecture.
        arch: String,
        /// The defect.
        source: GraphError,
    },
}

/// Builds and verifies the graph of `config.arch`.
///
/// # Errors
/// Unknown name, impossible option, or an input that the network cannot take.
pub fn build(config: &Config, task: &Task) -> Result<Verified<Graph>, ArchError> {
    let found = ARCHITECTURES.iter().find(|a| a.name == config.arch);
    let architecture = found.ok_or_else(|| ArchError::Unknown {
        name: config.arch.clone(),
        known: ARCHITECTURES.iter().map(|a| a.name).collect::<Vec<_>>().join(", "),
    })?;
    let graph = (architecture.graph)(config, task)?;
    Verified::<Graph>::new(graph)
        .map_err(|source| ArchError::Graph { arch: config.arch.clone(), source })
}

fn bad_option(option: &'static str, value: impl core::fmt::Debug, expected: &str) -> ArchError {
    ArchError::Option { option, value: format!("{value:?}"), expected: expected.to_string() }
}
