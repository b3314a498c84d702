//! Devices, folders and links to nothing in place of a file, and files in place of a folder: one sentence, soon, with
//! exit code 65.
#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Outcome, colour, names, npy, onebit, packed, png};

/// Longest that a verb may take to refuse what never ends.
const SOON: Duration = Duration::from_secs(10);

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Every verb that reads a file, with `path` as each file that it reads.
fn every_verb(path: &str, folder: &Path) -> Vec<(String, Outcome)> {
    let (good, x, image) = (packed(folder), folder.join("x.npy"), folder.join("image.png"));
    npy(&x, "<f4", &[1, 1, 28, 28]);
    png(&image, 28, 28);
    let (good, x, image) = (text(&good), text(&x), text(&image));
    let out = folder.join("out");
    let out = text(&out);
    let mut commands = vec![
        vec!["verify", path],
        vec!["inspect", path],
        vec!["summary", path],
        vec!["bench", path],
        vec!["bench", good, "--against", path, "--runs", "1"],
        vec!["export", path, "-o", out],
        vec!["predict", path, image],
        vec!["run", path, "--input", x, "--output", out],
        vec!["run", good, "--input", path, "--output", out],
        vec!["import", path, "--arch", "resnet20", "-o", out],
    ];
    if !Path::new(path).is_dir() {
        commands.push(vec!["eval", path, "--data", "fashion-mnist-sample"]);
        commands.push(vec!["pack", path, "-o", out]);
        commands.push(vec!["predict", good, path]);
    }
    #[cfg(feature = "train")]
    commands.push(vec!["train", "--check", path]);
    let outcomes = commands.into_iter().map(|command| {
        let started = Instant::now();
        let outcome = onebit(&command);
        let command = command.join(" ");
        assert!(started.elapsed() < SOON, "{command}: {:?}", started.elapsed());
        (command, outcome)
    });
    let outcomes = outcomes.collect();
    assert_eq!(names(folder), ["image.png", "small.onebit", "x.npy"], "something half-written");
    outcomes
}

fn all_refuse(path: &str, words: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    for (command, outcome) in every_verb(path, folder.path()) {
        let sentence = outcome.failed(65);
        assert!(sentence.contains(path) && sentence.contains(words), "{command}: {sentence}");
    }
}

#[test]
fn a_device_without_an_end_is_refused_by_its_first_bytes() {
    all_refuse("/dev/zero", "");
}

#[test]
fn a_folder_is_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    all_refuse(text(folder.path()), "is a folder");
}

#[test]
fn a_link_to_nothing_is_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join("link");
    symlink(folder.path().join("nothing"), &link).expect("a link");
    all_refuse(text(&link), "is a link to nothing");
}

#[test]
fn an_image_that_is_a_link_to_nothing_is_bad_data_wherever_it_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let photos = folder.path().join("photos");
    for i in 0..4u8 {
        colour(
            &photos.join(format!("{}/{i}.png", ["blue", "red"][usize::from(i % 2)])),
            28,
            [i; 3],
        );
    }
    let link = photos.join("red/gone.png");
    symlink(folder.path().join("nothing"), &link).expect("a link");
    let spec = format!("folder:{}", photos.display());
    let words = "gone.png: is a link to nothing, expected a regular file";
    let checked = onebit(&["data", "check", &spec]);
    assert_eq!(checked.code, Some(65), "{}", checked.stderr);
    assert!(checked.stdout.contains(words), "{}", checked.stdout);
    let model = packed(folder.path());
    assert!(onebit(&["predict", text(&model), text(&link)]).failed(65).contains(words));
    assert!(onebit(&["eval", text(&model), "--data", &spec]).failed(65).contains(words));
    #[cfg(feature = "train")]
    {
        let recipe = common::recipe(folder.path(), "epochs = 1");
        let out = folder.path().join("run");
        let size = ["--set", "data.image_size=[28,28]", "--data", &spec];
        let train = onebit(&[&["train", text(&recipe), "--out", text(&out)], &size[..]].concat());
        assert!(train.failed(65).contains(words));
        assert!(
            onebit(&[&["train", "--check", text(&recipe)], &size[..]].concat())
                .failed(65)
                .contains(words)
        );
    }
}

#[test]
fn a_file_is_no_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = packed(folder.path());
    let file = folder.path().join("file");
    fs::write(&file, "no folder").expect("written");
    for scheme in ["folder", "cifar", "idx"] {
        let spec = format!("{scheme}:{}", text(&file));
        for verb in [&["data", "check", &spec][..], &["eval", text(&model), "--data", &spec]] {
            let outcome = onebit(verb);
            let sentence = outcome.failed(65);
            assert!(sentence.contains("file: is a file, expected a folder"), "{spec}: {sentence}");
        }
    }
    let link = folder.path().join("link");
    symlink(folder.path().join("nothing"), &link).expect("a link");
    for spec in ["folder", "cifar", "idx"].map(|scheme| format!("{scheme}:{}", text(&link))) {
        let outcome = onebit(&["data", "check", &spec]);
        assert!(outcome.failed(65).contains("link: is a link to nothing, expected a folder"));
    }
    let below = file.join("a.onebit");
    assert!(onebit(&["verify", text(&below)]).failed(65).contains("file: is a file"));
}

#[cfg(feature = "train")]
#[test]
fn something_else_in_the_place_of_a_folder_to_write_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = common::recipe(folder.path(), "epochs = 1");
    let run = folder.path().join("run");
    onebit(&["train", text(&recipe), "--out", text(&run)]).succeeded();
    let [file, link, pipe] = ["file", "link", "pipe"].map(|name| folder.path().join(name));
    fs::write(&file, "kept").expect("written");
    symlink("nowhere", &link).expect("a link");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let below = file.join("deep/run");
    for (out, found) in [
        (&file, format!("{}: is a file, expected a folder to write to", text(&file))),
        (&below, format!("{}: is a file, expected a folder to write to", text(&file))),
        (&link, format!("{}: is a link to nothing, expected a folder", text(&link))),
        (&pipe, format!("{}: is a named pipe or device, expected a folder", text(&pipe))),
    ] {
        let data = ["--data", "fashion-mnist-sample", "--limit", "1"];
        for command in [
            &["train", text(&recipe)][..],
            &["demo"],
            &[&["probe", text(&run)], &data[..]].concat(),
        ] {
            let outcome = onebit(&[command, &["--out", text(out)]].concat());
            let sentence = outcome.failed(65);
            assert!(sentence.contains(&found), "{command:?}: {sentence}");
        }
    }
    assert_eq!(fs::read_to_string(&file).expect("a file"), "kept");
}
