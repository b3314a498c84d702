//! Runs that older programs began.

#![allow(clippy::unwrap_used)]

mod runs;

use std::path::Path;

use onebit_train::{Event, Recipe, RunPaths, metrics};
use runs::{copy, run};
use tempfile::tempdir;

/// Written by commit dd11de2: 2 of 3 epochs of 20 steps.
const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/run-dd11de2");

#[test]
fn a_run_of_commit_dd11de2_goes_on() {
    let folder = tempdir().unwrap();
    copy(Path::new(RUN), folder.path());
    let paths = RunPaths::new(folder.path());
    let recipe = Recipe::load(&paths.recipe()).unwrap();
    let (summary, events) = run(&recipe, folder.path(), true, |_| false);
    let summary = summary.unwrap();
    assert_eq!((summary.epoch, summary.epochs, summary.interrupted), (3, 3, false));
    let resumed = |event: &Event| matches!(event, Event::Resumed { epoch: 2, step: 0, skipped, .. } if skipped.is_empty());
    assert!(events.iter().any(resumed), "{events:?}");
    let rows = metrics::read(&paths.metrics()).unwrap();
    assert_eq!(
        rows.iter().map(|row| (row.epoch, row.step)).collect::<Vec<_>>(),
        [(1, 20), (2, 40), (3, 60)]
    );
    assert!(rows[2].train_loss < rows[0].train_loss);
}

#[test]
fn a_recipe_of_commit_dd11de2_has_the_fingerprint_that_it_had() {
    let paths = RunPaths::new(Path::new(RUN));
    let recipe = Recipe::load(&paths.recipe()).unwrap();
    let state =
        std::fs::read_to_string(paths.checkpoints().join("epoch-00002/state.json")).unwrap();
    assert!(state.contains(&recipe.fingerprint().unwrap()), "{state}");
}
