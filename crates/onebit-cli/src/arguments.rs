//! Options that several verbs have, and the sessions that they make.

use std::path::Path;

use anyhow::Context;
use onebit::{Error, Isa, Model, Session, SessionBuilder, hardware_threads};
use onebit_files::shown;
use onebit_model::quote::number;
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{self, count};

/// How the result is printed.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Format {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Format {
    /// Prints a result as one JSON value, or as the text that says it.
    pub(crate) fn print<R: Serialize>(
        self,
        result: &R,
        text: impl FnOnce(&R) -> String,
    ) -> anyhow::Result<()> {
        if self.json { output::json(result) } else { output::text(&text(result)) }
    }
}

/// How many threads compute.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Threads {
    /// Threads [default: all]
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    threads: Option<usize>,
}

impl Threads {
    /// As many as were asked for, else as the hardware has.
    pub(crate) fn count(self) -> usize {
        self.threads.unwrap_or_else(hardware_threads)
    }
}

/// Prepares to run a model that came from the file `path`.
pub(crate) fn session(
    path: &Path,
    model: &Model,
    threads: usize,
    isa: Option<Isa>,
) -> anyhow::Result<Session> {
    let mut session = model.session().threads(threads);
    if let Some(isa) = isa {
        session = session.isa(isa);
    }
    build(path, session)
}

/// Builds the session of a model that came from the file `path`, which an error that is the network's names.
pub(crate) fn build(path: &Path, session: SessionBuilder) -> anyhow::Result<Session> {
    match session.build() {
        Err(error @ Error::Engine(_)) => Err(error).with_context(|| path.display().to_string()),
        built => Ok(built?),
    }
}

/// The instruction set called `name` on the command line.
pub(crate) fn parse_isa(name: &str) -> Result<Isa, String> {
    Isa::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Isa::available().iter().map(|isa| isa.name()).collect();
        format!("this build has no such kernels, available are: {}", names.join(", "))
    })
}

/// A number of threads on the command line.
pub(crate) fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=1024) => Ok(threads),
        _ => Err("expected 1 to 1024".to_owned()),
    }
}

/// Checks an option that has a value for each channel.
pub(crate) fn check_channels(
    flag: &str,
    values: &[f32],
    channels: usize,
    kind: &str,
    allowed: impl Fn(f32) -> bool,
) -> anyhow::Result<()> {
    if values.len() == channels && values.iter().all(|&value| allowed(value)) {
        return Ok(());
    }
    let found: Vec<String> = values.iter().map(|&value| number(value)).collect();
    Err(Failure::usage(format!(
        "{flag} {}: expected {kind} for each of the {}",
        shown(&found.join(",")),
        count(channels as u64, "channel")
    )))
}
