//! Where memory does not suffice, one sentence says so.
#![cfg(target_os = "linux")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::Outcome;
use onebit_model::{Graph, Model, Node, NodeId, Normalization, Op, Verified, file};

/// A packed file of 300 bytes that takes the mean of each channel of 12 MB images.
fn means(folder: &Path) -> PathBuf {
    let input = Op::Input { channels: 3, height: 1024, width: 1024 };
    let nodes = [("input", input, vec![]), ("mean", Op::GlobalAvgPool, vec![NodeId(0)])];
    let nodes = nodes.map(|(name, op, inputs)| Node { name: name.to_owned(), op, inputs });
    let graph = Graph {
        arch: "means".to_owned(),
        normalization: Normalization { mean: vec![0.5; 3], std: vec![0.5; 3] },
        classes: ["red", "green", "blue"].map(str::to_owned).into(),
        nodes: nodes.into(),
    };
    let model = Verified::<Model>::new(Model { graph, tensors: [].into() }).expect("a model");
    let path = folder.join("means.onebit");
    std::fs::write(&path, file::write_model(&model).expect("a file")).expect("written");
    path
}

/// The program with 2 GB of address space.
fn limited(arguments: &[&str]) -> Outcome {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -v 2000000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_onebit")]);
    Outcome::from(shell.args(arguments).env_remove("RUST_BACKTRACE").output().expect("a shell"))
}

#[test]
fn a_batch_that_does_not_fit() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = means(folder.path());
    let model = model.to_str().expect("UTF-8");
    for threads in ["1", "2"] {
        let outcome =
            limited(&["bench", model, "--batch", "4096", "--runs", "1", "--threads", threads]);
        let sentence = outcome.failed(65);
        assert!(sentence.contains("memory") && sentence.contains("51.54 GB"), "{sentence}");
    }
    let outcome = limited(&["bench", model, "--batch", "2", "--runs", "1", "--json"]);
    assert_eq!(outcome.json()["batch"], 2);
}

#[test]
fn an_image_for_which_there_is_no_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = common::packed(folder.path());
    let image = folder.path().join("large.png");
    let large = image::GrayImage::new(7900, 7900);
    large.save(&image).expect("written");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 250000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_onebit")]);
    command.arg("predict").args([&model, &image]).args(["--threads", "1"]);
    let outcome = Outcome::from(command.output().expect("a shell"));
    assert!(outcome.failed(65).contains("not enough memory to decode it"), "{}", outcome.stderr);
}
