//! Python with packages that the project itself does without.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{root, run};

/// Python of the private environment `target/<name>`, in which pip installs `packages` where `imports` fail. The
/// environment variable `ONEBIT_BENCH_PYTHON` names another one.
///
/// # Errors
/// Packages cannot be installed, or the imports fail all the same.
pub(crate) fn python_with(name: &str, imports: &str, packages: &[&str]) -> Result<PathBuf> {
    if let Some(python) = env::var_os("ONEBIT_BENCH_PYTHON") {
        import(Path::new(&python), imports).context("ONEBIT_BENCH_PYTHON lacks a package")?;
        return Ok(python.into());
    }
    let venv = root().join("target").join(name);
    let python = venv.join("bin/python");
    if import(&python, imports).is_ok() {
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
    import(&python, imports)?;
    Ok(python)
}

fn import(python: &Path, imports: &str) -> Result<()> {
    let output = Command::new(python).args(["-c", imports]).output();
    let output = output.with_context(|| format!("{} cannot be started", python.display()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("{}", text.lines().last().unwrap_or("an import failed"));
    }
    Ok(())
}
