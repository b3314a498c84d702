//! Short trainings.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use onebit_data::ErrorKind;
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

/// [`RECIPE`] with some changes.
pub(crate) fn recipe(overrides: &[&str]) -> Recipe {
    let mut recipe = Recipe::from_toml(RECIPE, "test").unwrap();
    recipe.apply_sets(overrides).unwrap();
    recipe
}

/// Trains to the end.
pub(crate) fn trained(recipe: &Recipe, out: &Path) {
    run(recipe, out, false, |_| false).0.unwrap();
}

/// Stops after a step of an epoch.
pub(crate) fn stopped(recipe: &Recipe, out: &Path, epoch: usize, step: usize) -> PathBuf {
    let at = |event: &Event| matches!(event, Event::Step { epoch: e, step: s, .. } if (*e, *s) == (epoch, step));
    run(recipe, out, false, at).0.unwrap().checkpoint.unwrap()
}

/// The error of a run that does not go on.
pub(crate) fn refused(recipe: &Recipe, out: &Path) -> (ErrorKind, String) {
    let error = run(recipe, out, true, |_| false).0.unwrap_err();
    assert!(!error.to_string().contains('\n'), "{error}");
    (error.kind(), error.to_string())
}
