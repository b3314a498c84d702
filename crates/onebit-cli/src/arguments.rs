//! Threads and instruction sets on the command line, and the sessions that they make.

use std::path::Path;

use anyhow::Context;
use onebit::{Error, Isa, Model, Session, SessionBuilder, hardware_threads};

/// Prepares to run a model that came from the file `path`, on all hardware threads unless it is said how many.
pub(crate) fn session(
    path: &Path,
    model: &Model,
    threads: Option<usize>,
    isa: Option<Isa>,
) -> anyhow::Result<Session> {
    let mut session = model.session().threads(threads.unwrap_or_else(hardware_threads));
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
