//! Packing with its proof.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use numpy::PyReadonlyArrayDyn;
use numpy::ndarray::{ArrayViewD, Axis};
use onebit::Proof;
use onebit_model::file::Weights;
use onebit_model::{Description, Origin, Verified, bits};
use onebit_pack::Observed;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyType};

use crate::arrays::{self, Images, array};
use crate::error::{DisagreementError, Failed, value_error};
use crate::graph::Graph;
use crate::import::described;
use crate::json;
use crate::weights::joined;

/// A network that has been folded and packed in memory, before it is written: first its outputs are compared with those of
/// the program that trained it.
#[pyclass(frozen, module = "onebit._native")]
pub(crate) struct Packing {
    model: onebit::Model,
    proof: Mutex<Proof>,
}

#[pymethods]
impl Packing {
    /// Packs the network `graph` with `tensors`, which are float32 and named as in its files.
    ///
    /// Raises ValueError for tensors that do not fit, or constants that 32-bit floats cannot hold.
    #[new]
    #[pyo3(signature = (graph, tensors, *, origin=None))]
    fn new(
        py: Python<'_>,
        graph: &Graph,
        tensors: &Bound<'_, PyDict>,
        origin: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let weights = joined(graph, tensors)?;
        Packing::of(py, &weights, origin)
    }

    /// Packs the network that `description` describes (docs/bring-your-own.md) with `tensors`, as `onebit.pack_weights` takes
    /// them.
    ///
    /// Raises ValueError for a graph that breaks a rule, onebit.FormatError for tensors that do not fit, all at once.
    #[classmethod]
    #[pyo3(signature = (description, tensors, *, origin=None))]
    fn described(
        _class: &Bound<'_, PyType>,
        py: Python<'_>,
        description: &str,
        tensors: &Bound<'_, PyDict>,
        origin: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let description = Description::from_json(description).map_err(value_error)?;
        Packing::of(py, &described(py, &description, tensors)?, origin)
    }

    /// Runs the packed network on `images`, float32 [N, C, H, W], and compares it with `logits`, float32 [N, classes], and
    /// `signs`, for each sign node an array of bool [N, C, H, W], all computed by the program that trained it.
    ///
    /// May be called for one part of the images after the other. Raises ValueError for arrays of other shapes.
    fn compare(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyAny>,
        logits: &Bound<'_, PyAny>,
        signs: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let images = arrays::normalised(images, self.model.input_shape()[0])?;
        let images = images.as_array();
        let (count, _, height, width) = images.dim();
        let [_, h, w] = self.model.input_shape();
        if (height, width) != (h, w) {
            return Err(value_error(format!(
                "the images have {height}x{width} pixels, the network takes {h}x{w}"
            )));
        }
        let (shape, logits) = arrays::floats(logits, "the logits")?;
        let classes = self.model.classes().len();
        if shape != [count, classes] {
            return Err(value_error(format!(
                "the logits have the shape {shape:?}, expected [{count}, {classes}]"
            )));
        }
        let of_image = |logits: &[f32]| Observed { logits: logits.to_vec(), signs: Vec::new() };
        let mut trained: Vec<Observed> = logits.chunks_exact(classes).map(of_image).collect();
        for (name, values) in signs.iter() {
            let name: String = name.extract()?;
            let values: PyReadonlyArrayDyn<'_, bool> = {
                use numpy::PyArrayMethods;
                array::<bool>(&values, &format!("the signs of `{name}`"), "")?.readonly()
            };
            let values = values.as_array();
            if values.ndim() < 2 || values.len_of(Axis(0)) != count {
                let found = values.shape();
                return Err(value_error(format!(
                    "the signs of `{name}` have the shape {found:?}, expected [{count}, C, H, W]"
                )));
            }
            for (image, trained) in values.outer_iter().zip(&mut trained) {
                trained.signs.push((name.clone(), packed(image)));
            }
        }
        let mut images = Images::new(images);
        let compare = || {
            let mut proof = self.proof.lock().unwrap_or_else(PoisonError::into_inner);
            proof.images(images.range(0, count)?, &trained)
        };
        py.detach(compare).map_err(Failed::from)?;
        Ok(())
    }

    /// Whether what was compared proves that the packed network computes what was trained: a dictionary as
    /// `onebit pack --verify --json` prints it.
    ///
    /// Raises onebit.DisagreementError if it does not, or if nothing was compared.
    fn verdict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let proof = self.proof.lock().unwrap_or_else(PoisonError::into_inner);
        let report = proof.verdict();
        json::to_python(py, &report.map_err(|error| DisagreementError::new_err(error.to_string()))?)
    }

    /// The bytes of the .onebit file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| self.model.to_bytes()).map_err(Failed::from)?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Writes the file, the whole of it or nothing, and returns its length.
    fn write(&self, py: Python<'_>, path: PathBuf) -> PyResult<usize> {
        write_model(py, &self.model, &path)
    }
}

impl Packing {
    fn of(
        py: Python<'_>,
        weights: &Verified<Weights>,
        origin: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let origin = origin.map(read_origin).transpose()?.unwrap_or_default();
        let pack = || {
            let model = onebit::pack(weights)?.with_origin(origin)?;
            let proof = Mutex::new(Proof::new(&weights.graph, &model)?);
            Ok::<_, onebit::Error>(Packing { model, proof })
        };
        Ok(py.detach(pack).map_err(Failed::from)?)
    }
}

/// Writes the file of a model, the whole of it or nothing.
pub(crate) fn write_model(
    py: Python<'_>,
    model: &onebit::Model,
    path: &std::path::Path,
) -> PyResult<usize> {
    let write = || {
        let bytes = model.to_bytes()?;
        onebit_files::write_atomic(path, &bytes)?;
        Ok::<_, onebit::Error>(bytes.len())
    };
    Ok(py.detach(write).map_err(Failed::from)?)
}

/// Where a network comes from: a dictionary of texts.
pub(crate) fn read_origin(origin: &Bound<'_, PyDict>) -> PyResult<Origin> {
    serde_json::from_value(json::from_python(origin)?)
        .map_err(|error| value_error(format!("origin: {error}")))
}

/// The signs of an image, [C, H, W] or [C], as the engine packs them.
fn packed(signs: ArrayViewD<'_, bool>) -> Vec<u64> {
    let channels = signs.len_of(Axis(0));
    let pixels = signs.len().checked_div(channels).unwrap_or_default();
    let words = bits::words(channels);
    let mut packed = vec![0u64; pixels * words];
    for (channel, plane) in signs.outer_iter().enumerate() {
        let (word, bit) = (channel / bits::WORD_BITS, channel % bits::WORD_BITS);
        for (pixel, &is_set) in plane.iter().enumerate() {
            packed[pixel * words + word] |= u64::from(is_set) << bit;
        }
    }
    packed
}
