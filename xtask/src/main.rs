//! The project's own commands; `cargo xtask help` lists them.

#![forbid(unsafe_code)]

mod bench;
#[cfg(test)]
mod documents;
mod export;
mod isa;
mod machine;
mod package;
mod peers;
mod python;
mod smoke;
mod statistics;
mod tally;
mod wheel;

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use tally::Tally;
use wheel::Tests;

const HELP: &str = "\
cargo xtask demo [ARGS]   builds onebit, which takes minutes the first time, and runs `onebit demo` with ARGS
cargo xtask test          all tests, those of onebit without the trainer among them, and at the end how many
cargo xtask check         format, lints, documentation, dependencies, packages for crates.io
cargo xtask test-isa neon|simd128
                          tests of the engine in an emulator that has these instructions (needs rustup, and
                          qemu-aarch64 or Node)
cargo xtask check-emulator neon|simd128
                          says at once whether the emulator is there that test-isa runs it in
cargo xtask check-targets engine and model compile for bare metal, WebAssembly, 32 bits, big-endian (needs rustup)
cargo xtask python        the Python package: builds its wheel, installs it below target/ with PyTorch and the tools that it
                          names, and runs its tests, type checks and audits; prints size, import time and cost of a call
cargo xtask nightly       what takes too long for each change: a million random graphs against the interpreter, whether the
                          program compiles for macOS and Windows (needs rustup), whether each package compiles, and whether
                          slower kernels are chosen than this CPU could use; what the Python package needs a new PyTorch for
cargo xtask miri          the code that shares an image among threads, under Miri with eight schedules (needs the nightly
                          toolchain with the components miri and rust-src)
cargo xtask advisories    known defects of dependencies (fetches the RustSec database)
cargo xtask bench step    a training step against PyTorch, in turn (installs PyTorch below target/)
cargo xtask bench torch    a plain PyTorch loop over onebit.torch.Network against the trainer on the same graphs, in turn
                          (installs PyTorch below target/)
cargo xtask bench peers [--rounds N] [--only openvino|onnxruntime|tract|larq|onebit]... [--out FOLDER]
                          the engine against other programs that run such networks, in turn (installs them below
                          target/); tables, a plot and all figures are written to FOLDER [default: target/bench-peers]
cargo xtask check-export FOLDER
                          exported networks in ONNX Runtime against the engine, on the images of a folder
                          (installs ONNX Runtime below target/)
cargo xtask smoke folder:PATH
                          every network of ImageNet's size learns from 64 of these images: losses, time, memory";

/// Graphs that `cargo xtask nightly` makes.
const RANDOM_GRAPHS: &str = "1000000";
const DENY_VERSION: &str = "0.20.2";

/// The library with fewer features than the program needs.
const LIBRARY_PARTS: [&str; 3] = [
    "--package onebit --no-default-features",
    "--package onebit",
    "--package onebit --features data",
];

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let task = arguments.next().unwrap_or_default();
    let rest: Vec<OsString> = arguments.collect();
    let done = match task.to_str() {
        Some("demo") => demo(&rest),
        Some("test") => none(&rest).and_then(|()| test()),
        Some("check") => none(&rest).and_then(|()| check()),
        Some("test-isa") => isa_of(&rest, "test-isa").and_then(isa::test),
        Some("check-emulator") => isa_of(&rest, "check-emulator").and_then(isa::check_emulator),
        Some("check-targets") => none(&rest).and_then(|()| isa::check_targets()),
        Some("nightly") => none(&rest).and_then(|()| nightly()),
        Some("python") => none(&rest).and_then(|()| wheel::python(Tests::Usual)),
        Some("miri") => none(&rest).and_then(|()| miri()),
        Some("advisories") => none(&rest).and_then(|()| advisories()),
        Some("bench") => bench(&rest),
        Some("check-export") => export::check_export(&rest),
        Some("smoke") => smoke(&rest),
        Some("help" | "--help" | "-h") => return say(HELP),
        _ => Err(anyhow::anyhow!("there is no such task, choose one of:\n{HELP}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("\nxtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn demo(arguments: &[OsString]) -> Result<()> {
    let mut command = cargo("run --release --package onebit-cli -- demo");
    command.args(arguments).current_dir(env::current_dir()?);
    run(command, "the demo failed; its last line says why")
}

fn test() -> Result<()> {
    let mut tally = Tally::default();
    let mut workspace = cargo("test --no-fail-fast --workspace --exclude onebit-python");
    if env::var_os("ONEBIT_REQUIRE_ISA").is_none() {
        workspace.env("ONEBIT_REQUIRE_ISA", isa::required_here());
    }
    tally::test(workspace, &mut tally, "a test failed; its name and output stand above")?;
    tally::test(
        cargo("test --no-fail-fast --package onebit-cli --no-default-features"),
        &mut tally,
        "onebit does not work without the trainer (feature `train`)",
    )?;
    tally.report();
    Ok(())
}

fn nightly() -> Result<()> {
    isa::check_systems()?;
    package::package_and_build()?;
    run(
        cargo("test --release --package onebit-cli --no-default-features --test doctor"),
        "slower kernels are chosen than this CPU could use; see above",
    )?;
    let tests = "test --release --package onebit-engine --test hostile_graphs -- --nocapture";
    let mut graphs = cargo(tests);
    graphs
        .env("ONEBIT_RANDOM_GRAPHS", RANDOM_GRAPHS)
        .env("ONEBIT_REQUIRE_ISA", isa::required_here());
    run(graphs, "a graph is computed wrongly; its seed stands above")?;
    wheel::python(Tests::Nightly)
}

fn miri() -> Result<()> {
    let mut tests = Command::new("rustup");
    tests.args([
        "run",
        "nightly",
        "cargo",
        "miri",
        "test",
        "--package",
        "onebit-engine",
        "--lib",
        "thread_pool",
    ]);
    tests.env("MIRIFLAGS", "-Zmiri-many-seeds=0..8").current_dir(root());
    run(
        tests,
        "Miri found something, or is not there: `rustup toolchain install nightly --component miri,rust-src`",
    )
}

fn advisories() -> Result<()> {
    let mut deny = Command::new(cargo_deny()?);
    deny.args(["--all-features", "check", "advisories"]).current_dir(root());
    run(
        deny,
        "a dependency has a known defect, or the database of defects cannot be fetched; see above",
    )
}

fn isa_of(arguments: &[OsString], task: &str) -> Result<isa::Emulated> {
    match arguments {
        [isa] => isa.to_string_lossy().parse(),
        _ => bail!("name the instruction set: cargo xtask {task} neon|simd128"),
    }
}

fn bench(arguments: &[OsString]) -> Result<()> {
    match arguments {
        [what] if what == "step" => bench::step(),
        [what] if what == "torch" => bench::torch(),
        [what, rest @ ..] if what == "peers" => peers::peers(rest),
        _ => bail!("name the benchmark: cargo xtask bench step, torch or peers"),
    }
}

fn smoke(arguments: &[OsString]) -> Result<()> {
    match arguments {
        [spec] => smoke::smoke(&spec.to_string_lossy()),
        _ => bail!("name the images: cargo xtask smoke folder:PATH"),
    }
}

fn check() -> Result<()> {
    run(cargo("fmt --all --check"), "the format differs; `cargo fmt --all` repairs it")?;
    run(
        cargo("clippy --workspace --exclude onebit-python --all-targets -- -D warnings"),
        "clippy has something to say; see above",
    )?;
    for part in LIBRARY_PARTS {
        run(
            cargo(&format!("clippy {part} -- -D warnings")),
            "the library does not compile without warnings with these features; see above",
        )?;
    }
    let mut doc = cargo("doc --workspace --exclude onebit-python --no-deps");
    doc.env("RUSTDOCFLAGS", "-D warnings");
    run(doc, "the documentation has an error; see above")?;
    package::package()?;
    let mut deny = Command::new(cargo_deny()?);
    deny.args(["--all-features", "check", "bans", "licenses", "sources"]).current_dir(root());
    run(deny, "a dependency breaks the rules of deny.toml; see above")
}

/// The pinned cargo-deny, built into `target/tools` when it is not there.
fn cargo_deny() -> Result<PathBuf> {
    let tools = root().join("target/tools");
    let binary = tools.join("bin").join(format!("cargo-deny{}", env::consts::EXE_SUFFIX));
    let version = Command::new(&binary).arg("--version").output();
    let found = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    if found.is_ok_and(|found| found == format!("cargo-deny {DENY_VERSION}")) {
        return Ok(binary);
    }
    let mut install = cargo("install --locked --debug --force cargo-deny --version");
    install.arg(DENY_VERSION).arg("--root").arg(&tools);
    run(install, "cargo-deny cannot be installed; it needs crates.io")?;
    Ok(binary)
}

fn cargo(arguments: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments.split(' ')).current_dir(root());
    command
}

fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

fn run(mut command: Command, advice: &str) -> Result<()> {
    let line = announce(&command);
    let status = command.status().with_context(|| format!("{line} cannot be started"))?;
    if !status.success() {
        bail!("`{line}` failed: {advice}");
    }
    Ok(())
}

/// Prints the command line that is about to run, and returns it.
fn announce(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_stem().unwrap_or_default().to_owned();
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    let line = format!("{} {}", name.to_string_lossy(), words.join(" "));
    say(&format!("\n> {line}"));
    line
}

fn none(arguments: &[OsString]) -> Result<()> {
    match arguments.first() {
        None => Ok(()),
        Some(extra) => bail!("this task takes no arguments, found `{}`", extra.display()),
    }
}

fn say(text: &str) -> ExitCode {
    match writeln!(io::stderr(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
