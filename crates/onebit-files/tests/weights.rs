//! Trained weights are found and checked.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use onebit_files::{Error, Loaded, load_weights, read_weights_file, write_atomic, write_folder};
use onebit_model::arch::{self, Config, Method, Task};
use onebit_model::file::{Weights, write_weights};
use onebit_model::{Data, Tensor, Verified, infer};
use tempfile::{TempDir, tempdir};

fn weights(value: f32) -> Verified<Weights> {
    let mut config = Config::new("resnet-small", Method::Reactnet);
    config.widths = Some(vec![3]);
    config.blocks = Some(vec![1]);
    let graph = arch::build(&config, &Task::unnamed([1, 4, 4], 2)).unwrap();
    let shapes = infer::shapes(&graph).unwrap();
    let named = graph.ids().zip(&graph.nodes).flat_map(|(id, node)| {
        let params = graph.params(id, &shapes).into_iter();
        params.map(|param| (node.param_name(param.suffix), param.shape))
    });
    let tensors = named.map(|(name, shape)| {
        let data = Data::F32(vec![value; shape.iter().product()]);
        (name, Tensor { shape, data })
    });
    let tensors = tensors.collect();
    Verified::<Weights>::new(Weights { graph: graph.into_inner(), tensors }).unwrap()
}

fn checkpoint(folder: &Path, value: f32) {
    let weights = write_weights(&weights(value)).unwrap();
    let files = [("weights.safetensors", weights), ("state.json", b"{}".to_vec())];
    write_folder(folder, &files).unwrap();
}

fn run_folder() -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    checkpoint(&run.join("checkpoints/epoch-00009"), 0.125);
    checkpoint(&run.join("checkpoints/epoch-00010"), 0.25);
    checkpoint(&run.join("checkpoints/epoch-00010-step-000123"), 0.5);
    checkpoint(&run.join("best"), 0.75);
    (folder, run)
}

fn damage(folder: &Path, file: &str) {
    let path = folder.join(file);
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
}

fn value(loaded: &Loaded) -> f32 {
    match loaded.weights.tensors["fc.bias"].data {
        Data::F32(ref values) => values[0],
        Data::U64(_) | Data::I8(_) => panic!("weights are floats"),
    }
}

#[test]
fn a_run_gives_its_best_then_its_newest_intact_checkpoint() {
    let (_guard, run) = run_folder();
    let newest = run.join("checkpoints/epoch-00010-step-000123");
    let loaded = load_weights(&run).unwrap();
    assert_eq!((value(&loaded), loaded.skipped.len()), (0.75, 0));
    assert_eq!(loaded.path, run.join("best/weights.safetensors"));

    damage(&run.join("best"), "weights.safetensors");
    let loaded = load_weights(&run).unwrap();
    assert_eq!(value(&loaded), 0.5);
    assert_eq!(loaded.skipped[0].folder, run.join("best"));
    assert!(loaded.skipped[0].reason.contains("damaged"), "{}", loaded.skipped[0].reason);

    damage(&newest, "state.json");
    assert_eq!(value(&load_weights(&run).unwrap()), 0.25);

    fs::remove_dir_all(run.join("best")).unwrap();
    fs::remove_file(run.join("checkpoints/epoch-00010/manifest.json")).unwrap();
    let loaded = load_weights(&run).unwrap();
    assert_eq!((value(&loaded), loaded.skipped.len()), (0.125, 2));

    fs::remove_file(run.join("checkpoints/epoch-00009/state.json")).unwrap();
    let error = load_weights(&run).unwrap_err();
    assert!(matches!(error, Error::NoIntactCheckpoint { .. }), "{error}");
}

#[test]
fn a_checkpoint_folder_or_a_file_can_be_named() {
    let (_guard, run) = run_folder();
    let folder = run.join("checkpoints/epoch-00009");
    assert_eq!(value(&load_weights(&folder).unwrap()), 0.125);
    let file = folder.join("weights.safetensors");
    assert_eq!(value(&load_weights(&file).unwrap()), 0.125);
    damage(&folder, "weights.safetensors");
    assert!(matches!(load_weights(&folder), Err(Error::Damaged { .. })));
    assert!(matches!(load_weights(&file), Err(Error::Format { .. })));
}

#[test]
fn what_is_no_checkpoint_is_named() {
    let folder = tempdir().unwrap();
    let missing = folder.path().join("missing");
    let error = load_weights(&missing).unwrap_err().to_string();
    assert!(error.contains("missing"), "{error}");
    assert!(matches!(load_weights(folder.path()), Err(Error::NoCheckpoint { .. })));
}

#[test]
fn what_the_manifest_should_say_is_said() {
    let (_guard, run) = run_folder();
    let folder = run.join("best");
    let manifest = r#"{"files":{"state.json":{"bytes":2,"sha256":""}}}"#;
    fs::write(folder.join("manifest.json"), manifest).unwrap();
    let error = load_weights(&folder).unwrap_err();
    assert!(matches!(error, Error::BadManifest { .. }), "{error}");
    assert!(error.to_string().contains("it does not list weights.safetensors"), "{error}");
}

#[test]
fn weights_survive_the_disk() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("w");
    let weights = weights(0.5);
    write_atomic(&path, &write_weights(&weights).unwrap()).unwrap();
    assert_eq!(read_weights_file(&path).unwrap(), weights);
    let error = read_weights_file(folder.path()).unwrap_err();
    assert!(matches!(error, Error::NotRegular { found: "a folder", .. }), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn weights_come_through_a_pipe() {
    use std::io::Write;
    use std::os::fd::AsRawFd;

    let weights = weights(0.5);
    let bytes = write_weights(&weights).unwrap();
    for len in [bytes.len(), bytes.len() - 1, 0] {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
        let read = std::thread::scope(|scope| {
            scope.spawn(|| {
                writer.write_all(&bytes[..len]).unwrap();
                drop(writer);
            });
            read_weights_file(Path::new(&path))
        });
        match len {
            len if len == bytes.len() => assert_eq!(read.unwrap(), weights),
            _ => assert!(matches!(read.unwrap_err(), Error::Format { .. }), "{len}"),
        }
    }
}
