//! Packed models in Python.

use std::borrow::Cow;
use std::mem;
use std::path::PathBuf;
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use numpy::ndarray::{Array2, Array4, ArrayView3};
use numpy::{IntoPyArray, PyArray2};
use onebit::{Classification, Isa, Planned, Session};
use onebit_model::{NodeId, Op, Shape};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arrays::{Images, normalised, zeros};
use crate::error::{Failed, value_error};
use crate::graph::Graph;
use crate::images::{Pictures, Source};
use crate::json;

/// Plans that are kept for the next call: image sizes and nodes in turn.
const MAX_PLANS: usize = 8;

/// Most threads of a model; starting them takes time even where there are fewer cores.
const MAX_THREADS: usize = 256;
/// Signals, such as Ctrl-C, are looked for this often.
const BETWEEN_SIGNALS: Duration = Duration::from_millis(100);

/// What a plan is for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    size: [usize; 2],
    output: Option<NodeId>,
    /// A process that was forked off has none of the threads.
    process: u32,
}

struct Plan {
    key: Key,
    planned: Planned,
    idle: Vec<Session>,
}

/// A packed model, ready to run. It may be used from several threads at once, each of which computes on its own; pickling
/// carries its file along.
#[pyclass(frozen, module = "onebit")]
pub(crate) struct Model {
    model: onebit::Model,
    threads: usize,
    isa: Isa,
    plans: Mutex<Vec<Plan>>,
}

/// A class that a network finds in an image.
#[pyclass(frozen, eq, get_all, module = "onebit")]
#[derive(Clone, PartialEq)]
pub(crate) struct Prediction {
    /// Its number, 0 and up.
    index: usize,
    /// Its name.
    label: String,
    /// From 0 to 1; those of all classes sum to 1.
    probability: f64,
}

#[pymethods]
impl Prediction {
    #[new]
    fn new(index: usize, label: String, probability: f64) -> Self {
        Prediction { index, label, probability }
    }

    fn __getnewargs__(&self) -> (usize, &str, f64) {
        (self.index, &self.label, self.probability)
    }

    fn __repr__(&self) -> String {
        let Prediction { index, label, probability } = self;
        format!("Prediction(index={index}, label={label:?}, probability={probability:.4})")
    }
}

/// Opens a packed model: a path, or the bytes of a .onebit file.
///
/// `threads` share the images of a call, or the rows of fewer images; logits are the same bits with any number. `isa` names the
/// instruction set; without it the fastest that this CPU has is taken.
///
/// Raises OSError for a file that cannot be read, onebit.FormatError for one that is no model, damaged or of a newer
/// version, ValueError for an instruction set that is not there.
#[pyfunction]
#[pyo3(signature = (path_or_bytes, *, threads=1, isa=None))]
pub(crate) fn load(
    py: Python<'_>,
    path_or_bytes: &Bound<'_, PyAny>,
    threads: usize,
    isa: Option<&str>,
) -> PyResult<Model> {
    if !(1..=MAX_THREADS).contains(&threads) {
        return Err(value_error(format!("threads is {threads}, expected 1 to {MAX_THREADS}")));
    }
    let model = match path_or_bytes.extract::<Cow<'_, [u8]>>() {
        Ok(bytes) => py.detach(|| onebit::Model::from_bytes(&bytes)),
        Err(_) => {
            let path: PathBuf = path_or_bytes.extract().map_err(|_| {
                let found = path_or_bytes.get_type().name();
                let found =
                    found.map_or_else(|_| "something else".to_owned(), |name| name.to_string());
                PyTypeError::new_err(format!("a model is a path or bytes, found {found}"))
            })?;
            py.detach(|| onebit::Model::open(path))
        }
    };
    let model = model.map_err(Failed::from)?;
    let mut builder = model.session().threads(threads);
    if let Some(name) = isa {
        let known =
            || Isa::available().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let isa = Isa::from_name(name);
        let isa = isa.ok_or_else(|| {
            value_error(format!("there is no instruction set `{name}`, this CPU has {}", known()))
        })?;
        builder = builder.isa(isa);
    }
    let [_, height, width] = model.input_shape();
    let planned = py.detach(|| builder.plan()).map_err(Failed::from)?;
    let isa = planned.engine().isa();
    let key = Key { size: [height, width], output: None, process: process::id() };
    let plans = Mutex::new(vec![Plan { key, planned, idle: Vec::new() }]);
    Ok(Model { model, threads, isa, plans })
}

/// Checks the lengths, checksums, form and graph of a .onebit file without running it: a dictionary as
/// `onebit verify --json` prints it.
///
/// Raises OSError or onebit.FormatError.
#[pyfunction]
pub(crate) fn verify(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    let verification = py.detach(|| onebit::verify(path)).map_err(Failed::from)?;
    json::to_python(py, &verification)
}

/// What is inside a .onebit file, and which layers are not 1-bit and why: a dictionary as `onebit inspect --json` prints it.
///
/// Raises OSError or onebit.FormatError.
#[pyfunction]
pub(crate) fn inspect(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    let inspect = || onebit::Model::open(path)?.inspect();
    json::to_python(py, &py.detach(inspect).map_err(Failed::from)?)
}

#[pymethods]
impl Model {
    /// Channels, height and width of an image.
    #[getter]
    fn input_shape(&self) -> (usize, usize, usize) {
        self.model.input_shape().into()
    }

    /// Names of the classes, in the order of the logits.
    #[getter]
    fn classes(&self) -> Vec<String> {
        self.model.classes().to_vec()
    }

    /// Name of the architecture.
    #[getter]
    fn arch(&self) -> &str {
        self.model.arch()
    }

    /// The instruction set in use, such as "avx512" or "neon".
    #[getter]
    fn isa(&self) -> String {
        self.isa.to_string()
    }

    /// Threads that share the images of a call.
    #[getter]
    fn threads(&self) -> usize {
        self.threads
    }

    /// Mean of each channel: pixels of 0 to 1 become `(pixel - mean) / std`.
    #[getter]
    fn mean(&self) -> Vec<f64> {
        json::shortest(&self.model.normalization().mean)
    }

    /// Standard deviation of each channel.
    #[getter]
    fn std(&self) -> Vec<f64> {
        json::shortest(&self.model.normalization().std)
    }

    /// The operations that are computed.
    #[getter]
    fn graph(&self) -> PyResult<Graph> {
        let graph = self.model.graph().clone();
        let inner =
            onebit_model::Verified::<onebit_model::Graph>::new(graph).map_err(value_error)?;
        Ok(Graph { inner })
    }

    /// The logits, float32 [N, classes], of normalised images, float32 [N, C, H, W].
    ///
    /// H and W may differ from `input_shape` where the network allows it. Arrays of any strides and read-only ones are taken;
    /// channels-last ones (`x.transpose(0, 3, 1, 2)` of [N, H, W, C]) are not copied. Whether the logits are finite is not checked. Other threads
    /// of Python run meanwhile; the array must not change.
    ///
    /// Raises TypeError for another dtype and ValueError for another shape.
    fn run<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (shape, values) = self.run_to(py, images, None)?;
        rows(py, shape, values)
    }

    /// The logits, float32 [N, classes], of images as people have them: uint8 [N, H, W, C] of any size, or a list of paths,
    /// bytes of image files, PIL images, or uint8 [H, W, C].
    ///
    /// Each is brought to the network's input as its file says, by all threads. Raises OSError, onebit.FormatError, TypeError
    /// or ValueError with the position of the first image at fault.
    fn logits<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (shape, values) = self.logits_of(py, images, None)?;
        rows(py, shape, values)
    }

    /// The `top` most likely classes of each image, the most likely one first; images as for `logits`.
    #[pyo3(signature = (images, top=5))]
    fn predict(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyAny>,
        top: usize,
    ) -> PyResult<Vec<Vec<Prediction>>> {
        if top == 0 {
            return Err(value_error("top is 0, expected 1 or more"));
        }
        let (_, values) = self.logits_of(py, images, None)?;
        let each = values.chunks_exact(self.model.classes().len()).map(|logits| {
            let seen = Classification::new(&self.model, logits.to_vec()).map_err(Failed::from)?;
            let guesses = seen.top(top).map(|guess| Prediction {
                index: guess.index,
                label: guess.label.to_owned(),
                probability: guess.probability,
            });
            Ok(guesses.collect())
        });
        each.collect()
    }

    /// The value of a node, float32 [N, C], or [N, C, H, W] where it is a map: for search, transfer and comparison.
    ///
    /// Without `node` it is what the classifier reads. Signs are +-1. Values are those of the packed graph: a 1-bit convolution
    /// gives whole numbers there, its scale, bias and normalization are the node behind. Images are normalised float32 [N, C, H, W] as for `run`, or
    /// anything that `logits` takes. Raises ValueError for a node that is not there; `graph.nodes` lists them.
    #[pyo3(signature = (images, node=None))]
    fn features<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        node: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let output = self.node(node)?;
        let is_normalised = images.hasattr("dtype")?
            && images.getattr("dtype")?.str()?.to_string_lossy().ends_with("float32");
        let (shape, values) = match is_normalised {
            true => self.run_to(py, images, Some(output))?,
            false => self.logits_of(py, images, Some(output))?,
        };
        let count = values.len() / shape.len();
        if shape.pixels() == 1 {
            return Ok(rows(py, shape, values)?.into_any());
        }
        let maps = zeros(values.len(), "the maps").map_err(Failed::from)?;
        let nchw = (count, shape.channels, shape.height, shape.width);
        let mut maps = Array4::from_shape_vec(nchw, maps).map_err(value_error)?;
        for (mut map, values) in maps.outer_iter_mut().zip(values.chunks_exact(shape.len())) {
            let nhwc = (shape.height, shape.width, shape.channels);
            let view = ArrayView3::from_shape(nhwc, values).map_err(value_error)?;
            map.assign(&view.permuted_axes([2, 0, 1]));
        }
        Ok(maps.into_pyarray(py).into_any())
    }

    /// The bytes of its .onebit file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.model.to_bytes().map_err(Failed::from)?))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        let load = py.import("onebit")?.getattr("_load_with")?;
        Ok((load, (self.to_bytes(py)?, self.threads)))
    }

    fn __repr__(&self) -> String {
        let ([c, h, w], classes) = (self.model.input_shape(), self.model.classes().len());
        let (arch, isa, threads) = (self.model.arch(), self.isa, self.threads);
        format!(
            "<onebit.Model {arch} for {c}x{h}x{w} images, {classes} classes, {isa}, threads={threads}>"
        )
    }
}

/// What pickle needs: how a model is opened again, and with what.
type Reduced<'py> = (Bound<'py, PyAny>, (Bound<'py, PyBytes>, usize));

impl Model {
    /// Shape of what one image gives, and the values of all.
    fn run_to(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyAny>,
        output: Option<NodeId>,
    ) -> PyResult<(Shape, Vec<f32>)> {
        let images = normalised(images, self.model.input_shape()[0])?;
        let images = images.as_array();
        let (count, _, height, width) = images.dim();
        let run = |session: &mut Session| {
            let mut images = Images::new(images);
            let (outputs, batch) = (session.engine().classes(), session.batch());
            let values = zeros(count.saturating_mul(outputs), "the logits");
            let mut values = values.map_err(Failed::from)?;
            let (mut start, mut signals) = (0, Signals::new());
            for part in values.chunks_mut(batch * outputs) {
                let end = (start + batch).min(count);
                let done = images.range(start, end).and_then(|images| session.run(images, part));
                done.map_err(Failed::from)?;
                signals.check()?;
                start = end;
            }
            Ok::<_, PyErr>((session.engine().output_shape(), values))
        };
        let done = py.detach(|| self.with_session([height, width], output, run));
        done.map_err(Failed::from)?
    }

    /// Shape of what one image gives, and the values of all.
    fn logits_of(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyAny>,
        output: Option<NodeId>,
    ) -> PyResult<(Shape, Vec<f32>)> {
        let [_, height, width] = self.model.input_shape();
        let pictures = Pictures::new(images)?;
        let sources = pictures.sources().map_err(Failed::from)?;
        let run = |session: &mut Session| {
            let (shape, batch) = (session.engine().output_shape(), session.batch());
            let values = zeros(sources.len().saturating_mul(shape.len()), "the logits");
            let mut values = values.map_err(Failed::from)?;
            let (mut places, mut signals) = (values.chunks_exact_mut(shape.len()), Signals::new());
            for (start, sources) in (0..).step_by(batch).zip(sources.chunks(batch)) {
                let seen = session.logits_of(sources, Source::open).map_err(Failed::from)?;
                for (at, (source, logits)) in (start..).zip(sources.iter().zip(seen)) {
                    let logits = logits.map_err(|error| source.failed(at, error))?;
                    if !onebit::not_finite(&logits, logits.len()).is_empty() {
                        let image = format!("image {at} (counted from 0)");
                        return Err(Failed::from(onebit::Error::NotFinite { image }).into());
                    }
                    places.next().into_iter().for_each(|place| place.copy_from_slice(&logits));
                }
                signals.check()?;
            }
            Ok::<_, PyErr>((shape, values))
        };
        let done = py.detach(|| self.with_session([height, width], output, run));
        done.map_err(Failed::from)?
    }

    /// The node of that name, or the one that the classifier reads.
    fn node(&self, name: Option<&str>) -> PyResult<NodeId> {
        let graph = self.model.graph();
        let Some(name) = name else {
            let is_layer = |op: &Op| {
                matches!(op, Op::Linear { .. } | Op::LinearBin { .. } | Op::LinearI8 { .. })
            };
            let classifier = graph.nodes.iter().rev().find(|node| is_layer(&node.op));
            let classifier = classifier.or(graph.nodes.last());
            return Ok(classifier
                .and_then(|node| node.inputs.first().copied())
                .unwrap_or(NodeId(0)));
        };
        let found = graph.nodes.iter().position(|node| node.name == name);
        found.map(NodeId).ok_or_else(|| {
            let name = onebit_files::shown(name);
            value_error(format!(
                "the network has no node `{name}`; `model.graph.nodes` lists its nodes"
            ))
        })
    }

    /// Lets a session for images of `size` work that nobody else uses meanwhile.
    fn with_session<T>(
        &self,
        size: [usize; 2],
        output: Option<NodeId>,
        work: impl FnOnce(&mut Session) -> T,
    ) -> Result<T, onebit::Error> {
        let key = Key { size, output, process: process::id() };
        let idle = {
            let mut plans = self.plans();
            plans.iter_mut().find(|plan| plan.key == key).and_then(|plan| plan.idle.pop())
        };
        let mut session = match idle {
            Some(session) => session,
            None => self.planned(key)?.session()?,
        };
        let done = work(&mut session);
        if let Some(plan) = self.plans().iter_mut().find(|plan| plan.key == key) {
            plan.idle.push(session);
        }
        Ok(done)
    }

    fn planned(&self, key: Key) -> Result<Planned, onebit::Error> {
        let mut plans = self.plans();
        if let Some(plan) = plans.iter().find(|plan| plan.key == key) {
            return Ok(plan.planned.clone());
        }
        let builder = self.model.session().threads(self.threads).isa(self.isa);
        let builder = builder.input_size(key.size);
        let planned = match key.output {
            Some(output) => builder.output(output).plan()?,
            None => builder.plan()?,
        };
        if plans.len() == MAX_PLANS {
            let oldest = plans.remove(0);
            // The threads of a process from which this one was forked are not here to be ended.
            if oldest.key.process != process::id() {
                oldest.idle.into_iter().for_each(mem::forget);
            }
        }
        plans.push(Plan { key, planned: planned.clone(), idle: Vec::new() });
        Ok(planned)
    }

    fn plans(&self) -> MutexGuard<'_, Vec<Plan>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks for signals while Python runs other threads.
struct Signals(Instant);

impl Signals {
    fn new() -> Self {
        Signals(Instant::now())
    }

    /// Raises what Python's handlers raise, `KeyboardInterrupt` for Ctrl-C.
    fn check(&mut self) -> PyResult<()> {
        if self.0.elapsed() < BETWEEN_SIGNALS {
            return Ok(());
        }
        self.0 = Instant::now();
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "it holds for one lifetime only"
        )]
        Python::attach(|py| py.check_signals())
    }
}

/// What each image gives as a row.
fn rows(py: Python<'_>, shape: Shape, values: Vec<f32>) -> PyResult<Bound<'_, PyArray2<f32>>> {
    let rows = (values.len() / shape.len(), shape.len());
    Ok(Array2::from_shape_vec(rows, values).map_err(value_error)?.into_pyarray(py))
}
