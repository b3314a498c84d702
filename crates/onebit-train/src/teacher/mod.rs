//! The network whose outputs are learned in place of the labels.

#[cfg(test)]
mod altered;
mod external;
mod onnx;

use std::path::{Path, PathBuf};

use onebit_model::arch::Task;
use onebit_model::file::write_weights;
use onebit_model::quote::count;
use onebit_model::{Graph, Normalization, Verified, hex};
use sha2::{Digest, Sha256};

use self::external::{MAX_ONNX_BYTES, Problem};
use self::onnx::Onnx;
use crate::images::Images;
use crate::recipe::{self, Layout, Outputs};
use crate::{Net, NetConfig, TrainError};

/// Test images whose outputs say whether a teacher gives logits or probabilities.
const SAMPLE: usize = 64;
/// How far the sum of an image's probabilities may lie from 1.
const SUM_TOLERANCE: f64 = 1e-3;

/// A teacher that fits the images and classes of a run.
pub(crate) struct Teacher {
    /// The file that was read.
    pub(crate) path: PathBuf,
    /// SHA-256 of that file, of an ONNX file with the weights that it keeps in other files.
    pub(crate) sha256: String,
    /// What is wrong with weights that would have been preferred.
    pub(crate) skipped: Vec<String>,
    network: Network,
    outputs: usize,
    /// What they are, as the recipe says.
    kind: Option<Outputs>,
    /// The output of each class.
    columns: Vec<usize>,
    /// From the normalization of the run to that of the teacher: factor and summand of each channel.
    renormalization: Vec<(f64, f64)>,
}

enum Network {
    Onnx(Box<Onnx>),
    Own(Box<Net>),
}

/// A network as read, before it is checked against the run's classes.
struct Read {
    path: PathBuf,
    sha256: String,
    skipped: Vec<String>,
    network: Network,
    outputs: usize,
    kind: Option<Outputs>,
    normalization: Normalization,
}

impl Teacher {
    /// Reads the teacher of a run and tries it on some of its test images.
    ///
    /// # Errors
    /// As [`Teacher::open`]; an image that cannot be read; or outputs that are not what they are taken for.
    pub(crate) fn of_run(
        section: &recipe::Teacher,
        images: &Images,
        batch: usize,
    ) -> Result<Self, TrainError> {
        let mut teacher = Self::open(section, &images.task, batch)?;
        if let Some(batch) = images.test_sample(SAMPLE)?.epoch(0, 0).next() {
            teacher.check_outputs(&batch?.images)?;
        }
        Ok(teacher)
    }

    /// Reads the teacher and runs it once.
    ///
    /// # Errors
    /// A file that cannot be read or run, another input than the images of the run, or outputs that do not fit the
    /// classes.
    pub(crate) fn open(
        section: &recipe::Teacher,
        task: &Task,
        batch: usize,
    ) -> Result<Self, TrainError> {
        let onnx = section.path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx"));
        let read = if onnx { read_onnx(section, task) } else { read_own(section, task, batch) }?;
        let Read { path, sha256, skipped, network, outputs, kind, normalization } = read;
        let columns = columns(section, outputs, task.classes.len())
            .map_err(|reason| refused(&path, reason))?;
        let renormalization = renormalization(&task.normalization, &normalization);
        Ok(Teacher { path, sha256, skipped, network, outputs, kind, columns, renormalization })
    }

    /// Compares the outputs for some images with what they are taken for: a softmax of probabilities would be close to
    /// the same for all classes, and nothing would be learned.
    fn check_outputs(&mut self, images: &[f32]) -> Result<(), TrainError> {
        let all = self.all_outputs(images)?;
        let probabilities = all.chunks_exact(self.outputs).all(is_distribution);
        let reason = match (self.kind, probabilities) {
            (None, true) => {
                "the network ends in a softmax: the outputs of every image tried are at least 0 and sum to 1, expected \
                 logits; export it without the softmax, or set train.teacher.outputs = \"probabilities\""
            }
            (Some(Outputs::Probabilities), false) => {
                "train.teacher.outputs is `probabilities`, but those of an image are not all at least 0 with the sum 1; \
                 if the network gives logits, set train.teacher.outputs = \"logits\""
            }
            (None, false) | (Some(Outputs::Probabilities), true) | (Some(Outputs::Logits), _) => {
                return Ok(());
            }
        };
        Err(refused(&self.path, reason.into()))
    }

    /// Logits `[images, classes]` for images as the run normalises them, NHWC; of a network that gives probabilities
    /// their logarithms, whose softmax they are.
    ///
    /// Each image is computed on its own by one thread, so that the result does not depend on the number of threads.
    ///
    /// # Errors
    /// An operation of an ONNX classifier that fails, or a probability that is none.
    pub(crate) fn logits(&mut self, images: &[f32]) -> Result<Vec<f32>, TrainError> {
        let all = self.all_outputs(images)?;
        let rows = all.chunks_exact(self.outputs);
        let mut chosen: Vec<f32> =
            rows.flat_map(|row| self.columns.iter().map(|&column| row[column])).collect();
        if self.kind == Some(Outputs::Probabilities) {
            for value in &mut chosen {
                if !value.is_finite() || *value < 0.0 {
                    let reason = format!("gives {value} for an image, expected a probability");
                    return Err(refused(&self.path, reason));
                }
                // A probability of 0 is one too small for 32 bits.
                *value = f64::from(value.max(f32::MIN_POSITIVE)).ln() as f32;
            }
        }
        Ok(chosen)
    }

    /// All outputs of the network, `[images, outputs]`.
    fn all_outputs(&mut self, images: &[f32]) -> Result<Vec<f32>, TrainError> {
        let mut images = images.to_vec();
        for pixel in images.chunks_exact_mut(self.renormalization.len()) {
            for (value, (factor, summand)) in pixel.iter_mut().zip(&self.renormalization) {
                *value = (f64::from(*value) * factor + summand) as f32;
            }
        }
        match &mut self.network {
            Network::Own(net) => Ok(net.predict(&images)),
            Network::Onnx(onnx) => {
                onnx.logits(&images, self.outputs).map_err(|reason| refused(&self.path, reason))
            }
        }
    }
}

/// Whether the outputs of an image are probabilities.
fn is_distribution(row: &[f32]) -> bool {
    let sum: f64 = row.iter().copied().map(f64::from).sum();
    row.iter().all(|&value| value >= 0.0) && (sum - 1.0).abs() <= SUM_TOLERANCE
}

const NOT_ONNX: &str = "the file is no ONNX model: it does not begin with a field of one";

fn read_onnx(section: &recipe::Teacher, task: &Task) -> Result<Read, TrainError> {
    let path = section.path.clone();
    let channels = task.input[0];
    let Normalization { mean, std } = Normalization::imagenet();
    let normalization = Normalization {
        mean: section.mean.clone().unwrap_or(mean),
        std: section.std.clone().unwrap_or(std),
    };
    for (key, values) in
        [("train.teacher.mean", &normalization.mean), ("train.teacher.std", &normalization.std)]
    {
        if values.len() != channels {
            let found = count(values.len(), "value");
            let reason = format!("{key} has {found}, expected {channels}, one per channel");
            return Err(refused(&path, reason));
        }
    }
    // Protocol Buffers number their fields from 1 on.
    let is_message = |start: &[u8]| start.iter().all(|&tag| tag >> 3 != 0);
    let bytes = onebit_files::read_if(&path, MAX_ONNX_BYTES, 1, is_message)
        .map_err(|error| TrainError::TeacherFile(Box::new(error.expecting("an ONNX classifier"))))?
        .ok_or_else(|| refused(&path, NOT_ONNX.into()))?;
    let bytes = external::inline(&path, bytes).map_err(|problem| match problem {
        Problem::Refused(reason) => refused(&path, reason),
        Problem::Weights(error) => {
            TrainError::TeacherWeights { path: path.clone(), source: Box::new(error) }
        }
    })?;
    let sha256 = hex(&Sha256::digest(&bytes));
    let layout = section.layout.unwrap_or(Layout::Nchw);
    let onnx = Onnx::new(bytes, task.input, layout).map_err(|reason| refused(&path, reason))?;
    let outputs = onnx.outputs().map_err(|reason| refused(&path, reason))?;
    let (network, kind) = (Network::Onnx(Box::new(onnx)), section.outputs);
    let skipped = Vec::new();
    Ok(Read { path, sha256, skipped, network, outputs, kind, normalization })
}

fn read_own(section: &recipe::Teacher, task: &Task, batch: usize) -> Result<Read, TrainError> {
    let loaded = onebit_files::load_weights(&section.path)
        .map_err(|error| TrainError::TeacherFile(Box::new(error)))?;
    let path = loaded.path;
    if section.mean.is_some() || section.std.is_some() || section.layout.is_some() {
        let reason =
            "train.teacher.mean, std and layout are for an ONNX file; these weights have their own";
        return Err(refused(&path, reason.into()));
    }
    if section.outputs == Some(Outputs::Probabilities) {
        let reason = "train.teacher.outputs is `probabilities`, but these weights give logits";
        return Err(refused(&path, reason.into()));
    }
    let graph = Verified::<Graph>::new(loaded.weights.graph.clone())?;
    if graph.input_shape() != task.input {
        let (found, expected) = (graph.input_shape(), task.input);
        let reason = format!(
            "the network takes images of {}, but those of the run are {}",
            shown(found),
            shown(expected)
        );
        return Err(refused(&path, reason));
    }
    let bytes = write_weights(&loaded.weights).map_err(|e| TrainError::damaged(&path, e))?;
    let (outputs, normalization) = (graph.classes.len(), graph.normalization.clone());
    let mut net = Net::new(graph, NetConfig::new(batch), 0)?;
    net.load_weights(&loaded.weights)?;
    let (network, kind) = (Network::Own(Box::new(net)), Some(Outputs::Logits));
    let sha256 = hex(&Sha256::digest(bytes));
    let skipped = loaded.skipped.into_iter().map(|skipped| skipped.reason).collect();
    Ok(Read { path, sha256, skipped, network, outputs, kind, normalization })
}

fn columns(
    section: &recipe::Teacher,
    outputs: usize,
    classes: usize,
) -> Result<Vec<usize>, String> {
    let Some(columns) = &section.columns else {
        if outputs == classes {
            return Ok((0..outputs).collect());
        }
        return Err(format!(
            "the network has {}, but the data has {}; name the output of each class with train.teacher.columns",
            count(outputs, "output"),
            count(classes, "class")
        ));
    };
    if columns.len() != classes {
        let found = count(columns.len(), "output");
        return Err(format!(
            "train.teacher.columns names {found}, expected {classes}, one per class of the data"
        ));
    }
    match columns.iter().find(|&&column| column >= outputs) {
        Some(column) => Err(format!(
            "train.teacher.columns names output {column}, but the network has {outputs}, counted from 0"
        )),
        None => Ok(columns.clone()),
    }
}

/// `(x * s + m - m') / s'` for each channel, where `m'` and `s'` are the teacher's.
fn renormalization(run: &Normalization, teacher: &Normalization) -> Vec<(f64, f64)> {
    let run = run.mean.iter().zip(&run.std).map(|(&mean, &std)| (f64::from(mean), f64::from(std)));
    let teacher = teacher.mean.iter().zip(&teacher.std);
    let teacher = teacher.map(|(&mean, &std)| (f64::from(mean), f64::from(std)));
    run.zip(teacher).map(|((m, s), (mean, std))| (s / std, (m - mean) / std)).collect()
}

fn shown([channels, height, width]: [usize; 3]) -> String {
    format!("{channels} x {height} x {width}")
}

fn refused(path: &Path, reason: String) -> TrainError {
    TrainError::Teacher { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests;
