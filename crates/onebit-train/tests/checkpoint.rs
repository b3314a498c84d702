//! Checkpoints are whole or not there, and damage is noticed.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use onebit_data::ErrorKind;
use onebit_model::Verified;
use onebit_model::arch::{Config, Method, Task, build};
use onebit_model::file::Weights;
use onebit_train::checkpoint::{
    Best, MANIFEST, OPTIMIZER, STATE, State, Sums, TrainingStage, WEIGHTS, latest, load,
    load_weights, of_epochs, save, save_best,
};
use onebit_train::{Net, NetConfig, TrainError};
use tempfile::tempdir;

const KEPT: usize = 2;

fn weights(seed: u64) -> Verified<Weights> {
    let mut config = Config::new("resnet-small", Method::Reactnet);
    config.widths = Some(vec![8, 16]);
    config.blocks = Some(vec![1, 1]);
    let graph = build(&config, &Task::unnamed([1, 8, 8], 4)).unwrap();
    let net = Net::new(graph, NetConfig::new(4), seed).unwrap();
    Verified::<Weights>::new(net.weights()).unwrap()
}

fn state(epoch: usize, step: usize) -> State {
    State {
        epoch,
        step_in_epoch: step,
        global_step: (epoch * 10 + step) as u64,
        stage: TrainingStage::BinaryWeights,
        seed: u64::MAX,
        images: 60_000,
        recipe_sha256: "ab".repeat(32),
        epochs: Some(100),
        init_sha256: Some("cd".repeat(32)),
        teacher_sha256: None,
        best: Some(Best { epoch, top1: 1.0 / 3.0 }),
        sums: Sums { loss: 0.1 + 0.2, correct: 7, seconds: 1e-300 },
    }
}

fn put(folder: &Path, epoch: usize, step: usize) -> Result<(), TrainError> {
    let (state, weights) = (state(epoch, step), weights(epoch as u64));
    save(folder, &state, &weights, None, vec![epoch as u8; 100], KEPT).map(|_| ())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_checkpoint_is_read_as_it_was_written() {
    let folder = tempdir().unwrap();
    let path = save(folder.path(), &state(5, 123), &weights(1), None, vec![1, 2, 3], KEPT).unwrap();
    assert_eq!(path, folder.path().join("epoch-00005-step-000123"));
    assert_eq!(names(&path), [MANIFEST, OPTIMIZER, STATE, WEIGHTS]);
    let read = load(&path).unwrap();
    assert_eq!((&read.path, &read.state), (&path, &state(5, 123)));
    assert_eq!((&read.weights, &read.optimizer), (&weights(1), &vec![1, 2, 3]));
}

#[test]
fn the_newest_two_stay() {
    let folder = tempdir().unwrap();
    for (epoch, step) in [(1, 0), (2, 0), (2, 7), (3, 0)] {
        put(folder.path(), epoch, step).unwrap();
    }
    assert_eq!(names(folder.path()), ["epoch-00002-step-000007", "epoch-00003"]);
}

#[test]
fn a_run_that_has_gone_back_removes_what_was_ahead() {
    let folder = tempdir().unwrap();
    for (epoch, step) in [(1, 0), (9, 0), (2, 0), (2, 0)] {
        put(folder.path(), epoch, step).unwrap();
    }
    assert_eq!(names(folder.path()), ["epoch-00001", "epoch-00002"]);
}

#[test]
fn as_many_stay_as_asked_and_are_listed_by_epoch() {
    let folder = tempdir().unwrap();
    for (epoch, step) in [(1, 0), (2, 0), (2, 7), (3, 0), (12, 0)] {
        let (state, weights) = (state(epoch, step), weights(epoch as u64));
        save(folder.path(), &state, &weights, None, Vec::new(), 4).unwrap();
    }
    let found = of_epochs(folder.path()).unwrap();
    let expected = [2, 3, 12].map(|n| (n, folder.path().join(format!("epoch-{n:05}"))));
    assert_eq!(found, expected);
    assert_eq!(names(folder.path()).len(), 4);
}

#[test]
fn no_folder_holds_no_checkpoint() {
    let folder = tempdir().unwrap();
    let found = latest(&folder.path().join("none")).unwrap();
    assert_eq!((found.checkpoint, found.skipped), (None, Vec::new()));
}

#[test]
fn any_damage_to_the_newest_checkpoint_falls_back_to_the_one_before() {
    for name in [WEIGHTS, OPTIMIZER, STATE, MANIFEST] {
        for damage in ["flip", "cut", "remove"] {
            let folder = tempdir().unwrap();
            put(folder.path(), 1, 0).unwrap();
            put(folder.path(), 2, 0).unwrap();
            let path = folder.path().join("epoch-00002").join(name);
            let mut bytes = fs::read(&path).unwrap();
            match damage {
                "flip" => bytes[10] ^= 1,
                "cut" => bytes.truncate(bytes.len() - 2),
                _ => fs::remove_file(&path).unwrap(),
            }
            if damage != "remove" {
                fs::write(&path, bytes).unwrap();
            }
            let found = latest(folder.path()).unwrap();
            assert_eq!(found.checkpoint.unwrap().state.epoch, 1, "{name} {damage}");
            assert_eq!(found.skipped.len(), 1, "{name} {damage}");
            let reason = &found.skipped[0].reason;
            assert_eq!(found.skipped[0].folder, folder.path().join("epoch-00002"));
            assert!(reason.contains("epoch-00002"), "{reason}");
            assert!(!reason.contains('\n'), "{reason}");
        }
    }
}

#[test]
fn the_best_weights_are_replaced_and_come_without_an_optimizer() {
    let folder = tempdir().unwrap();
    let best = folder.path().join("best");
    for epoch in [1, 4] {
        save_best(&best, &state(epoch, 0), &weights(epoch as u64)).unwrap();
    }
    let (read, read_state) = load_weights(&best).unwrap();
    assert_eq!((read, read_state), (weights(4), state(4, 0)));
    assert_eq!(names(&best), [MANIFEST, STATE, WEIGHTS]);
    assert_eq!(names(folder.path()), ["best"]);
    put(folder.path(), 5, 0).unwrap();
    assert_eq!(load_weights(&folder.path().join("epoch-00005")).unwrap().0, weights(5));
}

#[test]
fn the_packer_finds_and_checks_what_the_trainer_writes() {
    let run = tempdir().unwrap();
    let packed = || onebit_files::load_weights(run.path());
    for (epoch, step) in [(9, 0), (10, 0), (10, 123)] {
        put(&run.path().join("checkpoints"), epoch, step).unwrap();
    }
    let newest = run.path().join("checkpoints/epoch-00010-step-000123");
    let found = packed().unwrap();
    assert_eq!((found.path, found.weights), (newest.join(WEIGHTS), weights(10)));
    let best = run.path().join("best");
    save_best(&best, &state(7, 0), &weights(7)).unwrap();
    let found = packed().unwrap();
    assert_eq!((found.path, found.weights), (best.join(WEIGHTS), weights(7)));
    for folder in [&best, &newest] {
        fs::write(folder.join(STATE), "{}").unwrap();
    }
    let found = packed().unwrap();
    assert_eq!(found.path, run.path().join("checkpoints/epoch-00010").join(WEIGHTS));
    let skipped: Vec<_> = found.skipped.iter().map(|skipped| &skipped.folder).collect();
    assert_eq!(skipped, [&best, &newest]);
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let error = put(&file, 1, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let start = format!("{}/.tmp-epoch-00001: cannot be written: ", file.display());
    assert!(error.to_string().starts_with(&start), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"in the way");
}

/// A full disk, by a limit on the size of files that a shell sets for a copy of this process.
#[cfg(unix)]
#[test]
fn a_write_that_fails_half_way_leaves_earlier_checkpoints_and_nothing_else() {
    const CHILD: &str = "ONEBIT_TEST_CHECKPOINTS";
    if let Some(folder) = std::env::var_os(CHILD) {
        let error = put(Path::new(&folder), 2, 0).unwrap_err();
        println!("kind {:?}, {error}", error.kind());
        return;
    }
    let folder = tempdir().unwrap();
    put(folder.path(), 1, 0).unwrap();
    let before = load(&folder.path().join("epoch-00001")).unwrap();
    let name = "a_write_that_fails_half_way_leaves_earlier_checkpoints_and_nothing_else";
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" --exact \"$1\" --nocapture"])
        .args([std::env::current_exe().unwrap().as_os_str(), name.as_ref()])
        .env(CHILD, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
    let path = folder.path().join(".tmp-epoch-00002").join(WEIGHTS);
    assert!(said.contains(&format!("kind Io, {}: cannot be written: ", path.display())), "{said}");
    assert_eq!(names(folder.path()), ["epoch-00001"]);
    assert_eq!(latest(folder.path()).unwrap().checkpoint, Some(before));
}
