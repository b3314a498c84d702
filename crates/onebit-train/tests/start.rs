//! Runs that fail before they have a checkpoint are not in the way of the next.

#![allow(clippy::unwrap_used)]

mod runs;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use onebit_data::ErrorKind;
use onebit_train::{Event, Recipe, RunPaths, TrainError, TrainOptions, train};
use runs::{names, recipe, run, stopped, trained};
use tempfile::tempdir;

/// Trains, and does something when an event comes.
fn train_with(
    recipe: &Recipe,
    out: &Path,
    mut at: impl FnMut(&Event),
) -> (Result<(), TrainError>, Vec<Event>) {
    let stop = AtomicBool::new(false);
    let (recipe, out) = (recipe.clone(), out.to_owned());
    let options = TrainOptions {
        recipe,
        out,
        resume: false,
        change_epochs: false,
        stop: &stop,
        data_dir: None,
    };
    let mut events = Vec::new();
    let done = train(&options, &mut |event| {
        at(&event);
        events.push(event);
    });
    (done.map(|_| ()), events)
}

fn is_first_step(event: &Event) -> bool {
    matches!(event, Event::Step { epoch: 1, step: 1, .. })
}

/// A loss that is not finite in the first epoch.
fn hopeless() -> Recipe {
    recipe(&["train.schedule=constant", "train.lr=1e37"])
}

#[test]
fn a_new_run_that_fails_in_its_first_epoch_leaves_nothing() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("run");
    for _ in 0..2 {
        let error = run(&hopeless(), &out, false, |_| false).0.unwrap_err();
        assert!(matches!(error, TrainError::NotFinite { .. }), "{error}");
        assert!(!out.exists());
    }
    trained(&recipe(&[]), &out);

    let there = folder.path().join("there");
    fs::create_dir(&there).unwrap();
    fs::write(there.join(".notes"), "mine").unwrap();
    run(&hopeless(), &there, false, |_| false).0.unwrap_err();
    assert_eq!(names(&there), [".lock", ".notes"]);
    trained(&recipe(&[]), &there);
    assert_eq!(fs::read(there.join(".notes")).unwrap(), b"mine");
}

/// A BMP file of 8 x 8 pixels of one colour.
fn bmp(path: &Path, colour: [u8; 3]) {
    let mut bytes = b"BM".to_vec();
    for word in [54 + 192, 0, 54, 40, 8, 8, 1 | 24 << 16, 0, 192, 0, 0, 0, 0u32] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(colour.repeat(64));
    fs::write(path, bytes).unwrap();
}

/// A data set of two classes in `folder`, of which an image is broken.
fn broken_images(folder: &Path) -> PathBuf {
    for class in ["a", "b"] {
        fs::create_dir_all(folder.join(class)).unwrap();
        for i in 0..8 {
            bmp(&folder.join(format!("{class}/{i}.bmp")), [i, 40, 200]);
        }
    }
    let broken = folder.join("b/7.bmp");
    let bytes = fs::read(&broken).unwrap();
    fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    broken
}

#[test]
fn an_image_that_cannot_be_read_does_not_block_the_same_command() {
    let folder = tempdir().unwrap();
    let (images, out) = (folder.path().join("images"), folder.path().join("run"));
    let broken = broken_images(&images);
    let data = [format!("data.train=folder:{}", images.display()), "data.train_limit=16".into()];
    let test = format!("data.test=folder:{}", images.display());
    let size = "data.image_size=[8,8]".to_owned();
    let [train, limit] = data;
    let recipe = recipe(&[&train, &limit, &test, &size, "train.batch=8"]);
    let error = run(&recipe, &out, false, |_| false).0.unwrap_err();
    assert!(error.to_string().contains("7.bmp"), "{error}");
    assert!(!out.exists());
    fs::copy(images.join("b/6.bmp"), broken).unwrap();
    trained(&recipe, &out);
}

#[test]
fn what_someone_else_puts_into_the_folder_stays_and_the_run_begins_anew() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("run");
    let notes = out.join("notes.txt");
    let put = |event: &Event| {
        if is_first_step(event) {
            fs::write(&notes, "mine").unwrap();
        }
    };
    train_with(&hopeless(), &out, put).0.unwrap_err();
    assert_eq!(names(&out), [".lock", "metrics.csv", "notes.txt", "recipe.toml"]);
    let (done, events) = train_with(&hopeless(), &out, |_| {});
    assert!(matches!(done, Err(TrainError::NotFinite { .. })));
    let told =
        |event: &Event| matches!(event, Event::Warning(text) if text.contains("begins anew"));
    assert!(events.iter().any(told), "{events:?}");
    assert_eq!(fs::read(&notes).unwrap(), b"mine");
}

#[test]
fn a_checkpoint_that_cannot_be_written_does_not_block_the_same_command() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("run");
    let recipe = recipe(&["train.stages=two", "train.real_weight_epochs=1", "train.epochs=1"]);
    let obstacle = out.join("checkpoints");
    let put = |event: &Event| {
        if is_first_step(event) {
            fs::write(&obstacle, "no folder").unwrap();
        }
    };
    let error = train_with(&recipe, &out, put).0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    fs::remove_file(&obstacle).unwrap();
    trained(&recipe, &out);
}

#[test]
fn a_run_without_a_checkpoint_begins_anew_with_its_own_recipe_only() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("run");
    let one = recipe(&[]);
    stopped(&one, &out, 1, 2);
    let refused = |recipe: &Recipe| run(recipe, &out, false, |_| false).0.unwrap_err();
    assert!(matches!(refused(&one), TrainError::RunExists { .. }), "it has a checkpoint");
    fs::remove_dir_all(out.join("checkpoints")).unwrap();
    let text = fs::read_to_string(RunPaths::new(&out).recipe()).unwrap();
    let commented = format!("# mine\n{text}");
    fs::write(RunPaths::new(&out).recipe(), &commented).unwrap();
    assert!(matches!(refused(&recipe(&["train.lr=0.5"])), TrainError::OtherRecipe { .. }));
    assert!(matches!(refused(&recipe(&["train.save_every=2"])), TrainError::RunExists { .. }));
    trained(&one, &out);
    assert_eq!(fs::read_to_string(RunPaths::new(&out).recipe()).unwrap(), commented);

    fs::remove_dir_all(out.join("checkpoints")).unwrap();
    assert!(matches!(refused(&one), TrainError::RunExists { .. }), "it has best weights");
}

#[test]
fn a_run_that_is_in_its_first_epoch_is_in_use() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("run");
    let recipe = recipe(&["train.epochs=1"]);
    let mut second = None;
    let again = |event: &Event| {
        if is_first_step(event) {
            second = Some(train_with(&recipe, &out, |_| {}).0);
        }
    };
    train_with(&recipe, &out, again).0.unwrap();
    assert!(matches!(second, Some(Err(TrainError::InUse { .. }))), "{second:?}");
}
