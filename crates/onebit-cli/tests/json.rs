//! The JSON that programs around onebit read.

mod common;

use common::{onebit, packed, png};
use serde_json::Value;

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> =
        value.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn sum(layers: &Value, key: &str) -> f64 {
    let layers = layers.as_array().expect("layers");
    layers.iter().map(|layer| layer[key].as_f64().expect("a number")).sum()
}

#[test]
fn summary() {
    let json = onebit(&["summary", "resnet20", "--json"]).json();
    let expected = ["arch", "bops", "bytes", "flops", "input", "layers", "ops", "params"];
    assert_eq!(keys(&json), expected);
    assert_eq!((&json["arch"], &json["input"]), (&"resnet20".into(), &"3x32x32".into()));
    let (flops, bops) = (json["flops"].as_f64(), json["bops"].as_f64());
    let (flops, bops) = (flops.expect("a number"), bops.expect("a number"));
    assert_eq!(json["ops"].as_f64(), Some(flops + bops / 64.0));
    assert_eq!(sum(&json["layers"], "flops"), flops);
    assert_eq!(sum(&json["layers"], "bops"), bops);
    for part in ["params", "bytes"] {
        assert_eq!(keys(&json[part]), ["binary", "float", "total"]);
        let number = |key: &str| json[part][key].as_u64().expect("a number");
        assert_eq!(number("float") + number("binary"), number("total"));
    }
    let params = json["params"]["total"].as_f64().expect("a number");
    assert_eq!(sum(&json["layers"], "params"), params);
    let layers = json["layers"].as_array().expect("layers");
    for layer in layers {
        let expected = ["bits", "bops", "flops", "name", "op", "output", "params"];
        assert_eq!(keys(layer), expected);
        assert_eq!(layer["bits"] == 1, layer["op"] == "conv_bin", "{layer}");
    }
    let stem = layers.iter().find(|layer| layer["name"] == "stem.conv").expect("a stem");
    assert_eq!((&stem["output"], &stem["bits"]), (&"16x32x32".into(), &32.into()));
}

#[test]
fn summary_without_a_name_lists_the_architectures() {
    let json = onebit(&["summary", "--json"]).json();
    assert_eq!(keys(&json), ["architectures"]);
    let list = json["architectures"].as_array().expect("a list");
    assert_eq!(list.len(), onebit_model::arch::ARCHITECTURES.len());
    let expected = ["about", "arch", "bops", "classes", "flops", "input", "ops", "params"];
    for entry in list {
        assert_eq!(keys(entry), expected);
    }
    let resnet20 = list.iter().find(|entry| entry["arch"] == "resnet20").expect("resnet20");
    let own = onebit(&["summary", "resnet20", "--json"]).json();
    assert_eq!(resnet20["params"], own["params"]["total"]);
    assert_eq!((&resnet20["input"], &resnet20["ops"]), (&own["input"], &own["ops"]));
    let outcome = onebit(&["summary"]);
    let text = outcome.succeeded();
    for words in ["resnet20 ", "reactnet-a ", "3x224x224", "onebit summary NAME"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn summary_of_options_and_files() {
    let arguments =
        ["summary", "resnet20", "--input", "1x28x28", "--classes", "7", "--set", "method=bireal"];
    let json = onebit(&[&arguments[..], &["--json"]].concat()).json();
    assert_eq!(json["input"], "1x28x28");
    let layers = json["layers"].as_array().expect("layers");
    assert!(layers.iter().all(|layer| layer["op"] != "prelu"), "Bi-Real Net has no rectifier");
    assert_eq!(layers.last().expect("a classifier")["output"], "7");

    let folder = tempfile::tempdir().expect("a folder");
    let file = packed(folder.path());
    let json = onebit(&["summary", file.to_str().expect("UTF-8"), "--json"]).json();
    assert_eq!(json["arch"], "resnet-small");
}

#[test]
fn bench() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = packed(folder.path());
    let file = file.to_str().expect("UTF-8");
    let expected =
        ["batch", "file_bytes", "isa", "median_ms", "min_ms", "p90_ms", "runs", "threads"];
    let arguments = ["bench", file, "--runs", "7", "--batch", "3", "--threads", "2", "--json"];
    let json = onebit(&arguments).json();
    assert_eq!(keys(&json), expected);
    for (key, value) in [("runs", 7), ("batch", 3), ("threads", 2)] {
        assert_eq!(json[key], value, "{key}");
    }
    let bytes = std::fs::metadata(file).expect("a file").len();
    assert_eq!(json["file_bytes"], bytes);
    let ms = |key: &str| json[key].as_f64().expect("a number");
    assert!(0.0 < ms("min_ms") && ms("min_ms") <= ms("median_ms"));
    assert!(ms("median_ms") <= ms("p90_ms"));

    let arguments = ["bench", file, "--runs", "5", "--isa", "portable", "--profile", "--json"];
    let json = onebit(&arguments).json();
    assert_eq!(json["isa"], "portable");
    check_profile(&json);
}

#[test]
fn bench_against_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = packed(folder.path());
    let file = file.to_str().expect("UTF-8");
    let arguments = ["bench", file, "--against", file, "--against", file, "--runs", "6"];
    let json = onebit(&[&arguments[..], &["--batch", "2", "--json"]].concat()).json();
    let others = json["against"].as_array().expect("the others");
    assert_eq!(others.len(), 2);
    for other in others {
        assert!(other["ratio"].as_f64().expect("a number") > 0.0);
        assert_eq!(other["file"], file);
        for key in ["runs", "batch", "isa", "threads", "file_bytes"] {
            assert_eq!(other[key], json[key], "{key}");
        }
        assert!(other["median_ms"].as_f64().expect("a number") > 0.0);
    }
    assert_eq!((&json["runs"], &json["batch"]), (&Value::from(6), &Value::from(2)));

    let outcome = onebit(&arguments);
    let text = outcome.succeeded();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("model"), "{text}");
    assert!(lines[0].contains("of first"), "{text}");
    assert!(lines.len() == 4 && lines[1..].iter().all(|line| line.starts_with(file)), "{text}");
}

/// Steps and kinds of steps add up to the same time; bits and floats are counted apart.
fn check_profile(json: &Value) {
    let steps = json["profile"].as_array().expect("steps");
    let kinds = json["profile_by_kind"].as_array().expect("kinds");
    let names: Vec<&Value> = kinds.iter().map(|kind| &kind["kind"]).collect();
    assert_eq!(names, ["binary_convolution", "real_convolution", "pooling", "rest"]);
    for kind in kinds {
        let of_kind = || steps.iter().filter(|step| step["kind"] == kind["kind"]);
        assert_eq!(kind["steps"], of_kind().count());
        let ms: f64 = of_kind().map(|step| step["median_ms"].as_f64().expect("a number")).sum();
        assert!((ms - kind["median_ms"].as_f64().expect("a number")).abs() < 1e-9, "{kind}");
        for timed in of_kind().chain([kind]) {
            let rate = |key: &str| timed[key].as_f64().is_some_and(|rate| rate > 0.0);
            assert_eq!(rate("binary_gmacs_per_second"), kind["kind"] == "binary_convolution");
            assert!(rate("gflops_per_second") || kind["kind"] != "real_convolution", "{timed}");
        }
    }
    for shares in [&json["profile"], &json["profile_by_kind"]] {
        assert!((sum(shares, "share") - 1.0).abs() < 1e-9, "{shares}");
    }
    let stem = steps.iter().find(|step| step["layer"] == "stem.conv").expect("a stem");
    assert_eq!(
        (&stem["kind"], &stem["kernel"]),
        (&"real_convolution".into(), &"conv_3x3_portable".into())
    );
}

#[test]
fn eval() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = packed(folder.path());
    let file = file.to_str().expect("UTF-8");
    let eval = |threads| {
        let data = ["--data", "fashion-mnist-sample", "--limit", "150"];
        let arguments = [&["eval", file, "--threads", threads, "--json"][..], &data].concat();
        onebit(&arguments).json()
    };
    let (one, three) = (eval("1"), eval("3"));
    assert_eq!(keys(&one), ["classes_evaluated", "n", "seconds", "top1", "top5"]);
    assert_eq!(one["n"], 150);
    let (top1, top5) = (one["top1"].as_f64().expect("a number"), one["top5"].as_f64());
    assert!(0.0 <= top1 && Some(top1) <= top5 && top5 <= Some(1.0), "{one}");
    assert_eq!((&one["top1"], &one["top5"]), (&three["top1"], &three["top5"]));
}

#[test]
fn predict() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = packed(folder.path());
    let (a, b) = (folder.path().join("a.png"), folder.path().join("b.png"));
    png(&a, 28, 28);
    png(&b, 90, 40);
    let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let arguments =
        ["predict".to_owned(), path(&file), path(&a), path(&b), "--top=3".into(), "--json".into()];
    let json = onebit(&arguments).json();
    let images = json.as_array().expect("an array");
    assert_eq!(images.len(), 2);
    assert_eq!((&images[0]["path"], &images[1]["path"]), (&path(&a).into(), &path(&b).into()));
    for image in images {
        assert_eq!(keys(image), ["path", "top"]);
        let top = image["top"].as_array().expect("an array");
        assert_eq!(top.len(), 3);
        let probability = |choice: &Value| choice["probability"].as_f64().expect("a number");
        assert!(top.windows(2).all(|pair| probability(&pair[0]) >= probability(&pair[1])));
        for choice in top {
            assert_eq!(keys(choice), ["class", "label", "probability"]);
            let class = choice["class"].as_u64().expect("a number") as usize;
            assert_eq!(choice["label"], common::CLASSES[class]);
        }
    }
    let all = onebit(&["predict", &path(&file), &path(&a), "--top", "99", "--json"]).json();
    let top = all[0]["top"].as_array().expect("an array");
    let sum: f64 = top.iter().map(|choice| choice["probability"].as_f64().expect("a number")).sum();
    assert!(top.len() == 10 && (sum - 1.0).abs() < 1e-9, "{sum}");
}

#[test]
fn run_gives_the_logits_of_predict() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = packed(folder.path());
    let (x, y) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
    let values: Vec<f32> = (0..3 * 30 * 26).map(|i| (i as f32 * 0.37).sin()).collect();
    onebit_data::write_npy_f32(&x, &[3, 1, 30, 26], &values).expect("written");
    let mut outputs = Vec::new();
    for isa in ["reference", "portable"] {
        let arguments = ["run", "--isa", isa, "--threads", "2", "--json", "--input"];
        let mut command = common::program();
        command.args(arguments).arg(&x).arg("--output").arg(&y).arg(&file);
        let json = common::Outcome::from(command.output().expect("the program starts")).json();
        assert_eq!((&json["n"], &json["classes"]), (&3.into(), &10.into()));
        outputs.push(onebit_data::read_npy_f32(&y).expect("logits"));
    }
    assert_eq!(outputs[0].0, [3, 10]);
    let differences = outputs[0].1.iter().zip(&outputs[1].1).map(|(a, b)| (a - b).abs());
    let largest = differences.fold(0.0, f32::max);
    assert!(largest < 1e-3, "portable kernels differ from the reference by {largest}");
}

#[test]
fn export() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = packed(folder.path());
    let onnx = folder.path().join("small.onnx");
    let export = |size: &str| {
        let mut command = common::program();
        command.args(["export", "--json", "--input", size]).arg(&file).arg("-o").arg(&onnx);
        common::Outcome::from(command.output().expect("the program starts")).json()
    };
    let (small, large) = (export("1x28x28"), export("1x40x36"));
    for json in [&small, &large] {
        assert_eq!(keys(json), ["bytes", "nodes", "opset", "output", "replaced"]);
        assert_eq!(json["opset"], 13);
        assert_eq!(json["output"], onnx.to_str().expect("UTF-8"));
        assert!(json["nodes"].as_u64().expect("a number") > 20, "{json}");
    }
    assert_eq!((&small["replaced"], &large["replaced"]), (&false.into(), &true.into()));
    assert_eq!(small["nodes"], large["nodes"]);
    let bytes = std::fs::metadata(&onnx).expect("a file").len();
    assert_eq!(large["bytes"], bytes);
}

#[cfg(target_os = "linux")]
#[test]
fn a_model_comes_through_a_pipe() {
    use std::io::{Write, pipe};
    use std::process::Stdio;

    use common::{Outcome, program};

    let folder = tempfile::tempdir().expect("a folder");
    let file = packed(folder.path());
    let (reader, mut writer) = pipe().expect("a pipe");
    let arguments = ["verify", "/dev/stdin", "--json"];
    let child = program()
        .args(arguments)
        .stdin(reader)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    writer.write_all(&std::fs::read(&file).expect("the file")).expect("it reads");
    drop(writer);
    let piped = Outcome::from(child.wait_with_output().expect("its output")).json();
    let mut direct = onebit(&["verify", file.to_str().expect("UTF-8"), "--json"]).json();
    assert!(direct["file_bytes"].as_u64() > Some(0), "{direct}");
    direct["path"] = piped["path"].clone();
    assert_eq!(piped, direct);
}

#[test]
fn the_other_verbs_print_one_object() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = packed(folder.path());
    let file = file.to_str().expect("UTF-8");
    assert_eq!(onebit(&["verify", file, "--json"]).json()["ok"], true);
    let inside = onebit(&["inspect", file, "--json"]).json();
    let layers = inside["layers"].as_array().expect("layers");
    assert!(layers.iter().all(|layer| (layer["bits"] == 1) == layer["reason"].is_null()));
    let doctor = onebit(&["doctor", "--json"]).json();
    let kernels = doctor["kernels"].as_array().expect("kernels");
    assert!(kernels.contains(&doctor["kernel"]), "{doctor}");
    let speeds = doctor["speed"].as_array().expect("speeds");
    let measured: Vec<&Value> = speeds.iter().map(|speed| &speed["isa"]).collect();
    let fast: Vec<&Value> = kernels.iter().filter(|&name| name != "reference").collect();
    assert_eq!(measured, fast);
    for speed in speeds {
        let convolutions = speed["convolutions"].as_array().expect("convolutions");
        let mut rates =
            convolutions.iter().chain([speed]).map(|of| of["gmacs_per_second"].as_f64());
        assert!(rates.all(|rate| rate > Some(0.0)) && !convolutions.is_empty(), "{speed}");
    }
    let list = onebit(&["data", "list", "--json"]).json();
    assert_eq!(list["sets"][0]["state"], "bundled");
}
