//! Short trainings.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use onebit_train::{Event, Recipe, Summary, TrainError, TrainOptions, train};

/// A small ReActNet, 4 steps of 16 images in each of 2 epochs.
pub(crate) const RECIPE: &str = r#"
[data]
train = "fashion-mnist-sample:train"
test = "fashion-mnist-sample:test"
train_limit = 64
test_limit = 20

[network]
arch = "resnet-small"
method = "reactnet"
widths = [8, 16]
blocks = [1, 1]

[train]
epochs = 2
batch = 16
seed = 3
lr = 0.01
"#;

/// Runs until `stop_after` says so, and returns what happened.
pub(crate) fn run(
    recipe: &Recipe,
    out: &Path,
    resume: bool,
    stop_after: impl Fn(&Event) -> bool,
) -> (Result<Summary, TrainError>, Vec<Event>) {
    run_with(recipe, out, (resume, false), stop_after)
}

/// Goes on with a run to the recipe's number of epochs.
pub(crate) fn run_to(recipe: &Recipe, out: &Path) -> (Result<Summary, TrainError>, Vec<Event>) {
    run_with(recipe, out, (true, true), |_| false)
}

/// As [`run`], also with `change_epochs`.
pub(crate) fn run_with(
    recipe: &Recipe,
    out: &Path,
    (resume, change_epochs): (bool, bool),
    stop_after: impl Fn(&Event) -> bool,
) -> (Result<Summary, TrainError>, Vec<Event>) {
    let stop = AtomicBool::new(false);
    let (recipe, out) = (recipe.clone(), out.to_owned());
    let options = TrainOptions { recipe, out, resume, change_epochs, stop: &stop, data_dir: None };
    let mut events = Vec::new();
    let summary = train(&options, &mut |event| {
        if stop_after(&event) {
            stop.store(true, Ordering::Relaxed);
        }
        events.push(event);
    });
    (summary, events)
}
