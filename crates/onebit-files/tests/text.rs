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

#[cfg(unix)]
#[test]
fn what_is_at_the_place_of_a_file_or_folder_is_told() {
    let (folder, path) = file(b"abc");
    let said = |error: Error| error.to_string().rsplit_once(": ").unwrap().1.to_owned();
    let read = |path: &std::path::Path| said(read_text(path, 100).unwrap_err());
    assert_eq!(read(folder.path()), "is a folder, expected a regular file");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("nothing", &link).unwrap();
    assert_eq!(read(&link), "is a link to nothing, expected a regular file");
    let below = path.join("deep/b.txt");
    assert_eq!(read(&below), "is a file, expected a folder");
    let error = read_text(&link.join("deep/b.txt"), 100).unwrap_err().expecting("a text");
    assert_eq!(
        error.to_string(),
        format!("{}: is a link to nothing, expected a folder", link.display())
    );
    let missing = folder.path().join("missing.txt");
    let error = read_text(&missing, 100).unwrap_err().expecting("a text");
    assert_eq!(error.to_string(), format!("{}: not found; expected a text", missing.display()));
    assert_eq!(error.kind(), onebit_files::ErrorKind::MissingInput);
    assert_eq!(said(onebit_files::checkpoints(&path).unwrap_err()), "is a file, expected a folder");
    let refused = onebit_files::checkpoints(&link).unwrap_err();
    assert_eq!(said(refused), "is a link to nothing, expected a folder");
}

#[test]
fn no_more_is_read_than_what_tells_that_a_file_is_unwanted() {
    let (_folder, path) = file(b"abcdef");
    let mut seen = Vec::new();
    let mut read = |start, limit, wanted| {
        onebit_files::read_if(&path, limit, start, |bytes| {
            seen.push(bytes.to_vec());
            wanted
        })
    };
    assert_eq!(read(2, 6, false).unwrap(), None);
    assert_eq!(read(2, 6, true).unwrap().unwrap(), b"abcdef");
    assert_eq!(read(9, 6, true).unwrap().unwrap(), b"abcdef");
    assert!(matches!(read(2, 5, true), Err(Error::TooLarge { limit: 5, .. })));
    assert_eq!(seen, [&b"ab"[..], b"ab", b"abcdef"]);
}

#[cfg(unix)]
#[test]
fn a_device_without_an_end_is_refused_by_its_first_bytes() {
    let zero = std::path::Path::new("/dev/zero");
    let parsed =
        onebit_files::parse_limited::<()>(zero, u64::MAX, |_| panic!("all of it was read"));
    let error = parsed.unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error}");
    assert_eq!(onebit_files::read_if(zero, u64::MAX, 4, |start| start[0] != 0).unwrap(), None);
}
