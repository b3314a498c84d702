//! Labels are compared by the names of their classes.

mod common;

use std::path::{Path, PathBuf};

use common::{CLASSES, Outcome, colour, linear, onebit, pack};
use serde_json::Value;

const RED: [u8; 3] = [255, 0, 0];
const GREEN: [u8; 3] = [0, 255, 0];
const BLUE: [u8; 3] = [0, 0, 255];

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A network that tells red, green and blue by these names.
fn colours(folder: &Path, names: [&str; 3]) -> PathBuf {
    let path = folder.join("colours.onebit");
    let weight = |class, value| if value % 3 == class { 1.0 } else { 0.0 };
    pack(&path, &linear(&names, [3, 4, 4], weight));
    path
}

/// The spec of a folder with images of these classes and colours.
fn photos(folder: &Path, name: &str, images: &[(&str, [u8; 3])]) -> String {
    let folder = folder.join(name);
    for (i, (class, rgb)) in images.iter().enumerate() {
        colour(&folder.join(class).join(format!("{i}.png")), 4, *rgb);
    }
    format!("folder:{}", text(&folder))
}

fn eval(model: &Path, spec: &str) -> Outcome {
    onebit(&["eval", text(model), "--data", spec, "--json"])
}

/// Right answers, images and classes.
fn counted(json: &Value) -> (f64, u64, u64) {
    let n = json["n"].as_u64().expect("a number");
    let top1 = json["top1"].as_f64().expect("a number");
    (top1 * n as f64, n, json["classes_evaluated"].as_u64().expect("a number"))
}

#[test]
fn the_same_names_in_another_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = colours(folder.path(), ["tomato", "cucumber", "plum"]);
    let images =
        [("cucumber", GREEN), ("cucumber", RED), ("plum", BLUE), ("plum", BLUE), ("tomato", RED)];
    let spec = photos(folder.path(), "all", &images);
    let outcome = eval(&model, &spec);
    assert_eq!(counted(&outcome.json()), (4.0, 5, 3));
    assert_eq!(outcome.stderr, "");
    let table = onebit(&["eval", text(&model), "--data", &spec]);
    assert!(table.succeeded().contains("80.00%"), "{}", table.stdout);

    let a8 = folder.path().join("a8.onebit");
    let pack = ["pack", text(&model), "-o", text(&a8), "--int8", &spec, "--json"];
    let int8 = &onebit(&pack).json()["int8"];
    assert_eq!((&int8["top1_float"], &int8["top1_int8"]), (&0.8.into(), &0.8.into()));
    assert_eq!(int8["classes_evaluated"], 3);
}

#[test]
fn some_of_the_classes() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = colours(folder.path(), ["tomato", "cucumber", "plum"]);
    // The red plum is taken for a tomato, although the data has no tomatoes.
    let images = [("cucumber", GREEN), ("plum", BLUE), ("plum", RED)];
    let spec = photos(folder.path(), "two", &images);
    let outcome = eval(&model, &spec);
    assert_eq!(counted(&outcome.json()), (2.0, 3, 2));
    assert_eq!(outcome.stderr.lines().count(), 1);
    assert!(outcome.stderr.contains("2 of the network's 3 classes"), "{}", outcome.stderr);
}

#[test]
fn other_names_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = colours(folder.path(), ["tomato", "cucumber", "plum"]);
    let same = photos(folder.path(), "same", &[("a", RED), ("b", RED), ("c", RED)]);
    let one = photos(folder.path(), "one", &[("cucumber", RED), ("date", RED), ("plum", RED)]);
    let more =
        photos(folder.path(), "more", &["tomato", "cucumber", "plum", "fig"].map(|n| (n, RED)));
    let case = photos(folder.path(), "case", &[("Plum", RED)]);
    let a8 = folder.path().join("a8.onebit");
    for (spec, word, count) in [
        (same, "`a`, `b`, `c`", "3 of 3"),
        (one, "`date`", "1 of 3"),
        (more, "`fig`", "1 of 4"),
        (case, "`Plum`", "1 of 1"),
    ] {
        for outcome in
            [eval(&model, &spec), onebit(&["pack", text(&model), "-o", text(&a8), "--int8", &spec])]
        {
            let sentence = outcome.failed(65);
            assert!(sentence.contains(word) && sentence.contains(count), "{sentence}");
            assert!(sentence.contains("`tomato`, `cucumber`, `plum`"), "{sentence}");
        }
    }
    assert!(!a8.exists());
}

#[test]
fn names_that_are_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = colours(folder.path(), ["0", "1", "2"]);
    let named = photos(folder.path(), "named", &[("a", RED), ("b", GREEN), ("c", RED)]);
    let outcome = eval(&model, &named);
    assert_eq!(counted(&outcome.json()), (2.0, 3, 3));
    assert!(outcome.stderr.contains("numbers"), "{}", outcome.stderr);
    // Names that exist are names: the folder of class 2 is the data's class 1.
    let some = photos(folder.path(), "some", &[("0", RED), ("2", BLUE)]);
    assert_eq!(counted(&eval(&model, &some).json()), (2.0, 2, 2));
    let fewer = photos(folder.path(), "fewer", &[("a", RED), ("b", RED)]);
    assert!(eval(&model, &fewer).failed(65).contains("numbers 0 to 2"));
}

#[test]
fn numbers_of_more_than_one_digit_are_not_in_alphabetical_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let names: Vec<String> = (0..12).map(|class| class.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let path = folder.path().join("twelve.onebit");
    pack(&path, &linear(&names, [3, 4, 4], |class, _| class as f32));
    let images: Vec<_> = names.iter().map(|name| (*name, RED)).collect();
    let spec = photos(folder.path(), "twelve", &images);
    let json = eval(&path, &spec).json();
    assert_eq!(counted(&json), (1.0, 12, 12));
    let best = photos(folder.path(), "best", &[("11", RED)]);
    assert_eq!(counted(&eval(&path, &best).json()), (1.0, 1, 1));
}

/// The trainer compares names too; what needs no labels takes images of any class.
#[cfg(feature = "train")]
#[test]
fn the_trainer() {
    use onebit_model::file;

    let folder = tempfile::tempdir().expect("a folder");
    let names = ["tomato", "cucumber", "plum"];
    let weight = |class, value: usize| if value % 3 == class { 1.0 } else { 0.0 };
    let weights = linear(&names, [3, 4, 4], weight);
    let content = file::write_weights(&weights).expect("a file");
    let (loose, run) = (folder.path().join("w.safetensors"), folder.path().join("checkpoint"));
    std::fs::write(&loose, &content).expect("written");
    onebit_files::write_folder(&run, &[("weights.safetensors", content)]).expect("written");
    let images = [("cucumber", GREEN), ("plum", BLUE), ("plum", RED)];
    let spec = photos(folder.path(), "two", &images);
    let outcome = eval(&run, &spec);
    assert_eq!(counted(&outcome.json()), (2.0, 3, 2));
    let other = photos(folder.path(), "other", &[("a", RED), ("b", GREEN)]);
    assert!(eval(&run, &other).failed(65).contains("`a`, `b`"));
    let out = folder.path().join("a.onebit");
    let pack = ["pack", text(&loose), "-o", text(&out), "--verify", &other, "--json"];
    assert_eq!(onebit(&pack).json()["agreement"]["images"], 2);
}

#[test]
fn published_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fashion.onebit");
    let mut reversed = CLASSES;
    reversed.reverse();
    // The first of the network's classes always wins.
    let weight = |class, _| if class == 0 { 1.0 } else { 0.0 };
    let top1 = |classes: &[&str]| {
        pack(&path, &linear(classes, [1, 28, 28], weight));
        eval(&path, "fashion-mnist-sample").json()["top1"].as_f64().expect("a number")
    };
    let (first, last) = (top1(&CLASSES), top1(&reversed));
    assert!((first - 0.1).abs() < 0.03 && (last - 0.1).abs() < 0.03, "{first} {last}");
    pack(
        &path,
        &linear(
            &CLASSES.map(str::to_lowercase).each_ref().map(String::as_str),
            [1, 28, 28],
            weight,
        ),
    );
    eval(&path, "fashion-mnist-sample").failed(65);
}
