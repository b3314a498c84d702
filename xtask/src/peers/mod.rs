//! `cargo xtask bench peers`: our engine and the other programs that run such networks, in turn, in one run.

mod contender;
mod entrant;
mod options;
mod report;
mod rival;
mod setup;
mod table;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::machine::{commit, cpu, date, pins};
use crate::statistics::median;
use crate::{root, run, say};
use contender::{Measure, comparisons};
use entrant::{BURST_SECONDS, Entrant};
use options::Options;
use report::{Compared, Load, Report};
use setup::Setup;

/// The network whose loading is measured.
const LOADED: &str = "reactnet-a";

/// Sets everything up, measures, prints the tables and writes them with all figures and a plot.
///
/// # Errors
/// A part of ours fails. A rival that cannot be installed or that fails is a row of the table.
pub(crate) fn peers(arguments: &[OsString]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let mut comparisons = comparisons(|rival| options.wants(rival));
    if thread::available_parallelism()?.get() < 2 {
        say("one CPU only: two threads are not compared with one");
        comparisons.retain(|comparison| comparison.measure != Measure::Speedup);
    }
    let setup = Setup::new(&comparisons)?;
    let pins = pins();
    let start = |contender| Entrant::start(contender, &setup, &pins);
    let fields = comparisons.iter().map(|c| c.contenders.iter().map(start).collect());
    let mut fields: Vec<Vec<Entrant>> = fields.collect();
    let mut loads = Vec::new();
    for round in 0..=options.rounds {
        say(&match round {
            0 => "warming up".to_owned(),
            _ => format!("round {round} of {}", options.rounds),
        });
        loads.push(load(&setup, &pins)?);
        for (comparison, entrants) in comparisons.iter().zip(&mut fields) {
            let turns = match comparison.measure {
                Measure::Overhead => entrant::together(entrants, round > 0),
                Measure::Times | Measure::Speedup => take_turns(entrants, round),
            };
            turns.with_context(|| format!("{} could not be measured", comparison.title))?;
        }
    }
    let compared = comparisons.iter().zip(fields);
    let report = Report {
        date: date()?,
        cpu: cpu(),
        commit: commit(),
        command: options.command(),
        rounds: options.rounds,
        burst_seconds: BURST_SECONDS,
        pins,
        comparisons: compared.map(|(c, entrants)| Compared::new(c, entrants)).collect(),
        load: median_load(&loads[1..]),
    };
    write(&report, &options.out, &setup.python)
}

/// A burst of each, in the opposite order every other round; those of round 0 do not count.
fn take_turns(entrants: &mut [Entrant], round: usize) -> Result<()> {
    let count = entrants.len();
    for position in 0..count {
        let turn = if round.is_multiple_of(2) { count - 1 - position } else { position };
        entrants[turn].burst(round > 0)?;
    }
    Ok(())
}

/// Our engine from the file to readiness, in a process of its own.
fn load(setup: &Setup, pins: &[usize]) -> Result<Load> {
    let mut command = pinned(&setup.program("examples/load"), pins, 1);
    command.arg(setup.file(&format!("{LOADED}.onebit")));
    let value = json(command)?;
    let number = |key: &str| value[key].as_f64().with_context(|| format!("load gave no {key}"));
    Ok(Load {
        network: LOADED,
        ms: number("load_ms")?,
        file_bytes: number("file_bytes")?,
        peak_bytes: value["peak_bytes"].as_f64(),
    })
}

fn median_load(loads: &[Load]) -> Load {
    let peaks: Vec<f64> = loads.iter().filter_map(|load| load.peak_bytes).collect();
    Load {
        network: LOADED,
        ms: median(loads.iter().map(|load| load.ms).collect()),
        file_bytes: median(loads.iter().map(|load| load.file_bytes).collect()),
        peak_bytes: peaks.into_iter().reduce(f64::max),
    }
}

/// A program on that many of the CPUs, where programs can be pinned.
fn pinned(program: &Path, pins: &[usize], threads: usize) -> Command {
    if pins.is_empty() {
        return Command::new(program);
    }
    let cpus: Vec<String> = pins.iter().take(threads).map(usize::to_string).collect();
    let mut command = Command::new("taskset");
    command.arg("-c").arg(cpus.join(",")).arg(program);
    command
}

/// What a program of ours prints.
fn json(mut command: Command) -> Result<Value> {
    let output = command.output().context("a program cannot be started")?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("{command:?} gave no JSON"))
}

fn write(report: &Report, folder: &Path, python: &Path) -> Result<()> {
    let tables = table::tables(report);
    fs::create_dir_all(folder)?;
    let file = |ending: &str| folder.join(format!("{}.{ending}", report.name()));
    fs::write(file("json"), serde_json::to_string_pretty(report)? + "\n")?;
    fs::write(file("md"), &tables)?;
    say(&format!("\n{tables}\nwritten: {} and .md", file("json").display()));
    let mut chart = Command::new(python);
    chart.arg(root().join("scripts/peers/chart.py")).arg(file("json"));
    chart.args([file("png"), file("svg")]);
    run(chart, "the chart could not be drawn; see above")
}

/// Where results lie that nobody asked to be elsewhere.
fn default_folder() -> PathBuf {
    root().join("target/bench-peers")
}
