//! Runs that go on: every number of a checkpoint fits the recipe, and the rows of the curves are there.

#![allow(clippy::unwrap_used)]

mod runs;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use onebit_data::ErrorKind;
use onebit_model::file::{Container, Kind, container};
use onebit_model::{Data, Tensor};
use onebit_train::checkpoint::{CURRENT, MANIFEST, OPTIMIZER, STATE, WEIGHTS};
use onebit_train::{Event, RunPaths, TrainError, metrics};
use runs::{copy, recipe, refused, replace, run, set_state, stopped};
use serde_json::{Value, json};
use tempfile::tempdir;

type Metadata = BTreeMap<String, String>;
type Tensors = BTreeMap<String, Tensor>;

/// A run that was stopped after 2 steps of its second epoch, ready to be spoilt again and again.
fn spoilt(overrides: &[&str], cases: &[(&str, Value, &str)]) {
    let folder = tempdir().unwrap();
    let recipe = recipe(overrides);
    let good = folder.path().join("good");
    let name = stopped(&recipe, &good, 2, 2).file_name().unwrap().to_owned();
    for (number, (key, value, reason)) in cases.iter().enumerate() {
        let out = folder.path().join(number.to_string());
        copy(&good, &out);
        fs::remove_dir_all(out.join("checkpoints/epoch-00001")).unwrap();
        let checkpoint = out.join("checkpoints").join(&name);
        set_state(&checkpoint, key, value);
        let (kind, text) = refused(&recipe, &out);
        assert_eq!(kind, ErrorKind::BadData, "{key} {value}: {text}");
        let start = format!("{}: ", checkpoint.join(STATE).display());
        assert!(text.starts_with(&start) && text.contains(reason), "{key} {value}: {text}");
        assert!(checkpoint.join(WEIGHTS).exists(), "{key} {value}: the checkpoint was removed");
    }
}

#[test]
fn every_number_of_the_state_fits_the_recipe_and_the_images() {
    let most = json!(u64::MAX);
    spoilt(
        &[],
        &[
            ("epoch", json!(3), "epoch is 3, expected 0 to 2"),
            ("epoch", json!(41), "epoch is 41, expected 0 to 2"),
            ("epoch", most.clone(), "epoch is 18446744073709551615, expected 0 to 2"),
            ("epoch", json!(0), "global_step is 6, expected 2 after 0 epochs"),
            ("step_in_epoch", json!(5), "step_in_epoch is 5, expected 0 to 4"),
            (
                "step_in_epoch",
                most.clone(),
                "step_in_epoch is 18446744073709551615, expected 0 to 4",
            ),
            ("global_step", json!(7), "global_step is 7, expected 6"),
            ("global_step", most.clone(), "global_step is 18446744073709551615, expected 6"),
            ("stage", json!("real_weights"), "stage is real_weights, expected binary_weights"),
            ("seed", json!(4), "seed is 4, expected 3"),
            ("images", json!(63), "started with 63 training images"),
            ("recipe_sha256", json!("ab"), "another recipe"),
            ("epochs", json!(3), "another recipe"),
            ("epochs", json!(0), "another recipe"),
            ("epochs", most.clone(), "another recipe"),
            ("init_sha256", json!("ab"), "init_sha256 is there, expected missing"),
            ("teacher_sha256", json!("ab"), "teacher_sha256 is there, expected missing"),
            ("best.epoch", json!(2), "best.epoch is 2, expected 1 to 1"),
            ("best.epoch", json!(0), "best.epoch is 0, expected 1 to 1"),
            ("best.epoch", most.clone(), "best.epoch is 18446744073709551615"),
            ("best.top1", json!(1.01), "best.top1 is 1.01, expected a share from 0 to 1"),
            ("best.top1", json!(-0.5), "best.top1 is -0.5"),
            ("best.top1", json!(1e308), "best.top1 is 1"),
            ("sums.loss", json!(1e308), "sums.loss is 1"),
            ("sums.correct", json!(33), "sums.correct is 33, expected 0 to 32"),
            ("sums.correct", most, "sums.correct is 18446744073709551615"),
            ("sums.seconds", json!(-1.0), "sums.seconds is -1"),
            ("sums.seconds", json!(1e308), "sums.seconds is 1"),
        ],
    );
}

#[test]
fn values_of_another_type_do_not_tell_where_a_run_stands() {
    let reason = "does not tell where a run stands";
    let mut cases = Vec::new();
    for key in
        ["epoch", "step_in_epoch", "global_step", "seed", "images", "best.epoch", "sums.correct"]
    {
        for value in [json!(-1), json!(1.5), json!(1e308), json!("2"), json!(null), json!([2])] {
            cases.push((key, value, reason));
        }
    }
    for key in ["stage", "recipe_sha256", "best.top1", "sums.loss", "sums"] {
        cases.push((key, json!({ "a": 1 }), reason));
    }
    cases.push(("steps", json!(1), reason));
    spoilt(&[], &cases);
}

#[test]
fn a_number_that_is_none_does_not_tell_where_a_run_stands() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&[]);
    let checkpoint = stopped(&recipe, folder.path(), 2, 2);
    let state = fs::read_to_string(checkpoint.join(STATE)).unwrap();
    for word in ["NaN", "Infinity", "1e999"] {
        let start = state.find("\"loss\":").unwrap() + "\"loss\":".len();
        let end = start + state[start..].find(',').unwrap();
        let spoilt = format!("{}{word}{}", &state[..start], &state[end..]);
        replace(&checkpoint, STATE, spoilt.as_bytes());
        let (kind, text) = refused(&recipe, folder.path());
        assert_eq!(kind, ErrorKind::BadData);
        assert!(text.contains("does not tell where a run stands"), "{text}");
    }
}

#[test]
fn a_checkpoint_stands_where_its_name_says() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&[]);
    let checkpoint = stopped(&recipe, folder.path(), 2, 2);
    fs::remove_dir_all(checkpoint.with_file_name("epoch-00001")).unwrap();
    let renamed = checkpoint.with_file_name("epoch-00001-step-000003");
    fs::rename(&checkpoint, &renamed).unwrap();
    let (kind, text) = refused(&recipe, folder.path());
    assert_eq!(kind, ErrorKind::BadData);
    let reason = "stands at epoch-00001-step-000002, expected epoch-00001-step-000003";
    assert!(text.contains(reason), "{text}");
}

#[test]
fn a_checkpoint_of_another_name_makes_way_for_the_one_before() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&["train.epochs=3"]);
    let checkpoint = stopped(&recipe, folder.path(), 2, 2);
    let renamed = checkpoint.with_file_name("epoch-00002");
    fs::rename(&checkpoint, &renamed).unwrap();
    let (summary, events) = run(&recipe, folder.path(), true, |_| false);
    assert_eq!(summary.unwrap().epoch, 3);
    let resumed = events.iter().find_map(|event| match event {
        Event::Resumed { path, skipped, .. } => Some((path.clone(), skipped.clone())),
        _ => None,
    });
    let (path, skipped) = resumed.unwrap();
    assert_eq!(path, Some(checkpoint.with_file_name("epoch-00001")));
    assert!(skipped[0].reason.contains("stands at epoch-00001-step-000002, expected epoch-00002"));
    assert_eq!(skipped[0].kept_as, checkpoint.with_file_name("damaged-epoch-00002"));
}

#[test]
fn an_optimizer_of_another_run_is_refused() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&[]);
    let checkpoint = stopped(&recipe, folder.path(), 2, 2);
    let bytes = fs::read(checkpoint.join(OPTIMIZER)).unwrap();
    let changed = |change: &dyn Fn(&mut Metadata, &mut Tensors)| {
        let Container { mut metadata, mut tensors, .. } =
            container::read(Kind::Optimizer, &bytes).unwrap();
        change(&mut metadata, &mut tensors);
        let bytes = container::write(Kind::Optimizer, 1, &metadata, &tensors).unwrap();
        replace(&checkpoint, OPTIMIZER, &bytes);
        let (kind, text) = refused(&recipe, folder.path());
        assert_eq!(kind, ErrorKind::BadData, "{text}");
        assert!(text.contains("optimizer.safetensors"), "{text}");
        text
    };
    for steps in ["0", "7", "18446744073709551615"] {
        let text = changed(&|metadata, _| _ = metadata.insert("steps".into(), steps.into()));
        assert!(text.contains(&format!("`steps` is {steps}, expected 6")), "{text}");
    }
    for steps in ["-1", "6.0", ""] {
        let text = changed(&|metadata, _| _ = metadata.insert("steps".into(), steps.into()));
        assert!(text.contains("`steps` is missing or no number"), "{text}");
    }
    let longer = Tensor { shape: vec![11], data: Data::F32(vec![0.0; 11]) };
    let text = changed(&|_, tensors| _ = tensors.insert("fc.bias.m".into(), longer.clone()));
    assert!(text.contains("`fc.bias.m` is missing or of another shape"), "{text}");
    let text = changed(&|_, tensors| _ = tensors.insert("other.m".into(), longer.clone()));
    assert!(text.contains("`other.m` belongs to no parameter"), "{text}");
    for (name, value) in [
        ("fc.bias.m", f32::NAN),
        ("fc.bias.m", f32::INFINITY),
        ("fc.bias.v", -1.0),
        ("fc.bias.v", f32::NAN),
    ] {
        let spoilt = Tensor { shape: vec![10], data: Data::F32(vec![value; 10]) };
        let text = changed(&|_, tensors| _ = tensors.insert(name.into(), spoilt.clone()));
        assert!(text.contains("the state of `fc.bias` holds no means"), "{text}");
    }
}

#[test]
fn averages_are_there_if_and_only_if_the_recipe_says_so() {
    let folder = tempdir().unwrap();
    let [plain, averaged] = ["plain", "averaged"].map(|name| folder.path().join(name));
    let with = recipe(&["train.ema=0.9"]);
    let checkpoint = stopped(&with, &averaged, 2, 2);
    let current = fs::read(checkpoint.join(CURRENT)).unwrap();
    fs::remove_file(checkpoint.join(CURRENT)).unwrap();
    let mut manifest: Value =
        serde_json::from_slice(&fs::read(checkpoint.join(MANIFEST)).unwrap()).unwrap();
    manifest["files"].as_object_mut().unwrap().remove(CURRENT);
    fs::write(checkpoint.join(MANIFEST), manifest.to_string()).unwrap();
    let (kind, text) = refused(&with, &averaged);
    assert!(
        kind == ErrorKind::BadData && text.contains("current.safetensors: is missing"),
        "{text}"
    );
    let without = recipe(&[]);
    let checkpoint = stopped(&without, &plain, 2, 2);
    replace(&checkpoint, CURRENT, &current);
    let (kind, text) = refused(&without, &plain);
    assert!(kind == ErrorKind::BadData && text.contains("current.safetensors: is there"), "{text}");
}

#[test]
fn weights_of_another_network_are_refused() {
    let folder = tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
    let recipe_of_one = recipe(&[]);
    let checkpoint = stopped(&recipe_of_one, &one, 2, 2);
    let theirs = stopped(&recipe(&["network.method=ftbnn"]), &other, 2, 2);
    replace(&checkpoint, WEIGHTS, &fs::read(theirs.join(WEIGHTS)).unwrap());
    let (kind, text) = refused(&recipe_of_one, &one);
    assert!(kind == ErrorKind::BadData && text.contains("holds another network"), "{text}");
}

#[test]
fn rows_that_are_missing_are_told_and_those_ahead_dropped() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&["train.epochs=3"]);
    stopped(&recipe, folder.path(), 3, 1);
    let path = RunPaths::new(folder.path()).metrics();
    let table = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    let resumed = |table: String| {
        let out = folder.path().join("again");
        fs::remove_dir_all(&out).ok();
        copy_run(folder.path(), &out);
        fs::write(RunPaths::new(&out).metrics(), table).unwrap();
        let (summary, events) = run(&recipe, &out, true, |_| false);
        let warned = events.iter().any(|event| {
            let start = format!("{}: line ", RunPaths::new(&out).metrics().display());
            matches!(event, Event::Warning(text) if text.starts_with(&start) && text.contains("is kept as"))
        });
        let aside = fs::read_to_string(out.join("damaged-metrics.csv")).ok();
        assert_eq!(warned, aside.is_some());
        let missing = events.iter().find_map(|event| match event {
            Event::RowsMissing { epochs } => Some(*epochs),
            _ => None,
        });
        summary.unwrap();
        (missing, metrics::read(&RunPaths::new(&out).metrics()).unwrap().len(), aside)
    };
    assert_eq!(resumed(table.clone()), (None, 3, None));
    assert_eq!(resumed(format!("{}\n{}\n", lines[0], lines[2])), (Some(1), 2, None));
    assert_eq!(resumed(String::new()), (Some(2), 1, None));
    let ahead = format!("{table}{}\n", lines[2].replacen('2', "9", 1));
    assert_eq!(resumed(ahead), (None, 3, None));
    for twice in
        [format!("{table}{}\n", lines[2]), format!("{}\n{}\n{}\n", lines[0], lines[2], lines[1])]
    {
        assert_eq!(resumed(twice.clone()), (Some(2), 1, Some(twice)));
    }
}

#[test]
fn a_lost_recipe_is_written_anew_where_the_checkpoint_fits_it() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("run");
    let own = recipe(&["train.epochs=3"]);
    stopped(&own, &out, 2, 2);
    let path = RunPaths::new(&out).recipe();
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let (kind, sentence) = refused(&recipe(&["train.epochs=3", "train.lr=0.5"]), &out);
    assert_eq!(kind, ErrorKind::BadData);
    assert!(sentence.contains("made with another recipe") && !path.exists(), "{sentence}");
    let error = run(&own, &out, false, |_| false).0.unwrap_err();
    assert!(matches!(error, TrainError::RecipeLost { .. }), "{error}");
    assert_eq!(run(&own, &out, true, |_| false).0.unwrap().epoch, 3);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

/// What a run has, but not what else lies in its folder.
fn copy_run(from: &Path, to: &Path) {
    for name in ["checkpoints", "best"] {
        copy(&from.join(name), &to.join(name));
    }
    for name in ["recipe.toml", "metrics.csv"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}
