//! The trainer's batches, for other trainers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::ndarray::{Array1, Array4};
use numpy::{IntoPyArray, PyArray1, PyArray4};
use onebit::{Labelled, start_shared_pool};
use onebit_data::{Batch, Loader, LoaderConfig, Normalization, OpenOptions, Share, Split};
use onebit_train::recipe::Augmentation;
use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{Failed, value_error};
use crate::graph::Graph;
use crate::json;

/// The batches of one epoch: an iterator that threads keep two batches ahead.
#[pyclass(frozen, module = "onebit._native")]
pub(crate) struct Batches {
    batches: Mutex<onebit_data::Batches>,
    shape: [usize; 3],
}

/// Images [N, C, H, W] and classes [N].
type Arrays<'py> = (Bound<'py, PyArray4<f32>>, Bound<'py, PyArray1<i64>>);

#[pymethods]
impl Batches {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Arrays<'py>>> {
        let next = py.detach(|| self.lock().next());
        let Some(batch) = next else { return Ok(None) };
        let Batch { images, labels, .. } = batch.map_err(Failed::from)?;
        let [channels, height, width] = self.shape;
        let nhwc = Array4::from_shape_vec((labels.len(), height, width, channels), images);
        let nhwc = nhwc.map_err(value_error)?;
        let images =
            py.detach(|| nhwc.permuted_axes([0, 3, 1, 2]).as_standard_layout().into_owned());
        let labels = Array1::from_iter(labels.into_iter().map(i64::from));
        Ok(Some((images.into_pyarray(py), labels.into_pyarray(py))))
    }

    /// Batches that are still to come.
    fn __len__(&self) -> usize {
        self.lock().size_hint().1.unwrap_or_default()
    }
}

impl Batches {
    fn lock(&self) -> MutexGuard<'_, onebit_data::Batches> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Classes, input, mean and std of the training images `spec`; see `onebit.data.task`.
#[pyfunction]
pub(crate) fn task<'py>(
    py: Python<'py>,
    spec: &str,
    image_size: Option<(usize, usize)>,
) -> PyResult<Bound<'py, PyDict>> {
    let options = OpenOptions { image_size, ..OpenOptions::default() };
    let open = || {
        start_shared_pool()?;
        let data = onebit_data::open(spec, Split::Train, &options)?;
        Ok::<_, onebit::Error>((data.classes().to_vec(), data.shape(), data.normalization()))
    };
    let (classes, [channels, height, width], Normalization { mean, std }) =
        py.detach(open).map_err(Failed::from)?;
    let task = PyDict::new(py);
    task.set_item("classes", classes)?;
    task.set_item("input", (channels, height, width))?;
    task.set_item("mean", json::shortest(&mean))?;
    task.set_item("std", json::shortest(&std))?;
    Ok(task)
}

/// The batches of an epoch of the data `spec` for the network `graph`; see `onebit.data.loader`.
#[pyfunction]
#[pyo3(signature = (spec, graph, *, batch, seed, epoch, augmentation, shuffle, rank, world, limit))]
#[expect(clippy::too_many_arguments, reason = "they have names in Python")]
pub(crate) fn batches(
    py: Python<'_>,
    spec: &str,
    graph: &Graph,
    batch: usize,
    seed: u64,
    epoch: u64,
    augmentation: Option<&Bound<'_, PyDict>>,
    shuffle: bool,
    rank: usize,
    world: usize,
    limit: Option<usize>,
) -> PyResult<Batches> {
    let augmentation: Augmentation = match augmentation {
        Some(given) => serde_json::from_value(json::from_python(given)?)
            .map_err(|error| value_error(format!("augmentation: {error}")))?,
        None => Augmentation::default(),
    };
    let open = || {
        start_shared_pool()?;
        let data = Labelled::open(&graph.inner, spec, limit)?;
        let config = LoaderConfig {
            batch,
            normalization: graph.inner.normalization.clone(),
            augment: augmentation.augment(),
            seed,
            shuffle,
            drop_last: shuffle,
            share: Share { rank, world },
        };
        Ok::<_, onebit::Error>((Loader::new(data.images, config)?, [data.warnings, data.notes]))
    };
    let (loader, notes) = py.detach(open).map_err(Failed::from)?;
    for note in notes.into_iter().flatten() {
        let text = std::ffi::CString::new(note).map_err(value_error)?;
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), &text, 2)?;
    }
    let shape = graph.inner.input_shape();
    Ok(Batches { batches: Mutex::new(loader.epoch(epoch, 0)), shape })
}
