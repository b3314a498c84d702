//! Graphs: networks before they have weights.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use onebit::Summary;
use onebit_model::arch::{self, Config, Task};
use onebit_model::explain::{key, refusal};
use onebit_model::op::Role;
use onebit_model::{Description, Normalization, Op, Verified, infer};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::error::value_error;
use crate::json;

/// A network without weights: its operations in the order in which they are computed.
///
/// `onebit.graph` makes one by the name of an architecture, `Graph.from_json` reads one, `onebit.torch.trace` finds that
/// of a module. It does not change; equal graphs are equal and have equal hashes.
#[pyclass(frozen, eq, module = "onebit", from_py_object)]
#[derive(Clone, PartialEq)]
pub(crate) struct Graph {
    pub(crate) inner: Verified<onebit_model::Graph>,
}

/// One operation of a graph.
#[pyclass(frozen, get_all, module = "onebit")]
pub(crate) struct Node {
    /// Unique name, and the start of the names of its tensors: `NAME.SUFFIX`.
    name: String,
    /// The operation, as docs/format.md names it: "conv_bin", "sign", ...
    op: String,
    /// The operation's options, all of them.
    options: Py<PyDict>,
    /// Names of the nodes that it reads.
    inputs: Vec<String>,
    /// Channels, height and width of its value; a vector of n is (n, 1, 1).
    shape: (usize, usize, usize),
    /// Its tensors.
    params: Vec<Py<Param>>,
}

/// One tensor of a node.
#[pyclass(frozen, get_all, module = "onebit")]
pub(crate) struct Param {
    /// Last part of its name, such as "weight".
    suffix: &'static str,
    /// Its shape in PyTorch's order of axes: a convolution's weight is [out, in / groups, height, width].
    shape: Vec<usize>,
    /// "float", "binary" (one bit each when packed), "int8" (8 bits each when packed) or "statistic" (measured, not
    /// trained).
    role: &'static str,
}

#[pymethods]
impl Node {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let Node { name, op, inputs, shape, options, .. } = self;
        let options = options.bind(py).repr()?;
        Ok(format!("Node({name:?}, {op:?}, options={options}, inputs={inputs:?}, shape={shape:?})"))
    }
}

#[pymethods]
impl Param {
    /// Its shape in PyTorch's order of axes: a convolution's weight is [out, in / groups, height, width].
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.shape)
    }

    fn __repr__(&self) -> String {
        format!("Param({:?}, shape={:?}, role={:?})", self.suffix, self.shape, self.role)
    }
}

#[pymethods]
impl Graph {
    /// Name of the architecture.
    #[getter]
    fn arch(&self) -> &str {
        &self.inner.arch
    }

    /// Channels, height and width of an image.
    #[getter]
    fn input_shape(&self) -> (usize, usize, usize) {
        self.inner.input_shape().into()
    }

    /// Names of the classes, in the order of the logits.
    #[getter]
    fn classes(&self) -> Vec<String> {
        self.inner.classes.clone()
    }

    /// Mean of each channel: pixels of 0 to 1 become `(pixel - mean) / std`.
    #[getter]
    fn mean(&self) -> Vec<f64> {
        json::shortest(&self.inner.normalization.mean)
    }

    /// Standard deviation of each channel.
    #[getter]
    fn std(&self) -> Vec<f64> {
        json::shortest(&self.inner.normalization.std)
    }

    /// Its operations, in the order in which they are computed.
    #[getter]
    fn nodes(&self, py: Python<'_>) -> PyResult<Vec<Py<Node>>> {
        let graph = &self.inner;
        let shapes = infer::shapes(graph).map_err(value_error)?;
        let nodes = graph.ids().zip(&graph.nodes).zip(&shapes).map(|((id, node), shape)| {
            let params = graph.params(id, &shapes).into_iter().map(|param| {
                let role = match param.role {
                    Role::Float => "float",
                    Role::Binary => "binary",
                    Role::Int8 => "int8",
                    Role::Statistic => "statistic",
                };
                let shape = torch_shape(&param.shape);
                Py::new(py, Param { suffix: param.suffix, shape, role })
            });
            let inputs = node.inputs.iter().map(|input| graph.nodes[input.0].name.clone());
            let node = Node {
                name: node.name.clone(),
                op: node.op.name().to_owned(),
                options: options(py, &node.op)?,
                inputs: inputs.collect(),
                shape: (shape.channels, shape.height, shape.width),
                params: params.collect::<PyResult<_>>()?,
            };
            Py::new(py, node)
        });
        nodes.collect()
    }

    /// The graph as JSON in its canonical form, as it stands in files.
    fn to_json(&self) -> PyResult<String> {
        self.inner.to_json().map_err(value_error)
    }

    /// Reads a graph: JSON as `to_json` writes it, or as people do (docs/bring-your-own.md).
    ///
    /// Raises ValueError if a rule is broken.
    #[classmethod]
    fn from_json(_class: &Bound<'_, PyType>, text: &str) -> PyResult<Self> {
        let description = Description::from_json(text).map_err(value_error)?;
        Ok(Graph { inner: description.graph })
    }

    /// What it costs, as `onebit summary --json` prints it: parameters, bytes, operations, layer by layer.
    fn summary<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let summary = Summary::of(&self.inner, self.inner.input_shape()).map_err(value_error)?;
        json::to_python(py, &summary)
    }

    fn __repr__(&self) -> String {
        let [c, h, w] = self.inner.input_shape();
        let (classes, nodes) = (self.inner.classes.len(), self.inner.nodes.len());
        format!(
            "<onebit.Graph {} for {c}x{h}x{w} images, {classes} classes, {nodes} nodes>",
            self.inner.arch
        )
    }

    fn __hash__(&self) -> PyResult<u64> {
        let mut hasher = DefaultHasher::new();
        self.to_json()?.hash(&mut hasher);
        Ok(hasher.finish())
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((py.get_type::<Graph>().getattr("from_json")?, (self.to_json()?,)))
    }
}

/// Names of all architectures.
#[pyfunction]
pub(crate) fn architectures() -> Vec<&'static str> {
    arch::ARCHITECTURES.iter().map(|architecture| architecture.name).collect()
}

/// The network `arch` with the options of the network section of a recipe (`method=`, `widths=`, `groups=`,
/// `hyper={"reduction": 4}`, ...).
///
/// `classes` is their number or their names; `input` is (channels, height, width). What is left out is the architecture's
/// own; `mean` and `std` are ImageNet's for three channels, else 0 and 1.
///
/// Raises ValueError for a name, an option or an input that cannot be.
#[pyfunction]
#[pyo3(signature = (arch, *, classes=None, input=None, mean=None, std=None, **options))]
pub(crate) fn graph(
    arch: &str,
    classes: Option<&Bound<'_, PyAny>>,
    input: Option<[usize; 3]>,
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<Graph> {
    let architecture = arch::find(arch).map_err(value_error)?;
    let input = input.unwrap_or(architecture.input);
    let classes = match classes {
        Some(classes) => class_names(classes)?,
        None => numbered(architecture.classes),
    };
    let usual = match input[0] {
        3 => Normalization::imagenet(),
        channels => Normalization { mean: vec![0.0; channels], std: vec![1.0; channels] },
    };
    let normalization =
        Normalization { mean: mean.unwrap_or(usual.mean), std: std.unwrap_or(usual.std) };
    let config = config(arch, options)?;
    let inner =
        arch::build(&config, &Task { input, classes, normalization }).map_err(value_error)?;
    Ok(Graph { inner })
}

/// The number of classes, or their names.
pub(crate) fn class_names(classes: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if classes.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(
            "classes is a text: expected a number, or a list of names",
        ));
    }
    if let Ok(number) = classes.extract::<usize>() {
        return onebit_model::description::numbered(number).map_err(value_error);
    }
    let names = classes.try_iter().and_then(|names| names.map(|name| name?.extract()).collect());
    names.map_err(|_| PyTypeError::new_err("classes: expected a number, or a list of names"))
}

pub(crate) fn numbered(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}

/// The network section of a recipe from keyword arguments.
pub(crate) fn config(arch: &str, options: Option<&Bound<'_, PyDict>>) -> PyResult<Config> {
    let mut table = toml::Table::new();
    table.insert("arch".to_owned(), arch.into());
    for (name, value) in options.iter().flat_map(|options| options.iter()) {
        if value.is_none() {
            continue;
        }
        let name: String = name.extract()?;
        let value = toml::Value::try_from(json::from_python(&value)?)
            .map_err(|error| value_error(format!("network option `{name}`: {error}")))?;
        table.insert(name, value);
    }
    table.try_into().map_err(|error: toml::de::Error| {
        value_error(refusal(error.message(), key(&error.to_string())))
    })
}

/// The options of an operation as a dictionary.
fn options(py: Python<'_>, op: &Op) -> PyResult<Py<PyDict>> {
    let options = match serde_json::to_value(op).map_err(value_error)? {
        serde_json::Value::Object(named) => named.into_iter().next().map(|(_, options)| options),
        _ => None,
    };
    let options = options.unwrap_or_else(|| serde_json::Value::Object(serde_json::Map::new()));
    let mut options = json::to_python(py, &options)?.cast_into::<PyDict>()?;
    // What all convolutions share is not a level of its own.
    if let Some(geometry) = options.get_item("geometry")? {
        options.del_item("geometry")?;
        let all = geometry.cast_into::<PyDict>()?;
        all.update(options.as_mapping())?;
        options = all;
    }
    Ok(options.unbind())
}

/// A shape of ours in PyTorch's order of axes.
pub(crate) fn torch_shape(shape: &[usize]) -> Vec<usize> {
    match *shape {
        [out, height, width, channels] => vec![out, channels, height, width],
        _ => shape.to_vec(),
    }
}
