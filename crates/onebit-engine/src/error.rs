//! The error of this crate.

use alloc::string::String;

use onebit_model::GraphError;
use onebit_model::quote::count;

use crate::Isa;

/// Why a model cannot be run, or not on this image.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The network does not take an image of this size.
    #[error("the network cannot take an image of {height}x{width}: {source}")]
    InputSize {
        /// Rows asked for.
        height: usize,
        /// Columns asked for.
        width: usize,
        /// The node that does not fit.
        source: GraphError,
    },
    /// A fully connected layer whose weights fit another image size.
    #[error(
        "node `{node}`: tensor `{tensor}` has {}, this image size needs {expected}", count(*found, "element")
    )]
    ParameterSize {
        /// The node.
        node: String,
        /// Suffix of the tensor's name.
        tensor: &'static str,
        /// Elements it has.
        found: usize,
        /// Elements needed.
        expected: usize,
    },
    /// More working memory than the limit.
    #[error("one image of this size needs more than {limit} bytes of working memory")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// More working memory for all threads than the limit.
    #[error(
        "{threads} threads need more than {limit} bytes of working memory together for images of this size: use \
         fewer threads, or smaller images"
    )]
    TooLargeTogether {
        /// Threads.
        threads: usize,
        /// The limit.
        limit: usize,
    },
    /// The system has not so much memory left.
    #[error("out of memory: the system refuses {bytes} bytes more")]
    OutOfMemory {
        /// Bytes asked for at once.
        bytes: usize,
    },
    /// An instruction set that this CPU or this build does not have.
    #[error("this CPU or this build has no {isa} kernels; available are: {available}")]
    MissingIsa {
        /// What was asked for.
        isa: Isa,
        /// What there is.
        available: String,
    },
    /// An output that is no node of the network.
    #[error("the network has {}, so that none is at position {node} (counted from 0)", count(*nodes, "node"))]
    NoSuchNode {
        /// Position asked for.
        node: usize,
        /// Nodes of the network.
        nodes: usize,
    },
    /// An image of the wrong length.
    #[error(
        "the image has {}, expected {height}x{width}x{channels} = {expected} (NHWC)", count(*found, "value")
    )]
    ImageLength {
        /// Values given.
        found: usize,
        /// Values needed.
        expected: usize,
        /// Channels.
        channels: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// A slice for the logits of the wrong length.
    #[error(
        "the slice for the logits has {}, the network has {}", count(*found, "place"), count(*expected, "class")
    )]
    LogitsLength {
        /// Places given.
        found: usize,
        /// Classes.
        expected: usize,
    },
    /// A slice for the times of the wrong length.
    #[error(
        "the slice for the times has {}, the plan has {}", count(*found, "place"), count(*expected, "step")
    )]
    TimesLength {
        /// Places given.
        found: usize,
        /// Steps.
        expected: usize,
    },
    /// Scratch memory of another engine.
    #[error("the scratch memory belongs to another engine; get it from `scratch()` of this one")]
    ForeignScratch,
}
