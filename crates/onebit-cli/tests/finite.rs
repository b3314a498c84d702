//! Logits that are not finite numbers are an error that names the image, in every verb, and nothing is made of them.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{CLASSES, colour, linear, names, onebit, pack};
use onebit_model::file::Weights;
use onebit_model::{Data, Verified};

const SENTENCE: &str = "logits are not finite numbers";
const DATA: [&str; 2] = ["--data", "fashion-mnist-sample"];

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A network of 4x4 colours whose logits are infinite where an image is bright in its first two pixels.
fn overflows() -> Verified<Weights> {
    linear(&["dark", "bright"], [3, 4, 4], |class, value| match (class, value) {
        (1, 0 | 3) => 3e38,
        (_, value) => value as f32,
    })
}

/// A network of `fashion-mnist-sample` whose logits are infinite, NaN, or both for images that are not black.
fn fashion(weight: impl Fn(usize, usize) -> f32) -> Verified<Weights> {
    linear(&CLASSES, [1, 28, 28], weight)
}

fn packed(folder: &Path, weights: &Verified<Weights>) -> PathBuf {
    let path = folder.join("a.onebit");
    pack(&path, weights);
    path
}

#[test]
fn run() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = packed(folder.path(), &overflows());
    let (x, y) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
    let mut values = vec![0.1; 70 * 48];
    values[66 * 48..67 * 48].fill(0.9);
    onebit_data::write_npy_f32(&x, &[70, 3, 4, 4], &values).expect("written");
    fs::write(&y, "an earlier file").expect("written");
    for threads in ["1", "2", "3"] {
        let arguments = ["run", text(&model), "--input", text(&x), "--output", text(&y)];
        let outcome = onebit(&[&arguments[..], &["--threads", threads]].concat());
        let sentence = outcome.failed(65);
        assert!(sentence.contains(SENTENCE) && sentence.contains("a.onebit"), "{sentence}");
        assert!(sentence.contains("image 66 ") && sentence.contains("x.npy"), "{sentence}");
        assert_eq!(fs::read(&y).expect("a file"), b"an earlier file");
    }
    values[66 * 48..67 * 48].fill(f32::NAN);
    onebit_data::write_npy_f32(&x, &[70, 3, 4, 4], &values).expect("written");
    let arguments = ["run", text(&model), "--input", text(&x), "--output", text(&y)];
    assert!(onebit(&arguments).failed(65).contains("image 66 "));
    assert_eq!(names(folder.path()), ["a.onebit", "x.npy", "y.npy"]);
}

#[test]
fn predict() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = packed(folder.path(), &overflows());
    let (dark, bright) = (folder.path().join("dark.png"), folder.path().join("bright.png"));
    colour(&dark, 4, [0; 3]);
    colour(&bright, 4, [250; 3]);
    let predict = |images: &[&Path], json: &[&str]| {
        let images: Vec<&str> = images.iter().map(|path| text(path)).collect();
        onebit(&[&["predict", text(&model)][..], &images, json].concat())
    };
    for json in [&[][..], &["--json"]] {
        let outcome = predict(&[&bright], json);
        let sentence = outcome.failed(65);
        assert!(sentence.contains(SENTENCE) && sentence.contains("bright.png"), "{sentence}");
    }
    let outcome = predict(&[&bright, &dark], &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(outcome.code, Some(65));
    let error = json[0]["error"].as_str().expect("an error");
    assert!(error.contains(SENTENCE) && json[0]["path"] == text(&bright), "{json}");
    assert_eq!(json[1]["top"][0]["label"], "dark");
    assert!(!predict(&[&bright, &dark], &[]).stdout.contains("NaN"));
}

#[test]
fn eval() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = packed(folder.path(), &overflows());
    let photos = folder.path().join("photos");
    colour(&photos.join("bright/a.png"), 4, [20; 3]);
    colour(&photos.join("bright/b.png"), 4, [240; 3]);
    colour(&photos.join("dark/c.png"), 4, [0; 3]);
    let spec = format!("folder:{}", text(&photos));
    for json in [&[][..], &["--json"]] {
        let outcome = onebit(&[&["eval", text(&model), "--data", &spec], json].concat());
        let sentence = outcome.failed(65);
        assert!(sentence.contains(SENTENCE) && sentence.contains("b.png"), "{sentence}");
    }

    let infinite = fashion(|class, _| if class == 0 { 3e38 } else { 0.0 });
    let nan = fashion(|class, value| match (class, value % 2) {
        (0, 0) => 3e38,
        (0, _) => -3e38,
        _ => 0.0,
    });
    for weights in [infinite, nan] {
        let model = packed(folder.path(), &weights);
        let outcome = onebit(&[&["eval", text(&model)][..], &DATA].concat());
        let sentence = outcome.failed(65);
        assert!(sentence.contains("image 0 ") && sentence.contains(DATA[1]), "{sentence}");
    }
}

/// Sums of two maps overflow, so that the classifier reads infinities.
#[test]
fn int8() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut weights = common::weights().into_inner();
    for (name, tensor) in &mut weights.tensors {
        if name.ends_with("bn.bias") {
            tensor.data = Data::F32(vec![3e38; tensor.data.len()]);
        }
    }
    let model = packed(folder.path(), &Verified::<Weights>::new(weights).expect("weights"));
    let a8 = folder.path().join("a8.onebit");
    let pack = ["pack", text(&model), "-o", text(&a8), "--int8", DATA[1], "--int8-layers"];
    for layers in ["all", "first", "last"] {
        let outcome = onebit(&[&pack[..], &[layers]].concat());
        let sentence = outcome.failed(65);
        assert!(sentence.contains(SENTENCE) && sentence.contains("image 0 "), "{sentence}");
    }
    assert_eq!(names(folder.path()), ["a.onebit"]);
}

#[test]
fn bench() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = folder.path().join("good.onebit");
    pack(&good, &fashion(|class, value| (class + value) as f32));
    let model = packed(folder.path(), &fashion(|_, value| if value < 2 { 3e38 } else { 0.0 }));
    for arguments in [
        &["bench", text(&model), "--runs", "1"][..],
        &["bench", text(&model), "--runs", "1", "--batch", "5", "--threads", "2", "--json"],
        &["bench", text(&model), "--runs", "1", "--profile"],
        &["bench", text(&good), "--against", text(&model), "--runs", "1", "--json"],
    ] {
        let outcome = onebit(arguments);
        let sentence = outcome.failed(65);
        assert!(sentence.contains(SENTENCE) && sentence.contains("a.onebit"), "{sentence}");
    }
}

/// The trainer's verbs on a network with binary layers whose classifier overflows.
#[cfg(feature = "train")]
#[test]
fn trainer() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut weights = common::weights().into_inner();
    let bias = weights.tensors.get_mut("fc.bias").expect("a bias");
    bias.data = Data::F32(vec![3e38; 10]);
    let factor = weights.tensors.get_mut("fc.weight").expect("a weight");
    factor.data = Data::F32(vec![3e38; factor.data.len()]);
    let weights = Verified::<Weights>::new(weights).expect("weights");
    let content = onebit_model::file::write_weights(&weights).expect("a file");
    let (loose, checkpoint) =
        (folder.path().join("w.safetensors"), folder.path().join("checkpoint"));
    fs::write(&loose, &content).expect("written");
    onebit_files::write_folder(&checkpoint, &[("weights.safetensors", content)]).expect("written");
    let (out, probe) = (folder.path().join("a.onebit"), folder.path().join("probe"));
    for arguments in [
        &["eval", text(&checkpoint), DATA[0], DATA[1], "--limit", "10"][..],
        &["eval", text(&checkpoint), DATA[0], DATA[1], "--limit", "10", "--json"],
        &["pack", text(&loose), "-o", text(&out), "--verify", DATA[1]],
        &["probe", text(&loose), DATA[0], DATA[1], "--limit", "10", "--out", text(&probe)],
    ] {
        let outcome = onebit(arguments);
        let sentence = outcome.failed(65);
        assert!(sentence.contains(SENTENCE) && sentence.contains("image 0 "), "{sentence}");
    }
    assert_eq!(names(folder.path()), ["checkpoint", "w.safetensors"]);
}
