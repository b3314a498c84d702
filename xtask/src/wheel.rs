//! The Python package: its wheel built, installed into a private environment, and tested there.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cargo, root, run, say};

/// What the wheel is built and checked with; pip takes them from PyPI.
const TOOLS: [&str; 9] = [
    "maturin>=1.9,<2",
    "pytest>=8",
    "mypy>=1.15",
    "pillow",
    "auditwheel>=6",
    "abi3audit",
    "matplotlib",
    "nbclient",
    "ipykernel",
];
/// What the environment must be able to do.
const CHECK: &str = "import numpy, torch, maturin, pytest, mypy, PIL, auditwheel, abi3audit, matplotlib, nbclient, ipykernel; torch.zeros(1).numpy()";

/// Which tests run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tests {
    /// Those of every change.
    Usual,
    /// Those that need a new PyTorch, or minutes.
    Nightly,
}

/// Builds the wheel, installs it into a private environment, and runs everything that must hold there.
///
/// # Errors
/// There is no Python with its venv module, packages cannot be installed, or a test fails.
pub(crate) fn python(tests: Tests) -> Result<()> {
    run(
        cargo("clippy --package onebit-python --all-targets -- -D warnings"),
        "clippy has something to say about the Python package; see above",
    )?;
    let (python, wheel) = made(tests)?;
    let package = root().join("bindings/python");
    let tested = |module: &str, arguments: &[&str], advice: &str| {
        let mut command = Command::new(&python);
        command.args(["-m", module]).args(arguments).current_dir(&package);
        command.env("MYPYPATH", "python");
        run(command, advice)
    };
    let (marked, typed): (_, &[&str]) = match tests {
        // The types of PyTorch 1.13 are not good enough for what uses it.
        Tests::Usual => (
            "not nightly",
            &["--follow-imports=silent", "--exclude", "/torch/", "python/onebit", "tests"],
        ),
        Tests::Nightly => ("nightly or not nightly", &["python/onebit", "tests", "benches"]),
    };
    tested(
        "pytest",
        &["-q", "-rs", "-m", marked],
        "a test of the Python package failed; see above",
    )?;
    tested("mypy", typed, "mypy --strict finds something; see above")?;
    tested(
        "mypy.stubtest",
        &["onebit._native"],
        "the type stubs differ from the native module; see above",
    )?;
    let wheel = wheel.to_string_lossy();
    tested("auditwheel", &["show", &wheel], "the wheel is not what its name says")?;
    tested("abi3audit", &["--strict", &wheel], "the wheel uses more than the stable ABI")?;
    tested("benches", &[&wheel], "the figures could not be taken")
}

/// Python of an environment into which the wheel has just been installed.
pub(crate) fn installed(tests: Tests) -> Result<PathBuf> {
    Ok(made(tests)?.0)
}

/// Python of an environment, and the wheel that has just been built and installed there.
fn made(tests: Tests) -> Result<(PathBuf, PathBuf)> {
    let python = environment(tests)?;
    let wheel = build(&python)?;
    install(&python, &wheel)?;
    Ok((python, wheel))
}

/// Python of the private environment `target/python`, with everything that building and testing needs. It is made with the
/// Python that the environment variable `ONEBIT_PYTHON` names, else with one that has PyTorch already, else PyTorch is
/// installed too, which takes gigabytes. The nightly tests have `target/python-nightly` with the newest PyTorch.
fn environment(tests: Tests) -> Result<PathBuf> {
    let (name, check) = match tests {
        Tests::Usual => ("python", CHECK.to_owned()),
        Tests::Nightly => ("python-nightly", format!("{CHECK}; import timm")),
    };
    let venv = root().join("target").join(name);
    let python = venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    if can_import(&python, &check) {
        return Ok(python);
    }
    let named = env::var_os("ONEBIT_PYTHON").map(PathBuf::from);
    let usual = ["/usr/bin/python3", "python3"].map(PathBuf::from);
    let has_torch = |python: &&PathBuf| can_import(python, "import numpy, torch");
    let base = match named {
        Some(named) => named,
        None => usual.iter().find(has_torch).unwrap_or(&usual[1]).clone(),
    };
    let mut make = Command::new(&base);
    make.args(["-m", "venv", "--clear"]);
    let mut packages = TOOLS.to_vec();
    match tests {
        Tests::Usual if has_torch(&&base) => {
            make.arg("--system-site-packages");
            // Debian's PyTorch 1.13 is built for NumPy 1.
            packages.push("numpy<2");
        }
        Tests::Usual => packages.extend(["numpy", "torch"]),
        Tests::Nightly => packages.extend(["numpy", "torch", "timm"]),
    }
    say(&format!("\nThe environment {} gets from PyPI: {}", venv.display(), packages.join(", ")));
    make.arg(&venv);
    run(make, "Python 3.9 or later with its venv module is needed; ONEBIT_PYTHON names one")?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
    run(install, "pip could not install that; ONEBIT_PYTHON names a Python that has more of it")?;
    match can_import(&python, &check) {
        true => Ok(python),
        false => bail!("{} lacks a package that pip has just installed", python.display()),
    }
}

fn can_import(python: &Path, code: &str) -> bool {
    let imported = Command::new(python).args(["-c", code]).output();
    imported.is_ok_and(|output| output.status.success())
}

/// The wheel, which maturin builds.
fn build(python: &Path) -> Result<PathBuf> {
    let out = root().join("target/wheels");
    fs::create_dir_all(&out).with_context(|| format!("{} cannot be made", out.display()))?;
    let is_wheel = |path: &PathBuf| {
        let is_ours = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("onebit-"));
        is_ours && path.extension() == Some(OsStr::new("whl"))
    };
    let wheels = || -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&out)?.map(|entry| Ok(entry?.path()));
        Ok(entries.collect::<Result<Vec<_>>>()?.into_iter().filter(is_wheel).collect())
    };
    wheels()?.iter().try_for_each(fs::remove_file)?;
    let mut maturin = Command::new(python);
    maturin.args(["-m", "maturin", "build", "--release", "--locked", "--quiet", "--out"]).arg(&out);
    maturin.arg("--interpreter").arg(python).current_dir(root().join("bindings/python"));
    run(maturin, "the wheel could not be built; see above")?;
    let [wheel] = <[PathBuf; 1]>::try_from(wheels()?)
        .map_err(|found| anyhow::anyhow!("maturin made {} wheels, expected one", found.len()))?;
    Ok(wheel)
}

fn install(python: &Path, wheel: &Path) -> Result<()> {
    let mut install = Command::new(python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    install.args(["--force-reinstall", "--no-deps"]).arg(wheel);
    run(install, "the wheel cannot be installed")
}
