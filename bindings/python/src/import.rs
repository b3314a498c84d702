//! Networks from elsewhere, packed.

use std::path::PathBuf;

use numpy::PyArrayDyn;
use numpy::PyArrayMethods;
use onebit::{
    CheckpointOptions, OnnxOptions, expectation, import_checkpoint as library_import_checkpoint,
    import_onnx as library_import_onnx,
};
use onebit_model::arch;
use onebit_model::file::Weights;
use onebit_model::{Description, Normalization, Verified};
use onebit_pack::PackError;
use onebit_pack::import::{Checkpoint, DescribedWeights};
use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use safetensors::tensor::{Dtype, TensorView};

use crate::arrays::{Images, array, floats, normalised};
use crate::error::{DisagreementError, Failed, value_error};
use crate::graph::{class_names, config, numbered};
use crate::json;
use crate::packing::{read_origin, write_model};

/// Counters of batch normalization, which nothing reads.
const COUNTER: &str = ".num_batches_tracked";
/// Largest ONNX file.
const MAX_BYTES: u64 = 2 << 30;

/// What was written, as a dictionary.
fn report<'py>(
    py: Python<'py>,
    report: Option<&impl serde::Serialize>,
    bytes: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let dictionary = match report {
        Some(report) => json::to_python(py, report)?,
        None => PyDict::new(py).into_any(),
    };
    dictionary.set_item("bytes", bytes)?;
    Ok(dictionary)
}

fn warn(py: Python<'_>, note: &str) -> PyResult<()> {
    let note = note.strip_prefix("warning: ").unwrap_or(note);
    let text = std::ffi::CString::new(note).map_err(value_error)?;
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &text, 1)
}

fn normalization(mean: Option<Vec<f32>>, std: Option<Vec<f32>>) -> PyResult<Option<Normalization>> {
    match (mean, std) {
        (None, None) => Ok(None),
        (Some(mean), Some(std)) => Ok(Some(Normalization { mean, std })),
        _ => Err(value_error("mean and std are only given together")),
    }
}

/// Packs a network of your own: a graph (JSON text, a dictionary, or what docs/bring-your-own.md describes) and its tensors
/// by name: arrays or tensors of numbers, such as a `state_dict()`; counters of batch normalization are left out.
///
/// `expect=(x, y)`: the file is only written if the network gives the logits `y`, float32 [N, classes], for the normalised
/// images `x`, float32 [N, C, H, W], to `tolerance` of the largest logit of each image, 1e-4 if it is left out. `classes` names the classes,
/// `origin` says where it comes from (licence, source, authors, description, metrics). Returns a dictionary of what was
/// compared, and of the bytes written.
///
/// Raises ValueError for a graph that breaks a rule, onebit.FormatError for tensors that do not fit, all at once, and
/// onebit.DisagreementError; then nothing is written.
#[pyfunction]
#[pyo3(signature = (graph, tensors, out, *, expect=None, tolerance=None, classes=None, origin=None))]
#[expect(clippy::too_many_arguments, reason = "they have names in Python")]
pub(crate) fn pack_weights<'py>(
    py: Python<'py>,
    graph: &Bound<'py, PyAny>,
    tensors: &Bound<'py, PyDict>,
    out: PathBuf,
    expect: Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>,
    tolerance: Option<f32>,
    classes: Option<&Bound<'py, PyAny>>,
    origin: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let tolerance = tolerance.unwrap_or(expectation::TOLERANCE);
    if !(0.0..=1.0).contains(&tolerance) {
        return Err(value_error(format!("tolerance is {tolerance}, expected a share of 0 to 1")));
    }
    let text: String = if graph.is_instance_of::<PyDict>() {
        json::from_python(graph)?.to_string()
    } else if graph.hasattr("to_json")? {
        graph.call_method0("to_json")?.extract()?
    } else {
        graph.extract()?
    };
    let mut description = Description::from_json(&text).map_err(value_error)?;
    if let Some(classes) = classes {
        description = description.with_classes(class_names(classes)?).map_err(value_error)?;
    }
    let origin = origin.map(read_origin).transpose()?.unwrap_or_default();
    let weights = described(py, &description, tensors)?;
    let pack = || onebit::pack(&weights)?.with_origin(origin);
    let model = py.detach(pack).map_err(Failed::from)?;
    let expected = match &expect {
        None => None,
        Some((x, y)) => Some(compare(py, &model, x, y, tolerance)?),
    };
    let bytes = write_model(py, &model, &out)?;
    report(py, expected.as_ref(), bytes)
}

/// Tensors as the weights of a graph that somebody has described; what may not be meant is a warning.
pub(crate) fn described(
    py: Python<'_>,
    description: &Description,
    tensors: &Bound<'_, PyDict>,
) -> PyResult<Verified<Weights>> {
    let content = safetensors_of(tensors)?;
    let read = || {
        let described = Checkpoint::parse_for(&content, &description.graph)
            .and_then(|t| t.described(description));
        described.map_err(|source| PackError::Import { path: "tensors".into(), source })
    };
    let DescribedWeights { weights, notes, ties, .. } = py.detach(read).map_err(Failed::from)?;
    notes.iter().try_for_each(|note| warn(py, note))?;
    if ties > 0 {
        warn(
            py,
            &format!(
                "{ties} binary weights are exactly 0 and become -1; `\"sign_of_zero\": \"plus\"` in the graph makes them +1"
            ),
        )?;
    }
    Ok(weights)
}

fn compare(
    py: Python<'_>,
    model: &onebit::Model,
    x: &Bound<'_, PyAny>,
    y: &Bound<'_, PyAny>,
    tolerance: f32,
) -> PyResult<expectation::Expected> {
    let images = normalised(x, model.input_shape()[0])?;
    let images = images.as_array();
    let (count, _, height, width) = images.dim();
    let (shape, expected) = floats(y, "the expected logits")?;
    let classes = model.classes();
    if shape != [count, classes.len()] || count == 0 {
        let classes = classes.len();
        return Err(value_error(format!(
            "the expected logits have the shape {shape:?}, expected [{count}, {classes}] with at least one image"
        )));
    }
    if expected.iter().any(|value| !value.is_finite()) {
        return Err(value_error("the expected logits are not all finite numbers"));
    }
    let mut images = Images::new(images);
    let run = || {
        let mut session = model.session().input_size([height, width]).build()?;
        session.logits(images.range(0, count)?)
    };
    let found = py.detach(run).map_err(Failed::from)?;
    expectation::compare(&found, &expected, classes, tolerance)
        .map_err(|error| DisagreementError::new_err(error.to_string()))
}

/// A tensor of PyTorch without its gradient; whole numbers, truth values and halves as float32.
fn as_floats(value: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    let numpy = value.py().import("numpy")?;
    let value = match value.hasattr("detach")? {
        true => value.call_method0("detach")?.call_method0("cpu")?,
        false => value,
    };
    let array = numpy.call_method1("asarray", (value,))?;
    let dtype = array.getattr("dtype")?;
    let kind: String = dtype.getattr("kind")?.extract()?;
    let size: usize = dtype.getattr("itemsize")?.extract()?;
    match kind == "b" || kind == "i" || kind == "u" || (kind == "f" && size == 2) {
        true => array.call_method1("astype", ("float32",)),
        false => Ok(array),
    }
}

/// The tensors as the content of a safetensors file.
fn safetensors_of(tensors: &Bound<'_, PyDict>) -> PyResult<Vec<u8>> {
    let mut owned: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, value) in tensors.iter() {
        let name: String = name.extract()?;
        if name.ends_with(COUNTER) {
            continue;
        }
        let what = format!("the values of `{name}`");
        let value = as_floats(value)?;
        let is_double = value.hasattr("dtype")?
            && value.getattr("dtype")?.str()?.to_string_lossy().ends_with("float64");
        let (dtype, shape, bytes) = if is_double {
            let array: Bound<'_, PyArrayDyn<f64>> = array::<f64>(&value, &what, "")?;
            let array = array.readonly();
            let view = array.as_array();
            let bytes = view.iter().flat_map(|v| v.to_le_bytes()).collect();
            (Dtype::F64, view.shape().to_vec(), bytes)
        } else {
            let (shape, values) = floats(&value, &what)?;
            (Dtype::F32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
        };
        owned.push((name, dtype, shape, bytes));
    }
    let views = owned.iter().map(|(name, dtype, shape, bytes)| {
        Ok((name, TensorView::new(*dtype, shape.clone(), bytes).map_err(value_error)?))
    });
    let views = views.collect::<PyResult<Vec<_>>>()?;
    safetensors::serialize(views, None).map_err(value_error)
}

/// Packs a checkpoint of PyTorch: of the official code of Bi-Real Net and ReActNet, or of any architecture of onebit with our
/// names, as `onebit import` does. Options are those of the network section of a recipe. Nothing in the file is run.
///
/// Raises OSError, onebit.FormatError for a checkpoint of something else, ValueError for an option that cannot be.
#[pyfunction]
#[pyo3(signature = (path, *, arch, out, classes=None, input=None, mean=None, std=None, origin=None, **options))]
#[expect(clippy::too_many_arguments, reason = "they have names in Python")]
pub(crate) fn import_checkpoint<'py>(
    py: Python<'py>,
    path: PathBuf,
    arch: &str,
    out: PathBuf,
    classes: Option<&Bound<'py, PyAny>>,
    input: Option<[usize; 3]>,
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
    origin: Option<&Bound<'py, PyDict>>,
    options: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let network = config(arch, options)?;
    let input = input.unwrap_or(arch::find(arch).map_err(value_error)?.input);
    let normalization = normalization(mean, std)?.unwrap_or_else(Normalization::imagenet);
    let options = CheckpointOptions {
        network,
        input: Some(input),
        normalization: normalization.spread(input[0]),
    };
    let origin = origin.map(read_origin).transpose()?;
    let classes = classes.map(class_names).transpose()?;
    let names = |found| Ok(classes.unwrap_or_else(|| numbered(found)));
    let import = || {
        let content = onebit_pack::read_checkpoint_file(&path)?;
        library_import_checkpoint::<onebit::Error>(&content, &path, &options, names)
    };
    let imported = py.detach(import).map_err(Failed::from)?;
    if imported.ties > 0 {
        warn(py, &format!("{} binary weights are exactly 0 and become -1", imported.ties))?;
    }
    let pack = || onebit::pack(&imported.weights)?.with_origin(origin.unwrap_or_default());
    let model = py.detach(pack).map_err(Failed::from)?;
    let bytes = write_model(py, &model, &out)?;
    report(py, None::<&()>, bytes)
}

/// Packs a 1-bit network from an ONNX file, as `onebit import` does: every sign and the logits are compared with those of the
/// ONNX graph on images of noise before anything is written. Returns a dictionary of what was compared.
///
/// `input` is (channels, height, width) where the file leaves it open; `mean` and `std` say how its images were normalised.
/// Raises OSError, and onebit.FormatError that lists all operators that cannot be read, each with its place.
#[pyfunction]
#[pyo3(signature = (path, out, *, input=None, classes=None, mean=None, std=None, arch=None, origin=None))]
#[expect(clippy::too_many_arguments, reason = "they have names in Python")]
pub(crate) fn import_onnx<'py>(
    py: Python<'py>,
    path: PathBuf,
    out: PathBuf,
    input: Option<[usize; 3]>,
    classes: Option<&Bound<'py, PyAny>>,
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
    arch: Option<String>,
    origin: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let normalization = normalization(mean, std)?;
    let classes = classes.map(class_names).transpose()?;
    let origin = origin.map(read_origin).transpose()?;
    let options = OnnxOptions { input, normalization, classes, arch };
    let import = || {
        let content = onebit_files::read_regular(&path, MAX_BYTES)
            .map_err(|error| error.expecting("a network in ONNX"))?;
        let (model, report) = library_import_onnx(&content, &path, options, &mut |_, _| {})?;
        // The file itself may say where it comes from.
        let origin = origin.unwrap_or_default().over(model.origin().clone());
        let model = model.with_origin(origin)?;
        Ok::<_, onebit::Error>((model, report))
    };
    let (model, found) = py.detach(import).map_err(Failed::from)?;
    found.notes.iter().try_for_each(|note| warn(py, note))?;
    let bytes = write_model(py, &model, &out)?;
    report(py, Some(&found), bytes)
}
