//! A bad input is one sentence on stderr, the right exit code, and nothing half-written.

mod common;

use std::fs;
use std::path::Path;

use common::{Outcome, names, npy, onebit, packed, png};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Every verb that reads a packed file, on `file`.
fn read_by_every_verb(file: &Path, folder: &Path) -> Vec<Outcome> {
    let (x, image, file) = (folder.join("x.npy"), folder.join("image.png"), text(file));
    npy(&x, "<f4", &[1, 1, 28, 28]);
    png(&image, 28, 28);
    let (y, onnx) = (folder.join("y.npy"), folder.join("y.onnx"));
    let outcomes = vec![
        onebit(&["verify", file]),
        onebit(&["inspect", file]),
        onebit(&["summary", file]),
        onebit(&["bench", file]),
        onebit(&["eval", file, "--data", "fashion-mnist-sample"]),
        onebit(&["predict", file, text(&image)]),
        onebit(&["run", file, "--input", text(&x), "--output", text(&y)]),
        onebit(&["export", file, "--output", text(&onnx)]),
    ];
    assert!(!y.exists() && !onnx.exists(), "something made of a bad model");
    outcomes
}

#[test]
fn a_missing_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing.onebit");
    for outcome in read_by_every_verb(&missing, folder.path()) {
        let sentence = outcome.failed(66);
        let expected = "missing.onebit: not found; expected a packed model (.onebit)";
        assert!(sentence.ends_with(expected), "{sentence}");
    }
}

#[test]
fn a_damaged_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = fs::read(packed(folder.path())).expect("a file");
    let bad = folder.path().join("bad.onebit");
    let mut flipped = good.clone();
    flipped[good.len() - 9] ^= 4;
    let mut in_header = good.clone();
    in_header[100] ^= 1;
    let versions = String::from_utf8_lossy(&good).matches("\"version\":\"2\"").count();
    assert_eq!(versions, 1, "the header names its version");
    let at = good.windows(13).position(|w| w == b"\"version\":\"2\"").expect("a version");
    let mut newer = good.clone();
    newer[at + 11] = b'7';
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("empty", Vec::new(), "empty"),
        ("cut short", good[..good.len() - 1].to_vec(), "cut short"),
        ("a flipped bit", flipped, "damaged"),
        ("a flipped bit in the header", in_header, ""),
        ("text", b"Dear reader, this is no model.\n".to_vec(), "onebit"),
        ("newer", newer, "version 7"),
    ];
    for (case, content, word) in cases {
        fs::write(&bad, content).expect("written");
        for outcome in read_by_every_verb(&bad, folder.path()) {
            let sentence = outcome.failed(65);
            assert!(
                sentence.contains("bad.onebit") && sentence.contains(word),
                "{case}: {sentence}"
            );
        }
    }
}

#[test]
fn a_folder_is_no_model() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(onebit(&["verify", text(folder.path())]).failed(65).contains("folder"));
}

#[test]
fn arrays_that_do_not_fit() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = packed(folder.path());
    let (x, y) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
    let cases: [(&str, &[usize]); 5] = [
        ("<f4", &[2, 3, 28, 28]),
        ("<f4", &[1, 28, 28]),
        ("<f4", &[0, 1, 28, 28]),
        ("<f4", &[1, 1, 1, 1]),
        ("<f8", &[1, 1, 28, 28]),
    ];
    for (dtype, shape) in cases {
        npy(&x, dtype, shape);
        let run = onebit(&["run", text(&model), "--input", text(&x), "--output", text(&y)]);
        run.failed(65);
        assert!(!y.exists(), "{dtype} {shape:?}");
    }
    fs::write(&x, "no array").expect("written");
    onebit(&["run", text(&model), "--input", text(&x), "--output", text(&y)]).failed(65);
    fs::remove_file(&x).expect("removed");
    onebit(&["run", text(&model), "--input", text(&x), "--output", text(&y)]).failed(66);
}

#[test]
fn an_export_that_cannot_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = packed(folder.path());
    let onnx = folder.path().join("a.onnx");
    fs::write(&onnx, "an earlier file").expect("written");
    let export = |size| onebit(&["export", text(&model), "-o", text(&onnx), "--input", size]);
    for size in ["3x28x28", "1x1x70000"] {
        let outcome = export(size);
        let sentence = outcome.failed(65);
        assert!(sentence.contains("small.onebit") && sentence.contains(size), "{sentence}");
    }
    export("28x28").failed(64);
    assert_eq!(fs::read(&onnx).expect("a file"), b"an earlier file");
    let nowhere = folder.path().join("missing/a.onnx");
    onebit(&["export", text(&model), "-o", text(&nowhere)]).failed(74);
}

#[test]
fn images_that_cannot_be_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = packed(folder.path());
    let huge = folder.path().join("huge.png");
    let mut bytes = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR".to_vec();
    bytes.extend([50_000u32, 50_000].iter().flat_map(|side| side.to_be_bytes()));
    bytes.extend([8, 2, 0, 0, 0, 0, 0, 0, 0]);
    fs::write(&huge, bytes).expect("written");
    let sentence = onebit(&["predict", text(&model), text(&huge)]);
    assert!(sentence.failed(65).contains("huge.png"));
    let broken = folder.path().join("broken.jpg");
    fs::write(&broken, "no picture").expect("written");
    onebit(&["predict", text(&model), text(&broken), "--json"]).failed(65);
    onebit(&["predict", text(&model), text(&folder.path().join("none.png"))]).failed(66);
}

#[test]
fn data_that_does_not_fit() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = packed(folder.path());
    let idx = folder.path().join("idx");
    fs::create_dir(&idx).expect("a folder");
    let header = |words: &[u32]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>();
    let mut images = header(&[0x0803, 3, 28, 28]);
    images.resize(images.len() + 3 * 28 * 28, 9);
    let mut labels = header(&[0x0801, 2]);
    labels.extend([0, 1]);
    fs::write(idx.join("t10k-images-idx3-ubyte"), images).expect("written");
    fs::write(idx.join("t10k-labels-idx1-ubyte"), labels).expect("written");
    let spec = format!("idx:{}", text(&idx));
    let eval = |spec: &str| onebit(&["eval", text(&model), "--data", spec]);
    let outcome = eval(&spec);
    let sentence = outcome.failed(65);
    assert!(sentence.contains('3') && sentence.contains('2'), "{sentence}");
    eval("idx:/no/such/folder").failed(66);
    eval("no-such-set").failed(64);

    let photos = folder.path().join("photos/one");
    fs::create_dir_all(&photos).expect("a folder");
    png(&photos.join("a.png"), 28, 28);
    let spec = format!("folder:{}", text(&folder.path().join("photos")));
    let outcome = eval(&spec);
    let sentence = outcome.failed(65);
    assert!(sentence.contains("classes"), "{sentence}");
}

#[test]
fn wrong_usage() {
    let cases: [&[&str]; 13] = [
        &[],
        &["nonsense"],
        &["summary", "--input", "3x32x32"],
        &["summary", "no-such-network"],
        &["summary", "resnet20", "--input", "3x2"],
        &["summary", "resnet20", "--input", "3x2x2"],
        &["summary", "resnet20", "--set", "groups=7"],
        &["summary", "resnet20", "--set", "colour=red"],
        &["bench", "a.onebit", "--isa", "abacus"],
        &["bench", "a.onebit", "--batch", "0"],
        &["bench", "a.onebit", "--against", "b.onebit", "--profile"],
        &["predict", "a.onebit"],
        &["data", "fetch", "no-such-set"],
    ];
    for case in cases {
        onebit(case).failed(64);
    }
}

#[test]
fn nowhere_to_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = packed(folder.path());
    let x = folder.path().join("x.npy");
    npy(&x, "<f4", &[1, 1, 28, 28]);
    for place in ["missing/y.npy", "x.npy/y.npy"] {
        let y = folder.path().join(place);
        onebit(&["run", text(&model), "--input", text(&x), "--output", text(&y)]).failed(74);
    }
    assert_eq!(names(folder.path()), ["small.onebit", "x.npy"]);
}

#[cfg(unix)]
#[test]
fn a_full_disk() {
    use common::{program, weights};
    use std::fs::File;
    use std::process::{Command, Stdio};

    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = program().args(["summary", "resnet20"]).stdout(Stdio::from(full)).output();
    let outcome = Outcome::from(output.expect("the program starts"));
    outcome.failed(74);

    let folder = tempfile::tempdir().expect("a folder");
    let from = folder.path().join("weights.safetensors");
    let content = onebit_model::file::write_weights(&weights()).expect("a file");
    fs::write(&from, content).expect("written");
    let to = folder.path().join("a.onebit");
    let script = "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_onebit"), "pack"]).arg(&from).arg("-o").arg(&to);
    let outcome = Outcome::from(shell.output().expect("a shell"));
    assert!(outcome.failed(74).contains("a.onebit"));
    assert_eq!(names(folder.path()), ["weights.safetensors"]);

    let packed = onebit(&["pack", text(&from), "-o", text(&to)]);
    packed.succeeded();
    onebit(&["verify", text(&to)]).succeeded();
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away() {
    use common::program;
    use std::process::Stdio;

    let mut command = program();
    command.args(["summary", "resnet20"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    drop(child.stdout.take());
    let outcome = Outcome::from(child.wait_with_output().expect("it ends"));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}
