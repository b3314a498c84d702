//! Messages are in the words of a user: no types of Rust, no numbers of hundreds of digits, and no empty values.
#![cfg(feature = "train")]

mod common;

use std::fs;
use std::path::Path;

use common::{names, onebit, packed, png, recipe};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Words that a user cannot know.
const RUST: [&str; 20] = [
    "struct",
    "enum",
    "usize",
    "isize",
    "u64",
    "u32",
    "i64",
    "i128",
    "f32",
    "f64",
    "bool",
    "variant",
    "::",
    "Some(",
    "None",
    "fill whole buffer",
    "literal",
    "found in string",
    "target type",
    "..=",
];

fn check(sentence: &str, expected: &str) {
    assert!(sentence.contains(expected), "`{sentence}` does not say `{expected}`");
    for word in RUST {
        assert!(!sentence.contains(word), "{sentence}");
    }
    assert!(!sentence.contains(&"0".repeat(20)), "{sentence}");
}

#[test]
fn settings_of_a_recipe() {
    let folder = tempfile::tempdir().expect("a folder");
    let (recipe, out) = (recipe(folder.path(), "epochs = 1"), folder.path().join("run"));
    let of_train = |setting: &str, expected: &str| {
        let outcome = onebit(&["train", text(&recipe), "--out", text(&out), "--set", setting]);
        check(outcome.failed(65), expected);
    };
    for (setting, expected) in [
        ("train=5", "train: invalid type: whole number `5`, expected a group of keys"),
        ("data=7", "expected a group of keys"),
        (
            "network.hyper=4",
            "network.hyper: invalid type: whole number `4`, expected a group of keys",
        ),
        ("network.widths=5", "expected a list"),
        ("network.arch=", "network.arch is \"\", expected one of resnet20"),
        ("data.train=", "data.train is \"\", expected a data spec"),
        ("train.init=", "train.init is \"\", expected the path"),
        (
            "train.epochs=1e308",
            "invalid type: number `1e308`, expected a whole number of 0 or more",
        ),
        ("train.lr=-1e308", "train.lr is -1e308, expected a number above 0"),
        ("train.weight_decay=-1e308", "train.weight_decay is -1e308"),
        ("train.label_smoothing=1e308", "train.label_smoothing is 1e308"),
        ("train.betas=[1e308,0]", "train.betas is [1e308, 0], expected two numbers"),
        ("train.betas=[0.5]", "expected a list of length 2"),
        ("data.image_size=[1,2,3]", "expected a shorter list"),
        (
            "data.image_size=[16, 16]",
            "recipe: data.image_size is [16, 16], expected [28, 28], the size of the images of `fashion-mnist-sample:train`",
        ),
        ("data.skip_bad=1", "expected true or false"),
        ("train.seed=-1", "expected a whole number of 0 or more"),
        (
            "train.activation_estimator=5",
            "train.activation_estimator is `5`, expected `approx_sign`, `{ clip = { bound = NUMBER } }` or `{ ede = ",
        ),
        (
            "train.activation_estimator={clip=5}",
            "train.activation_estimator is `{ clip = 5 }`, expected ",
        ),
        ("train.stages={a=1,b=2}", "train.stages is `{ a = 1, b = 2 }`, expected `one` or `two`"),
        (
            "train.batch=641",
            "recipe: train.batch is 641, expected 1 to 640, the number of training images",
        ),
        (
            "train.augmentation.crop_padding=29",
            "recipe: train.augmentation.crop_padding is 29, expected 0 to 28, the shorter side of the images",
        ),
    ] {
        of_train(setting, expected);
    }
    fs::write(&recipe, "[train]\nepochs = 99999999999999999999\n").expect("written");
    let outcome = onebit(&["train", text(&recipe), "--out", text(&out)]);
    check(outcome.failed(65), "tiny.toml: line 2 is not valid TOML");
    assert!(!out.exists());
}

#[test]
fn arguments() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(folder.path(), "epochs = 1");
    let recipe = text(&recipe);
    for (arguments, expected) in [
        (
            &["train", recipe, "--epochs", "abc"][..],
            "'abc' for '--epochs <N>': expected a whole number of 0 or more",
        ),
        (&["train", recipe, "--epochs", "99999999999999999999"], "the number is too large"),
        (&["train", recipe, "--seed", ""], "expected a whole number of 0 or more"),
        (&["summary", "resnet20", "--classes", "0"], "'--classes <N>': expected 1 to 65536"),
        (
            &["summary", "resnet20", "--set", "groups=1e308"],
            "--set groups=1e308: groups: invalid type: number `1e308`",
        ),
        (&["summary", "resnet20", "--set", "groups"], "'--set <KEY=VALUE>': expected KEY=VALUE"),
        (&["train", recipe, "--set", "train.lr"], "'--set <KEY=VALUE>': expected KEY=VALUE"),
        (&["summary", "resnet20", "--set", "method=xnor"], "method is `xnor`, expected `bireal`, "),
        (&["predict", "x", "y", "--top", "0"], "expected 1 or more"),
        (&["import", "x", "--arch", "reactnet-a", "-o", "y", "--std", "a"], "expected a number"),
    ] {
        check(onebit(arguments).failed(64), expected);
    }
}

/// A PNG file of grey pixels with `kind` in place of the kind of a chunk, whose checksum then is wrong.
fn spoilt(path: &Path, kind: &[u8; 4], instead: &[u8; 4]) {
    png(path, 28, 28);
    let mut bytes = fs::read(path).expect("a file");
    let at = bytes.windows(4).position(|window| window == kind).expect("a chunk");
    bytes[at..at + 4].copy_from_slice(instead);
    fs::write(path, bytes).expect("written");
}

#[test]
fn images_and_models() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, image) = (packed(folder.path()), folder.path().join("x.png"));
    let predicted = |expected: &str| {
        let outcome = onebit(&["predict", text(&model), text(&image)]);
        let said = outcome.failed(65);
        check(said, expected);
        assert!(!said.contains(['{', '}']) && !said.contains("ChunkType"), "{said}");
    };
    fs::write(&image, b"GIF89a").expect("written");
    predicted("file type is GIF, expected JPEG, PNG, WebP or BMP content");
    for (kind, instead) in
        [(b"IDAT", b"IDAU"), (b"IDAT", b"PLTE"), (b"IHDR", b"IDAT"), (b"IDAT", b"IHDR")]
    {
        spoilt(&image, kind, instead);
        predicted("the image cannot be decoded (");
    }
    png(&image, 28, 28);
    let whole = fs::read(&image).expect("a file");
    for length in [whole.len() / 2, 40, 20, 9] {
        fs::write(&image, &whole[..length]).expect("written");
        predicted("the image cannot be decoded (it is cut short)");
    }
    fs::write(&image, b"BM\0\0").expect("written");
    predicted("it is cut short");
    fs::write(&image, b"RIFF\x10\0\0\0WEBPVP8 \0").expect("written");
    predicted("it is cut short");
    let good = folder.path().join("good.png");
    png(&good, 28, 28);
    let outcome = onebit(&["predict", text(&model), text(&image), text(&good)]);
    assert!(outcome.stderr.ends_with("1 of 2 images has no prediction\n"), "{}", outcome.stderr);
    let bytes = fs::read(&model).expect("a file");
    for length in [0, 4, 12, 100, bytes.len() - 1] {
        fs::write(&model, &bytes[..length]).expect("written");
        check(onebit(&["verify", text(&model)]).failed(65), "small.onebit");
    }
    assert_eq!(names(folder.path()), ["good.png", "small.onebit", "x.png"]);
}

#[test]
fn what_to_do_is_said_in_terms_of_the_command_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let (recipe, out) = (recipe(folder.path(), "epochs = 1"), folder.path().join("run"));
    let train =
        |more: &[&str]| onebit(&[&["train", text(&recipe), "--out", text(&out)], more].concat());
    let last = |more: &[&str], code: i32, expected: &str| {
        let outcome = train(more);
        assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
        let last = outcome.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: ") && last.contains(expected), "{last}");
    };
    last(
        &["--resume"],
        66,
        "there is no run to resume, expected a recipe.toml; leave out --resume to start one",
    );
    let hopeless = ["--set", "train.lr=1e37", "--set", "train.schedule=constant"];
    last(
        &hopeless,
        65,
        "at the learning rate 1e37, expected a lower train.lr (no checkpoint had been written yet)",
    );
    assert!(!out.exists(), "a run that failed in its first epoch is in the way");
    train(&[]).succeeded();
    last(&[], 64, "holds a run already; continue it with --resume, or choose another --out");
    let other = "(train.seed is 3 there and 4 here); use its own recipe.toml with --resume, or choose another --out";
    last(&["--seed", "4"], 64, other);
    fs::write(out.join("checkpoints/epoch-00001/state.json"), "").expect("written");
    last(&["--resume"], 65, "); start again with another --out");
    let outcome = onebit(&["train", text(&recipe), "--out", text(folder.path())]);
    assert!(
        outcome.stderr.ends_with("is not empty and holds no run; choose another --out\n"),
        "{}",
        outcome.stderr
    );

    let empty = folder.path().join("empty");
    let mut command = common::program();
    command.env("ONEBIT_DATA", &empty).args([
        "train",
        text(&recipe),
        "--out",
        text(&empty),
        "--data",
        "cifar10",
    ]);
    let fetch = "run `onebit data fetch cifar10`, or `onebit data fetch cifar10 --from DIR` if you have its files";
    let outcome = common::Outcome::from(command.output().expect("the program starts"));
    assert!(outcome.failed(66).ends_with(fetch), "{}", outcome.stderr);
    command.arg("--check");
    let outcome = common::Outcome::from(command.output().expect("the program starts"));
    outcome.succeeded();
    assert!(
        outcome.stderr.starts_with("not checked: ") && outcome.stderr.contains(fetch),
        "{}",
        outcome.stderr
    );
}
