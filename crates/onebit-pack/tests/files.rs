//! Files on disk: written in full or not at all, checkpoints found and checked.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use onebit_model::arch::{self, Config, Method, Task};
use onebit_model::file::{Weights, write_model, write_weights};
use onebit_model::{Data, Tensor, Verified, infer};
use onebit_pack::{
    Loaded, PackError, load_weights, lower, read_model_file, read_weights_file, write_atomic,
};
use sha2::{Digest, Sha256};
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
    fs::create_dir_all(folder).unwrap();
    let bytes = write_weights(&weights(value)).unwrap();
    let state = b"{}".to_vec();
    let entry = |bytes: &[u8]| {
        let sha256: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        format!("{{\"bytes\":{},\"sha256\":\"{sha256}\"}}", bytes.len())
    };
    let manifest = format!(
        "{{\"files\":{{\"state.json\":{},\"weights.safetensors\":{}}}}}",
        entry(&state),
        entry(&bytes)
    );
    fs::write(folder.join("weights.safetensors"), bytes).unwrap();
    fs::write(folder.join("state.json"), state).unwrap();
    fs::write(folder.join("manifest.json"), manifest).unwrap();
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
        Data::U64(_) => panic!("weights are floats"),
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
    assert!(matches!(error, PackError::NoIntactCheckpoint { .. }), "{error}");
}

#[test]
fn a_checkpoint_folder_or_a_file_can_be_named() {
    let (_guard, run) = run_folder();
    let folder = run.join("checkpoints/epoch-00009");
    assert_eq!(value(&load_weights(&folder).unwrap()), 0.125);
    let file = folder.join("weights.safetensors");
    assert_eq!(value(&load_weights(&file).unwrap()), 0.125);
    damage(&folder, "weights.safetensors");
    assert!(matches!(load_weights(&folder), Err(PackError::Damaged { .. })));
    assert!(matches!(load_weights(&file), Err(PackError::Format { .. })));
}

#[test]
fn what_is_no_checkpoint_is_named() {
    let folder = tempdir().unwrap();
    let missing = folder.path().join("missing");
    let error = load_weights(&missing).unwrap_err().to_string();
    assert!(error.contains("missing"), "{error}");
    assert!(matches!(load_weights(folder.path()), Err(PackError::NoCheckpoint { .. })));
}

#[test]
fn a_manifest_cannot_name_files_elsewhere() {
    let (_guard, run) = run_folder();
    let folder = run.join("best");
    for name in ["../secret", "/etc/hostname", "..", ""] {
        let listed = r#"{"bytes":0,"sha256":""}"#;
        let manifest = format!("{{\"files\":{{\"{name}\":{listed}}}}}");
        fs::write(folder.join("manifest.json"), manifest).unwrap();
        let error = load_weights(&folder).unwrap_err();
        assert!(matches!(error, PackError::BadManifest { .. }), "{error}");
    }
}

#[test]
fn models_and_weights_survive_the_disk() {
    let folder = tempdir().unwrap();
    let (model_path, weights_path) = (folder.path().join("m.onebit"), folder.path().join("w"));
    let weights = weights(0.5);
    let model = lower(&weights).unwrap();
    write_atomic(&model_path, &write_model(&model).unwrap()).unwrap();
    write_atomic(&weights_path, &write_weights(&weights).unwrap()).unwrap();
    assert_eq!(read_model_file(&model_path).unwrap(), model);
    assert_eq!(read_weights_file(&weights_path).unwrap(), weights);
    let error = read_model_file(&weights_path).unwrap_err().to_string();
    assert!(error.contains("`onebit-weights`, expected `onebit`"), "{error}");
    let error = read_model_file(folder.path()).unwrap_err();
    assert!(matches!(error, PackError::Read { .. }), "{error}");
}

#[test]
fn a_file_above_the_limit_is_not_read() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("huge.onebit");
    fs::File::create(&path).unwrap().set_len((2 << 30) + 1).unwrap();
    assert!(matches!(read_model_file(&path), Err(PackError::TooLarge { .. })));
}

#[test]
fn a_file_is_replaced_as_a_whole() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    for contents in [&b"first"[..], b"", b"a longer second one"] {
        write_atomic(&path, contents).unwrap();
        assert_eq!(fs::read(&path).unwrap(), contents);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn what_cannot_be_written_leaves_nothing_behind() {
    let folder = tempdir().unwrap();
    let occupied = folder.path().join("occupied");
    fs::create_dir(&occupied).unwrap();
    for path in [folder.path().join("missing/file"), occupied, folder.path().join("..")] {
        let error = write_atomic(&path, b"x").unwrap_err();
        assert!(matches!(error, PackError::Write { .. }), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[cfg(unix)]
#[test]
fn a_device_is_not_replaced() {
    let error = write_atomic(Path::new("/dev/null"), b"x").unwrap_err();
    assert!(error.to_string().contains("something other than a file"), "{error}");
}

/// The test runs itself again where no file may grow past a few blocks, which fails a write as a full disk does.
#[cfg(unix)]
#[test]
fn a_write_that_fails_half_way_leaves_what_was_there() {
    if let Some(path) = std::env::var_os("ONEBIT_TEST_TOO_LARGE") {
        let error = write_atomic(Path::new(&path), &[0; 1 << 20]).unwrap_err();
        assert!(matches!(error, PackError::Write { .. }), "{error}");
        return;
    }
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, b"before").unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg("a_write_that_fails_half_way_leaves_what_was_there")
        .env("ONEBIT_TEST_TOO_LARGE", &path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), b"before");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
