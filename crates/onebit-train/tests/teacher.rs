//! Runs that learn from a teacher.

#![allow(clippy::unwrap_used)]

mod runs;

use std::fs;
use std::path::{Path, PathBuf};

use onebit_data::ErrorKind;
use onebit_train::recipe::{Outputs, Teacher};
use onebit_train::{Event, Recipe, TrainError};
use rayon::ThreadPoolBuilder;
use runs::{RECIPE, flip, run};
use tempfile::tempdir;

fn grey28() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/teacher/grey28.onnx")
}

fn teacher(path: &Path) -> Teacher {
    let onnx = path.extension().is_some();
    let grey = |x| onnx.then(|| vec![x]);
    let path = path.to_owned();
    Teacher { path, columns: None, mean: grey(0.5), std: grey(0.25), layout: None, outputs: None }
}

fn recipe(teacher: Option<Teacher>) -> Recipe {
    let mut recipe = Recipe::from_toml(RECIPE, "test").unwrap();
    recipe.train.teacher = teacher;
    recipe
}

/// The file that was read and its accuracy.
fn teacher_of(events: &[Event]) -> (PathBuf, f64) {
    let found = events.iter().find_map(|event| match event {
        Event::Teacher { path, images: 20, top1, .. } => Some((path.clone(), *top1)),
        _ => None,
    });
    found.unwrap()
}

fn weights(out: &Path) -> Vec<u8> {
    fs::read(out.join("checkpoints/epoch-00002/weights.safetensors")).unwrap()
}

#[test]
fn threads_and_interruptions_do_not_change_the_bits_of_a_distilled_run() {
    let folder = tempdir().unwrap();
    let recipe = recipe(Some(teacher(&grey28())));
    let outs = [1, 2, 3].map(|threads| {
        let out = folder.path().join(threads.to_string());
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (summary, events) = pool.install(|| run(&recipe, &out, false, |_| false));
        summary.unwrap();
        assert_eq!(teacher_of(&events).0, grey28());
        weights(&out)
    });
    assert!(outs[0] == outs[1] && outs[0] == outs[2], "threads");
    let out = folder.path().join("stopped");
    let in_the_second = |event: &Event| matches!(event, Event::Step { epoch: 2, step: 2, .. });
    assert!(run(&recipe, &out, false, in_the_second).0.unwrap().interrupted);
    run(&recipe, &out, true, |_| false).0.unwrap();
    assert!(weights(&out) == outs[0], "interrupted");
    let labels = folder.path().join("labels");
    run(&self::recipe(None), &labels, false, |_| false).0.unwrap();
    assert!(weights(&labels) != outs[0], "a run without the teacher");
}

#[test]
fn a_run_of_our_own_can_be_the_teacher() {
    let folder = tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    let own = run(&recipe(None), &first, false, |_| false).0;
    let (summary, events) = run(&recipe(Some(teacher(&first))), &second, false, |_| false);
    summary.unwrap();
    let (path, top1) = teacher_of(&events);
    assert_eq!(path, first.join("best/weights.safetensors"));
    assert_eq!(top1, own.unwrap().best.unwrap().top1, "the same images, the same network");
    let text = |teacher: Teacher| {
        let out = folder.path().join("refused");
        let error = run(&recipe(Some(teacher)), &out, false, |_| false).0.unwrap_err();
        assert!(!out.exists());
        (error.kind(), error.to_string())
    };
    let (kind, said) = text(Teacher { mean: Some(vec![0.0]), ..teacher(&first) });
    assert_eq!(kind, ErrorKind::BadData);
    assert!(said.ends_with("are for an ONNX file; these weights have their own"), "{said}");
    let (kind, said) = text(teacher(&folder.path().join("nothing")));
    assert_eq!(kind, ErrorKind::MissingInput);
    assert!(
        said.starts_with("train.teacher.path: ")
            && said.contains(": not found; expected a run folder, "),
        "{said}"
    );
}

#[test]
fn a_teacher_that_is_not_the_best_of_its_run_is_told() {
    let folder = tempdir().unwrap();
    let first = folder.path().join("first");
    run(&recipe(None), &first, false, |_| false).0.unwrap();
    let (best, recipe) = (first.join("best"), recipe(Some(teacher(&first))));
    let taught = folder.path().join("taught");
    let after_one = |event: &Event| matches!(event, Event::Step { epoch: 1, step: 1, .. });
    let told = |out: &str| {
        let (_, events) = run(&recipe, &folder.path().join(out), false, after_one);
        events.into_iter().find_map(|event| match event {
            Event::Teacher { path, skipped, .. } => Some((path, skipped)),
            _ => None,
        })
    };
    assert_eq!(told("taught"), Some((best.join("weights.safetensors"), vec![])));
    flip(&best.join("weights.safetensors"));
    let (path, skipped) = told("by-damaged").unwrap();
    assert_eq!(path, first.join("checkpoints/epoch-00002/weights.safetensors"));
    assert!(skipped.len() == 1 && skipped[0].contains("best/weights.safetensors: has SHA-256"));
    fs::write(first.join("checkpoints/epoch-00002/weights.safetensors"), "").unwrap();
    let error = run(&recipe, &taught, true, |_| false).0.unwrap_err().to_string();
    let both = error.contains("not the teacher that the run began with")
        && error.contains("best/weights.safetensors: has SHA-256");
    assert!(both, "{error}");
    fs::remove_dir_all(&best).unwrap();
    let (path, skipped) = told("by-older").unwrap();
    assert_eq!(path, first.join("checkpoints/epoch-00001/weights.safetensors"));
    assert_eq!(skipped.len(), 2, "{skipped:?}");
    assert!(skipped[1].contains("best: is missing, and the run had one"), "{skipped:?}");
}

#[test]
fn a_teacher_is_tried_before_the_run_begins() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("run");
    let outputs = Some(Outputs::Probabilities);
    let teacher = Teacher { outputs, ..teacher(&grey28()) };
    let error = run(&recipe(Some(teacher)), &out, false, |_| false).0.unwrap_err();
    assert!(error.to_string().contains("train.teacher.outputs is `probabilities`"), "{error}");
    assert_eq!(error.kind(), ErrorKind::BadData);
    assert!(!out.exists());
}

#[test]
fn a_run_does_not_go_on_with_another_teacher() {
    let folder = tempdir().unwrap();
    let (out, path) = (folder.path().join("run"), folder.path().join("teacher.onnx"));
    fs::copy(grey28(), &path).unwrap();
    let recipe = recipe(Some(teacher(&path)));
    let after_one = |event: &Event| matches!(event, Event::Step { epoch: 1, step: 1, .. });
    run(&recipe, &out, false, after_one).0.unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let all: Vec<usize> =
        (0..bytes.len() - 6).filter(|&at| bytes[at..].starts_with(b"logits")).collect();
    for at in all {
        bytes[at] = b'L';
    }
    fs::write(&path, bytes).unwrap();
    let error = run(&recipe, &out, true, |_| false).0.unwrap_err();
    assert!(matches!(error, TrainError::OtherTeacher { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::BadData);
}
