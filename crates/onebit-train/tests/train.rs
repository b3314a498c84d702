//! Runs: the same bits however often they are interrupted, and clear refusals.

#![allow(clippy::unwrap_used)]

mod runs;

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use onebit_data::ErrorKind;
use onebit_train::checkpoint::{TrainingStage, latest, load_weights, of_epochs};
use onebit_train::{Event, Recipe, RunPaths, Summary, TrainError, TrainOptions, metrics, train};
use rayon::ThreadPoolBuilder;
use runs::overrides::apply;
use runs::{RECIPE, run};
use tempfile::tempdir;

const STEPS: usize = 5;

/// What these runs have that others do not: a last batch that is not full, dynamic thresholds, random changes.
const OWN: [&str; 8] = [
    "data.train_limit=84",
    "data.test_limit=40",
    "network.method=dybnn",
    "train.epochs=3",
    "train.seed=7",
    "train.label_smoothing=0.1",
    "train.augmentation.crop_padding=2",
    "train.augmentation.horizontal_flip=true",
];

fn recipe(overrides: &[&str]) -> Recipe {
    let mut recipe = Recipe::from_toml(RECIPE, "test").unwrap();
    apply(&mut recipe, &OWN).unwrap();
    apply(&mut recipe, overrides).unwrap();
    recipe
}

fn whole(recipe: &Recipe, out: &Path) -> Summary {
    run(recipe, out, false, |_| false).0.unwrap()
}

fn at_step(epoch: usize, step: usize) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Step { epoch: e, step: s, .. } if (*e, *s) == (epoch, step))
}

/// Everything a run leaves, but for the columns of `metrics.csv` that tell the time.
fn left(out: &Path, last: usize) -> Vec<(String, Vec<u8>)> {
    let checkpoint = format!("checkpoints/epoch-{last:05}");
    let files = [
        format!("{checkpoint}/weights.safetensors"),
        format!("{checkpoint}/optimizer.safetensors"),
        format!("{checkpoint}/state.json"),
        "best/weights.safetensors".to_owned(),
        "best/state.json".to_owned(),
        "recipe.toml".to_owned(),
    ];
    let read = |name: String| {
        let bytes = fs::read(out.join(&name)).unwrap();
        (name, bytes)
    };
    let mut all: Vec<_> = files.into_iter().map(read).collect();
    let table = fs::read_to_string(RunPaths::new(out).metrics()).unwrap();
    let timeless = |line: &str| line.split(',').take(8).collect::<Vec<_>>().join(",") + "\n";
    all.push(("metrics.csv".into(), table.lines().map(timeless).collect::<String>().into()));
    all
}

fn assert_same(found: &Path, expected: &Path, last: usize, what: &str) {
    for ((name, found), (_, expected)) in left(found, last).into_iter().zip(left(expected, last)) {
        assert!(found == expected, "{name} differs: {what}");
    }
}

#[test]
fn a_run_that_was_interrupted_ends_with_the_same_bits() {
    let folder = tempdir().unwrap();
    let expected = folder.path().join("whole");
    let recipe = recipe(&[]);
    let summary = whole(&recipe, &expected);
    assert_eq!((summary.epoch, summary.interrupted), (3, false));
    for (epoch, step) in [(1, 1), (2, 3), (2, STEPS), (3, 4)] {
        let out = folder.path().join(format!("stopped-{epoch}-{step}"));
        let (stopped, events) = run(&recipe, &out, false, at_step(epoch, step));
        let stopped = stopped.unwrap();
        assert_eq!((stopped.epoch, stopped.interrupted), (epoch - 1, true));
        let path = out.join(format!("checkpoints/epoch-{:05}-step-{step:06}", epoch - 1));
        assert_eq!(events.last(), Some(&Event::Interrupted { path: path.clone() }));
        let (resumed, events) = run(&recipe, &out, true, |_| false);
        assert!(!resumed.unwrap().interrupted);
        let from = Event::Resumed { path: Some(path), epoch: epoch - 1, step, skipped: Vec::new() };
        assert!(events.contains(&from), "{events:?}");
        assert_same(&out, &expected, 3, &format!("stopped in epoch {epoch} after step {step}"));
    }
}

#[test]
fn threads_do_not_change_the_bits() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&["train.epochs=2"]);
    let outs = [1, 2, 3].map(|threads| {
        let out = folder.path().join(threads.to_string());
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| whole(&recipe, &out));
        out
    });
    assert_same(&outs[1], &outs[0], 2, "two threads against one");
    assert_same(&outs[2], &outs[0], 2, "three threads against one");
}

#[test]
fn an_average_changes_what_is_measured_and_kept_but_not_the_training() {
    let folder = tempdir().unwrap();
    let [plain, averaged] = ["plain", "averaged"].map(|name| folder.path().join(name));
    whole(&recipe(&["train.epochs=2"]), &plain);
    let recipe = recipe(&["train.epochs=2", "train.ema=0.9"]);
    let best = whole(&recipe, &averaged).best.unwrap().epoch;
    let file = |out: &Path, epoch: usize, name: &str| {
        fs::read(out.join(format!("checkpoints/epoch-{epoch:05}/{name}.safetensors"))).unwrap()
    };
    assert!(file(&averaged, 2, "current") == file(&plain, 2, "weights"));
    assert!(file(&averaged, 2, "weights") != file(&plain, 2, "weights"));
    let kept = fs::read(averaged.join("best/weights.safetensors")).unwrap();
    assert!(kept == file(&averaged, best, "weights"));
    let [without, with] =
        [&plain, &averaged].map(|out| metrics::read(&RunPaths::new(out).metrics()).unwrap());
    for (without, with) in without.iter().zip(&with) {
        assert_eq!(without.train_loss, with.train_loss);
        assert_ne!(without.test_loss, with.test_loss);
    }
    for (epoch, step) in [(1, 1), (2, 3), (2, STEPS)] {
        let out = folder.path().join(format!("stopped-{epoch}-{step}"));
        run(&recipe, &out, false, at_step(epoch, step)).0.unwrap();
        run(&recipe, &out, true, |_| false).0.unwrap();
        assert_same(&out, &averaged, 2, &format!("stopped in epoch {epoch} after step {step}"));
        assert!(file(&out, 2, "current") == file(&averaged, 2, "current"));
    }
}

#[test]
fn the_second_stage_begins_with_the_average_of_the_first() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&[
        "train.stages=two",
        "train.real_weight_epochs=1",
        "train.epochs=1",
        "train.ema=0.9",
    ]);
    let [expected, out] = ["whole", "stopped"].map(|name| folder.path().join(name));
    whole(&recipe, &expected);
    let between = |event: &Event| matches!(event, Event::Epoch { row, .. } if row.epoch == 1);
    run(&recipe, &out, false, between).0.unwrap();
    let file = |out: &Path, name: &str| fs::read(out.join("checkpoints/epoch-00001").join(name));
    let average = file(&expected, "weights.safetensors").unwrap();
    assert!(file(&expected, "current.safetensors").unwrap() != average, "the end of the first");
    assert!(file(&out, "current.safetensors").unwrap() == average, "the start of the second");
    run(&recipe, &out, true, |_| false).0.unwrap();
    assert_same(&out, &expected, 2, "stopped between the stages");
}

#[test]
fn another_seed_gives_another_network() {
    let folder = tempdir().unwrap();
    let outs = [7, 8].map(|seed| {
        let out = folder.path().join(seed.to_string());
        whole(&recipe(&["train.epochs=1", &format!("train.seed={seed}")]), &out);
        left(&out, 1).remove(0)
    });
    assert!(outs[0] != outs[1]);
}

#[test]
fn two_stages_can_be_interrupted_in_each_and_between_them() {
    let folder = tempdir().unwrap();
    let two = [
        "train.stages=two",
        "train.real_weight_epochs=1",
        "train.epochs=2",
        "train.weight_decay=1e-4",
    ];
    let recipe = recipe(&two);
    let expected = folder.path().join("whole");
    let (summary, events) = run(&recipe, &expected, false, |_| false);
    assert_eq!(summary.unwrap().epochs, 3);
    let stages: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::StageStarted { stage, epochs } => Some((*stage, *epochs)),
            _ => None,
        })
        .collect();
    assert_eq!(stages, [(TrainingStage::RealWeights, 1), (TrainingStage::BinaryWeights, 2)]);
    let rows = metrics::read(&RunPaths::new(&expected).metrics()).unwrap();
    let stages: Vec<_> = rows.iter().map(|row| row.stage).collect();
    assert_eq!(
        stages,
        [TrainingStage::RealWeights, TrainingStage::BinaryWeights, TrainingStage::BinaryWeights]
    );
    let (_, best) = load_weights(&RunPaths::new(&expected).best()).unwrap();
    assert_eq!(
        best.stage,
        TrainingStage::BinaryWeights,
        "weights that are not binary cannot be the best"
    );
    for (epoch, step) in [(1, 2), (1, STEPS), (2, 2)] {
        let out = folder.path().join(format!("stopped-{epoch}-{step}"));
        assert!(run(&recipe, &out, false, at_step(epoch, step)).0.unwrap().interrupted);
        run(&recipe, &out, true, |_| false).0.unwrap();
        assert_same(&out, &expected, 3, &format!("stopped in epoch {epoch} after step {step}"));
    }
    let out = folder.path().join("between");
    let after_the_first =
        |event: &Event| matches!(event, Event::Epoch { row, .. } if row.epoch == 1);
    let stopped = run(&recipe, &out, false, after_the_first).0.unwrap();
    assert_eq!((stopped.epoch, stopped.interrupted), (1, true));
    run(&recipe, &out, true, |_| false).0.unwrap();
    assert_same(&out, &expected, 3, "stopped between the stages");
}

#[test]
fn a_damaged_checkpoint_and_what_a_killed_process_leaves_do_no_harm() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&[]);
    let (expected, out) = (folder.path().join("whole"), folder.path().join("hurt"));
    whole(&recipe, &expected);
    let stopped = run(&recipe, &out, false, at_step(3, 2)).0.unwrap();
    let newest = stopped.checkpoint.unwrap();
    let weights = newest.join("weights.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = bytes;
    fs::write(&weights, &damaged).unwrap();
    fs::create_dir(out.join("checkpoints/.tmp-epoch-00009")).unwrap();
    fs::rename(out.join("best"), out.join(".old-best")).unwrap();
    let table = RunPaths::new(&out).metrics();
    fs::write(&table, fs::read_to_string(&table).unwrap() + "3,bin").unwrap();
    let (resumed, events) = run(&recipe, &out, true, |_| false);
    resumed.unwrap();
    let skipped = events.iter().find_map(|event| match event {
        Event::Resumed { skipped, epoch: 2, step: 0, .. } => Some(skipped.clone()),
        _ => None,
    });
    let skipped = skipped.unwrap().remove(0);
    let reason = format!("{}: has SHA-256 ", weights.display());
    assert!(skipped.reason.starts_with(&reason));
    let aside = newest.with_file_name("damaged-epoch-00002-step-000002");
    assert_eq!(skipped.kept_as, aside);
    assert!(fs::read(aside.join("weights.safetensors")).unwrap() == damaged, "something was lost");
    assert_same(&out, &expected, 3, "resumed from the checkpoint before the damaged one");
    assert!(!out.join("checkpoints/.tmp-epoch-00009").exists());
    assert!(!out.join(".old-best").exists());
    assert!(!newest.exists());
}

#[test]
fn a_run_without_a_whole_checkpoint_is_not_started_over() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&["train.epochs=1"]);
    whole(&recipe, folder.path());
    let checkpoints = RunPaths::new(folder.path()).checkpoints();
    fs::remove_file(checkpoints.join("epoch-00001/manifest.json")).unwrap();
    let error = run(&recipe, folder.path(), true, |_| false).0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadData);
    let start = format!("{}: no checkpoint is whole (", checkpoints.display());
    assert!(error.to_string().starts_with(&start), "{error}");
}

#[test]
fn a_finished_run_is_resumed_to_nothing() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&["train.epochs=1"]);
    let first = whole(&recipe, folder.path());
    let (again, events) = run(&recipe, folder.path(), true, |_| false);
    let again = again.unwrap();
    assert_eq!((again.epoch, again.best, again.interrupted), (1, first.best, false));
    assert!(!events.iter().any(|event| matches!(event, Event::Step { .. })));
}

#[test]
fn the_folder_of_another_run_is_refused() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("run");
    let one = recipe(&["train.epochs=1"]);
    let refused = |recipe: &Recipe, out: &Path, resume| {
        let error = run(recipe, out, resume, |_| false).0.unwrap_err();
        (error.kind(), error.to_string())
    };
    let (kind, text) = refused(&one, &out, true);
    assert_eq!(kind, ErrorKind::MissingInput);
    assert!(text.contains("there is no run to resume"), "{text}");
    assert!(!out.exists());
    whole(&one, &out);
    let (kind, text) = refused(&one, &out, false);
    assert_eq!(kind, ErrorKind::Usage);
    assert!(text.ends_with(": holds a run already"), "{text}");
    for resume in [false, true] {
        let (kind, text) = refused(&recipe(&["train.epochs=1", "train.lr=0.5"]), &out, resume);
        assert_eq!(kind, ErrorKind::Usage);
        assert!(text.contains("another recipe (train.lr is 0.01 there and 0.5 here)"), "{text}");
    }
    let other = folder.path().join("thesis");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("chapter-1.txt"), "call me").unwrap();
    let (_, text) = refused(&one, &other, false);
    assert!(text.contains("is not empty and holds no run"), "{text}");
}

#[test]
fn two_processes_cannot_train_in_one_folder() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&["train.epochs=1"]);
    let out = folder.path().to_owned();
    let mut second = None;
    let stop = AtomicBool::new(false);
    let options = |resume| TrainOptions {
        recipe: recipe.clone(),
        out: out.clone(),
        resume,
        change_epochs: false,
        stop: &stop,
        data_dir: None,
    };
    train(&options(false), &mut |event| {
        if matches!(event, Event::Step { step: 1, .. }) {
            second = Some(train(&options(true), &mut |_| {}));
        }
    })
    .unwrap();
    assert!(matches!(second, Some(Err(TrainError::InUse { .. }))));
}

#[test]
fn a_run_that_runs_away_names_the_step_and_keeps_its_checkpoints() {
    let folder = tempdir().unwrap();
    let out = folder.path();
    let recipe = recipe(&["train.schedule=constant", "train.epochs=2", "train.lr=1e37"]);
    let error = run(&recipe, out, false, |_| false).0.unwrap_err();
    let TrainError::NotFinite { epoch: 1, step, .. } = &error else { panic!("{error}") };
    assert!((2..=STEPS).contains(step), "{error}");
    let text = error.to_string();
    assert!(
        text.contains(&format!("is not finite in epoch 1, step {step}, at the learning rate")),
        "{text}"
    );
    assert!(text.contains("no checkpoint had been written yet"), "{text}");
    let found = latest(&RunPaths::new(out).checkpoints()).unwrap();
    assert_eq!((found.checkpoint, found.skipped), (None, Vec::new()));
}

#[test]
fn the_last_epoch_of_a_schedule_per_epoch_moves_only_the_statistics() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&["train.granularity=epoch", "train.epochs=2"]);
    whole(&recipe, folder.path());
    let checkpoints = RunPaths::new(folder.path()).checkpoints();
    let [first, last] =
        ["epoch-00001", "epoch-00002"].map(|name| load_weights(&checkpoints.join(name)).unwrap().0);
    for (name, before) in &first.tensors {
        let moved = last.tensors[name] != *before;
        assert_eq!(moved, name.contains(".running_"), "{name}");
    }
    let rows = metrics::read(&RunPaths::new(folder.path()).metrics()).unwrap();
    assert_eq!(rows.iter().map(|row| row.lr).collect::<Vec<_>>(), [0.005, 0.0]);
}

#[test]
fn checkpoints_come_as_often_as_asked_and_at_the_end() {
    let folder = tempdir().unwrap();
    let (summary, events) = run(&recipe(&["train.save_every=2"]), folder.path(), false, |_| false);
    let saved: Vec<_> = events
        .into_iter()
        .filter_map(|event| match event {
            Event::Checkpoint { path } => path.file_name().map(ToOwned::to_owned),
            _ => None,
        })
        .collect();
    assert_eq!(saved, ["epoch-00002", "epoch-00003"]);
    assert_eq!(summary.unwrap().checkpoint.unwrap().file_name().unwrap(), "epoch-00003");
}

#[test]
fn a_run_keeps_as_many_checkpoints_as_its_recipe_says() {
    let folder = tempdir().unwrap();
    let recipe = recipe(&["train.keep_checkpoints=3"]);
    run(&recipe, folder.path(), false, |_| false).0.unwrap();
    let kept = of_epochs(&RunPaths::new(folder.path()).checkpoints()).unwrap();
    assert_eq!(kept.iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn images_that_do_not_belong_together_are_refused_before_a_folder_is_made() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("run");
    let mut recipe = recipe(&[]);
    recipe.data.test = "no-such-set:test".into();
    let error = run(&recipe, &out, false, |_| false).0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    recipe.data.test = "fashion-mnist-sample:test".into();
    recipe.network.arch = "resnet-21".into();
    let error = run(&recipe, &out, false, |_| false).0.unwrap_err();
    assert!(error.to_string().contains("network.arch is resnet-21, expected one of "), "{error}");
    recipe.network.arch = "resnet20".into();
    recipe.train.batch = 85;
    let error = run(&recipe, &out, false, |_| false).0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadData);
    let expected = "recipe: train.batch is 85, expected 1 to 84, the number of training images";
    assert_eq!(error.to_string(), expected);
    recipe.train.batch = 8;
    recipe.train.augmentation.crop_padding = 29;
    let error = run(&recipe, &out, false, |_| false).0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadData);
    let expected = "recipe: train.augmentation.crop_padding is 29, expected 0 to 28, the shorter side of the images";
    assert_eq!(error.to_string(), expected);
    recipe.train.augmentation.crop_padding = usize::MAX;
    run(&recipe, &out, false, |_| false).0.unwrap_err();
    assert!(!out.exists());
}
