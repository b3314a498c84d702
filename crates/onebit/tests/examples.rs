//! The examples do what they say.

#![allow(clippy::unwrap_used)]

mod common;

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{model, pixels, write_png};
use onebit::Image;
use tempfile::tempdir;

/// The example, which cargo builds beside the tests.
fn example(name: &str) -> Command {
    let tests = env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let name = format!("{name}{}", env::consts::EXE_SUFFIX);
    Command::new(tests.parent().unwrap().join("examples").join(name))
}

fn text(output: &Output) -> (String, String) {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    (out.into_owned(), err.into_owned())
}

fn write_model(folder: &Path) -> PathBuf {
    let path = folder.join("m.onebit");
    fs::write(&path, model().to_bytes().unwrap()).unwrap();
    path
}

/// The likeliest class of an image.
fn best(image: &Image) -> String {
    let seen = model().session().build().unwrap().classify(image).unwrap();
    seen.top(1).map(|guess| guess.label.to_owned()).collect()
}

#[test]
fn classify_and_folder() {
    let folder = tempdir().unwrap();
    let model = write_model(folder.path());
    let photos = folder.path().join("photos");
    fs::create_dir(&photos).unwrap();
    let photo = photos.join("a.png");
    write_png(&photo, &pixels(1, 30, 30), 30, 30);
    fs::write(photos.join("b.png"), "no image").unwrap();
    let label = best(&Image::open(&photo).unwrap());
    let output = example("classify").args([&model, &photo]).output().unwrap();
    let (out, err) = text(&output);
    assert!(output.status.success() && out.lines().count() == 3, "{out}{err}");
    assert!(out.lines().next().unwrap().ends_with(&format!("%  {label}")), "{out}");
    let output = example("folder").args([&model, &photos]).output().unwrap();
    let (out, err) = text(&output);
    assert_eq!(out, format!("{}  {label}\n", photo.display()));
    assert!(output.status.success() && err.contains("b.png: file type is"), "{err}");
    let output = example("classify").arg(&model).output().unwrap();
    assert!(!output.status.success() && text(&output).1.contains("expected MODEL PHOTO"));
}

#[test]
fn stream() {
    let folder = tempdir().unwrap();
    let model = write_model(folder.path());
    let mut command = example("stream");
    command.arg(&model).args(["31", "22"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut camera = child.stdin.take().unwrap();
    let (mut expected, mut last) = (String::new(), String::new());
    for (number, seed) in [1, 1, 2, 3, 4].into_iter().enumerate() {
        let frame = pixels(seed, 31, 22);
        camera.write_all(&frame).unwrap();
        let label = best(&Image::from_pixels(22, 31, 3, frame).unwrap());
        if label != last {
            expected += &format!("frame {number}: {label}\n");
            last = label;
        }
    }
    drop(camera);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output).0, expected);
}
