//! `onebit import` makes files that the other verbs take, says what it did, and leaves nothing behind when it fails.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Outcome, names, npy, onebit};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A small checkpoint of `scripts/fixtures/checkpoints.py`.
fn fixture(name: &str) -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    crates.join("onebit-pack/tests/fixtures/import").join(name)
}

/// Options that make `reactnet18` as small as the fixtures.
const SMALL: [&str; 4] = ["--set", "widths=[8,16]", "--set", "blocks=[2,2]"];

fn import(checkpoint: &Path, output: &Path, more: &[&str]) -> Outcome {
    let arguments = ["import", text(checkpoint), "-o", text(output)];
    onebit(&[&arguments[..], &SMALL, more].concat())
}

const REACTNET: [&str; 2] = ["--arch", "reactnet18"];

#[test]
fn a_checkpoint_becomes_a_packed_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, classes) = (folder.path().join("a.onebit"), folder.path().join("classes.txt"));
    fs::write(&classes, "tench\nspringer\ncassette player\nchain saw\nchurch\n").expect("written");
    let checkpoint = fixture("bireal.legacy.pth.tar");
    let options =
        ["--arch", "birealnet18", "--classes", text(&classes), "--input", "3x64x48", "--json"];
    let done = import(&checkpoint, &out, &options).json();
    assert_eq!(done["arch"], "birealnet18");
    assert_eq!(
        (&done["classes"], &done["tensors"], &done["ties"]),
        (&5.into(), &32.into(), &0.into())
    );
    assert_eq!(done["packed"], true);
    assert_eq!(done["ignored"]["num_batches_tracked"], 6);
    let entries = serde_json::json!(["epoch", "best_top1_acc", "optimizer"]);
    assert_eq!(done["ignored"]["entries"], entries);
    let length = |path| fs::metadata(path).expect("a file").len();
    assert_eq!(done["bytes_in"], length(&checkpoint));
    assert_eq!(done["bytes_out"], length(&out));
    let summary = onebit(&[
        "summary",
        "birealnet18",
        SMALL[0],
        SMALL[1],
        SMALL[2],
        SMALL[3],
        "--classes",
        "5",
        "--json",
    ]);
    // A summary counts two numbers of a normalization, a checkpoint has two more: its statistics.
    let statistics = 2 * (3 * 8 + 3 * 16);
    let elements = summary.json()["params"]["total"].as_u64().expect("a number") + statistics;
    assert_eq!(done["bytes_f32"], 4 * elements);

    let inspection = onebit(&["inspect", text(&out), "--json"]).json();
    assert_eq!(inspection["input"], serde_json::json!([3, 64, 48]));
    assert_eq!(inspection["classes"][2], "cassette player");
    assert_eq!(inspection["mean"], serde_json::json!([0.485, 0.456, 0.406]));
    let (x, y) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
    npy(&x, "<f4", &[2, 3, 64, 48]);
    onebit(&["run", text(&out), "--input", text(&x), "--output", text(&y)]).succeeded();
}

#[test]
fn weights_can_be_packed_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let checkpoint = fixture("reactnet.zip.pth");
    let done = import(&checkpoint, &path("a.safetensors"), &REACTNET);
    assert!(done.succeeded().contains("weights"), "{}", done.stdout);
    import(&checkpoint, &path("a.onebit"), &REACTNET).succeeded();
    onebit(&["pack", text(&path("a.safetensors")), "-o", text(&path("b.onebit"))]).succeeded();
    let read = |name: &str| fs::read(path(name)).expect("a file");
    assert!(read("a.onebit") == read("b.onebit"));
}

#[test]
fn what_cannot_be_imported_is_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("a.onebit");
    let good = fixture("reactnet.mixed.pth");
    let fails = |checkpoint: &Path, options: &[&str], code: i32, words: &str| {
        let outcome = import(checkpoint, &out, options);
        let sentence = outcome.failed(code);
        assert!(sentence.contains(words), "expected {words}: {sentence}");
        assert!(!out.exists(), "{sentence}");
    };
    fails(&folder.path().join("none.pth"), &REACTNET, 66, "none.pth");
    fails(&good, &["--arch", "birealnet18"], 65, "no place for the tensor `layer1.0.move0.bias`");
    fails(&good, &["--arch", "dybnn18"], 65, "official checkpoints have no name for");
    fails(&good, &["--arch", "resnet1"], 64, "there is no architecture `resnet1`");
    fails(&good, &["--arch", "reactnet18", "--set", "colour=red"], 64, "colour");
    fails(&good, &["--arch", "reactnet18", "--mean", "0.5"], 64, "3 finite means");
    fails(&good, &["--arch", "reactnet18", "--input", "1x64x64"], 64, "1 finite means");

    let classes = folder.path().join("classes.txt");
    fs::write(&classes, "one\ntwo\n").expect("written");
    let options = ["--arch", "reactnet18", "--classes", text(&classes)];
    fails(&good, &options, 65, "names 2 classes, the checkpoint has 5");

    let bytes = fs::read(&good).expect("a fixture");
    let bad = folder.path().join("bad.pth");
    fs::write(&bad, &bytes[..bytes.len() - 1]).expect("written");
    fails(&bad, &REACTNET, 65, "bad.pth: the zip container is damaged");
    let system =
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.\
                   \x80\x02cos\nsystem\nX\x05\x00\x00\x00touch\x85R.";
    fs::write(&bad, system).expect("written");
    fails(&bad, &REACTNET, 65, "asks for `os.system`");
    fs::write(&bad, "Dear reader").expect("written");
    fails(&bad, &REACTNET, 65, "it is no checkpoint");
    assert_eq!(names(folder.path()), ["bad.pth", "classes.txt"]);
}
