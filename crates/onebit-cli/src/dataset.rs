//! Data sets on the command line: what is to be said about them goes to stderr.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

#[cfg(feature = "train")]
use onebit::Unlabelled;
use onebit::{Labelled, start_shared_pool};
use onebit_model::Graph;

use crate::output;

/// Opens `spec` as [`Unlabelled::open`] does.
#[cfg(feature = "train")]
pub(crate) fn open(graph: &Graph, spec: &str, limit: Option<usize>) -> anyhow::Result<Unlabelled> {
    start_shared_pool()?;
    let data = Unlabelled::open(graph, spec, limit)?;
    warn_once(&data.warnings);
    Ok(data)
}

/// Opens `spec` as [`Labelled::open`] does.
pub(crate) fn open_labelled(
    graph: &Graph,
    spec: &str,
    limit: Option<usize>,
) -> anyhow::Result<Labelled> {
    start_shared_pool()?;
    let data = Labelled::open(graph, spec, limit)?;
    warn_once(&data.warnings);
    data.notes.iter().for_each(|note| output::note(&format!("note: {note}")));
    Ok(data)
}

/// Says on stderr what has not been said before.
fn warn_once(warnings: &[String]) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    for warning in warnings {
        if said.insert(warning.clone()) {
            output::note(&format!("warning: {warning}"));
        }
    }
}

/// A number of images on the command line.
pub(crate) fn parse_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit) if limit > 0 => Ok(limit),
        _ => Err("expected a number of images, at least 1".to_owned()),
    }
}
