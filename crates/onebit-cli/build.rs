//! The version that the program prints: that of the package, the commit that is checked out, and the features.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let features = if env::var_os("CARGO_FEATURE_TRAIN").is_some() { "train" } else { "none" };
    let commit = commit().map_or(String::new(), |commit| format!("{commit}, "));
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo::rustc-env=ONEBIT_VERSION={version} ({commit}features: {features})");
}

/// The commit of the repository whose `crates/onebit-cli` this is; none where the sources came without one.
fn commit() -> Option<String> {
    let package = env::var("CARGO_MANIFEST_DIR").ok()?;
    let prefix = git(&package, &["rev-parse", "--show-prefix"])?;
    if prefix != "crates/onebit-cli/" {
        return None;
    }
    let branch = git(&package, &["rev-parse", "--symbolic-full-name", "HEAD"])?;
    for name in ["HEAD", "logs/HEAD", "packed-refs", &branch] {
        let path = git(&package, &["rev-parse", "--git-path", name])?;
        let path = Path::new(&package).join(path);
        if path.is_file() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(&package, &["rev-parse", "--short", "HEAD"])
}

fn git(folder: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
