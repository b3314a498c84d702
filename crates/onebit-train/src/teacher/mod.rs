//! The network whose outputs are learned in place of the labels.

mod onnx;

use std::fs;
use std::path::{Path, PathBuf};

use onebit_model::arch::Task;
use onebit_model::file::write_weights;
use onebit_model::{Graph, Normalization, Verified};
use sha2::{Digest, Sha256};

use self::onnx::Onnx;
use crate::recipe::{self, Layout, hex};
use crate::{Net, NetConfig, TrainError};

const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// A teacher that fits the images and classes of a run.
pub(crate) struct Teacher {
    /// The file that was read.
    pub(crate) path: PathBuf,
    /// SHA-256 of that file.
    pub(crate) sha256: String,
    network: Network,
    outputs: usize,
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
    network: Network,
    outputs: usize,
    normalization: Normalization,
}

impl Teacher {
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
        let Read { path, sha256, network, outputs, normalization } = read;
        let columns = columns(section, outputs, task.classes.len())
            .map_err(|reason| refused(&path, reason))?;
        let renormalization = renormalization(&task.normalization, &normalization);
        Ok(Teacher { path, sha256, network, outputs, columns, renormalization })
    }

    /// Logits `[images, classes]` for images as the run normalises them, NHWC.
    ///
    /// Each image is computed on its own by one thread, so that the result does not depend on the number of threads.
    ///
    /// # Errors
    /// An operation of an ONNX classifier that fails.
    pub(crate) fn logits(&mut self, images: &[f32]) -> Result<Vec<f32>, TrainError> {
        let mut images = images.to_vec();
        for pixel in images.chunks_exact_mut(self.renormalization.len()) {
            for (value, (factor, summand)) in pixel.iter_mut().zip(&self.renormalization) {
                *value = (f64::from(*value) * factor + summand) as f32;
            }
        }
        let all = match &mut self.network {
            Network::Own(net) => net.predict(&images),
            Network::Onnx(onnx) => {
                onnx.logits(&images, self.outputs).map_err(|reason| refused(&self.path, reason))?
            }
        };
        let rows = all.chunks_exact(self.outputs);
        Ok(rows.flat_map(|row| self.columns.iter().map(|&column| row[column])).collect())
    }
}

fn read_onnx(section: &recipe::Teacher, task: &Task) -> Result<Read, TrainError> {
    let path = section.path.clone();
    let channels = task.input[0];
    let (mean, std) = (section.mean.as_deref(), section.std.as_deref());
    let normalization = Normalization {
        mean: mean.unwrap_or(&IMAGENET_MEAN).to_vec(),
        std: std.unwrap_or(&IMAGENET_STD).to_vec(),
    };
    for (key, values) in
        [("train.teacher.mean", &normalization.mean), ("train.teacher.std", &normalization.std)]
    {
        if values.len() != channels {
            let found = values.len();
            let reason = format!("{key} has {found} values, expected {channels}, one per channel");
            return Err(refused(&path, reason));
        }
    }
    let bytes = fs::read(&path).map_err(TrainError::read(&path))?;
    let sha256 = hex(&Sha256::digest(&bytes));
    let layout = section.layout.unwrap_or(Layout::Nchw);
    let onnx = Onnx::new(bytes, task.input, layout).map_err(|reason| refused(&path, reason))?;
    let outputs = onnx.outputs().map_err(|reason| refused(&path, reason))?;
    Ok(Read { path, sha256, network: Network::Onnx(Box::new(onnx)), outputs, normalization })
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
    let network = Network::Own(Box::new(net));
    Ok(Read { path, sha256: hex(&Sha256::digest(bytes)), network, outputs, normalization })
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
            "the network has {outputs} outputs, but the data has {classes} classes; name the output of each class with \
             train.teacher.columns"
        ));
    };
    if columns.len() != classes {
        let found = columns.len();
        return Err(format!(
            "train.teacher.columns names {found} outputs, expected {classes}, one per class of the data"
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
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/teacher");
    /// Relative to the largest logit.
    const TOLERANCE: f32 = 1e-5;

    fn section(file: &str) -> recipe::Teacher {
        recipe::Teacher {
            path: Path::new(FOLDER).join(file),
            columns: None,
            mean: Some(vec![0.25, 0.5]),
            std: Some(vec![0.5, 2.0]),
            layout: None,
        }
    }

    fn task(classes: usize) -> Task {
        let normalization = Normalization { mean: vec![0.5, 0.4], std: vec![0.25, 0.2] };
        Task { normalization, ..Task::unnamed([2, 9, 8], classes) }
    }

    fn tensor(name: &str) -> Vec<f32> {
        let bytes = fs::read(Path::new(FOLDER).join("teacher.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let bytes = file.tensor(name).unwrap().data();
        bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect()
    }

    fn assert_close(found: &[f32], expected: &[f32]) {
        let largest = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
        assert_eq!(found.len(), expected.len());
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let close = (found - expected).abs() <= TOLERANCE * largest;
            assert!(close, "logit {i} is {found}, expected {expected}");
        }
    }

    #[test]
    fn logits_equal_pytorchs_in_both_layouts() {
        let (pixels, expected) = (tensor("pixels"), tensor("logits"));
        let normalize = |(i, x): (usize, &f32)| {
            let (mean, std) = [(0.5, 0.25), (0.4, 0.2)][i % 2];
            ((f64::from(*x) - mean) / std) as f32
        };
        let images: Vec<f32> = pixels.iter().enumerate().map(normalize).collect();
        for (file, layout) in [("nchw.onnx", Layout::Nchw), ("nhwc.onnx", Layout::Nhwc)] {
            let section = recipe::Teacher { layout: Some(layout), ..section(file) };
            let mut teacher = Teacher::open(&section, &task(7), 4).unwrap();
            assert_close(&teacher.logits(&images).unwrap(), &expected);
            let section = recipe::Teacher { columns: Some(vec![6, 0, 2]), ..section };
            let mut teacher = Teacher::open(&section, &task(3), 4).unwrap();
            let chosen: Vec<f32> =
                expected.chunks(7).flat_map(|row| [row[6], row[0], row[2]]).collect();
            assert_close(&teacher.logits(&images).unwrap(), &chosen);
        }
    }

    #[test]
    fn a_teacher_that_does_not_fit_is_refused_in_one_sentence() {
        let refused = |section: &recipe::Teacher, task: &Task| {
            let Err(error) = Teacher::open(section, task, 4) else { panic!("{section:?}") };
            error.to_string()
        };
        let nchw = section("nchw.onnx");
        let cases = [
            (nchw.clone(), task(5), "has 7 outputs, but the data has 5 classes; name the output"),
            (
                recipe::Teacher { columns: Some(vec![0, 7]), ..nchw.clone() },
                task(2),
                "names output 7, but the network has 7",
            ),
            (
                recipe::Teacher { columns: Some(vec![0]), ..nchw.clone() },
                task(2),
                "names 1 outputs, expected 2",
            ),
            (
                recipe::Teacher { mean: None, ..nchw.clone() },
                task(7),
                "train.teacher.mean has 3 values, expected 2",
            ),
            (
                recipe::Teacher { layout: Some(Layout::Nhwc), ..nchw.clone() },
                task(7),
                "input is [1 or more, 2, 9, 8], expected [1, 9, 8, 2]",
            ),
            (section("teacher.safetensors"), task(7), "train.teacher.path: "),
            (section("none.onnx"), task(7), "cannot be read"),
        ];
        for (section, task, part) in cases {
            let text = refused(&section, &task);
            assert!(text.contains(part), "{text}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("teacher.onnx");
        fs::write(&path, b"no model").unwrap();
        let text = refused(&recipe::Teacher { path, ..nchw }, &task(7));
        assert!(text.contains("is no ONNX model that can be run"), "{text}");
    }
}
