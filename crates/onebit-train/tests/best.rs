//! The best weights of runs that go on, and checkpoints that are damaged: nothing is lost.

#![allow(clippy::unwrap_used)]

mod runs;

use std::fs;
use std::path::{Path, PathBuf};

use onebit_train::checkpoint::{Best, MANIFEST, STATE, WEIGHTS};
use onebit_train::{Event, Recipe, RunPaths, metrics};
use runs::{copy, files_in, flip, recipe, run, run_to, run_with, set_state, stopped, trained};
use serde_json::json;
use tempfile::tempdir;

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
        Event::BestDamaged { reason, instead, .. } => Some((reason.clone(), *instead)),
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
        let was_there = files_in(&best);
        let (summary, events) = run(&recipe, &out, true, |_| false);
        let summary = summary.unwrap();
        let aside = (case != "gone").then(|| out.join("damaged-best"));
        let is_told = |event: &Event| matches!(event, Event::BestDamaged { kept_as, .. } if *kept_as == aside);
        assert!(events.iter().any(is_told), "{case}: {events:?}");
        assert!(files_in(&out.join("damaged-best")) == was_there, "{case}: something was lost");
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

/// A run whose newest checkpoint is lost and whose best weights, which it recorded as all right, no epoch can beat.
fn with_unbeatable_best(recipe: &Recipe, out: &Path) -> Vec<(String, Vec<u8>)> {
    trained(recipe, out);
    let best = out.join("best");
    set_state(&best, "epoch", &json!(4));
    set_state(&best, "best", &json!({ "epoch": 4, "top1": 1.0 }));
    fs::remove_dir_all(out.join("checkpoints/epoch-00004")).unwrap();
    files_in(&best)
}

#[test]
fn best_weights_ahead_of_a_run_stay_until_an_epoch_is_better() {
    let folder = tempdir().unwrap();
    let short = recipe(&["train.epochs=4", "train.save_every=2"]);
    let longer = recipe(&["train.epochs=6", "train.save_every=2"]);
    let kept = with_unbeatable_best(&short, folder.path());
    let best = folder.path().join("best");
    let unbeaten = Some(Best { epoch: 4, top1: 1.0 });
    let at = |event: &Event| matches!(event, Event::Step { epoch: 4, step: 1, .. });
    let (summary, mut events) = run_with(&longer, folder.path(), (true, true), at);
    assert_eq!(summary.unwrap().best, unbeaten, "stopped before that epoch");
    let (summary, rest) = run(&longer, folder.path(), true, |_| false);
    events.extend(rest);
    assert_eq!((damage(&events), best_epochs(&events)), (vec![], vec![]));
    assert_eq!(summary.unwrap().best, unbeaten);
    assert!(files_in(&best) == kept, "worse weights took the place of the best ones");
    let (summary, events) = run(&longer, folder.path(), true, |_| false);
    assert_eq!((summary.unwrap().best, damage(&events)), (unbeaten, vec![]));
    assert!(files_in(&best) == kept);

    let state = json!({ "epoch": 4, "top1": 0.0001 });
    set_state(&best, "best", &state);
    fs::remove_dir_all(folder.path().join("checkpoints")).unwrap();
    let (summary, events) = run(&longer, folder.path(), true, |_| false);
    assert_eq!(best_epochs(&events)[0], 1);
    assert!(summary.unwrap().best.unwrap().top1 > 0.0001);
    assert!(files_in(&best) != kept);
}

#[test]
fn a_run_without_checkpoints_begins_anew_and_says_so() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&["train.epochs=4", "train.save_every=2"]);
    let kept = with_unbeatable_best(&recipe, folder.path());
    fs::remove_dir_all(folder.path().join("checkpoints")).unwrap();
    let (summary, events) = run(&recipe, folder.path(), true, |_| false);
    let is_told = |event: &Event| matches!(event, Event::Warning(text) if text.contains("holds no checkpoint"));
    assert!(events.iter().any(is_told), "{events:?}");
    assert_eq!(summary.unwrap().best, Some(Best { epoch: 4, top1: 1.0 }));
    assert!(files_in(&folder.path().join("best")) == kept);
}

#[test]
fn what_is_in_the_place_of_the_best_weights_before_there_are_any_is_kept() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&[]);
    stopped(&recipe, folder.path(), 1, 2);
    fs::create_dir(folder.path().join("best")).unwrap();
    fs::write(folder.path().join("best/notes.txt"), "mine").unwrap();
    let (summary, events) = run(&recipe, folder.path(), true, |_| false);
    assert!(summary.is_ok() && damage(&events).len() == 1, "{events:?}");
    assert_eq!(fs::read(folder.path().join("damaged-best/notes.txt")).unwrap(), b"mine");
}

#[test]
fn only_whole_checkpoints_of_the_run_make_way() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&["train.epochs=4", "train.keep_checkpoints=1"]);
    stopped(&recipe, folder.path(), 2, 2);
    let checkpoints = folder.path().join("checkpoints");
    for name in ["epoch-00000", "epoch-1", "epoch-00009", "damaged-epoch-00009"] {
        fs::create_dir(checkpoints.join(name)).unwrap();
        fs::write(checkpoints.join(name).join("notes.txt"), name).unwrap();
    }
    fs::write(checkpoints.join("epoch-00008"), "a file").unwrap();
    let (summary, events) = run(&recipe, folder.path(), true, |_| false);
    summary.unwrap();
    for (now, name) in [
        ("epoch-00000", "epoch-00000"),
        ("epoch-1", "epoch-1"),
        ("damaged-epoch-00009", "damaged-epoch-00009"),
        ("damaged-epoch-00009-2", "epoch-00009"),
    ] {
        let notes = fs::read_to_string(checkpoints.join(now).join("notes.txt"));
        assert_eq!(notes.unwrap(), name, "{events:?}");
    }
    assert_eq!(fs::read_to_string(checkpoints.join("damaged-epoch-00008")).unwrap(), "a file");
    assert!(checkpoints.join("epoch-00004").exists() && !checkpoints.join("epoch-00003").exists());
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
