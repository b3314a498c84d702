//! Why a file is refused.

use alloc::string::String;
use alloc::vec::Vec;

use super::VERSION;
use crate::{GraphError, ModelError, limits, quote};

/// Why a file was refused, or could not be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// Something else than a safetensors file with our metadata.
    #[error(
        "this is no onebit file: expected the safetensors container with a `format` that starts with onebit"
    )]
    NotOnebit,
    /// Fewer bytes than the header announces.
    #[error(
        "the file ends after {found} of {expected} bytes: it was cut short, copy or write it again"
    )]
    Truncated {
        /// Bytes that the header announces.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The system has not so much memory left.
    #[error("out of memory: the system refuses {bytes} bytes more")]
    OutOfMemory {
        /// Bytes asked for at once.
        bytes: usize,
    },
    /// More bytes than the header announces.
    #[error("the file has {}, expected {expected}: nothing may follow the tensors", quote::count(*found, "byte"))]
    Trailing {
        /// Bytes that the header announces.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// A header above the limit.
    #[error("the header has {0} bytes, more than the {max} allowed", max = limits::MAX_HEADER_BYTES)]
    HeaderTooLong(u64),
    /// A file of another kind.
    #[error(
        "this is a file of format `{}`, expected `{expected}` (`onebit` is a packed model made by \
         `onebit pack`, `onebit-weights` and `onebit-optimizer` belong to a checkpoint)",
        quote::shown(.found)
    )]
    WrongKind {
        /// What the file says.
        found: String,
        /// What was wanted.
        expected: &'static str,
    },
    /// A later version of the format.
    #[error(
        "the file has version {0} of the onebit format, this program reads version {VERSION}: update onebit"
    )]
    NewerVersion(u64),
    /// A version that is no number, 0, or none of that kind of file.
    #[error("metadata `version` is `{}`, expected 1 to {VERSION}", quote::shown(.0))]
    BadVersion(String),
    /// A version that is not the one of the contents.
    #[error("the file says version {found} and holds what a file of version {expected} does")]
    OtherVersion {
        /// What the file says.
        found: u32,
        /// What its contents need.
        expected: u32,
    },
    /// A header that is not the JSON of a safetensors header.
    #[error("the header is not valid: {}", quote::sentence(.0))]
    Header(String),
    /// A metadata key that must be there.
    #[error("metadata `{0}` is missing")]
    MissingMetadata(&'static str),
    /// A metadata key that must not be there.
    #[error("metadata `{}` has no place in this format", quote::shown(.0))]
    UnknownMetadata(String),
    /// Too many tensors.
    #[error("the file has {0} tensors, more than the {max} allowed", max = limits::MAX_TENSORS)]
    TooManyTensors(usize),
    /// A tensor's name that is empty, too long, or has other characters.
    #[error(
        "`{}` is not a valid tensor name: expected 1 to {max} letters, digits, '.', '_' or '-'",
        quote::shown(.0),
        max = super::container::MAX_TENSOR_NAME_BYTES
    )]
    BadTensorName(String),
    /// Two tensors of one name.
    #[error("two tensors are named `{}`", quote::shown(.0))]
    DuplicateTensor(String),
    /// Extents that are zero, overflow, or do not fit the elements.
    #[error(
        "tensor `{}` has the shape [{}], expected extents of at least 1 whose product is the number of elements",
        quote::shown(.name),
        quote::shape(.shape)
    )]
    BadShape {
        /// The tensor.
        name: String,
        /// Its extents.
        shape: Vec<usize>,
    },
    /// A header, checksum list or graph written in another way than the one allowed.
    #[error(
        "the {part} differs at its byte {byte} from the only form allowed: the file was not written by onebit, \
         or is damaged"
    )]
    NotCanonical {
        /// `header`, `crc32c` or `graph`.
        part: &'static str,
        /// First byte that differs, counted from 0.
        byte: usize,
    },
    /// A tensor whose bytes changed.
    #[error("tensor `{0}` does not match its CRC-32C: the file is damaged")]
    Checksum(String),
    /// Anything that changed.
    #[error("the file does not match its SHA-256: it is damaged")]
    Digest,
    /// The graph is wrong.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The graph and the tensors do not belong together.
    #[error(transparent)]
    Model(#[from] ModelError),
}
