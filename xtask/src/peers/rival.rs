//! The programs that we are measured against, each in a process that is told when to run.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::python::python_with;
use crate::root;

/// A program, and what it makes of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rival {
    /// Our packed network as a graph of OpenVINO's binary convolutions.
    OpenVinoBinary,
    /// A float or 8-bit network in OpenVINO.
    OpenVino,
    /// The float twin that `onebit export` writes, in ONNX Runtime.
    OnnxRuntimeTwin,
    /// A float or 8-bit network in ONNX Runtime.
    OnnxRuntime,
    /// The float twin in tract.
    Tract,
    /// Our packed network, converted for Larq Compute Engine.
    Larq,
}

/// Packages that pip installs, and the Python that shows whether they are there.
struct Packages {
    venv: &'static str,
    imports: &'static str,
    install: &'static [&'static str],
}

impl Rival {
    pub(super) const ALL: [Rival; 6] = [
        Rival::OpenVinoBinary,
        Rival::OpenVino,
        Rival::OnnxRuntimeTwin,
        Rival::OnnxRuntime,
        Rival::Tract,
        Rival::Larq,
    ];

    /// What `--only` calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Rival::OpenVinoBinary | Rival::OpenVino => "openvino",
            Rival::OnnxRuntimeTwin | Rival::OnnxRuntime => "onnxruntime",
            Rival::Tract => "tract",
            Rival::Larq => "larq",
        }
    }

    /// What tables call it where its version is not known.
    pub(super) fn title(self) -> &'static str {
        match self {
            Rival::OpenVinoBinary | Rival::OpenVino => "OpenVINO",
            Rival::OnnxRuntimeTwin | Rival::OnnxRuntime => "ONNX Runtime",
            Rival::Tract => "tract",
            Rival::Larq => "Larq Compute Engine",
        }
    }

    /// What tables add to its name.
    pub(super) fn form(self) -> &'static str {
        match self {
            Rival::OpenVinoBinary => ", BinaryConvolution",
            Rival::OnnxRuntimeTwin | Rival::Tract => ", float twin",
            Rival::OpenVino | Rival::OnnxRuntime | Rival::Larq => "",
        }
    }

    /// Whether it runs a network of ours, so that its logits can be compared.
    pub(super) fn runs_ours(self) -> bool {
        !matches!(self, Rival::OpenVino | Rival::OnnxRuntime)
    }

    /// Ending of the files that it reads.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Rival::OpenVinoBinary => "onebit",
            Rival::Larq => "tflite",
            _ => "onnx",
        }
    }

    /// Name in `scripts/peers/worker.py`.
    fn system(self) -> &'static str {
        match self {
            Rival::OpenVinoBinary => "openvino-binary",
            _ => self.name(),
        }
    }

    /// The Python that has it, installed where it is missing.
    pub(super) fn python(self) -> Result<PathBuf> {
        let Packages { venv, imports, install } = self.packages();
        python_with(venv, imports, install)
    }

    fn packages(self) -> Packages {
        let (imports, install): (_, &[_]) = match self {
            Rival::OpenVinoBinary => ("import numpy, openvino", &["numpy", "openvino"]),
            Rival::OpenVino => (
                "import numpy, onnx, onnxruntime, openvino",
                &["numpy", "onnx", "onnxruntime", "openvino"],
            ),
            Rival::OnnxRuntimeTwin | Rival::OnnxRuntime => {
                ("import numpy, onnx, onnxruntime", &["numpy", "onnx", "onnxruntime"])
            }
            Rival::Tract => ("import numpy, tract", &["numpy", "tract"]),
            Rival::Larq => {
                let install = &["larq-compute-engine==0.16.0", "numpy<2", "tensorflow-cpu==2.16.*"];
                let imports = "import larq_compute_engine, tensorflow";
                return Packages { venv: "venv-larq", imports, install };
            }
        };
        Packages { venv: "venv-peers", imports, install }
    }
}

/// What a worker says of itself.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct About {
    /// Name and version of the program.
    pub(super) version: String,
    /// Kinds of layers and their implementations, where the program tells.
    #[serde(default)]
    pub(super) implementations: Vec<String>,
    pub(super) agreement: Option<Agreement>,
}

/// Its logits against ours, on the same images.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Agreement {
    pub(super) images: usize,
    /// Images of the same class.
    pub(super) same_class: usize,
    /// Images of the same logits up to rounding; on others a sign lay on its threshold.
    pub(super) same_logits: usize,
    /// Largest difference on those, in standard deviations.
    pub(super) difference: f64,
}

/// A rival's process with a network in it.
pub(super) struct Worker {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What a worker is started with.
pub(super) struct Start<'a> {
    pub(super) rival: Rival,
    pub(super) network: &'a Path,
    /// Images and our logits for them.
    pub(super) expected: Option<[&'a Path; 2]>,
    /// Limit of OpenVINO's instruction set.
    pub(super) isa: Option<&'a str>,
    pub(super) log: &'a Path,
}

impl Worker {
    /// Starts the process, a Python that is pinned, and waits until it is ready.
    ///
    /// # Errors
    /// The program cannot load the network, or computes something else than we do.
    pub(super) fn start(start: &Start<'_>, mut python: Command) -> Result<(Worker, About)> {
        python.arg(root().join("scripts/peers/worker.py"));
        python.arg(start.rival.system()).arg(start.network);
        python.args(start.expected.iter().flatten());
        if let Some(isa) = start.isa {
            python.env("ONEDNN_MAX_CPU_ISA", isa);
        }
        python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(start.log)?);
        let mut process = python.spawn().context("it cannot be started")?;
        let input = process.stdin.take().context("it has no input")?;
        let output = BufReader::new(process.stdout.take().context("it has no output")?);
        let mut worker = Worker { process, input, output };
        let about = ready(worker.answer()?)?;
        Ok((worker, about))
    }

    /// Runs for about that long; median milliseconds.
    pub(super) fn burst(&mut self, seconds: f64) -> Result<f64> {
        writeln!(self.input, "{seconds}").context("it has ended")?;
        self.answer()?["median_ms"].as_f64().context("it gave no time")
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("it ended: {}", self.process.wait()?);
        }
        let value: Value = serde_json::from_str(&line).context("its answer is no JSON")?;
        match value["error"].as_str() {
            Some(error) => bail!("{error}"),
            None => Ok(value),
        }
    }
}

/// The first answer of a worker, unless it computes another network: then no image has our logits.
fn ready(answer: Value) -> Result<About> {
    let about: About = serde_json::from_value(answer).context("its first answer is another one")?;
    match about.agreement {
        Some(Agreement { same_logits: 0, images, .. }) => {
            bail!("it computes other logits than onebit on all of {images} images")
        }
        _ => Ok(about),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(same_logits: usize) -> Value {
        let agreement =
            json!({"images": 8, "same_class": 8, "same_logits": same_logits, "difference": 1e-6});
        json!({"version": "tract 0.23.9", "agreement": agreement})
    }

    #[test]
    fn a_rival_without_a_single_image_of_our_logits_is_refused() {
        assert_eq!(ready(answer(1)).unwrap().version, "tract 0.23.9");
        let error = ready(answer(0)).unwrap_err().to_string();
        assert_eq!(error, "it computes other logits than onebit on all of 8 images");
    }

    #[test]
    fn a_network_of_others_is_not_compared() {
        let about = ready(json!({"version": "ONNX Runtime 1.31.1"})).unwrap();
        assert!(about.agreement.is_none() && about.implementations.is_empty());
    }

    #[test]
    fn every_rival_can_be_chosen_by_one_name() {
        let mut names = Rival::ALL.map(Rival::name).to_vec();
        names.dedup();
        assert_eq!(names, ["openvino", "onnxruntime", "tract", "larq"]);
    }
}
