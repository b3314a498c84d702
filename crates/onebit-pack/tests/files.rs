//! Packed files on disk.

#![allow(clippy::unwrap_used)]

use std::fs::File;

use onebit_files::{Error, read_model};
use onebit_model::arch::{Config, Method, Task, build};
use onebit_model::file::{write_model, write_weights};
use onebit_pack::{lower, write_atomic};
use onebit_testing::{Random, balanced_weights};
use tempfile::tempdir;

#[test]
fn a_model_survives_the_disk_and_weights_are_none() {
    let folder = tempdir().unwrap();
    let (model_path, weights_path) = (folder.path().join("m.onebit"), folder.path().join("w"));
    let mut config = Config::new("resnet-small", Method::Reactnet);
    (config.widths, config.blocks) = (Some(vec![3]), Some(vec![1]));
    let graph = build(&config, &Task::unnamed([1, 4, 4], 2)).unwrap();
    let weights = balanced_weights(graph, &mut Random(1));
    let model = lower(&weights).unwrap();
    write_atomic(&model_path, &write_model(&model).unwrap()).unwrap();
    write_atomic(&weights_path, &write_weights(&weights).unwrap()).unwrap();
    assert_eq!(read_model(&model_path).unwrap(), model);
    let error = read_model(&weights_path).unwrap_err().to_string();
    assert!(error.contains("`onebit-weights`, expected `onebit`"), "{error}");
    let error = read_model(folder.path()).unwrap_err();
    assert!(matches!(error, Error::NotRegular { .. }), "{error}");
}

#[test]
fn a_file_above_the_limit_is_not_read() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("huge.onebit");
    File::create(&path).unwrap().set_len((2 << 30) + 1).unwrap();
    let error = read_model(&path).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}
