use onebit_model::ModelError;
use onebit_model::limits::MAX_CLASSES;

/// Why a checkpoint of PyTorch could not be imported.
#[derive(Debug, thiserror::Error)]
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
    /// A pickle that wants a class or function which tensors do not need.
    #[error(
        "the pickle asks for `{0}`, which a checkpoint of tensors does not need: it is refused, nothing of it was run; \
         save the network's `state_dict()` alone"
    )]
    Global(String),
    /// No dictionary of tensors where one is expected.
    #[error("the checkpoint holds no state dict: {0}")]
    NoStateDict(String),
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
        "tensor `{name}` has the shape {found:?}, expected [classes, features] and at most {MAX_CLASSES} classes"
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
    #[error("tensor `{name}` has the shape {found:?}, expected {expected:?}")]
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
        "official checkpoints have no name for `{tensor}` of the network `{arch}`: only Bi-Real Net's and ReActNet's \
         residual networks and ReActNet-A, without further options of their blocks, can be imported"
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
