//! Runs that go on to another number of epochs, and finished ones.

#![allow(clippy::unwrap_used)]

mod runs;

use std::fs;
use std::path::Path;

use onebit_data::ErrorKind;
use onebit_train::checkpoint::WEIGHTS;
use onebit_train::{Event, Recipe, RunPaths, metrics};
use runs::{recipe, refused, run, run_to, run_with, stopped, trained};
use tempfile::tempdir;

/// Steps of an epoch.
const STEPS: usize = 4;

fn weights(out: &Path, epoch: usize) -> Vec<u8> {
    fs::read(out.join(format!("checkpoints/epoch-{epoch:05}")).join(WEIGHTS)).unwrap()
}

fn changed(events: &[Event]) -> Option<&Event> {
    events.iter().find(|event| matches!(event, Event::EpochsChanged { .. }))
}

#[test]
fn a_finished_run_says_so_and_nothing_else() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&[]);
    trained(&recipe, folder.path());
    let (_, events) = run(&recipe, folder.path(), true, |_| false);
    let finished = Event::AlreadyFinished { epochs: 2, binary_epochs: 2 };
    assert_eq!(events.last(), Some(&finished));
    assert!(!events.iter().any(|event| matches!(event, Event::Checkpoint { .. })));
}

#[test]
fn with_a_constant_learning_rate_an_extended_run_is_one_that_was_longer_from_the_start() {
    let folder = tempdir().unwrap();
    let [short, long] =
        [2, 4].map(|n| recipe(&["train.schedule=constant", &format!("train.epochs={n}")]));
    let [whole, extended, stopped_before] =
        ["whole", "extended", "stopped"].map(|name| folder.path().join(name));
    trained(&long, &whole);
    trained(&short, &extended);
    let (summary, events) = run_to(&long, &extended);
    assert_eq!(summary.unwrap().epochs, 4);
    let told = Event::EpochsChanged {
        from: 2,
        to: 4,
        same_as_from_start: true,
        lr_before: None,
        lr: 0.01,
    };
    assert_eq!(changed(&events), Some(&told));
    assert!(weights(&extended, 4) == weights(&whole, 4));
    assert_eq!(Recipe::load(&RunPaths::new(&extended).recipe()).unwrap(), long);
    let rows = metrics::read(&RunPaths::new(&extended).metrics()).unwrap();
    assert_eq!(rows.len(), 4);

    stopped(&short, &stopped_before, 2, 3);
    run_to(&long, &stopped_before).0.unwrap();
    assert!(weights(&stopped_before, 4) == weights(&whole, 4));
}

#[test]
fn an_extended_run_can_be_interrupted_without_a_change_of_its_bits() {
    let folder = tempdir().unwrap();
    let [short, long] = [2, 4].map(|n| recipe(&[&format!("train.epochs={n}")]));
    let [whole, out] = ["whole", "stopped"].map(|name| folder.path().join(name));
    trained(&short, &whole);
    let (_, events) = run_to(&long, &whole);
    let Some(Event::EpochsChanged { same_as_from_start: false, lr_before: None, lr, .. }) =
        changed(&events)
    else {
        panic!("{events:?}")
    };
    assert_eq!(*lr, 0.005);
    let from_start = folder.path().join("from-start");
    trained(&long, &from_start);
    assert!(weights(&from_start, 4) != weights(&whole, 4), "the schedules differ");

    trained(&short, &out);
    let at = |event: &Event| matches!(event, Event::Step { epoch: 3, step: 2, .. });
    assert!(run_with(&long, &out, (true, true), at).0.unwrap().interrupted);
    let (summary, events) = run(&long, &out, true, |_| false);
    assert!(!summary.unwrap().interrupted);
    assert_eq!(changed(&events), None);
    assert!(weights(&out, 4) == weights(&whole, 4));
}

#[test]
fn a_run_killed_while_it_was_extended_goes_on_from_any_of_its_checkpoints() {
    let folder = tempdir().unwrap();
    let [short, long] = [2, 4].map(|n| recipe(&[&format!("train.epochs={n}")]));
    let [whole, out] = ["whole", "killed"].map(|name| folder.path().join(name));
    trained(&short, &whole);
    run_to(&long, &whole).0.unwrap();
    trained(&short, &out);
    fs::write(RunPaths::new(&out).recipe(), long.to_toml().unwrap()).unwrap();
    run(&long, &out, true, |_| false).0.unwrap();
    assert!(weights(&out, 4) == weights(&whole, 4));
}

#[test]
fn before_the_stage_with_binary_weights_more_epochs_are_as_from_the_start() {
    let folder = tempdir().unwrap();
    let two = |n: usize| {
        recipe(&["train.stages=two", "train.real_weight_epochs=1", &format!("train.epochs={n}")])
    };
    let [whole, out] = ["whole", "extended"].map(|name| folder.path().join(name));
    trained(&two(3), &whole);
    stopped(&two(1), &out, 1, STEPS);
    let (_, events) = run_to(&two(3), &out);
    let Some(Event::EpochsChanged { same_as_from_start: true, .. }) = changed(&events) else {
        panic!("{events:?}")
    };
    assert!(weights(&out, 4) == weights(&whole, 4));
}

#[test]
fn a_run_does_not_become_shorter_than_it_is() {
    let folder = tempdir().unwrap();
    let [one, two, three] = [1, 2, 3].map(|n| recipe(&[&format!("train.epochs={n}")]));
    let [finished, stopped_in_two] = ["finished", "stopped"].map(|name| folder.path().join(name));
    trained(&two, &finished);
    stopped(&three, &stopped_in_two, 2, 1);
    for out in [&finished, &stopped_in_two] {
        let before = fs::read(RunPaths::new(out).recipe()).unwrap();
        let error = run_to(&one, out).0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("train.epochs is 1, expected 2 or more"), "{error}");
        assert_eq!(fs::read(RunPaths::new(out).recipe()).unwrap(), before);
    }
    assert_eq!(run_to(&two, &stopped_in_two).0.unwrap().epoch, 2);
}

#[test]
fn nothing_but_the_epochs_may_change_and_only_when_asked() {
    let folder = tempdir().unwrap();
    let [two, three] = [2, 3].map(|n| recipe(&[&format!("train.epochs={n}")]));
    trained(&two, folder.path());
    let (kind, text) = refused(&three, folder.path());
    assert_eq!(kind, ErrorKind::Usage);
    assert!(text.contains("train.epochs is 2 there and 3 here"), "{text}");
    let other = recipe(&["train.epochs=3", "train.lr=0.5"]);
    let error = run_to(&other, folder.path()).0.unwrap_err().to_string();
    assert!(error.contains("train.lr is 0.01 there and 0.5 here"), "{error}");
}
