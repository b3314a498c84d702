//! Text files: their encoding and their limit.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use onebit_files::{Error, read_text};

fn file(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    fs::write(&path, content).unwrap();
    (folder, path)
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_text() {
    let (_folder, path) = file("\u{feff}a\n\u{feff}b".as_bytes());
    assert_eq!(read_text(&path, 100).unwrap(), "a\n\u{feff}b");
}

#[test]
fn other_encodings_are_refused_with_the_line() {
    let (_folder, path) = file(b"a\nb\xe9\n");
    let error = read_text(&path, 100).unwrap_err();
    assert!(matches!(error, Error::NotText { line: 2, .. }), "{error}");
    assert!(error.to_string().ends_with("a.txt: line 2 is not UTF-8 text"), "{error}");
}

#[test]
fn longer_than_the_limit_is_refused() {
    let (_folder, path) = file(b"abcd");
    assert_eq!(read_text(&path, 4).unwrap(), "abcd");
    assert!(matches!(read_text(&path, 3), Err(Error::TooLarge { limit: 3, .. })));
}

#[cfg(unix)]
#[test]
fn a_device_without_an_end_is_read_to_the_limit_only() {
    let zero = std::path::Path::new("/dev/zero");
    assert!(matches!(read_text(zero, 1 << 16), Err(Error::TooLarge { .. })));
}

#[cfg(unix)]
#[test]
fn a_named_pipe_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let error = read_text(&pipe, 100).unwrap_err();
    assert!(matches!(error, Error::NotRegular { found: "a named pipe", .. }), "{error}");
    let error = onebit_files::read_limited(&pipe, 100).unwrap_err();
    assert!(matches!(error, Error::NotRegular { .. }), "{error}");
}
