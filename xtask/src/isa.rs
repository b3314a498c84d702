//! `cargo xtask test-isa`, `check-targets`: the engine on machines other than this one.

use std::process::Command;
use std::str::FromStr;

use anyhow::{Result, bail};

use crate::{cargo, root, run};

const PACKAGES: &str = "--package onebit-model --package onebit-engine";
/// Linked by the linker that comes with Rust, so that no C compiler is needed.
const ARM: &str = "aarch64-unknown-linux-musl";
const WASM: &str = "wasm32-wasip1";
const SIMD128: &str = "-Ctarget-feature=+simd128";
const NEON_HERE: bool = cfg!(target_arch = "aarch64");
/// Fails where Node has no WASI that a program's exit returns from.
const NODE_CHECK: &str = "
const [major, minor] = process.versions.node.split('.').map(Number);
require('node:wasi');
process.exit(major > 18 || (major === 18 && minor >= 17) ? 0 : 1);";

/// Targets on which the engine and the model must compile without the standard library: bare metal, the browser,
/// 32 bits, big-endian.
const WITHOUT_STD: [&str; 5] = [
    "thumbv7em-none-eabihf",
    "aarch64-unknown-none",
    "wasm32-unknown-unknown",
    "i686-unknown-linux-gnu",
    "s390x-unknown-linux-gnu",
];

/// Names of the instruction sets that the tests on this CPU must find, for `ONEBIT_REQUIRE_ISA`: AVX2 on every
/// x86-64, AVX-512 where the CPU has it.
pub(crate) fn required_here() -> String {
    let mut isas = vec!["portable"];
    match std::env::consts::ARCH {
        "x86_64" => isas.push("avx2"),
        "aarch64" => isas.push("neon"),
        _ => {}
    }
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx512bw") && std::is_x86_feature_detected!("avx512vl") {
        isas.push("avx512bw");
        if std::is_x86_feature_detected!("avx512vpopcntdq")
            && std::is_x86_feature_detected!("avx512vnni")
        {
            isas.push("avx512");
        }
    }
    isas.join(",")
}

/// An instruction set that machines without it run in an emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emulated {
    Neon,
    Simd128,
}

impl FromStr for Emulated {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "neon" => Ok(Emulated::Neon),
            "simd128" => Ok(Emulated::Simd128),
            _ => bail!("there is no emulator for `{name}`, choose neon or simd128"),
        }
    }
}

/// Checks that the instruction set can be tested on this machine.
///
/// # Errors
/// The emulator is missing or too old; says which and where to get it.
pub(crate) fn check_emulator(isa: Emulated) -> Result<()> {
    match isa {
        Emulated::Neon if NEON_HERE => Ok(()),
        Emulated::Neon => needs(
            "qemu-aarch64",
            &["--version"],
            "Debian has it in the package qemu-user; there is none for macOS and Windows",
        ),
        Emulated::Simd128 => {
            needs("node", &["--eval", NODE_CHECK], "Node 18.17 or newer is needed")
        }
    }
}

/// Runs the tests of engine and model in an emulator that has the instruction set, or on this CPU if it has it.
///
/// # Errors
/// A missing emulator or target, a failing test.
pub(crate) fn test(isa: Emulated) -> Result<()> {
    check_emulator(isa)?;
    match isa {
        Emulated::Neon => test_neon(),
        Emulated::Simd128 => test_simd128(),
    }
}

fn test_neon() -> Result<()> {
    let advice = "a test failed on aarch64; its name and output stand above";
    if NEON_HERE {
        let mut tests = cargo(&format!("test --no-fail-fast {PACKAGES}"));
        tests.env("ONEBIT_REQUIRE_ISA", "portable,neon");
        return run(tests, advice);
    }
    let mut tests = tests_on(ARM, PACKAGES, &["qemu-aarch64"], "portable,neon")?;
    tests.arg("--config").arg(format!("target.{ARM}.linker='rust-lld'"));
    run(tests, advice)
}

/// WebAssembly has no detection at run time, so a program contains the instructions or not: all tests with them, and
/// the kernels without.
fn test_simd128() -> Result<()> {
    let script = root().join("scripts/wasi.mjs");
    let runner = ["node", "--no-warnings", &script.to_string_lossy()];
    let advice = "a test failed on WebAssembly; its name and output stand above";
    let mut tests = tests_on(WASM, PACKAGES, &runner, "portable,simd128")?;
    tests.env("RUSTFLAGS", SIMD128).env("RUSTDOCFLAGS", SIMD128).args(["--", "--no-capture"]);
    run(tests, advice)?;
    let only = "--package onebit-engine --test kernels";
    let mut tests = tests_on(WASM, only, &runner, "portable")?;
    tests.args(["--", "--no-capture"]);
    run(tests, advice)
}

/// `cargo test` of `what` for a target whose programs `runner` runs and which has to have the instruction sets.
fn tests_on(target: &str, what: &str, runner: &[&str], isas: &str) -> Result<Command> {
    add_target(target)?;
    let mut tests = cargo(&format!("test --no-fail-fast --target {target} {what}"));
    tests.arg("--config").arg(format!("target.{target}.runner={runner:?}"));
    tests.env("ONEBIT_REQUIRE_ISA", isas);
    tests.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUSTFLAGS", "");
    Ok(tests)
}

/// Lints the engine and the model for targets on which this machine need not run them.
///
/// # Errors
/// A target that rustup does not have, a warning, code that does not compile.
pub(crate) fn check_targets() -> Result<()> {
    for target in WITHOUT_STD {
        lint(target, "--no-default-features", "")?;
    }
    lint(ARM, "--all-targets", "")?;
    lint(WASM, "--all-targets", SIMD128)
}

/// Compiles the program for systems on which no test runs.
///
/// # Errors
/// A target that rustup does not have, code that does not compile.
pub(crate) fn check_systems() -> Result<()> {
    for target in ["aarch64-apple-darwin", "x86_64-pc-windows-msvc"] {
        add_target(target)?;
        let check = format!("check --target {target} --package onebit-cli --package xtask");
        run(cargo(&check), "the program does not compile there; see above")?;
    }
    Ok(())
}

fn lint(target: &str, what: &str, flags: &str) -> Result<()> {
    add_target(target)?;
    let mut clippy = cargo(&format!("clippy --target {target} {PACKAGES} {what} -- -D warnings"));
    clippy.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUSTFLAGS", flags);
    run(clippy, "the engine does not compile there without warnings; see above")
}

fn add_target(target: &str) -> Result<()> {
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", target]).current_dir(root());
    run(rustup, "rustup could not install the standard library of that target")
}

/// Fails with `advice` unless the program starts and succeeds.
fn needs(program: &str, arguments: &[&str], advice: &str) -> Result<()> {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => bail!("`{program}` is missing or too old: {advice}"),
    }
}
