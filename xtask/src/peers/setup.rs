//! What has to be there before anything is measured: programs, images, networks.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::contender::{Comparison, Program, section};
use super::rival::Rival;
use crate::python::python_with;
use crate::{cargo, root, run, say};

const BUILDS: [(&str, &str); 2] = [
    ("build --release --package onebit-cli --bins", "onebit does not build; see above"),
    (
        "build --release --package onebit-pack --example random_model --example load",
        "the examples do not build; see above",
    ),
];

/// Images that thresholds are fitted to and logits compared on.
const IMAGES: &str = "8";

/// Where everything lies.
pub(super) struct Setup {
    /// Images, networks, our logits, and what the rivals print.
    folder: PathBuf,
    /// Our programs.
    release: PathBuf,
    /// Python with numpy and matplotlib.
    pub(super) python: PathBuf,
    /// Rivals that are there, and why others are not.
    pub(super) rivals: BTreeMap<Rival, Result<PathBuf, String>>,
}

impl Setup {
    /// Builds our programs, installs the rivals, makes the networks of the comparisons.
    ///
    /// # Errors
    /// Something fails that is not a rival's installation.
    pub(super) fn new(comparisons: &[Comparison]) -> Result<Self> {
        for (arguments, advice) in BUILDS {
            run(cargo(arguments), advice)?;
        }
        let target = env::var_os("CARGO_TARGET_DIR").map_or(root().join("target"), PathBuf::from);
        let packages = ["numpy", "matplotlib"];
        let mut setup = Setup {
            folder: root().join("target/bench-peers/networks"),
            release: target.join("release"),
            python: python_with("venv-peers", "import numpy, matplotlib", &packages)?,
            rivals: install(comparisons),
        };
        fs::create_dir_all(&setup.folder)?;
        setup.our_networks(comparisons)?;
        setup.float_networks()?;
        setup.larq_networks(comparisons);
        Ok(setup)
    }

    /// A file of the folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// One of our programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.release.join(format!("{name}{}", env::consts::EXE_SUFFIX))
    }

    /// Packed networks of random weights, their float twins, and their logits.
    fn our_networks(&self, comparisons: &[Comparison]) -> Result<()> {
        let images = self.file("images.npy");
        let mut make = Command::new(&self.python);
        make.arg(root().join("scripts/peers/images.py")).arg(IMAGES).arg(&images);
        run(make, "the images could not be made; see above")?;
        for network in networks(comparisons, |program| matches!(program, Program::Onebit(_))) {
            let packed = self.file(&format!("{network}.onebit"));
            let mut make = Command::new(self.program("examples/random_model"));
            make.arg(section(network)).arg(&images).arg(&packed);
            run(make, "the network could not be made; see above")?;
            let mut infer = Command::new(self.program("onebit"));
            infer.arg("run").arg(&packed).arg("--input").arg(&images);
            infer.arg("--output").arg(self.file(&format!("{network}.npy")));
            run(infer, "the network could not be run; see above")?;
        }
        let is_twin = |program: &Program| match program {
            Program::Rival { rival, .. } => rival.runs_ours() && rival.extension() == "onnx",
            Program::Onebit(_) => false,
        };
        for network in networks(comparisons, is_twin) {
            let mut export = Command::new(self.program("onebit"));
            export.arg("export").arg(self.file(&format!("{network}.onebit")));
            export.arg("-o").arg(self.file(&format!("{network}.onnx")));
            run(export, "the network could not be exported; see above")?;
        }
        Ok(())
    }

    /// What a user would take instead, where a rival is there that runs it.
    fn float_networks(&self) -> Result<()> {
        let rivals = [Rival::OnnxRuntime, Rival::OpenVino];
        let mut found = rivals.iter().filter_map(|rival| self.rivals.get(rival)?.as_ref().ok());
        let Some(python) = found.next() else { return Ok(()) };
        let mut make = Command::new(python);
        make.arg(root().join("scripts/peers/float_nets.py"));
        make.arg(self.file("images.npy")).arg(&self.folder);
        run(make, "the float and int8 networks could not be made; see above")
    }

    /// Our networks for Larq Compute Engine, which is not available where its converter fails.
    fn larq_networks(&mut self, comparisons: &[Comparison]) {
        let Some(Ok(python)) = self.rivals.get(&Rival::Larq).cloned() else { return };
        let is_larq =
            |program: &Program| matches!(program, Program::Rival { rival: Rival::Larq, .. });
        for network in networks(comparisons, is_larq) {
            let mut convert = Command::new(&python);
            convert.arg(root().join("scripts/peers/larq_binary.py"));
            convert.arg(self.file(&format!("{network}.onebit")));
            convert.arg(self.file(&format!("{network}.tflite")));
            if let Err(error) = run(convert, "its converter failed") {
                self.rivals.insert(Rival::Larq, Err(one_line(&error)));
                return;
            }
        }
    }
}

/// The Python of every rival that takes part, or why there is none.
fn install(comparisons: &[Comparison]) -> BTreeMap<Rival, Result<PathBuf, String>> {
    let programs = comparisons.iter().flat_map(|comparison| &comparison.contenders);
    let rivals: BTreeSet<Rival> = programs
        .filter_map(|contender| match contender.program {
            Program::Rival { rival, .. } => Some(rival),
            Program::Onebit(_) => None,
        })
        .collect();
    let python = |rival: Rival| {
        let found = rival.python().map_err(|error| one_line(&error));
        if let Err(reason) = &found {
            say(&format!("NOT AVAILABLE: {}: {reason}", rival.title()));
        }
        (rival, found)
    };
    rivals.into_iter().map(python).collect()
}

/// Networks that such programs run.
fn networks(
    comparisons: &[Comparison],
    is_such: impl Fn(&Program) -> bool,
) -> BTreeSet<&'static str> {
    let contenders = comparisons.iter().flat_map(|comparison| &comparison.contenders);
    contenders.filter(|c| is_such(&c.program)).map(|c| c.network).collect()
}

/// An error and its causes, for a cell of a table.
pub(super) fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/")
}
