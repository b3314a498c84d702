//! `onebit data check`, and what every verb that opens images says and refuses of a folder of them.

mod common;

use std::fs;
use std::path::Path;

use common::{Outcome, colour, linear, onebit, pack, program};

/// Two classes with two images each, one of them below the class folder, and a film.
fn photos(root: &Path) {
    for name in ["red/1.png", "red/deep/2.png"] {
        colour(&root.join(name), 4, [255, 0, 0]);
    }
    for name in ["blue/1.png", "blue/2.png"] {
        colour(&root.join(name), 4, [0, 0, 255]);
    }
    fs::write(root.join("blue/film.gif"), "").expect("written");
}

fn spec(root: &Path) -> String {
    format!("folder:{}", root.display())
}

fn check(spec: &str) -> Outcome {
    onebit(&["data", "check", spec, "--json"])
}

#[test]
fn a_check_lists_all_bad_images_and_what_else_is_to_be_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    photos(root);
    let json = check(&spec(root)).json();
    assert_eq!((&json["images"], &json["bad"]), (&4.into(), &0.into()));
    assert_eq!(json["spec"], spec(root));
    let split = &json["splits"][0];
    assert_eq!(split["split"], "train and test");
    let warnings = split["warnings"].as_array().expect("warnings");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].as_str().is_some_and(|w| w.contains("1 .gif")), "{warnings:?}");
    assert!(warnings[1].as_str().is_some_and(|w| w.contains("the same images")), "{warnings:?}");

    fs::write(root.join("red/0.jpg"), "no image").expect("written");
    fs::write(root.join("blue/3.webp"), "").expect("written");
    let outcome = check(&spec(root));
    assert_eq!(outcome.code, Some(65), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("2 of 6 images cannot be read"), "{}", outcome.stderr);
    let json: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("one JSON value");
    let split = &json["splits"][0];
    let classes = serde_json::json!([
        { "class": "blue", "images": 3, "bad": 1 },
        { "class": "red", "images": 3, "bad": 1 },
    ]);
    assert_eq!(split["classes"], classes);
    for (bad, name) in split["bad"].as_array().expect("bad images").iter().zip(["3.webp", "0.jpg"])
    {
        assert!(bad["path"].as_str().is_some_and(|path| path.ends_with(name)), "{bad}");
        assert!(bad["error"].as_str().is_some_and(|error| error.contains(name)), "{bad}");
    }
    let text = onebit(&["data", "check", &spec(root)]);
    assert_eq!(text.code, Some(65));
    for part in ["bad: ", "0.jpg: file type is unknown", "3.webp: ", "warning: ", "2 classes"] {
        assert!(text.stdout.contains(part), "{}", text.stdout);
    }
    assert!(check(&spec(&root.join("none"))).failed(66).contains("none"));
    assert!(check("nothing").failed(64).contains("fashion-mnist"));
    assert_eq!(check("fashion-mnist-sample:test").json()["images"], 2000);
}

#[cfg(unix)]
#[test]
fn a_name_that_no_class_can_have_is_a_fault() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    for name in ["a/1.png", "b\tc/1.png"] {
        colour(&root.join(name), 4, [0; 3]);
    }
    let outcome = onebit(&["data", "check", &spec(root)]);
    assert_eq!(outcome.code, Some(65));
    let expected = "`b\\tc` is not a valid name of a class: expected 1 to ";
    assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("valid name").count(), 1, "{}", outcome.stderr);
}

#[test]
fn splits_with_other_classes_are_a_fault() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    for name in ["train/a/1.png", "train/b/1.png", "val/b/1.png", "val/c/1.png"] {
        colour(&root.join(name), 4, [9; 3]);
    }
    let outcome = check(&spec(root));
    assert_eq!(outcome.code, Some(65), "{}", outcome.stderr);
    let words =
        "only train has `a` and only test has `c`, expected the same classes in both splits";
    assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    let json: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("one JSON value");
    assert_eq!((&json["classes_differ"], &json["bad"]), (&true.into(), &0.into()));
    fs::write(root.join("val/c/2.png"), "no image").expect("written");
    let both = onebit(&["data", "check", &spec(root)]).stderr;
    assert!(both.contains(words) && both.contains("; 1 of 5 images cannot be read"), "{both}");
    fs::remove_dir_all(root.join("val/c")).expect("removed");
    colour(&root.join("val/a/1.png"), 4, [9; 3]);
    assert_eq!(check(&spec(root)).json()["classes_differ"], false);
    assert_eq!(check(&(spec(root) + ":val")).json()["classes_differ"], false);
}

#[test]
fn folders_that_a_dot_hides_are_mentioned() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    photos(root);
    colour(&root.join(".green/1.png"), 4, [0, 255, 0]);
    fs::write(root.join(".DS_Store"), "").expect("written");
    let json = check(&spec(root)).json();
    assert_eq!(
        (&json["images"], &json["splits"][0]["classes"][1]["class"]),
        (&4.into(), &"red".into())
    );
    let warnings = json["splits"][0]["warnings"].to_string();
    let words = "1 folder passed over, as a dot at the start of a name hides it: .green";
    assert!(warnings.contains(words), "{warnings}");
    let other = tempfile::tempdir().expect("a folder");
    colour(&other.path().join(".green/1.png"), 4, [0, 255, 0]);
    let outcome = check(&spec(other.path()));
    assert!(outcome.failed(65).contains("without subfolders (1 folder passed over"));
}

#[test]
fn an_empty_place_to_fetch_from_is_refused() {
    let outcome = onebit(&["data", "fetch", "mnist", "--from", ""]);
    assert!(outcome.failed(64).contains("--from is empty"), "{}", outcome.stderr);
}

#[test]
fn the_home_folder_is_found_behind_a_colon() {
    let home = tempfile::tempdir().expect("a folder");
    photos(&home.path().join("photos"));
    let mut command = program();
    command.args(["data", "check", "folder:~/photos", "--json"]).env("HOME", home.path());
    let outcome = Outcome::from(command.output().expect("the program starts"));
    assert_eq!(outcome.json()["images"], 4);
}

#[test]
fn eval_takes_nested_images_and_warns_once_of_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, root) = (folder.path().join("colours.onebit"), folder.path().join("photos"));
    photos(&root);
    // Red minus blue, and the opposite.
    let weight = |class: usize, value: usize| match (class, value % 3) {
        (0, 2) | (1, 0) => 1.0,
        _ => 0.0,
    };
    pack(&model, &linear(&["blue", "red"], [3, 4, 4], weight));
    let arguments = ["eval", &model.display().to_string(), "--data", &spec(&root), "--json"];
    let outcome = onebit(&arguments);
    let json = outcome.json();
    assert_eq!((&json["n"], &json["top1"]), (&4.into(), &1.0.into()), "{json}");
    assert_eq!(outcome.stderr.matches("1 .gif").count(), 1, "{}", outcome.stderr);
}

#[cfg(unix)]
#[test]
fn a_pipe_among_the_images_is_named_instead_of_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, root) = (folder.path().join("colours.onebit"), folder.path().join("photos"));
    photos(&root);
    pack(&model, &linear(&["blue", "red"], [3, 4, 4], |_, _| 0.5));
    let pipe = root.join("red/pipe.jpg");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|status| status.success()));
    let model = model.display().to_string();
    let outcome = onebit(&["eval", &model, "--data", &spec(&root)]);
    assert!(outcome.failed(65).contains("pipe.jpg: is a named pipe, expected a regular file"));
    let pipe = pipe.display().to_string();
    assert!(onebit(&["predict", &model, &pipe]).failed(65).contains("is a named pipe"));
    let outcome = check(&spec(&root));
    assert_eq!(outcome.code, Some(65));
    assert!(outcome.stdout.contains("pipe.jpg: is a named pipe"), "{}", outcome.stdout);
}

#[cfg(feature = "train")]
#[test]
fn training_goes_on_without_bad_images_where_the_recipe_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("photos");
    for i in 0..12u8 {
        let class = ["blue", "red"][usize::from(i % 2)];
        colour(&root.join(format!("{class}/{i:02}.png")), 16, [i * 20, 9, 255 - i * 20]);
    }
    fs::write(root.join("red/bad.png"), "no image").expect("written");
    let recipe = folder.path().join("photos.toml");
    let text = format!(
        "[data]\ntrain = \"{0}\"\ntest = \"{0}\"\n\
         [network]\narch = \"resnet-small\"\nwidths = [8, 16]\nblocks = [1, 1]\n\
         [train]\nbatch = 4\nepochs = 1\nlr = 2e-3\n",
        spec(&root)
    );
    fs::write(&recipe, text).expect("written");
    let train = |out: &str, extra: &[&str]| {
        let out = folder.path().join(out).display().to_string();
        let recipe = recipe.display().to_string();
        onebit(
            &[&["train", &recipe, "--out", &out, "--set", "data.image_size=[16,16]"], extra]
                .concat(),
        )
    };
    let outcome = train("stops", &[]);
    assert_eq!(outcome.code, Some(65), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("bad.png: file type is unknown"), "{}", outcome.stderr);
    let outcome = train("goes-on", &["--set", "data.skip_bad=true"]);
    outcome.succeeded();
    for (part, times) in [
        ("1 of 13 images cannot be read and is left out", 1),
        ("bad.png", 1),
        ("the same images are used to learn from and to measure with", 1),
        ("12 images to learn from", 1),
    ] {
        assert_eq!(outcome.stderr.matches(part).count(), times, "{part}: {}", outcome.stderr);
    }
}
