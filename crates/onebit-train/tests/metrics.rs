//! The table of a run's epochs.

#![allow(clippy::unwrap_used)]

use std::fs;

use onebit_train::checkpoint::TrainingStage;
use onebit_train::metrics::{HEADER, Row, append, begin, read};
use tempfile::tempdir;

fn row(epoch: usize) -> Row {
    Row {
        epoch,
        stage: if epoch == 1 { TrainingStage::RealWeights } else { TrainingStage::BinaryWeights },
        step: 100 * epoch as u64,
        lr: 9.765625e-6,
        train_loss: 2.25,
        train_top1: 0.5,
        test_loss: f64::INFINITY,
        test_top1: 0.123456,
        img_per_s: 321.5,
        seconds: 12.25,
    }
}

#[test]
fn rows_are_read_as_they_were_appended() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    begin(&path, 0).unwrap();
    assert_eq!(read(&path).unwrap(), []);
    append(&path, row(1)).unwrap();
    append(&path, row(2)).unwrap();
    assert_eq!(read(&path).unwrap(), [row(1), row(2)]);
    let text = fs::read_to_string(&path).unwrap();
    let line = "1,real_weights,100,0.000009765625,2.250000,0.500000,inf,0.123456,321.5,12.25";
    assert_eq!(text.lines().take(2).collect::<Vec<_>>(), [HEADER, line]);
}

#[test]
fn a_resumed_run_keeps_the_rows_up_to_its_checkpoint() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    begin(&path, 0).unwrap();
    append(&path, row(1)).unwrap();
    append(&path, row(2)).unwrap();
    let two = fs::read_to_string(&path).unwrap();
    append(&path, row(3)).unwrap();
    fs::write(&path, fs::read_to_string(&path).unwrap() + "4,binary_wei").unwrap();
    begin(&path, 2).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), two);
    begin(&path, 0).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{HEADER}\n"));
}

#[test]
fn a_lost_table_begins_again() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    begin(&path, 5).unwrap();
    assert_eq!(read(&path).unwrap(), []);
}

#[test]
fn lines_that_are_no_rows_are_named() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    for (text, reason) in [
        ("epoch,loss\n".to_owned(), "the first line is not `epoch,stage"),
        (format!("{HEADER}\n1,2\n"), "line 2: 2 columns, expected 10"),
        (format!("{HEADER}\n1,x,1,1,1,1,1,1,1,1\n"), "line 2: `x` is no stage"),
        (format!("{HEADER}\n1,binary_weights,1,1,1,?,1,1,1,1\n"), "line 2: `?` is not the number"),
    ] {
        fs::write(&path, text).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_named_pipe_or_a_device_is_no_table() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(read(&path).unwrap_err().to_string().contains("is a named pipe or device"));
    assert!(begin(&path, 3).is_err());
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("is a named pipe or device"));
}
