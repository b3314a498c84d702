//! A file is written in full or not at all.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use onebit_files::{AtomicFile, Error, read_limited, recover, write_atomic};
use tempfile::tempdir;

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
fn a_name_as_long_as_the_system_allows_can_be_written() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("n".repeat(255));
    write_atomic(&path, b"x").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"x");
}

#[test]
fn what_cannot_be_written_leaves_nothing_behind() {
    let folder = tempdir().unwrap();
    let occupied = folder.path().join("occupied");
    fs::create_dir(&occupied).unwrap();
    for path in [folder.path().join("missing/file"), occupied, folder.path().join("..")] {
        let error = write_atomic(&path, b"x").unwrap_err();
        assert!(matches!(error, Error::Write { .. }), "{error}");
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

#[test]
fn a_file_that_is_not_committed_disappears() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    write_atomic(&path, b"before").unwrap();
    let mut file = AtomicFile::create(&path).unwrap();
    file.write(b"half").unwrap();
    drop(file);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(fs::read(&path).unwrap(), b"before");

    let mut file = AtomicFile::create(&path).unwrap();
    file.write(b"who").unwrap();
    file.write(b"le").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"before");
    file.commit().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"whole");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_an_interrupted_write_leaves_is_removed() {
    let folder = tempdir().unwrap();
    std::mem::forget(AtomicFile::create(&folder.path().join("file")).unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    recover(folder.path()).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_next_write_removes_what_a_killed_one_left() {
    if let Some(path) = std::env::var_os("ONEBIT_TEST_KILLED") {
        let mut file = AtomicFile::create(Path::new(&path)).unwrap();
        file.write(b"half").unwrap();
        std::process::abort();
    }
    let folder = tempdir().unwrap();
    let (path, other) = (folder.path().join("file"), folder.path().join("other"));
    fs::write(folder.path().join(".tmp-of-somebody-else"), b"theirs").unwrap();
    for killed in [&path, &path, &other] {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_next_write_removes_what_a_killed_one_left"])
            .env("ONEBIT_TEST_KILLED", killed)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success());
    }
    // The second kill removed the first's leftover. One is being written at the same time.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    let mut slow = AtomicFile::create(&path).unwrap();
    slow.write(b"slow").unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    write_atomic(&path, b"quick").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"quick");
    slow.commit().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"slow");
    // That of the other file stays until it is written, and what is not ours stays.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    write_atomic(&other, b"other").unwrap();
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [".tmp-of-somebody-else", "file", "other"]);
}

/// The test runs itself again where no file may grow past a few blocks, which fails a write as a full disk does.
#[cfg(unix)]
#[test]
fn a_write_that_fails_half_way_leaves_what_was_there() {
    if let Some(path) = std::env::var_os("ONEBIT_TEST_TOO_LARGE") {
        let error = write_atomic(Path::new(&path), &[0; 1 << 20]).unwrap_err();
        assert!(matches!(error, Error::Write { .. }), "{error}");
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

#[test]
fn a_file_beyond_its_limit_is_refused() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, [0; 10]).unwrap();
    assert_eq!(read_limited(&path, 10).unwrap().len(), 10);
    let error = read_limited(&path, 9).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 9, .. }), "{error}");
    let error = read_limited(folder.path(), 9).unwrap_err();
    assert!(matches!(error, Error::NotRegular { found: "a folder", .. }), "{error}");
}
