//! A contender at work: its process, and the figures so far.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::contender::{Contender, Onebit, Program};
use super::rival::{About, Rival, Start, Worker};
use super::setup::{Setup, one_line};
use super::{json, pinned};
use crate::say;

/// A burst lasts about that long, after as long a time to warm up.
pub(super) const BURST_SECONDS: f64 = 0.3;
const MIN_RUNS: usize = 5;
const MAX_RUNS: usize = 100_000;

/// A contender with its figures.
pub(super) struct Entrant {
    pub(super) network: &'static str,
    pub(super) state: State,
    /// Median milliseconds of every round.
    pub(super) rounds_ms: Vec<f64>,
}

pub(super) enum State {
    Onebit(Bench),
    Rival { rival: Rival, worker: Worker, about: About },
    Missing { rival: Rival, reason: String },
}

/// `onebit bench`, called anew for every burst.
pub(super) struct Bench {
    pub(super) call: Onebit,
    /// The instruction set that it used.
    pub(super) isa: String,
    program: PathBuf,
    file: PathBuf,
    pins: Vec<usize>,
    /// Runs of a burst.
    runs: usize,
}

impl Entrant {
    /// Makes the contender ready; where a rival cannot be started it is missing.
    pub(super) fn start(contender: &Contender, setup: &Setup, pins: &[usize]) -> Self {
        let network = contender.network;
        let state = match contender.program {
            Program::Onebit(call) => State::Onebit(Bench {
                call,
                isa: String::new(),
                program: setup.program("onebit"),
                file: setup.file(&format!("{network}.onebit")),
                pins: pins.to_vec(),
                runs: MIN_RUNS,
            }),
            Program::Rival { rival, isa } => {
                say(&format!("starting {} on {network}", rival.title()));
                match start_worker(rival, network, isa, setup, pins) {
                    Ok((worker, about)) => State::Rival { rival, worker, about },
                    Err(error) => missing(rival, &error),
                }
            }
        };
        Entrant { network, state, rounds_ms: Vec::new() }
    }

    /// Measures it once more. A rival that fails is missing from then on.
    ///
    /// # Errors
    /// Ours fails.
    pub(super) fn burst(&mut self, counts: bool) -> Result<()> {
        let ms = match &mut self.state {
            State::Onebit(bench) => bench.burst()?,
            State::Missing { .. } => return Ok(()),
            State::Rival { rival, worker, .. } => match worker.burst(BURST_SECONDS) {
                Ok(ms) => ms,
                Err(error) => {
                    self.rounds_ms.clear();
                    self.state = missing(*rival, &error);
                    return Ok(());
                }
            },
        };
        if counts {
            self.rounds_ms.push(ms);
        }
        Ok(())
    }
}

fn start_worker(
    rival: Rival,
    network: &str,
    isa: Option<&str>,
    setup: &Setup,
    pins: &[usize],
) -> Result<(Worker, About)> {
    let python = setup.rivals.get(&rival).context("it was not installed")?;
    let python = python.as_ref().map_err(|reason| anyhow!("{reason}"))?;
    let (images, logits) = (setup.file("images.npy"), setup.file(&format!("{network}.npy")));
    let name = format!("{rival:?}-{network}{}.log", isa.unwrap_or_default());
    let start = Start {
        rival,
        network: &setup.file(&format!("{network}.{}", rival.extension())),
        expected: rival.runs_ours().then_some([images.as_path(), logits.as_path()]),
        isa,
        log: &setup.file(&name),
    };
    Worker::start(&start, pinned(python, pins, 1))
}

fn missing(rival: Rival, error: &anyhow::Error) -> State {
    let reason = one_line(error);
    say(&format!("NOT AVAILABLE: {}: {reason}", rival.title()));
    State::Missing { rival, reason }
}

/// Measures networks of ours once more, in one process in which they take turns run by run.
///
/// # Errors
/// The process fails.
pub(super) fn together(entrants: &mut [Entrant], counts: bool) -> Result<()> {
    let benches = entrants.iter_mut().filter_map(|entrant| match &mut entrant.state {
        State::Onebit(bench) => Some((bench, &mut entrant.rounds_ms)),
        State::Rival { .. } | State::Missing { .. } => None,
    });
    let (mut benches, rounds): (Vec<&mut Bench>, Vec<&mut Vec<f64>>) = benches.unzip();
    let Some((first, others)) = benches.split_first_mut() else { return Ok(()) };
    let mut command = first.command();
    for other in others.iter() {
        command.arg("--against").arg(&other.file);
    }
    let value = json(command)?;
    let mut times = vec![first.read(&value)?];
    let against = value["against"].as_array().context("onebit bench compared nothing")?;
    for (other, value) in others.iter_mut().zip(against) {
        times.push(other.read(value)?);
    }
    if counts {
        rounds.into_iter().zip(times).for_each(|(rounds_ms, ms)| rounds_ms.push(ms));
    }
    Ok(())
}

impl Bench {
    fn burst(&mut self) -> Result<f64> {
        let value = json(self.command())?;
        self.read(&value)
    }

    fn command(&self) -> Command {
        let Onebit { threads, batch, isa } = self.call;
        let mut command = pinned(&self.program, &self.pins, threads);
        command.arg("bench").arg(&self.file).arg("--json");
        for (flag, value) in [("--runs", self.runs), ("--threads", threads), ("--batch", batch)] {
            command.arg(flag).arg(value.to_string());
        }
        if let Some(isa) = isa {
            command.args(["--isa", isa]);
        }
        command
    }

    /// The median in ms; the next burst lasts as long as bursts should.
    fn read(&mut self, value: &Value) -> Result<f64> {
        let ms = value["median_ms"].as_f64().context("onebit bench gave no median_ms")?;
        self.isa = value["isa"].as_str().context("onebit bench gave no isa")?.to_owned();
        self.runs = ((1e3 * BURST_SECONDS / ms).ceil() as usize).clamp(MIN_RUNS, MAX_RUNS);
        Ok(ms)
    }
}
