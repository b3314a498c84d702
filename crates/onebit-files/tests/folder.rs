//! A checkpoint folder is there in full or not at all, and damage is noticed.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use onebit_files::{
    Error, MANIFEST, Position, checkpoints, read_folder, recover, remove_folder, write_folder,
};
use tempfile::tempdir;

const LIMIT: u64 = 100;

fn put(folder: &Path, content: &str) {
    write_folder(folder, &[("a", content.into()), ("b", b"bb".to_vec())]).unwrap();
}

fn get(folder: &Path) -> Result<String, Error> {
    read_folder(folder, ["a"], LIMIT).map(|[a]| String::from_utf8(a).unwrap())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_folder_is_replaced_as_a_whole() {
    let root = tempdir().unwrap();
    let folder = root.path().join("folder");
    for content in ["first", "", "a longer second one"] {
        put(&folder, content);
        assert_eq!(get(&folder).unwrap(), content);
        assert_eq!(names(root.path()), ["folder"]);
        assert_eq!(names(&folder), ["a", "b", MANIFEST]);
    }
    let [b, a] = read_folder(&folder, ["b", "a"], LIMIT).unwrap();
    assert_eq!((&b[..], &a[..]), (&b"bb"[..], &b"a longer second one"[..]));
    remove_folder(&folder).unwrap();
    assert!(names(root.path()).is_empty());
}

#[test]
fn the_manifest_holds_the_length_and_sha256_of_each_file() {
    let root = tempdir().unwrap();
    let folder = root.path().join("folder");
    write_folder(&folder, &[("f", b"abc".to_vec())]).unwrap();
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let expected = format!("{{\"files\":{{\"f\":{{\"bytes\":3,\"sha256\":\"{sha256}\"}}}}}}\n");
    assert_eq!(fs::read_to_string(folder.join(MANIFEST)).unwrap(), expected);
}

#[test]
fn any_damage_is_noticed() {
    for name in ["a", "b", MANIFEST] {
        for damage in ["flip", "cut", "longer", "remove"] {
            let root = tempdir().unwrap();
            put(root.path(), "aa");
            let path = root.path().join(name);
            let mut bytes = fs::read(&path).unwrap();
            match damage {
                "flip" => bytes[1] ^= 1,
                "cut" => bytes.truncate(bytes.len() - 2),
                _ => bytes.push(b'x'),
            }
            match damage {
                "remove" => fs::remove_file(&path).unwrap(),
                _ => fs::write(&path, bytes).unwrap(),
            }
            let error = get(root.path()).unwrap_err();
            let expected = match (damage, name) {
                ("remove", _) => matches!(error, Error::Read { .. }),
                (_, MANIFEST) => matches!(error, Error::BadManifest { .. }),
                _ => matches!(error, Error::Damaged { .. }),
            };
            assert!(expected, "{name} {damage}: {error}");
            assert!(error.to_string().contains(name), "{name} {damage}: {error}");
        }
    }
}

#[test]
fn a_manifest_cannot_name_files_elsewhere() {
    let root = tempdir().unwrap();
    for name in ["../secret", "/etc/hostname", "..", ""] {
        let listed = r#"{"bytes":0,"sha256":""}"#;
        let manifest = format!("{{\"files\":{{\"{name}\":{listed}}}}}");
        fs::write(root.path().join(MANIFEST), manifest).unwrap();
        let error = get(root.path()).unwrap_err();
        assert!(matches!(error, Error::BadManifest { .. }), "{error}");
    }
}

#[test]
fn what_is_not_listed_and_what_is_too_large_is_refused() {
    let root = tempdir().unwrap();
    put(root.path(), "aa");
    fs::write(root.path().join("c"), "c").unwrap();
    let error = read_folder(root.path(), ["c"], LIMIT).unwrap_err();
    assert!(error.to_string().contains("does not list c"), "{error}");
    let error = read_folder(root.path(), ["a"], 1).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 1, .. }), "{error}");
}

#[test]
fn an_interrupted_replacement_is_undone_or_finished() {
    let root = tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    put(&at(".old-interrupted"), "before");
    put(&at(".tmp-interrupted"), "after");
    put(&at(".old-finished"), "before");
    put(&at("finished"), "after");
    recover(root.path()).unwrap();
    assert_eq!(names(root.path()), ["finished", "interrupted"]);
    assert_eq!(get(&at("interrupted")).unwrap(), "before");
    assert_eq!(get(&at("finished")).unwrap(), "after");
    recover(&at("missing")).unwrap();
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let root = tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let error = write_folder(&file.join("folder"), &[]).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    assert!(error.to_string().contains("file/.tmp-folder"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"in the way");
}

#[test]
fn checkpoints_are_listed_newest_first() {
    let root = tempdir().unwrap();
    assert_eq!(checkpoints(&root.path().join("missing")).unwrap(), []);
    for name in ["epoch-00009", "epoch-00010", "epoch-00010-step-000123", "best", ".tmp-epoch-1"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    let position = |epoch, step| Position { epoch, step };
    let expected = [position(10, 123), position(10, 0), position(9, 0)]
        .map(|position| (position, root.path().join(position.to_string())));
    assert_eq!(checkpoints(root.path()).unwrap(), expected);
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_in_a_folder_are_named_and_never_opened() {
    let folder = tempdir().unwrap();
    let place = folder.path().join("run");
    for name in [MANIFEST, "content", "other"] {
        onebit_files::write_folder(&place, &[("content", b"1".to_vec()), ("other", b"2".to_vec())])
            .unwrap();
        let path = place.join(name);
        let refused = |found: &str| {
            let error = onebit_files::read_folder(&place, ["content"], 100).unwrap_err();
            let said = error.to_string();
            assert!(matches!(error, Error::NotRegular { .. }), "{said}");
            assert_eq!(said, format!("{}: is {found}, expected a regular file", path.display()));
        };
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        refused("a named pipe");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        refused("a device");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        refused("a folder");
    }
}
