//! Why a checkpoint of PyTorch is refused.

use super::Problems;
use onebit_model::ModelError;
use onebit_model::limits::MAX_CLASSES;

/// Most extents of a shape that a message shows.
const MAX_EXTENTS: usize = 8;

pub(super) fn shown_shape(shape: &[usize]) -> String {
    match shape.get(..MAX_EXTENTS) {
        Some(first) if shape.len() > MAX_EXTENTS => {
            format!("{first:?} and {} more", shape.len() - MAX_EXTENTS)
        }
        _ => format!("{shape:?}"),
    }
}

/// Why a checkpoint of PyTorch could not be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Neither of the containers.
    #[error(
        "it is no checkpoint: expected a file of `torch.save`, of PyTorch 1.6 or later (zip) or before, or a \
         safetensors file"
    )]
    NotACheckpoint,
    /// The file ends early.
    #[error("the file is cut short: it ends inside {0}")]
    CutShort(String),
    /// A zip container that is damaged, or not as `torch.save` writes it.
    #[error("the zip container is damaged or not one of `torch.save`: {0}")]
    Zip(String),
    /// A safetensors file that is refused.
    #[error("the safetensors file is not valid: {0}")]
    Safetensors(String),
    /// Numbers in the other byte order.
    #[error("the checkpoint was written on a big-endian machine, which is not supported")]
    BigEndian,
    /// A pickle that holds something else than tensors in dictionaries.
    #[error("the pickle, at its byte {at}, {problem}")]
    Pickle {
        /// Bytes from the start of the pickle.
        at: usize,
        /// What is wrong.
        problem: String,
    },
    /// A pickle that wants a function which does harm, or that holds an object of a class in place of a state dict.
    #[error(
        "the pickle asks for `{0}`, which a state dict does not need: it is refused, nothing of it was run; save the \
         network's `state_dict()` alone"
    )]
    Global(String),
    /// No dictionary of tensors where one is expected.
    #[error("the checkpoint holds no state dict: {0}")]
    NoStateDict(String),
    /// Two names that differ only in what wrappers of the network put before them.
    #[error(
        "`{first}` and `{second}` are both the tensor `{name}` of the network; keep one of them"
    )]
    SameName {
        /// A name.
        first: String,
        /// Another.
        second: String,
        /// What is left of both.
        name: String,
    },
    /// An object where a tensor is expected.
    #[error("`{name}` is an object of `{class}`, expected a tensor of 16-, 32- or 64-bit floats")]
    NotTensor {
        /// The entry.
        name: String,
        /// Its class.
        class: String,
    },
    /// A tensor that its storage does not hold.
    #[error("tensor `{name}`: {problem}")]
    View {
        /// The tensor.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A tensor of integers, or of floats that are not used in checkpoints.
    #[error("tensor `{0}` is of another type than 16-, 32- or 64-bit floats")]
    NotFloat(String),
    /// A classifier that is no matrix, or one of too many classes.
    #[error(
        "tensor `{name}` has the shape {}, expected [classes, features] and 1 to {MAX_CLASSES} classes",
        shown_shape(.found)
    )]
    NotClassifier {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A NaN, an infinity, or a number that 32-bit floats cannot hold.
    #[error("tensor `{0}` holds a value that is not finite as a 32-bit float")]
    NotFinite(String),
    /// A tensor of another shape.
    #[error("tensor `{name}` has the shape {}, expected {expected:?}", shown_shape(.found))]
    WrongShape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the network needs.
        expected: Vec<usize>,
    },
    /// A tensor that the network needs.
    #[error("tensor `{0}` is missing")]
    Missing(String),
    /// A tensor that the network has no place for.
    #[error("the network has no place for the tensor `{0}`")]
    Extra(String),
    /// Tensors that do not fit a described graph.
    #[error("{}", .0.shown("tensor does", "tensors do", "not fit the graph"))]
    Problems(Problems),
    /// An ONNX file that cannot be read.
    #[error("{0}")]
    Onnx(String),
    /// An ONNX file whose images are of no size, or of another than was given.
    #[error("{0}")]
    Images(String),
    /// An ONNX file with operators that cannot be read.
    #[error("{}", .0.shown("operator is", "operators are", "not read"))]
    Operators(Problems),
    /// The tensors of another architecture.
    #[error(
        "{misfit}; the checkpoint is one of `{found}`, not of the network asked for, `{expected}`"
    )]
    AnotherArchitecture {
        /// The first tensor that does not fit.
        misfit: Box<ImportError>,
        /// What it is.
        found: &'static str,
        /// What it was taken for.
        expected: String,
    },
    /// A network that has parts which no official checkpoint has.
    #[error(
        "official checkpoints have no name for `{tensor}` of the network `{arch}`: only birealnet18, birealnet34, \
         reactnet18, reactnet34 and reactnet-a, and networks of the same blocks, have official names; for any other, \
         give its tensors the names and shapes that they have here (docs/format.md, section 4)"
    )]
    NoOfficialName {
        /// The architecture.
        arch: String,
        /// Its tensor.
        tensor: String,
    },
    /// The network or its weights break a rule.
    #[error(transparent)]
    Model(#[from] ModelError),
}
