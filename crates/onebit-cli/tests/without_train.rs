//! A build without the trainer says so.
#![cfg(not(feature = "train"))]

mod common;

use common::onebit;

#[test]
fn what_needs_the_trainer_is_not_available() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("UTF-8");
    onebit(&["train", "recipe.toml"]).failed(69);
    onebit(&["demo"]).failed(69);
    onebit(&["probe", path, "--data", "fashion-mnist-sample"]).failed(69);
    onebit(&["eval", path, "--data", "fashion-mnist-sample"]).failed(69);
    let from = folder.path().join("weights.safetensors");
    let content = onebit_model::file::write_weights(&common::weights()).expect("a file");
    std::fs::write(&from, content).expect("written");
    let to = folder.path().join("a.onebit");
    let (from, to) = (from.to_str().expect("UTF-8"), to.to_str().expect("UTF-8"));
    onebit(&["pack", from, "-o", to, "--verify", "fashion-mnist-sample"]).failed(69);
    assert_eq!(common::names(folder.path()), ["weights.safetensors"]);
    onebit(&["pack", from, "-o", to]).succeeded();
}
