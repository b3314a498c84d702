//! Names of classes and functions in a pickle, and what they stand for.

use std::fmt;

use onebit_files::shown;

use crate::import::tensor::Dtype;

/// A class or function by name. Nothing of it is loaded or run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::import) struct Name<'a> {
    pub(super) module: &'a str,
    pub(super) name: &'a str,
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", shown(self.module), shown(self.name))
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::import) enum Global<'a> {
    /// Dictionaries with further powers.
    Dictionary,
    /// `(storage, offset, shape, strides, ...)`, of the storage's type.
    Tensor,
    /// The same with the type as seventh argument, of a storage of bytes.
    TypedTensor,
    /// `(function, class, arguments, attributes)`, for tensors with attributes.
    TensorWithAttributes,
    /// A parameter, or a tensor on another device: the tensor is the first argument.
    SameTensor,
    /// A type of storages.
    Storage(Dtype),
    /// A type of elements.
    Dtype(Dtype),
    /// Whatever else: an object that nothing reads.
    Other(Name<'a>),
}

use Global::{Dictionary, SameTensor, Tensor, TensorWithAttributes, TypedTensor};

#[rustfmt::skip]
const GLOBALS: &[(&str, &str, Global<'static>)] = &[
    ("collections", "OrderedDict", Dictionary),
    ("collections", "defaultdict", Dictionary),
    ("collections", "Counter", Dictionary),
    ("builtins", "dict", Dictionary),
    ("__builtin__", "dict", Dictionary),
    ("torch._utils", "_rebuild_tensor", Tensor),
    ("torch._utils", "_rebuild_tensor_v2", Tensor),
    ("torch._utils", "_rebuild_tensor_v3", TypedTensor),
    ("torch._tensor", "_rebuild_from_type_v2", TensorWithAttributes),
    ("torch._utils", "_rebuild_parameter", SameTensor),
    ("torch._utils", "_rebuild_parameter_with_state", SameTensor),
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor", SameTensor),
];

/// Names of storages before `Storage`, and of the elements in them.
#[rustfmt::skip]
const STORAGES: &[(&str, Dtype)] = &[
    ("Double", Dtype::F64),
    ("Float", Dtype::F32),
    ("Half", Dtype::F16),
    ("BFloat16", Dtype::Bf16),
    ("ComplexDouble", Dtype::Other(16)),
    ("ComplexFloat", Dtype::Other(8)),
    ("Long", Dtype::Other(8)),
    ("Int", Dtype::Other(4)),
    ("QInt32", Dtype::Other(4)),
    ("Short", Dtype::Other(2)),
    ("Char", Dtype::Other(1)),
    ("Byte", Dtype::Other(1)),
    ("Bool", Dtype::Other(1)),
    ("QInt8", Dtype::Other(1)),
    ("QUInt8", Dtype::Other(1)),
    ("QUInt4x2", Dtype::Other(1)),
    ("QUInt2x4", Dtype::Other(1)),
    ("Untyped", Dtype::Other(1)),
    ("_Untyped", Dtype::Other(1)),
];

/// Names of element types in `torch`.
#[rustfmt::skip]
const DTYPES: &[(&str, Dtype)] = &[
    ("float64", Dtype::F64),
    ("float32", Dtype::F32),
    ("float16", Dtype::F16),
    ("bfloat16", Dtype::Bf16),
    ("complex128", Dtype::Other(16)),
    ("complex64", Dtype::Other(8)),
    ("complex32", Dtype::Other(4)),
    ("int64", Dtype::Other(8)),
    ("uint64", Dtype::Other(8)),
    ("int32", Dtype::Other(4)),
    ("uint32", Dtype::Other(4)),
    ("int16", Dtype::Other(2)),
    ("uint16", Dtype::Other(2)),
    ("int8", Dtype::Other(1)),
    ("uint8", Dtype::Other(1)),
    ("bool", Dtype::Other(1)),
    ("float8_e4m3fn", Dtype::Other(1)),
    ("float8_e4m3fnuz", Dtype::Other(1)),
    ("float8_e5m2", Dtype::Other(1)),
    ("float8_e5m2fnuz", Dtype::Other(1)),
    ("float8_e8m0fnu", Dtype::Other(1)),
];

/// Modules whose only use in a pickle is to do harm when it is loaded.
#[rustfmt::skip]
const HOSTILE_MODULES: &[&str] = &[
    "os", "posix", "nt", "subprocess", "pty", "runpy", "importlib", "ctypes", "socket", "shutil", "webbrowser",
];

/// Functions of Python itself of which the same is true.
const HOSTILE_FUNCTIONS: &[&str] =
    &["eval", "exec", "execfile", "compile", "open", "__import__", "breakpoint", "input"];

impl<'a> Global<'a> {
    /// What a name stands for; `None` where a pickle that has it is an attack.
    pub(super) fn of(module: &'a str, name: &'a str) -> Option<Self> {
        let package = module.split('.').next().unwrap_or(module);
        let python = matches!(module, "builtins" | "__builtin__");
        if HOSTILE_MODULES.contains(&package) || python && HOSTILE_FUNCTIONS.contains(&name) {
            return None;
        }
        let known = GLOBALS.iter().find(|global| (global.0, global.1) == (module, name));
        Some(match known {
            Some(&(_, _, global)) => global,
            None => of_torch(module, name).unwrap_or(Global::Other(Name { module, name })),
        })
    }
}

fn of_torch<'a>(module: &str, name: &str) -> Option<Global<'a>> {
    let find = |table: &[(&str, Dtype)], name: &str| {
        table.iter().find(|entry| entry.0 == name).map(|entry| entry.1)
    };
    match (module, name.strip_suffix("Storage")) {
        ("torch" | "torch.cuda" | "torch.storage", Some(elements)) => {
            find(STORAGES, elements).map(Global::Storage)
        }
        ("torch", None) => find(DTYPES, name).map(Global::Dtype),
        _ => None,
    }
}
