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
    assert_eq!((&done["packed"], &done["replaced"]), (&true.into(), &false.into()));
    assert_eq!(
        (&done["state_dict"], &done["stripped_prefix"]),
        (&"state_dict".into(), &"module.".into())
    );
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
    for (mean, words) in [
        (
            ["--mean", "0.5,-1"],
            "--mean 0.5,-1: expected a finite number for each of the 3 channels",
        ),
        (
            ["--mean", "0,nan,1"],
            "--mean 0,NaN,1: expected a finite number for each of the 3 channels",
        ),
        (
            ["--std", "1,0,1e38"],
            "--std 1,0,1e38: expected a finite number above 0 for each of the 3 channels",
        ),
        (
            ["--std", "1,1,1,1"],
            "--std 1,1,1,1: expected a finite number above 0 for each of the 3 channels",
        ),
        (["--std", "1,x,1"], "expected a number"),
        (
            ["--input", "1x64x64"],
            "--mean 0.485,0.456,0.406: expected a finite number for each of the 1 channel",
        ),
    ] {
        fails(&good, &[&["--arch", "reactnet18"], &mean[..]].concat(), 64, words);
    }

    let classes = folder.path().join("classes.txt");
    fs::write(&classes, "one\n").expect("written");
    let options = ["--arch", "reactnet18", "--classes", text(&classes)];
    fails(&good, &options, 65, "names 1 class, the checkpoint has 5");
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

/// A file of class names, and the names in the packed file.
fn named(content: &[u8]) -> (Outcome, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, classes) = (folder.path().join("a.onebit"), folder.path().join("classes.txt"));
    fs::write(&classes, content).expect("written");
    let options = ["--arch", "reactnet18", "--classes", text(&classes)];
    let outcome = import(&fixture("reactnet.zip.pth"), &out, &options);
    if outcome.code != Some(0) {
        assert!(!out.exists());
        return (outcome, vec![]);
    }
    let inspection = onebit(&["inspect", text(&out), "--json"]).json();
    let names = inspection["classes"].as_array().expect("classes").iter();
    (outcome, names.map(|name| name.as_str().expect("a text").to_owned()).collect())
}

#[test]
fn class_names_are_those_that_a_reader_of_the_file_sees() {
    let expected = ["one", "two words", "drei", "größer", "5"];
    let bom = "\u{feff}";
    for content in [
        "one\ntwo words\ndrei\ngrößer\n5",
        "one\ntwo words\ndrei\ngrößer\n5\n",
        "one\r\ntwo words\r\ndrei\r\ngrößer\r\n5\r\n",
        "one\n two words \ndrei\t\ngrößer\n5\n\n\n \n",
        &format!("{bom}one\ntwo words\ndrei\ngrößer\n5\n"),
        &format!("{bom}one\r\ntwo words\r\n{bom}drei\r\ngrößer\r\n5\r\n\r\n"),
    ] {
        let (outcome, names) = named(content.as_bytes());
        outcome.succeeded();
        assert_eq!(
            (names.as_slice(), outcome.stderr.as_str()),
            (&expected.map(str::to_owned)[..], "")
        );
    }
    let (outcome, names) = named(b"crane\nb\nc\ncrane\nb\n");
    outcome.succeeded();
    assert_eq!(names, ["crane", "b", "c", "crane", "b"]);
    let said =
        "lines 1 and 4 are both `crane`, and 2 lines in all repeat an earlier name: predictions";
    assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    let (outcome, _) = named(b"crane\nb\nc\ncrane\ne\n");
    assert!(outcome.stderr.contains("are both `crane`: predictions of"), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
}

#[test]
fn a_file_that_holds_no_class_names_is_bad_data() {
    let long = format!("a\nb\nc\n{}\ne\n", "d".repeat(1025));
    let cases: [(&[u8], &str); 6] = [
        (b"a\nb\nc\xff\nd\ne\n", "line 3 is not UTF-8"),
        (b"a\n\nc\nd\ne\n", "line 2 is ``"),
        (b"a\nb\nc\x1b[2J\nd\ne\n", "line 3 is `c\\u{1b}[2J`"),
        (long.as_bytes(), "line 4 is `dddd"),
        (b"", "names 0 classes, the checkpoint has 5"),
        (b"a\nb\nc\nd\ne\nf\n", "names 6 classes, the checkpoint has 5"),
    ];
    for (content, words) in cases {
        let outcome = named(content).0;
        let sentence = outcome.failed(65);
        assert!(sentence.contains(words) && sentence.len() < 600, "expected {words}: {sentence}");
    }
    #[cfg(unix)]
    {
        let folder = tempfile::tempdir().expect("a folder");
        let options = ["--arch", "reactnet18", "--classes", "/dev/zero"];
        let out = folder.path().join("a.onebit");
        let outcome = import(&fixture("reactnet.zip.pth"), &out, &options);
        assert!(outcome.failed(65).contains("/dev/zero: is larger"), "{}", outcome.stderr);
    }
}

#[test]
fn architectures_without_official_names_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("a.onebit");
    for arch in ["vgg-small", "ftbnn18", "dybnn-a", "reactnet-b"] {
        let outcome =
            onebit(&["import", text(&fixture("mobile.zip.pth")), "--arch", arch, "-o", text(&out)]);
        let sentence = outcome.failed(65);
        assert!(sentence.contains(arch) && sentence.contains("birealnet18"), "{sentence}");
        assert!(sentence.contains("docs/format.md"), "{sentence}");
    }
    assert!(names(folder.path()).is_empty());
}

/// A safetensors file of this header and these bytes.
fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

#[test]
fn safetensors_that_are_refused_show_nothing_of_themselves_to_a_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, path) = (folder.path().join("a.onebit"), folder.path().join("x.safetensors"));
    let long = "x".repeat(500_000);
    let tensor = |name: &str, dtype: &str, shape: &str, len: usize| {
        format!(r#"{{"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{len}]}}}}"#)
    };
    let cases = [
        (tensor("fc.weight", "F32", "[0,4]", 0), "has the shape [0, 4]"),
        (tensor("fc.weight", "F32", "[]", 4), "has the shape []"),
        (tensor("fc.weight", "\\u001b[2J\\u0007", "[1]", 4), "not valid"),
        (tensor("fc.weight", &long, "[1]", 4), "not valid"),
        (tensor("\\u001b[2J", "F32", "[1]", 4), "`fc.weight` is missing"),
        (tensor(&long, "F32", "[2]", 4), ""),
    ];
    for (header, words) in cases {
        let len = if header.ends_with("[0,0]}}") { 0 } else { 4 };
        fs::write(&path, safetensors(&header, &[0; 4][..len])).expect("written");
        let outcome = import(&path, &out, &REACTNET);
        let sentence = outcome.failed(65);
        assert!(sentence.contains(words), "expected {words}: {sentence}");
        assert!(!sentence.contains(char::is_control), "{sentence:?}");
        assert!(sentence.len() < 600, "{} bytes", sentence.len());
    }
}
