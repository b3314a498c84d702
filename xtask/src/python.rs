//! Python with packages that the project itself does without.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{root, run};

/// Python of the private environment `target/<name>`, in which pip installs `packages` where `imports` fail. The
/// environment variable `ONEBIT_BENCH_PYTHON` names another one.
pub(crate) fn python_with(name: &str, imports: &str, packages: &[&str]) -> Result<PathBuf> {
    if let Some(python) = env::var_os("ONEBIT_BENCH_PYTHON") {
        return Ok(python.into());
    }
    let venv = root().join("target").join(name);
    let python = venv.join("bin/python");
    let imported = Command::new(&python).args(["-c", imports]).output();
    if imported.is_ok_and(|output| output.status.success()) {
        return Ok(python);
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&venv);
    run(make, "Python 3 with its venv module is needed")?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet"]).args(packages);
    run(
        install,
        "pip could not install that; set ONEBIT_BENCH_PYTHON to a Python that has the packages",
    )?;
    Ok(python)
}
