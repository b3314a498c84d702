//! What `onebit probe` prints and writes.
#![cfg(feature = "train")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{names, onebit, recipe};
use serde_json::Value;

const DATA: [&str; 2] = ["--data", "fashion-mnist-sample"];
const MEASURES: [&str; 6] = [
    "qe_weights",
    "qe_activations",
    "r2",
    "linearity_before_module",
    "linearity_after_module",
    "linearity_block",
];

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A run of three epochs in `folder`, all of whose checkpoints are kept.
fn trained(folder: &Path) -> PathBuf {
    let (recipe, run) = (recipe(folder, "epochs = 3\nkeep_checkpoints = 3"), folder.join("run"));
    let mut arguments = vec!["train", text(&recipe), "--out", text(&run)];
    let network = ["network.method=ftbnn", "network.widths=[8,32]", "network.blocks=[1,2]"];
    let sets = [&network[..], &["data.train_limit=320"]].concat();
    sets.iter().for_each(|set| arguments.extend(["--set", *set]));
    onebit(&arguments).succeeded();
    run
}

fn share(value: &Value) -> f64 {
    let share = value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    assert!((0.0..=1.0).contains(&share), "{share}");
    share
}

#[test]
fn a_run_is_measured_epoch_by_epoch() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = trained(folder.path());
    let arguments = [&["probe", text(&run), "--limit", "100", "--json"][..], &DATA].concat();
    let json = onebit(&arguments).json();
    assert_eq!((&json["arch"], &json["images"]), (&"resnet-small".into(), &100.into()));
    let checkpoints = json["checkpoints"].as_array().expect("checkpoints");
    let epochs: Vec<_> = checkpoints.iter().map(|checkpoint| &checkpoint["epoch"]).collect();
    assert_eq!(epochs, [1, 2, 3]);
    for checkpoint in checkpoints {
        assert_eq!(checkpoint["stage"], "binary_weights");
        let layers = checkpoint["layers"].as_array().expect("layers");
        let layer_names: Vec<_> = layers.iter().map(|layer| &layer["name"]).collect();
        assert_eq!(layer_names, ["stage1.0.conv", "stage2.0.conv", "stage2.1.conv"]);
        let mean_of_r2 = layers.iter().map(|layer| share(&layer["r2"])).sum::<f64>() / 3.0;
        assert!((share(&checkpoint["mean"]["r2"]) - mean_of_r2).abs() < 1e-12, "{checkpoint}");
        MEASURES.iter().for_each(|key| _ = share(&checkpoint["mean"][key]));
        for layer in layers {
            assert!(layer["channels"] == 8 || layer["channels"] == 32, "{layer}");
            let linearity = &layer["linearity"];
            let [before, after] =
                ["before_module", "after_module"].map(|key| share(&linearity[key]));
            assert_ne!(before, after, "the module changes what is measured");
            assert_eq!(linearity["after_module"], linearity["block"]);
        }
    }
    let weights = |epoch: usize| &checkpoints[epoch]["layers"][0]["qe_weights"];
    assert_ne!(weights(0), weights(2), "training moves the weights");
    assert_files(&run.join("probe"), &json);
}

/// The three files, and in the table what `json` has.
fn assert_files(out: &Path, json: &Value) {
    assert_eq!(names(out), ["probe.csv", "probe.png", "probe.svg"]);
    image::open(out.join("probe.png")).expect("a picture");
    let svg = fs::read_to_string(out.join("probe.svg")).expect("a picture");
    assert!(svg.contains("epoch 3") && svg.contains("R2 of binary on real convolution"), "{svg}");
    let csv = fs::read_to_string(out.join("probe.csv")).expect("a table");
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let header = [&["epoch", "layer", "channels", "constant_channels"][..], &MEASURES].concat();
    assert_eq!(rows[0], header);
    assert_eq!(rows.len(), 1 + 3 * 3, "{csv}");
    let last = &rows[9];
    assert_eq!(last[..3], ["3", "stage2.1.conv", "32"]);
    let layer = &json["checkpoints"][2]["layers"][2];
    let r2: f64 = last[6].parse().expect("a number");
    assert_eq!((r2, last.len()), (share(&layer["r2"]), header.len()));
}

#[test]
fn epochs_checkpoints_and_files_can_be_chosen() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = trained(folder.path());
    let out = folder.path().join("out");
    let probe = |network: &Path, extra: &[&str]| {
        let arguments = ["probe", text(network), "--limit", "60", "--out", text(&out)];
        onebit(&[&arguments[..], &DATA, extra].concat())
    };
    let of_run = probe(&run, &["--epochs", "3,1", "--json"]).json();
    let found = of_run["checkpoints"].as_array().expect("checkpoints");
    let epochs: Vec<_> = found.iter().map(|checkpoint| &checkpoint["epoch"]).collect();
    assert_eq!(epochs, [1, 3]);
    assert!(!run.join("probe").exists(), "--out is elsewhere");

    let checkpoint = run.join("checkpoints/epoch-00003");
    let of_folder = probe(&checkpoint, &["--threads", "1", "--json"]).json();
    assert_eq!(of_folder["checkpoints"][0], found[1]);
    let of_file = probe(&checkpoint.join("weights.safetensors"), &["--json"]).json();
    let of_file = &of_file["checkpoints"][0];
    assert_eq!((&of_file["layers"], &of_file["epoch"]), (&found[1]["layers"], &Value::Null));

    let table = probe(&run, &[]);
    let again = table.stderr.clone();
    let table = table.succeeded();
    for word in ["stage2.0.conv", "mean", "epoch 1", "QE weights", "R2", "60 images", "probe.csv"] {
        assert!(table.contains(word), "no `{word}` in {table}");
    }
    assert!(!table.contains("fewer than 10 pixels"), "60 images of 14 x 14 pixels for 32 channels");
    for name in ["probe.csv", "probe.svg", "probe.png"] {
        let replaced = format!("replaced {} (", out.join(name).display());
        assert!(again.contains(&replaced), "no `{replaced}` in {again}");
    }
    let one_image = [&["probe", text(&checkpoint), "--limit=1", "--out", text(&out)], &DATA[..]];
    let one_image = onebit(&one_image.concat());
    assert!(one_image.succeeded().contains("fewer than 10 pixels for each input channel: 1"));
}

#[test]
fn what_cannot_be_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = trained(folder.path());
    let out = folder.path().join("out");
    let probe = |network: &Path, extra: &[&str]| {
        onebit(&[&["probe", text(network), "--out", text(&out)], extra].concat())
    };
    let missing = folder.path().join("missing");
    assert!(probe(&missing, &DATA).failed(66).contains("missing"));
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).expect("a folder");
    assert!(probe(&empty, &DATA).failed(66).contains("holds no checkpoint"));
    probe(&run, &["--data", "idx:/no/such/folder"]).failed(66);
    probe(&run, &["--data", "no-such-set"]).failed(64);
    let sentence = probe(&run, &[&DATA[..], &["--epochs", "2,7"]].concat());
    let sentence = sentence.failed(64);
    assert!(sentence.contains("epoch 7") && sentence.contains("1, 2, 3"), "{sentence}");
    let checkpoints = run.join("checkpoints");
    let newest = checkpoints.join("epoch-00003");
    probe(&newest, &[&DATA[..], &["--epochs", "3"]].concat()).failed(64);
    probe(&run, &[&DATA[..], &["--limit", "0"]].concat()).failed(64);
    assert!(!out.exists(), "nothing was measured");

    let damage = |epoch: usize| {
        let path = checkpoints.join(format!("epoch-{epoch:05}/weights.safetensors"));
        let mut bytes = fs::read(&path).expect("weights");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).expect("written");
    };
    damage(3);
    assert!(probe(&newest, &DATA).failed(65).contains("damaged"));
    let rest = probe(&run, &[&DATA[..], &["--limit", "20", "--json"]].concat());
    assert!(rest.stderr.contains("warning") && rest.stderr.contains("epoch-00003"));
    assert_eq!(rest.json()["checkpoints"].as_array().expect("checkpoints").len(), 2);
    damage(1);
    damage(2);
    let outcome = probe(&run, &DATA);
    assert_eq!(outcome.code, Some(65), "{}", outcome.stderr);
}
