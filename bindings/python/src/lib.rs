//! The native half of the Python package `onebit`: what the library computes, with NumPy's arrays at the border.

#![deny(unsafe_code)]

mod arrays;
mod error;
mod graph;
mod images;
mod import;
mod json;
mod loader;
mod model;
mod packing;
mod weights;

use pyo3::prelude::*;

/// The native half of onebit; `import onebit` shows what is public.
#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::error::{DisagreementError, FormatError};
    #[pymodule_export]
    use crate::graph::{Graph, Node, Param, architectures, graph};
    #[pymodule_export]
    use crate::import::{import_checkpoint, import_onnx, pack_weights};
    #[pymodule_export]
    use crate::loader::{Batches, batches, task};
    #[pymodule_export]
    use crate::model::{Model, Prediction, inspect, load, verify};
    #[pymodule_export]
    use crate::packing::Packing;
    #[pymodule_export]
    use crate::weights::{read_checkpoint, read_weights, write_weights};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
