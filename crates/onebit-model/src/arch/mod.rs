//! Architectures: each a function from [`Options`] to a [`Graph`].
//!
//! A new architecture is a function in the file of its family here and one line in [`ARCHITECTURES`].

mod block;
mod builder;
mod config;
mod finn;
mod list;
mod mobilenet;
mod options;
mod resnet;
mod stem;
mod vgg;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

pub use builder::Builder;
pub use config::{
    Config, Downsample, HyperConfig, Method, Nonlinearity, NonlinearityPosition, Range, Sharing,
    SignKind, Stem,
};
pub use list::{ARCHITECTURES, Architecture};
pub use options::{Defaults, Options};

use crate::{Graph, GraphError, Normalization, Verified, quote};

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
#[non_exhaustive]
pub enum ArchError {
    /// No architecture of that name.
    #[error("there is no architecture `{}`; choose one of: {known}", quote::shown(.name))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// An option with an impossible value.
    #[error("network option `{option}` is {}, expected {expected}", quote::shown(.value))]
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

/// The architecture of that name.
///
/// # Errors
/// There is none.
pub fn find(name: &str) -> Result<&'static Architecture, ArchError> {
    ARCHITECTURES.iter().find(|a| a.name == name).ok_or_else(|| ArchError::Unknown {
        name: name.to_string(),
        known: ARCHITECTURES.iter().map(|a| a.name).collect::<Vec<_>>().join(", "),
    })
}

/// Builds and verifies the graph of `config.arch`.
///
/// # Errors
/// Unknown name, impossible option, or an input that the network cannot take.
pub fn build(config: &Config, task: &Task) -> Result<Verified<Graph>, ArchError> {
    let architecture = find(&config.arch)?;
    let options = Options::new(config, &architecture.defaults)?;
    let graph = (architecture.graph)(&options, task)?;
    Verified::<Graph>::new(graph)
        .map_err(|source| ArchError::Graph { arch: config.arch.clone(), source })
}

fn bad_option(option: &'static str, value: impl core::fmt::Debug, expected: &str) -> ArchError {
    ArchError::Option { option, value: format!("{value:?}"), expected: expected.to_string() }
}
