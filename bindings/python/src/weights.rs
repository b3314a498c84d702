//! Trained weights as arrays: the trainer's own files, and checkpoints of PyTorch.

use std::collections::BTreeMap;
use std::path::PathBuf;

use numpy::ndarray::{ArrayViewD, IxDyn};
use numpy::{IntoPyArray, PyArrayDyn, PyArrayMethods};
use onebit_model::file::{self, Weights};
use onebit_model::{Data, Tensor, Verified, infer};
use onebit_pack::PackError;
use onebit_pack::import::Checkpoint;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::array;
use crate::error::{Failed, value_error};
use crate::graph::{Graph, torch_shape};

/// Problems that a message lists.
const SHOWN: usize = 10;
/// Counters of batch normalization, which nothing reads.
const COUNTER: &str = ".num_batches_tracked";

/// From the order of axes of our files, [out, height, width, in], to that of PyTorch, and back.
const TO_TORCH: [usize; 4] = [0, 3, 1, 2];
const FROM_TORCH: [usize; 4] = [0, 2, 3, 1];

/// The graph and the tensors of a run folder (its best checkpoint), a checkpoint folder or a weights.safetensors;
/// convolutions as [out, in / groups, height, width].
#[pyfunction]
pub(crate) fn read_weights<'py>(
    py: Python<'py>,
    path: PathBuf,
) -> PyResult<(Graph, Bound<'py, PyDict>)> {
    let loaded = py.detach(|| onebit::load_weights(&path)).map_err(Failed::from)?;
    split(py, loaded.weights)
}

/// The tensors of a checkpoint of PyTorch under the names of `graph`: those of the official code of Bi-Real Net and ReActNet,
/// or those of our own files.
///
/// Nothing in the file is run. Raises OSError, or onebit.FormatError for a checkpoint of something else.
#[pyfunction]
pub(crate) fn read_checkpoint<'py>(
    py: Python<'py>,
    path: PathBuf,
    graph: &Graph,
) -> PyResult<Bound<'py, PyDict>> {
    let graph = graph.inner.clone();
    let read = || {
        let content = onebit_pack::read_checkpoint_file(&path)?;
        let imported = Checkpoint::parse(&content).and_then(|checkpoint| checkpoint.weights(graph));
        imported.map_err(|source| PackError::Import { path: path.clone(), source })
    };
    let imported = py.detach(read).map_err(Failed::from)?;
    Ok(split(py, imported.weights)?.1)
}

/// Writes a weights.safetensors as the trainer does: the same tensors give the same bytes.
///
/// `tensors` holds exactly those of the graph, float32, convolutions as [out, in / groups, height, width]; counters of batch
/// normalization are left out. Raises ValueError for what is missing, extra or misshaped, all at once, and OSError; either the
/// whole file is written or nothing.
#[pyfunction]
pub(crate) fn write_weights(
    py: Python<'_>,
    graph: &Graph,
    tensors: &Bound<'_, PyDict>,
    path: PathBuf,
) -> PyResult<()> {
    let weights = joined(graph, tensors)?;
    let write = || {
        let bytes = file::write_weights(&weights)?;
        Ok(onebit_files::write_atomic(&path, &bytes)?)
    };
    Ok(py.detach(write).map_err(|error: onebit::Error| Failed::from(error))?)
}

/// A graph and its tensors, convolutions in PyTorch's order of axes.
fn split(py: Python<'_>, weights: Verified<Weights>) -> PyResult<(Graph, Bound<'_, PyDict>)> {
    let Weights { graph, tensors } = weights.into_inner();
    let arrays = PyDict::new(py);
    for (name, tensor) in tensors {
        let Data::F32(values) = &tensor.data else { continue };
        let view = ArrayViewD::from_shape(IxDyn(&tensor.shape), values).map_err(value_error)?;
        let view = match tensor.shape.len() {
            4 => view.permuted_axes(IxDyn(&TO_TORCH)),
            _ => view,
        };
        arrays.set_item(name, view.as_standard_layout().into_owned().into_pyarray(py))?;
    }
    let inner = Verified::<onebit_model::Graph>::new(graph).map_err(value_error)?;
    Ok((Graph { inner }, arrays))
}

/// A graph with tensors in PyTorch's order of axes.
pub(crate) fn joined(graph: &Graph, arrays: &Bound<'_, PyDict>) -> PyResult<Verified<Weights>> {
    let graph = &graph.inner;
    let shapes = infer::shapes(graph).map_err(value_error)?;
    let mut tensors = BTreeMap::new();
    let mut problems = Vec::new();
    for (id, node) in graph.ids().zip(&graph.nodes) {
        for param in graph.params(id, &shapes) {
            let name = node.param_name(param.suffix);
            let Some(found) = arrays.get_item(&name)? else {
                problems.push(format!("`{name}` is missing"));
                continue;
            };
            let values: Bound<'_, PyArrayDyn<f32>> =
                array::<f32>(&found, &format!("the values of `{name}`"), "")?;
            let view = values.readonly();
            let view = view.as_array();
            let expected = torch_shape(&param.shape);
            if view.shape() != expected {
                let found = view.shape();
                problems.push(format!("`{name}` has the shape {found:?}, expected {expected:?}"));
                continue;
            }
            let ours = match expected.len() {
                4 => view.permuted_axes(IxDyn(&FROM_TORCH)),
                _ => view,
            };
            let data = Data::F32(ours.iter().copied().collect());
            tensors.insert(name, Tensor { shape: param.shape, data });
        }
    }
    for (name, _) in arrays.iter() {
        let name: String = name.extract()?;
        if !name.ends_with(COUNTER)
            && !tensors.contains_key(&name)
            && !problems.iter().any(|p| p.starts_with(&format!("`{name}`")))
        {
            problems.push(format!("`{name}` is no tensor of the graph"));
        }
    }
    if !problems.is_empty() {
        let more = problems.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        problems.truncate(SHOWN);
        return Err(value_error(format!(
            "the tensors do not fit the graph: {}{more}",
            problems.join("; ")
        )));
    }
    let weights = Weights { graph: graph.clone().into_inner(), tensors };
    Verified::<Weights>::new(weights).map_err(value_error)
}
