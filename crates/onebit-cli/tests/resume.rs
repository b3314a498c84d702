//! Runs that go on, as a user sees them.
#![cfg(feature = "train")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Outcome, onebit, recipe};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A run of one epoch in `folder`.
fn trained(folder: &Path) -> PathBuf {
    let (recipe, out) = (recipe(folder, "epochs = 1"), folder.join("run"));
    let outcome = onebit(&["train", text(&recipe), "--out", text(&out)]);
    outcome.succeeded();
    let shown = outcome.stdout + &outcome.stderr;
    assert!(shown.contains("1 epoch") && !shown.contains("1 epochs"), "{shown}");
    out
}

fn resume(out: &Path, extra: &[&str]) -> Outcome {
    onebit(&[&["train", "--resume", "--out", text(out)], extra].concat())
}

#[test]
fn a_finished_run_tells_how_to_extend_it_and_is_extended() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = trained(folder.path());
    let again = resume(&out, &[]);
    assert_eq!(again.succeeded().lines().count(), 5, "{}", again.stdout);
    let how = format!(
        "the run is finished (1 epoch); to go on: onebit train --resume --out {} --epochs N",
        text(&out)
    );
    assert!(again.stderr.contains(&how), "{}", again.stderr);
    assert!(
        !again.stderr.contains("resuming") && !again.stderr.contains("epoch 2"),
        "{}",
        again.stderr
    );

    let longer = resume(&out, &["--epochs", "3", "--json"]);
    assert_eq!(longer.json()["epochs"], 3);
    assert!(longer.stderr.contains("going on to 3 epochs"), "{}", longer.stderr);
    assert!(longer.stderr.contains("the weights will differ"), "{}", longer.stderr);
    assert!(fs::read_to_string(out.join("recipe.toml")).expect("a recipe").contains("epochs = 3"));
    assert!(out.join("checkpoints/epoch-00003").exists());

    let outcome = resume(&out, &["--set", "train.epochs=2"]);
    let last = outcome.stderr.lines().last().unwrap_or_default();
    assert_eq!(outcome.code, Some(64), "{last}");
    assert!(last.contains("train.epochs is 2, expected 3 or more"), "{last}");
    assert!(fs::read_to_string(out.join("recipe.toml")).expect("a recipe").contains("epochs = 3"));
}

#[test]
fn the_first_recipe_still_tells_what_was_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = trained(folder.path());
    let recipe = folder.path().join("tiny.toml");
    let changed =
        ["train", text(&recipe), "--out", text(&out), "--resume", "--set", "train.lr=0.5"];
    let outcome = onebit(&changed);
    assert_eq!(outcome.code, Some(64));
    resume(&out, &["--epochs", "2"]).succeeded();
    let outcome = onebit(&["train", text(&recipe), "--out", text(&out), "--resume"]);
    assert_eq!(outcome.code, Some(64));
    assert!(outcome.stderr.contains("train.epochs is 2 there and 1 here"), "{}", outcome.stderr);
    onebit(&["train", "--resume"]).failed(64);
    onebit(&["train"]).failed(64);
    resume(&folder.path().join("nowhere"), &[]).failed(66);
}

#[test]
fn damaged_best_weights_are_told_by_every_verb_and_restored() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = trained(folder.path());
    let weights = out.join("best/weights.safetensors");
    let good = fs::read(&weights).expect("weights");
    let damage = |kind: &str| match kind {
        "flipped" => {
            let mut bytes = good.clone();
            bytes[good.len() / 2] ^= 1;
            fs::write(&weights, bytes).expect("written");
        }
        _ => fs::remove_dir_all(out.join("best")).expect("removed"),
    };
    for kind in ["flipped", "gone"] {
        damage(kind);
        let file = folder.path().join("a.onebit");
        let pack = onebit(&["pack", text(&out), "-o", text(&file)]);
        let eval = onebit(&["eval", text(&out), "--data", "fashion-mnist-sample", "--limit", "20"]);
        for outcome in [pack, eval] {
            outcome.succeeded();
            let said = outcome.stderr;
            assert!(said.contains("warning: ") && said.contains("best is "), "{kind}: {said}");
            assert!(
                said.contains("epoch-00001/weights.safetensors is used in its place"),
                "{said}"
            );
        }
        let outcome = resume(&out, &[]);
        outcome.succeeded();
        let said =
            "warning: the best weights were damaged and are replaced by those of epoch 1 (top-1 ";
        assert!(outcome.stderr.contains(said), "{kind}: {}", outcome.stderr);
        assert!(fs::read(&weights).expect("weights") == good, "{kind}");
    }
}

#[test]
fn a_teacher_that_is_not_the_best_of_its_run_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let teacher = trained(folder.path());
    let taught =
        recipe(folder.path(), &format!("epochs = 1\n[train.teacher]\npath = {:?}", text(&teacher)));
    fs::write(teacher.join("best/weights.safetensors"), "damaged").expect("written");
    let outcome = onebit(&["train", text(&taught), "--out", text(&folder.path().join("taught"))]);
    outcome.succeeded();
    let said =
        format!("warning: passed over: {}/best/weights.safetensors: has 7 bytes", text(&teacher));
    assert!(outcome.stderr.contains(&said), "{}", outcome.stderr);
    let outcome = onebit(&["train", text(&taught), "--check"]);
    outcome.succeeded();
    assert!(outcome.stderr.contains("best/weights.safetensors: has 7 bytes"), "{}", outcome.stderr);
}

#[test]
fn damaged_checkpoints_are_kept_under_another_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = trained(folder.path());
    resume(&out, &["--epochs", "2"]).succeeded();
    let newest = out.join("checkpoints/epoch-00002");
    fs::write(newest.join("state.json"), "mine").expect("written");
    let outcome = resume(&out, &[]);
    outcome.succeeded();
    let aside = out.join("checkpoints/damaged-epoch-00002");
    let said = format!("; it is kept as {}", text(&aside));
    assert!(outcome.stderr.contains(&said), "{}", outcome.stderr);
    assert_eq!(fs::read(aside.join("state.json")).expect("a file"), b"mine");
    assert!(newest.exists());
}
