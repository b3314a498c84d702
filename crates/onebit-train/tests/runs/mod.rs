//! Short trainings.
#![allow(dead_code, reason = "each test file uses some of it")]

pub(crate) mod overrides;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use onebit_data::ErrorKind;
use onebit_train::checkpoint::{MANIFEST, STATE};
use onebit_train::{Event, Recipe, Summary, TrainError, TrainOptions, train};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

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
pub(crate) fn recipe(changes: &[&str]) -> Recipe {
    let mut recipe = Recipe::from_toml(RECIPE, "test").unwrap();
    overrides::apply(&mut recipe, changes).unwrap();
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

/// Replaces a file of a checkpoint, whose manifest then is right.
pub(crate) fn replace(folder: &Path, name: &str, bytes: &[u8]) {
    fs::write(folder.join(name), bytes).unwrap();
    let path = folder.join(MANIFEST);
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    manifest["files"][name] = json!({ "bytes": bytes.len(), "sha256": sha256 });
    fs::write(path, manifest.to_string()).unwrap();
}

/// Sets a value of a checkpoint's state, such as `best.epoch`.
pub(crate) fn set_state(folder: &Path, key: &str, value: &Value) {
    let mut state: Value = serde_json::from_slice(&fs::read(folder.join(STATE)).unwrap()).unwrap();
    let place = key.split('.').fold(&mut state, |place, part| &mut place[part]);
    *place = value.clone();
    replace(folder, STATE, state.to_string().as_bytes());
}

/// Copies a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Changes a bit of a file.
pub(crate) fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// The content of a file, or names and contents of the files in a folder.
pub(crate) fn files_in(path: &Path) -> Vec<(String, Vec<u8>)> {
    if path.is_file() {
        return vec![(String::new(), fs::read(path).unwrap())];
    }
    let entries = fs::read_dir(path).into_iter().flatten().map(Result::unwrap);
    let mut files: Vec<_> = entries
        .map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// Names of what is in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
