//! `cargo xtask check-export FOLDER`: exported networks in ONNX Runtime against the engine.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::python::python_with;
use crate::{cargo, root, run};

/// Builds what the comparison runs, and runs it on the images of a folder.
pub(crate) fn check_export(arguments: &[OsString]) -> Result<()> {
    let [images] = arguments else {
        bail!("name a folder of images: cargo xtask check-export FOLDER");
    };
    let packages = ["numpy", "onnx", "onnxruntime", "pillow"];
    let python = python_with("venv-export", "import numpy, onnx, onnxruntime, PIL", &packages)?;
    run(cargo("build --release --package onebit-cli --bins"), "onebit does not build; see above")?;
    run(
        cargo("build --release --package onebit-pack --examples"),
        "the examples do not build; see above",
    )?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or(root().join("target"), PathBuf::from);
    let mut script = Command::new(python);
    script.arg(root().join("scripts/check_export.py")).arg("--images").arg(images);
    script.arg("--target").arg(target.join("release"));
    run(script, "ONNX Runtime computes something else, or a program failed; see above")
}
