//! `cargo xtask bench step`: our training step and PyTorch's in turn, in one run.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::machine::{commit, cpu};
use crate::python::python_with;
use crate::statistics::median;
use crate::wheel::{self, Tests};
use crate::{cargo, root, say};

/// Rounds of every program at every number of threads.
const ROUNDS: usize = 5;
const TORCH_ROUNDS: usize = 3;

/// Times both programs at 1 and 2 threads and prints medians and ratios.
pub(crate) fn step() -> Result<()> {
    let python = python_with("venv-bench", "import torch", &["torch", "numpy"])?;
    let ours = bench_binary()?;
    let script = root().join("scripts/pytorch_step.py");
    let mut table =
        String::from("threads  onebit img/s  PyTorch img/s  channels-last  ratio to the faster\n");
    for threads in ["1", "2"] {
        let mut speeds = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            speeds[0].push(images_per_second(Command::new(&ours).env("T", threads))?);
            let mut torch = Command::new(&python);
            torch.arg(&script).env("T", threads);
            speeds[1].push(images_per_second(&mut torch)?);
            speeds[2].push(images_per_second(torch.env("CL", "1"))?);
        }
        let ratios = (0..ROUNDS).map(|i| speeds[0][i] / speeds[1][i].max(speeds[2][i]));
        let ratio = median(ratios.collect());
        let [ours, torch, channels_last] = speeds.map(median);
        table +=
            &format!("{threads:>7}{ours:>14.0}{torch:>15.0}{channels_last:>15.0}{ratio:>21.2}\n");
    }
    say(&format!(
        "\nmedians of {ROUNDS} alternating runs of 4 s, batch 64; ratio round by round\n{table}{}, commit {}",
        cpu(),
        commit(),
    ));
    Ok(())
}

/// Times a plain PyTorch loop over `onebit.torch.Network`, eager and compiled, in both precisions, and our trainer on the same graph.
pub(crate) fn torch() -> Result<()> {
    const THREADS: &str = "2";
    const FORMS: [&str; 4] =
        ["eager float32", "eager bfloat16", "compile float32", "compile bfloat16"];
    let python = wheel::installed(Tests::Nightly)?;
    let ours = bench_binary()?;
    let mut table = String::from("network             onebit img/s");
    FORMS.iter().for_each(|form| table += &format!("{form:>18}"));
    for (name, set) in
        [("resnet20 bireal", "bireal"), ("resnet20 ftbnn", "ftbnn"), ("resnet20 dybnn", "dybnn")]
    {
        let graph = root().join(format!("target/step-{set}.json"));
        let in_python = |form: &str| {
            let mut command = Command::new(&python);
            command.args(["-m", "benches.step", set, form]).arg(&graph);
            command.current_dir(root().join("bindings/python")).env("T", THREADS);
            images_per_second(&mut command)
        };
        let mut speeds = [const { Vec::new() }; 5];
        for _ in 0..TORCH_ROUNDS {
            for (speeds, form) in speeds[1..].iter_mut().zip(FORMS) {
                speeds.push(in_python(form)?);
            }
            let mut rust = Command::new(&ours);
            rust.env("T", THREADS).env("GRAPH", &graph);
            speeds[0].push(images_per_second(&mut rust)?);
        }
        let [ours, others @ ..] = speeds.map(median);
        table += &format!("\n{name:<20}{ours:>12.0}");
        for other in others {
            table += &format!("{:>18}", format!("{other:.0} ({:.2})", ours / other));
        }
    }
    say(&format!(
        "\nmedians of {TORCH_ROUNDS} alternating runs of 4 s, batch 64, {THREADS} threads; in brackets how many times as fast \
         onebit is\n{table}\n{}, commit {}",
        cpu(),
        commit(),
    ));
    Ok(())
}

fn bench_binary() -> Result<PathBuf> {
    let mut build =
        cargo("bench --package onebit-train --bench step --no-run --message-format json");
    let output = build.output().context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("the benchmark does not build: {}", String::from_utf8_lossy(&output.stderr));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = messages.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        rest.split_once('"').map(|(path, _)| PathBuf::from(path))
    });
    executable.context("cargo names no benchmark executable")
}

/// The number before `img/s` in what the program prints.
fn images_per_second(command: &mut Command) -> Result<f64> {
    let output = command.env("SECS", "4").output().context("a benchmark cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number =
        text.split_once(" img/s").and_then(|(before, _)| before.rsplit(' ').next()?.parse().ok());
    match number {
        Some(number) if output.status.success() => Ok(number),
        _ => bail!("a benchmark failed: {text}{}", String::from_utf8_lossy(&output.stderr)),
    }
}
