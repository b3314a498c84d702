//! Defects of graphs.

use alloc::string::String;

use crate::{limits, quote};

/// A defect of a graph.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// No nodes.
    #[error("the graph has no nodes")]
    Empty,
    /// Too many nodes.
    #[error("the graph has {0} nodes, more than {max}", max = limits::MAX_NODES)]
    TooManyNodes(usize),
    /// A name that is empty, too long, or has characters other than letters, digits, `.`, `_`, `-`.
    #[error(
        "`{}` is not a valid name: expected 1 to {max} letters, digits, '.', '_' or '-'",
        quote::shown(.0),
        max = limits::MAX_NAME_BYTES
    )]
    BadName(String),
    /// A name of a class that is empty, too long, or has control characters.
    #[error(
        "`{}` is not a valid name of a class: expected 1 to {max} bytes without control characters",
        quote::shown(.0),
        max = limits::MAX_CLASS_NAME_BYTES
    )]
    BadClassName(String),
    /// Two nodes of one name.
    #[error("two nodes are named `{}`", quote::shown(.0))]
    DuplicateName(String),
    /// The first node is not the input, or a later one is.
    #[error("node `{0}`: the first node, and no other, must be the input")]
    MisplacedInput(String),
    /// Wrong number of inputs.
    #[error("node `{node}`: {op} takes {}, found {found}", quote::count(*expected, "input"))]
    Arity {
        /// The node.
        node: String,
        /// Its operation.
        op: &'static str,
        /// Inputs it takes.
        expected: usize,
        /// Inputs it has.
        found: usize,
    },
    /// An input that does not name an earlier node.
    #[error("node `{}`: input `{}` is not an earlier node", quote::shown(.node), quote::shown(.input))]
    UnknownInput {
        /// The node.
        node: String,
        /// What it names.
        input: String,
    },
    /// A node other than the last whose output nothing reads.
    #[error("node `{0}`: nothing reads its output")]
    Unused(String),
    /// A bit map where a real map is needed, or the reverse.
    #[error("node `{node}`: {op} takes {expected} as input {position}")]
    WrongElement {
        /// The node.
        node: String,
        /// Its operation.
        op: &'static str,
        /// What it takes.
        expected: &'static str,
        /// Which input, counted from 0.
        position: usize,
    },
    /// Two inputs that must agree do not.
    #[error("node `{node}`: {op} cannot combine inputs of {left} and {right}")]
    Mismatch {
        /// The node.
        node: String,
        /// Its operation.
        op: &'static str,
        /// Shape of the first input.
        left: String,
        /// Shape of the second.
        right: String,
    },
    /// An attribute outside its range.
    #[error("node `{node}`: {attribute} is {value}, expected {expected}")]
    BadAttribute {
        /// The node.
        node: String,
        /// The attribute.
        attribute: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// A window larger than its padded input.
    #[error(
        "node `{node}`: a window of {kernel} does not fit an input of {input} with padding {padding}"
    )]
    WindowTooLarge {
        /// The node.
        node: String,
        /// Window side.
        kernel: usize,
        /// Height and width of the input.
        input: String,
        /// Padding on each side.
        padding: usize,
    },
    /// An activation or parameter larger than the limits.
    #[error("node `{0}`: its output or a parameter is larger than the limits allow")]
    TooLarge(String),
    /// More work for one image than the limit.
    #[error(
        "node `{0}`: with it, one image takes more than {max} elementary operations, the most allowed",
        max = limits::MAX_OPERATIONS
    )]
    TooMuchWork(String),
    /// The number of class names is not the number of logits.
    #[error(
        "the graph names {}, its last node has {}",
        quote::count(*classes, "class"),
        quote::count(*outputs, "output")
    )]
    Classes {
        /// Names.
        classes: usize,
        /// Logits.
        outputs: usize,
    },
    /// Mean or standard deviation missing, not finite or not positive.
    #[error("the input normalization needs {0} finite means and positive standard deviations")]
    Normalization(usize),
    /// An image of another size than the network's own, which would give other logits.
    #[error(
        "images of {input} give {} for {}: this network takes images of its own size",
        quote::count(*outputs, "logit"),
        quote::count(*classes, "class")
    )]
    OtherSize {
        /// Channels, height and width of the images.
        input: String,
        /// Names.
        classes: usize,
        /// Logits.
        outputs: usize,
    },
    /// An image of another size than the network's own, of which a layer would read another number of values.
    #[error(
        "node `{node}`: it takes {expected} values, of images of {input} there are {found}: \
         this network takes images of its own size"
    )]
    OtherFlattened {
        /// The node.
        node: String,
        /// Channels, height and width of the images.
        input: String,
        /// Values that it has weights for.
        expected: usize,
        /// Values that it would read.
        found: usize,
    },
    /// A last node that gives bits.
    #[error("node `{0}`: the last node gives bits, expected a real map: the logits")]
    BitLogits(String),
    /// A preprocessing that gives less than the input takes.
    #[error("preprocessing: {field} is {value}, expected {expected}")]
    Preprocessing {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// Not the JSON of a graph.
    #[error("the graph cannot be read: {}", quote::sentence(.0))]
    Json(String),
}
