//! Recipes as a user sees them: overrides, checks, the reference of keys, and files that are none.
#![cfg(feature = "train")]

mod common;

use std::fs;
use std::path::Path;

use common::{Outcome, names, onebit, png, recipe};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn check(recipe: &Path, overrides: &[&str]) -> Outcome {
    onebit(&[&["train", text(recipe), "--check"], overrides].concat())
}

#[test]
fn overrides_that_depend_on_each_other_come_in_any_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(folder.path(), "epochs = 3");
    let two = ["--set", "train.stages=two", "--set", "train.real_weight_epochs=2"];
    let reversed = ["--set", "train.real_weight_epochs=2", "--set", "train.stages=two"];
    for order in [two, reversed] {
        let json = check(&recipe, &[&order[..], &["--epochs", "4", "--json"]].concat()).json();
        assert_eq!(json["epochs"], 6);
    }
    let granularity = ["--epochs", "2", "--set", "train.granularity=epoch", "--seed", "9"];
    check(&recipe, &granularity).succeeded();
    let teacher = ["columns=[1]", "mean=[0.5]", "std=[0.5]", "path=t.onnx"];
    let teacher = teacher.map(|value| format!("--set=train.teacher.{value}"));
    check(&recipe, &teacher.each_ref().map(String::as_str)).succeeded();
    let data = ["--set", "data.train_limit=64", "--data", "fashion-mnist-sample"];
    assert_eq!(check(&recipe, &[&data[..], &["--json"]].concat()).json()["images"], 64);
    let unset = folder.path().join("unset.toml");
    let whole = fs::read_to_string(&recipe).expect("a recipe");
    fs::write(&unset, whole.replace("epochs = 3", "")).expect("written");
    assert!(check(&unset, &[]).failed(65).contains("train.epochs is missing"));
    check(&unset, &["--epochs", "3"]).succeeded();
}

#[test]
fn the_override_at_fault_is_named_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(folder.path(), "epochs = 3");
    let cases: [(&[&str], &str); 7] = [
        (&["--set", "train.lr=0.1", "--set", "train.stages=two"], "--set train.stages=two: "),
        (&["--set", "train.lr=-1", "--epochs", "3"], "--set train.lr=-1: train.lr is -1"),
        (&["--set", "train.lr=x", "--seed", "3"], "--set train.lr=x: train.lr: invalid type"),
        (&["--set", "train.epoch=4", "--epochs", "3"], "--set train.epoch=4: unknown key"),
        (&["--set", "train.lr=0.1", "--epochs", "0"], "--epochs 0: train.epochs is 0"),
        (&["--set", "train.seed=1", "--set", "network.arch=x"], "--set network.arch=x: network"),
        (
            &["--set", "train.granularity=epoch", "--seed", "3", "--epochs", "1"],
            "--set train.granularity=epoch --epochs 1: train.epochs is 1",
        ),
    ];
    for (overrides, start) in cases {
        let outcome = check(&recipe, overrides);
        let sentence = outcome.failed(65);
        assert!(sentence.starts_with(start), "{overrides:?}: {sentence}");
    }
    let outcome = check(&recipe, &["--data", "mnist:train"]);
    assert!(outcome.failed(65).starts_with("--data mnist:train: "));
    let bad = self::recipe(folder.path(), "epochs = 0");
    let outcome = check(&bad, &["--set", "train.lr=0.1"]);
    assert!(outcome.failed(65).contains("tiny.toml: train.epochs is 0"));
}

#[test]
fn a_check_tells_what_would_be_trained_and_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = recipe(folder.path(), "epochs = 1");
    let told = check(&path, &[]);
    let told = told.succeeded();
    for words in ["tiny.toml: valid", "1x28x28", "10 classes", "640 images", "1 epoch of 20 steps"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    let json = onebit(&["train", "--check", text(&path), "--json"]).json();
    assert_eq!(
        (&json["valid"], &json["steps"], &json["classes"]),
        (&true.into(), &20.into(), &10.into())
    );
    assert!(json["memory_bytes"].as_u64() > Some(100_000), "{json}");
    assert_eq!(names(folder.path()), ["tiny.toml"]);

    let elsewhere = ["--data", "folder:/no/such/photos", "--json"];
    let outcome = check(&path, &elsewhere);
    let json = outcome.json();
    assert!(json["images"].is_null() && json["missing"][0].is_string(), "{json}");
    assert!(outcome.stderr.contains("not checked: /no/such/photos"), "{}", outcome.stderr);
    assert_eq!((&json["valid"], &json["unchecked"]), (&true.into(), &serde_json::json!(["data"])));
    for (arguments, sentence) in [
        (&elsewhere[..2], "valid, but its data was not found; not checked: data\n"),
        (
            &["--set", "train.init=/no/such/run"],
            "valid, but a file that it names was not found; not checked: train.init\n",
        ),
        (
            &[elsewhere[0], elsewhere[1], "--set", "train.init=/no/such/run"],
            "valid, but its data was not found; not checked: data, train.init\n",
        ),
    ] {
        let told = check(&path, arguments);
        assert!(told.succeeded().contains(sentence), "{}", told.stdout);
    }
    check(&path, &["--data", "no-such-set"]).failed(64);
    check(&path, &["--set", "network.groups=7"]).failed(65);
    onebit(&["train", "--check", "/no/such/recipe.toml"]).failed(66);
    onebit(&["train", "--check"]).failed(64);
    onebit(&["train", "--check", "--resume", text(&path)]).failed(64);
}

#[test]
fn every_recipe_that_comes_with_the_program_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    for name in names(&folder) {
        assert!(check(&folder.join(&name), &[]).succeeded().contains("valid"), "{name}");
    }
}

/// The package of the program holds its own copy, since a package ends at its folder.
#[test]
fn the_recipe_of_the_demo_is_the_one_in_recipes() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(package.join(path)).expect("a recipe");
    assert_eq!(
        read("assets/demo.toml"),
        read("../../recipes/demo.toml"),
        "copy one onto the other"
    );
}

#[test]
fn the_keys_of_recipes_are_told() {
    let outcome = onebit(&["train", "--keys"]);
    let told = outcome.succeeded();
    for words in [
        "[data]",
        "[network.hyper]  (may be left out)",
        "  epochs: whole number, 1 to 100000, required",
        "  schedule: text, default \"linear\"",
        "\"constant\"  Always the first learning rate.",
        "\"reactnet-a\"",
        "{ clip = { bound = NUMBER } }",
        "[train.teacher]",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(told.lines().all(|line| line.chars().count() <= 100), "{told}");

    let json = onebit(&["train", "--keys", "--json"]).json();
    let sections = json["sections"].as_array().expect("sections");
    let train = sections.iter().find(|section| section["name"] == "train").expect("[train]");
    let keys = train["keys"].as_array().expect("keys");
    let lr = keys.iter().find(|key| key["key"] == "lr").expect("lr");
    assert_eq!((&lr["type"], &lr["required"]), (&"number".into(), &true.into()));

    let schema = onebit(&["train", "--keys", "--json-schema"]).json();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["properties"]["train"]["properties"]["epochs"]["maximum"], 100_000);

    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/recipes.md"));
    assert_eq!(onebit(&["train", "--keys", "--markdown"]).succeeded(), page.expect("the page"));
    onebit(&["train", "--json-schema"]).failed(64);
    onebit(&["train", "--keys", "--json-schema", "--markdown"]).failed(64);
}

#[test]
fn a_file_that_is_no_recipe_is_refused_in_a_short_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("r.toml");
    let whole = fs::read_to_string(recipe(folder.path(), "epochs = 1")).expect("a recipe");
    let long = "x".repeat(500_000);
    let spoilt = |from: &str, to: &str| whole.replace(from, to).into_bytes();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("100 MB", vec![b'#'; 100_000_000], "larger than"),
        (
            "not UTF-8",
            spoilt("arch = \"", "arch = \"\u{ff}")
                .iter()
                .map(|&b| if b == 0xc3 { 0xff } else { b })
                .collect(),
            "UTF-8",
        ),
        ("a long key", spoilt("[train]", &format!("[train]\n{long} = 1")), "unknown key"),
        ("a long section", spoilt("[train]", &format!("[{long}]\na = 1\n[train]")), "unknown key"),
        (
            "a long quoted key",
            spoilt("[train]", &format!("[train]\n\"`{long}`, expected `\" = 1")),
            "unknown key",
        ),
        ("a long architecture", spoilt("resnet-small", &long), "network.arch"),
        (
            "a long word",
            spoilt("[train]", &format!("[train]\nschedule = \"{long}\"")),
            "train.schedule",
        ),
        (
            "a long text for a number",
            spoilt("epochs = 1", &format!("epochs = \"{long}\"")),
            "train.epochs",
        ),
        (
            "a long list",
            spoilt("epochs = 1", &format!("epochs = 1\nbetas = [{}1]", "1, ".repeat(200_000))),
            "train.betas",
        ),
        (
            "a long line that is no TOML",
            spoilt("epochs = 1", &format!("epochs = 1 {long}")),
            "TOML",
        ),
        (
            "a key that is there twice",
            spoilt("epochs = 1", &format!("{long} = 1\n{long} = 2")),
            "TOML",
        ),
        (
            "control characters",
            spoilt("[train]", "[train]\n\"\\u001b[31m\\u202e\" = 1"),
            "\\u{1b}[31m\\u{202e}",
        ),
        ("control characters in a word", spoilt("resnet-small", "\\u001b[2Jx"), "\\u{1b}[2Jx"),
        ("empty", Vec::new(), "section [data]"),
        ("nothing but zeros", vec![0; 1000], "TOML"),
    ];
    for (case, content, words) in cases {
        fs::write(&path, content).expect("written");
        let outcome = onebit(&["train", text(&path), "--check"]);
        let sentence = outcome.failed(65);
        assert!(sentence.contains("r.toml") && sentence.contains(words), "{case}: {sentence}");
        assert!(sentence.len() < 1000, "{case}: {} bytes", sentence.len());
        assert!(!sentence.contains(['\u{1b}', '\u{202e}']), "{case}");
    }
    assert!(onebit(&["train", text(folder.path())]).failed(65).contains("is a folder"));
}

#[cfg(target_os = "linux")]
#[test]
fn devices_and_named_pipes_are_no_recipes_and_pipes_without_a_name_are() {
    use std::process::{Command, Stdio};

    for device in ["/dev/zero", "/dev/null", "/dev/urandom"] {
        assert!(onebit(&["train", device]).failed(65).contains(device));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = recipe(folder.path(), "epochs = 1");
    let fifo = folder.path().join("fifo.toml");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    let outcome = onebit(&["train", text(&fifo)]);
    assert!(outcome.failed(65).contains("fifo.toml: is a named pipe"));
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "cat \"$1\" | \"$0\" train --check /dev/stdin",
        env!("CARGO_BIN_EXE_onebit"),
    ]);
    let output = command.arg(&path).stdin(Stdio::null()).output().expect("a shell");
    assert!(Outcome::from(output).succeeded().contains("valid"));
}

/// A folder of images for two classes, trained and tested with the same ones.
fn photos(folder: &Path, side: u32) -> String {
    for split in ["train", "val"] {
        for class in ["a", "b"] {
            let place = folder.join(split).join(class);
            fs::create_dir_all(&place).expect("a folder");
            for name in ["1.png", "2.png"] {
                png(&place.join(name), side, side);
            }
        }
    }
    format!("folder:{}", text(folder))
}

#[test]
fn a_batch_of_one_value_for_each_channel_is_refused_before_training() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(folder.path(), "epochs = 1");
    let out = folder.path().join("run");
    let data = photos(&folder.path().join("photos"), 8);
    let train = |side: usize, batch: usize| {
        let size = format!("data.image_size=[{side}, {side}]");
        let batch = format!("train.batch={batch}");
        let unlimited = ["--set", "data.train_limit=4", "--set", "data.test_limit=4"];
        let own = [
            "train",
            text(&recipe),
            "--out",
            text(&out),
            "--data",
            &data,
            "--set",
            &size,
            "--set",
            &batch,
        ];
        onebit(&[&own[..], &unlimited].concat())
    };
    let outcome = train(2, 1);
    let sentence = outcome.failed(65);
    for words in
        ["stage2.0", "1x1", "batch 1 image", "expected more than 1 value per channel when training"]
    {
        assert!(sentence.contains(words), "{words}: {sentence}");
    }
    assert!(!out.exists(), "a run that never began");
    train(2, 2).succeeded();
    fs::remove_dir_all(&out).expect("removed");
    train(4, 1).succeeded();
}

#[test]
fn more_memory_than_there_is_is_refused_before_training() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(folder.path(), "epochs = 1");
    let out = folder.path().join("run");
    let large = [
        "--set",
        "network.widths=[1024, 1024, 1024]",
        "--set",
        "network.blocks=[64, 64, 64]",
        "--set",
        "train.batch=640",
    ];
    let outcome = onebit(&[&["train", text(&recipe), "--out", text(&out)], &large[..]].concat());
    let sentence = outcome.failed(65);
    assert!(sentence.contains("GB of memory") && sentence.contains("train.batch"), "{sentence}");
    assert!(!out.exists(), "a run that never began");
    assert!(check(&recipe, &large).succeeded().contains("more than the"));
    for batch in ["1000000000", "18446744073709551615"] {
        let set = format!("train.batch={batch}");
        check(&recipe, &["--set", &set]).failed(65);
    }
    check(&recipe, &["--set", "data.image_size=[16384, 16384]"]).failed(65);
    check(&recipe, &["--set", "network.blocks=[1000000000, 1]"]).failed(65);
    check(&recipe, &["--set", "network.widths=[1000000000, 8]"]).failed(65);
}

#[cfg(target_os = "linux")]
#[test]
fn memory_that_the_system_does_not_give_is_one_sentence() {
    use std::process::Command;

    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(folder.path(), "epochs = 1");
    let out = folder.path().join("run");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 1500000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_onebit")]);
    command.args(["train", text(&recipe), "--threads", "1", "--out", text(&out)]);
    command.args(["--set", "network.widths=[512, 512]", "--set", "train.batch=640"]);
    let outcome = Outcome::from(command.output().expect("a shell"));
    assert!(outcome.failed(65).contains("which the system does not give"));
    assert!(!out.exists(), "a run that never began");
}
