//! `onebit pack --int8`: what it makes, what it says, and when it refuses.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{names, onebit, packed};
use onebit_model::{Data, Model, Verified, file};

const SPEC: &str = "fashion-mnist-sample";

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_packed_file_gets_8_bit_layers() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (packed(folder.path()), folder.path().join("a8.onebit"));
    let before = fs::read(&from).expect("a file");
    let arguments = ["pack", text(&from), "-o", text(&to), "--int8", SPEC];
    let done = onebit(&[&arguments[..], &["--int8-max-changed", "1", "--json"]].concat()).json();
    let int8 = &done["int8"];
    assert_eq!(int8["nodes"], serde_json::json!(["stem.conv", "fc"]));
    assert_eq!((&int8["images"], &int8["calibration_images"]), (&2000.into(), &1024.into()));
    assert_eq!(int8["changed_allowed"], 2000);
    assert!(done["agreement"].is_null() && int8["max_logit_difference"].as_f64() < Some(1.0));
    let length = |path: &Path| fs::metadata(path).expect("a file").len() as i64;
    assert_eq!(int8["bytes_saved"], length(&from) - length(&to));
    assert_eq!(before, fs::read(&from).expect("a file"), "the source is as it was");

    let layers = &onebit(&["inspect", text(&to), "--json"]).json()["layers"];
    let bits = |name: &str| {
        let layers = layers.as_array().expect("layers").iter();
        layers.filter(|layer| layer["name"] == name).map(|layer| layer["bits"].clone()).next()
    };
    assert_eq!((bits("stem.conv"), bits("fc")), (Some(8.into()), Some(8.into())));
    let eval = |file: &Path| onebit(&["eval", text(file), "--data", SPEC, "--json"]).json();
    assert_eq!(eval(&to)["top1"], int8["top1_int8"]);
    assert_eq!(eval(&from)["top1"], int8["top1_float"]);
    let profile = onebit(&["bench", text(&to), "--runs", "1", "--profile"]);
    let profile = profile.succeeded();
    assert!(profile.contains("conv_i8_3x3_") && profile.contains("linear_i8_"), "{profile}");
    onebit(&["verify", text(&to)]).succeeded();
    onebit(&["export", text(&to), "-o", text(&folder.path().join("a.onnx"))]).succeeded();

    let said = onebit(&[&arguments[..], &["--int8-max-changed", "1"]].concat());
    assert!(said.succeeded().contains("8 bits for stem.conv, fc:"), "{}", said.stdout);
    let again = ["pack", text(&to), "-o", text(&from), "--int8", SPEC];
    assert!(onebit(&again).failed(65).contains("no layer to round"));
    assert_eq!(before, fs::read(&from).expect("a file"), "nothing was written");
}

#[test]
fn a_packed_file_is_not_packed_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (packed(folder.path()), folder.path().join("b.onebit"));
    let outcome = onebit(&["pack", text(&from), "-o", text(&to)]);
    let sentence = outcome.failed(65);
    assert!(sentence.contains("is packed already") && sentence.contains("--int8"), "{sentence}");
    assert!(!to.exists());
}

/// A packed file whose classes differ by less than 8 bits can tell.
fn undecided(folder: &Path) -> PathBuf {
    let path = packed(folder);
    let model = file::read_model(&fs::read(&path).expect("a file")).expect("a model");
    let mut model = model.into_inner();
    let values = |name: &str, model: &mut Model, value: &dyn Fn(usize) -> f32| {
        let tensor = model.tensors.get_mut(name).expect("a tensor");
        tensor.data = Data::F32((0..tensor.data.len()).map(value).collect());
    };
    values("fc.weight", &mut model, &|i| 0.3 * (i % 16) as f32 + 1e-4 * (i as f32).sin());
    values("fc.bias", &mut model, &|_| 0.0);
    let model = Verified::<Model>::new(model).expect("a model");
    fs::write(&path, file::write_model(&model).expect("a file")).expect("written");
    path
}

#[test]
fn too_many_changes_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (undecided(folder.path()), folder.path().join("a8.onebit"));
    let pack = |more: &[&str]| {
        let arguments = ["pack", text(&from), "-o", text(&to), "--int8", SPEC];
        onebit(&[&arguments[..], more].concat())
    };
    let outcome = pack(&["--int8-max-changed", "0", "--json"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(65), ""), "{}", outcome.stderr);
    let last = outcome.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: 8-bit layers change ") && last.contains("of 2000"), "{last}");
    let report = pack(&["--int8-max-lost", "1", "--json"]).json()["int8"].clone();
    assert!(report["changed_allowed"].is_null() && report["lost_allowed"] == 2000, "{report}");
    let last = pack(&["--int8-layers", "last", "--int8-max-changed", "1", "--json"]).json();
    assert_eq!(last["int8"]["nodes"], serde_json::json!(["fc"]));
    let first = pack(&["--int8-layers", "first", "--int8-max-changed", "1", "--json"]).json();
    assert_eq!(first["int8"]["nodes"], serde_json::json!(["stem.conv"]));
    assert_eq!(first["int8"]["calibration_images"], 0);
    fs::remove_file(&to).expect("removed");
    pack(&["--int8-layers", "middle"]).failed(64);
    for share in ["-0.1", "1.5", "NaN", "few"] {
        pack(&["--int8-max-changed", share]).failed(64);
    }
    onebit(&["pack", text(&from), "-o", text(&to), "--int8-max-changed", "0.5"]).failed(64);
    assert!(pack(&["--verify", SPEC]).failed(64).contains("--verify"));
    onebit(&["pack", text(&from), "-o", text(&to), "--int8", "idx:/no/such/folder"]).failed(66);
    onebit(&["pack", text(&from), "-o", text(&to)]).failed(65);
    assert_eq!(names(folder.path()), ["small.onebit"]);
}
