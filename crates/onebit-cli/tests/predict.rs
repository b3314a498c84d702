//! `onebit predict` of many images and of folders.

mod common;

use std::fs;
use std::path::Path;

use common::{Outcome, colour, linear, onebit, pack, png};
use serde_json::Value;

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A network of 4x4 colours that tells red from blue.
fn model(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("colours.onebit");
    let weight = |class, value| if value % 3 == 2 * class { 1.0 } else { 0.0 };
    pack(&path, &linear(&["red", "blue"], [3, 4, 4], weight));
    path
}

fn predict(model: &Path, images: &[&Path], more: &[&str]) -> Outcome {
    let images: Vec<&str> = images.iter().map(|path| text(path)).collect();
    onebit(&[&["predict", text(model)][..], &images, more].concat())
}

/// The label of each image, or `error`.
fn labels(outcome: &Outcome) -> Vec<(String, String)> {
    let json: Value = serde_json::from_str(&outcome.stdout).expect("one JSON value");
    let label = |image: &Value| {
        let path = image["path"].as_str().expect("a path").to_owned();
        let keys = image.as_object().expect("an object").len();
        assert_eq!(keys, 2, "{image}");
        let label = image["top"][0]["label"].as_str().unwrap_or("error");
        assert_eq!(label == "error", image["error"].is_string(), "{image}");
        (path, label.to_owned())
    };
    json.as_array().expect("an array").iter().map(label).collect()
}

#[test]
fn a_bad_image_does_not_stop_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = model(folder.path());
    let path = |name: &str| folder.path().join(name);
    let (red, blue, broken, missing) =
        (path("red.png"), path("blue.png"), path("broken.jpg"), path("missing.png"));
    colour(&red, 9, [255, 0, 0]);
    colour(&blue, 3, [0, 0, 255]);
    fs::write(&broken, "no picture").expect("written");
    let images = [broken.as_path(), &red, &missing, &model, &blue];
    let outcome = predict(&model, &images, &["--json"]);
    assert_eq!(outcome.code, Some(65), "{}", outcome.stderr);
    let found = labels(&outcome);
    let expected = ["error", "red", "error", "error", "blue"];
    let expected =
        images.iter().zip(expected).map(|(path, label)| (text(path).to_owned(), label.to_owned()));
    assert_eq!(found, expected.collect::<Vec<_>>());
    let said: Vec<&str> = outcome.stderr.lines().collect();
    assert!(said.len() == 4 && said.iter().all(|line| line.starts_with("error: ")), "{said:?}");
    for (line, word) in said.iter().zip(["broken.jpg", "missing.png", "packed model", "3 of 5"]) {
        assert!(line.contains(word), "{line}");
    }

    let outcome = predict(&model, &images, &["--top", "1"]);
    assert_eq!(outcome.code, Some(65), "{}", outcome.stderr);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert!(lines.len() == 3 && lines[1].contains("red") && lines[2].contains("blue"), "{lines:?}");

    let outcome = predict(&model, &[&missing, &missing], &[]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(65), ""), "{}", outcome.stderr);
    let outcome = predict(&model, &[&broken, &missing], &["--json"]);
    assert_eq!((outcome.code, labels(&outcome).len()), (Some(65), 2));
    assert!(predict(&model, &[&missing], &["--json"]).failed(66).contains("missing.png"));
    assert!(predict(&model, &[&model], &[]).failed(65).contains("packed model"));
}

#[test]
fn a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = model(folder.path());
    let photos = folder.path().join("photos");
    colour(&photos.join("b.png"), 4, [255, 0, 0]);
    colour(&photos.join("a.PNG"), 4, [0, 0, 255]);
    colour(&photos.join("below/deep/c.png"), 4, [255, 0, 0]);
    fs::write(photos.join("notes.txt"), "no image").expect("written");
    fs::write(photos.join("below/clip.gif"), "no image").expect("written");
    let single = folder.path().join("single.png");
    colour(&single, 4, [0, 0, 255]);
    let outcome = predict(&model, &[&single, &photos, &single], &["--json"]);
    outcome.succeeded();
    let name = |(path, label): (String, String)| {
        (path.rsplit('/').next().unwrap_or_default().to_owned(), label)
    };
    let found: Vec<(String, String)> = labels(&outcome).into_iter().map(name).collect();
    let expected = [
        ("single.png", "blue"),
        ("a.PNG", "blue"),
        ("b.png", "red"),
        ("c.png", "red"),
        ("single.png", "blue"),
    ];
    assert_eq!(found, expected.map(|(path, label)| (path.to_owned(), label.to_owned())));
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("1 .gif") && outcome.stderr.contains("1 .txt"));

    fs::write(photos.join("below/broken.png"), "no image").expect("written");
    let outcome = predict(&model, &[&photos], &["--json"]);
    assert_eq!(outcome.code, Some(65), "{}", outcome.stderr);
    assert_eq!(labels(&outcome).iter().filter(|(_, label)| label == "error").count(), 1);
}

#[test]
fn a_folder_without_images() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = model(folder.path());
    let empty = folder.path().join("empty");
    fs::create_dir_all(empty.join("below")).expect("a folder");
    for json in [&[][..], &["--json"]] {
        let outcome = predict(&model, &[&empty], json);
        assert!(outcome.failed(65).contains("no image"), "{}", outcome.stderr);
    }
    fs::write(empty.join("below/film.mp4"), "no image").expect("written");
    let outcome = predict(&model, &[&empty], &[]);
    assert!(outcome.failed(65).contains("1 .mp4"), "{}", outcome.stderr);
}

/// More images than are read at once, with bad ones at the ends of the batches: every answer stays with its image.
#[test]
fn many_images() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = model(folder.path());
    let photos = folder.path().join("photos");
    let is_bad = |i: usize| matches!(i, 0 | 31 | 32 | 63 | 64 | 149);
    for i in 0..150 {
        let path = photos.join(format!("{i:03}.png"));
        let shade = if i % 3 == 0 { [200, 0, 0] } else { [0, 0, 200] };
        colour(&path, 4, shade);
        if is_bad(i) {
            fs::write(&path, "no image").expect("written");
        }
    }
    for threads in ["1", "2"] {
        let outcome = predict(&model, &[&photos], &["--json", "--threads", threads]);
        assert_eq!(outcome.code, Some(65), "{}", outcome.stderr);
        let found = labels(&outcome);
        assert_eq!(found.len(), 150);
        for (i, (path, label)) in found.iter().enumerate() {
            let expected = if is_bad(i) {
                "error"
            } else if i % 3 == 0 {
                "red"
            } else {
                "blue"
            };
            assert_eq!(label, expected, "{path}");
            assert!(path.ends_with(&format!("{i:03}.png")), "{path}");
        }
        assert!(outcome.stderr.ends_with("error: 6 of 150 images have no prediction\n"));
    }
}

#[test]
fn images_and_models_in_the_wrong_places() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = model(folder.path());
    let image = folder.path().join("grey.png");
    png(&image, 4, 4);
    for verb in ["verify", "inspect", "bench"] {
        let outcome = onebit(&[verb, text(&image)]);
        let sentence = outcome.failed(65);
        assert!(sentence.contains("grey.png") && sentence.contains("PNG image"), "{sentence}");
    }
    assert!(predict(&image, &[&model], &[]).failed(65).contains("PNG image"));
    assert!(predict(folder.path(), &[&image], &[]).failed(65).contains("folder"));
    let array = folder.path().join("x.npy");
    common::npy(&array, "<f4", &[1, 3, 4, 4]);
    assert!(onebit(&["verify", text(&array)]).failed(65).contains("NumPy array"));
}
