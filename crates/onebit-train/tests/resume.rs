//! Runs that go on: every number of a checkpoint fits the recipe, and the best weights are whole.

#![allow(clippy::unwrap_used)]

mod runs;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use onebit_data::ErrorKind;
use onebit_model::file::{Container, Kind, container};
use onebit_model::{Data, Tensor};
use onebit_train::checkpoint::{Best, CURRENT, MANIFEST, OPTIMIZER, STATE, WEIGHTS};
use onebit_train::{Event, RunPaths, TrainError, metrics};
use runs::{recipe, refused, run, run_to, stopped, trained};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::tempdir;

type Metadata = BTreeMap<String, String>;
type Tensors = BTreeMap<String, Tensor>;

/// Replaces a file of a checkpoint, whose manifest then is right.
fn replace(folder: &Path, name: &str, bytes: &[u8]) {
    fs::write(folder.join(name), bytes).unwrap();
    let path = folder.join(MANIFEST);
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    manifest["files"][name] = json!({ "bytes": bytes.len(), "sha256": sha256 });
    fs::write(path, manifest.to_string()).unwrap();
}

/// Sets a value of a checkpoint's state, such as `best.epoch`.
fn set_state(folder: &Path, key: &str, value: &Value) {
    let mut state: Value = serde_json::from_slice(&fs::read(folder.join(STATE)).unwrap()).unwrap();
    let place = key.split('.').fold(&mut state, |place, part| &mut place[part]);
    *place = value.clone();
    replace(folder, STATE, state.to_string().as_bytes());
}

fn copy(from: &Path, to: &Path) {
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

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// A run that was stopped after 2 steps of its second epoch, ready to be spoilt again and again.
fn spoilt(overrides: &[&str], cases: &[(&str, Value, &str)]) {
    let folder = tempdir().unwrap();
    let recipe = recipe(overrides);
    let good = folder.path().join("good");
    let name = stopped(&recipe, &good, 2, 2).file_name().unwrap().to_owned();
    for (number, (key, value, reason)) in cases.iter().enumerate() {
        let out = folder.path().join(number.to_string());
        copy(&good, &out);
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
    let renamed = checkpoint.with_file_name("epoch-00001-step-000003");
    fs::rename(&checkpoint, &renamed).unwrap();
    let (kind, text) = refused(&recipe, folder.path());
    assert_eq!(kind, ErrorKind::BadData);
    let reason = "stands at epoch-00001-step-000002, expected epoch-00001-step-000003";
    assert!(text.contains(reason), "{text}");
}

#[test]
fn an_optimizer_of_another_run_is_refused() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&[]);
    let checkpoint = stopped(&recipe, folder.path(), 2, 2);
    let bytes = fs::read(checkpoint.join(OPTIMIZER)).unwrap();
    let changed = |change: &dyn Fn(&mut Metadata, &mut Tensors)| {
        let Container { mut metadata, mut tensors } =
            container::read(Kind::Optimizer, &bytes).unwrap();
        change(&mut metadata, &mut tensors);
        let bytes = container::write(Kind::Optimizer, &metadata, &tensors).unwrap();
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
        assert!(text.contains("the moments of `fc.bias`"), "{text}");
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

/// The epochs of which it was said that they are the best.
fn best_epochs(events: &[Event]) -> Vec<usize> {
    let best = |event: &Event| match event {
        Event::Epoch { row, best: true } => Some(row.epoch),
        _ => None,
    };
    events.iter().filter_map(best).collect()
}

#[test]
fn only_an_epoch_that_is_better_than_those_before_the_interruption_is_called_best() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&["train.epochs=4"]);
    let [whole, out] = ["whole", "out"].map(|name| folder.path().join(name));
    let (_, events) = run(&recipe, &whole, false, |_| false);
    let expected = best_epochs(&events);
    assert!(expected.len() < 4, "a run in which every epoch is the best shows nothing");
    for epoch in 1..4 {
        fs::remove_dir_all(&out).ok();
        let between =
            |event: &Event| matches!(event, Event::Epoch { row, .. } if row.epoch == epoch);
        let (_, mut events) = run(&recipe, &out, false, between);
        events.extend(run(&recipe, &out, true, |_| false).1);
        assert_eq!(best_epochs(&events), expected, "stopped after epoch {epoch}");
    }
}

fn damage(events: &[Event]) -> Vec<(String, Option<Best>)> {
    let damage = |event: &Event| match event {
        Event::BestDamaged { reason, instead } => Some((reason.clone(), *instead)),
        _ => None,
    };
    events.iter().filter_map(damage).collect()
}

#[test]
fn damaged_best_weights_are_noticed_and_restored_from_the_checkpoint_of_their_epoch() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&["train.epochs=4", "train.keep_checkpoints=4"]);
    let good = folder.path().join("good");
    trained(&recipe, &good);
    let files = |out: &Path| {
        [WEIGHTS, STATE, MANIFEST].map(|name| fs::read(out.join("best").join(name)).unwrap())
    };
    for case in [
        "flipped weights",
        "flipped state",
        "no weights",
        "no manifest",
        "empty",
        "gone",
        "file",
        "older",
    ] {
        let out = folder.path().join(case);
        copy(&good, &out);
        let best = out.join("best");
        match case {
            "flipped weights" => flip(&best.join(WEIGHTS)),
            "flipped state" => flip(&best.join(STATE)),
            "no weights" => fs::remove_file(best.join(WEIGHTS)).unwrap(),
            "no manifest" => fs::remove_file(best.join(MANIFEST)).unwrap(),
            "empty" => {
                fs::remove_dir_all(&best).unwrap();
                fs::create_dir(&best).unwrap();
            }
            "older" => set_state(&best, "best.epoch", &json!(99)),
            _ => fs::remove_dir_all(&best).unwrap(),
        }
        if case == "file" {
            fs::write(&best, "in the way").unwrap();
        }
        let (summary, events) = run(&recipe, &out, true, |_| false);
        let summary = summary.unwrap();
        let found = damage(&events);
        assert_eq!(found.len(), 1, "{case}: {events:?}");
        assert!(
            found[0].0.contains("best") && !found[0].0.contains('\n'),
            "{case}: {}",
            found[0].0
        );
        assert_eq!(found[0].1, summary.best, "{case}");
        assert!(files(&out) == files(&good), "{case}: not restored as it was");
        let (_, events) = run(&recipe, &out, true, |_| false);
        assert_eq!(damage(&events), [], "{case}: noticed again");
    }
}

#[test]
fn best_weights_that_are_lost_are_replaced_by_the_best_of_the_kept_checkpoints() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&["train.epochs=4", "train.keep_checkpoints=4"]);
    let out = folder.path().join("run");
    trained(&recipe, &out);
    let rows = metrics::read(&RunPaths::new(&out).metrics()).unwrap();
    let best = rows
        .iter()
        .fold(&rows[0], |best, row| if row.test_top1 > best.test_top1 { row } else { best });
    let others = || rows.iter().filter(|row| row.epoch != best.epoch);
    let next = others()
        .fold(others().next().unwrap(), |a, b| if b.test_top1 > a.test_top1 { b } else { a });
    fs::remove_dir_all(out.join(format!("checkpoints/epoch-{:05}", best.epoch))).unwrap();
    fs::remove_dir_all(out.join("best")).unwrap();
    let (summary, events) = run(&recipe, &out, true, |_| false);
    if best.epoch == 4 {
        // The newest checkpoint was the best one: the run goes on from the one before it and comes there again.
        assert_eq!(summary.unwrap().best.unwrap().epoch, 4);
        return;
    }
    let instead = damage(&events)[0].1.unwrap();
    assert_eq!((instead.epoch, instead.top1), (next.epoch, next.test_top1));
    assert_eq!(summary.unwrap().best, Some(instead));
    let weights = |path: PathBuf| fs::read(path.join(WEIGHTS)).unwrap();
    let kept = out.join(format!("checkpoints/epoch-{:05}", next.epoch));
    assert!(weights(out.join("best")) == weights(kept));
}

#[test]
fn best_weights_that_nothing_can_replace_are_replaced_by_the_best_to_come() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&["train.epochs=3", "train.keep_checkpoints=1"]);
    stopped(&recipe, folder.path(), 2, 2);
    fs::remove_dir_all(folder.path().join("best")).unwrap();
    let (summary, events) = run(&recipe, folder.path(), true, |_| false);
    assert_eq!(damage(&events)[0].1, None);
    assert_eq!(best_epochs(&events)[0], 2);
    assert!(summary.unwrap().best.unwrap().epoch >= 2);
    assert!(folder.path().join("best").join(WEIGHTS).exists());
}

#[test]
fn the_best_of_a_killed_run_may_be_ahead_of_its_newest_checkpoint() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&["train.epochs=4", "train.save_every=2"]);
    let [whole, out] = ["whole", "killed"].map(|name| folder.path().join(name));
    trained(&recipe, &whole);
    trained(&recipe, &out);
    fs::remove_dir_all(out.join("checkpoints/epoch-00004")).unwrap();
    let (summary, events) = run(&recipe, &out, true, |_| false);
    assert_eq!(damage(&events), []);
    assert_eq!(summary.unwrap().best, run(&recipe, &whole, true, |_| false).0.unwrap().best);
}

#[test]
fn the_best_of_a_run_that_gets_longer_may_be_ahead_of_its_newest_whole_checkpoint() {
    let folder = tempdir().unwrap();
    let short = recipe(&["train.epochs=4", "train.save_every=2"]);
    trained(&short, folder.path());
    fs::remove_dir_all(folder.path().join("checkpoints/epoch-00004")).unwrap();
    let longer = recipe(&["train.epochs=6", "train.save_every=2"]);
    let (summary, events) = run_to(&longer, folder.path());
    assert_eq!(damage(&events), []);
    assert_eq!(summary.unwrap().epochs, 6);
}

#[test]
fn a_run_without_checkpoints_begins_anew_and_says_so() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&[]);
    trained(&recipe, folder.path());
    fs::remove_dir_all(folder.path().join("checkpoints")).unwrap();
    let (summary, events) = run(&recipe, folder.path(), true, |_| false);
    let is_told = |event: &Event| matches!(event, Event::Warning(text) if text.contains("holds no checkpoint"));
    assert!(events.iter().any(is_told), "{events:?}");
    assert!(summary.is_ok());
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
        let missing = events.iter().find_map(|event| match event {
            Event::RowsMissing { epochs } => Some(*epochs),
            _ => None,
        });
        summary.map(|_| (missing, metrics::read(&RunPaths::new(&out).metrics()).unwrap().len()))
    };
    assert_eq!(resumed(table.clone()).unwrap(), (None, 3));
    assert_eq!(resumed(format!("{}\n{}\n", lines[0], lines[2])).unwrap(), (Some(1), 2));
    assert_eq!(resumed(String::new()).unwrap(), (Some(2), 1));
    let ahead = format!("{table}{}\n", lines[2].replacen('2', "9", 1));
    assert_eq!(resumed(ahead).unwrap(), (None, 3));
    for twice in
        [format!("{table}{}\n", lines[2]), format!("{}\n{}\n{}\n", lines[0], lines[2], lines[1])]
    {
        let error = resumed(twice).unwrap_err();
        assert!(
            matches!(error, TrainError::Damaged { .. })
                && error.to_string().contains("metrics.csv: line ")
        );
    }
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

#[test]
fn initial_weights_of_a_run_whose_best_are_damaged_are_told() {
    let folder = tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    trained(&recipe(&[]), &first);
    flip(&first.join("best").join(WEIGHTS));
    let init = format!("train.init={}", first.display());
    let (_, events) = run(&recipe(&[&init]), &second, false, |_| false);
    let skipped = events.iter().find_map(|event| match event {
        Event::Initialized { skipped, .. } => Some(skipped.clone()),
        _ => None,
    });
    assert!(skipped.unwrap()[0].contains("best"));
}
