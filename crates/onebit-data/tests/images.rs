//! Folders are walked as torchvision's `ImageFolder` walks them, and what is not read is counted.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use onebit_data::{ErrorKind, ImageList, list_images};

/// Makes empty files, with their folders.
fn touch(root: &Path, names: &[&str]) {
    for name in names {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
}

fn relative(root: &Path, list: &ImageList) -> Vec<String> {
    let name = |path: &std::path::PathBuf| path.strip_prefix(root).unwrap().display().to_string();
    list.paths.iter().map(name).collect()
}

#[test]
fn folders_are_listed_as_torchvision_does_and_other_files_counted() {
    let dir = tempfile::tempdir().unwrap();
    touch(
        dir.path(),
        &[
            "z.png",
            "B.JPG",
            "a.jfif",
            "b/2.webp",
            "b/10.bmp",
            "b/deep/er/x.jpeg",
            "b c/1.png",
            "a/c.JPE",
            ".hidden.png",
            ".cache/x.png",
            "notes.txt",
            "b/one.GIF",
            "b/two.gif",
            "b/deep/three.gif",
            "README",
            "x.TIFF",
        ],
    );
    let list = list_images(dir.path()).unwrap();
    // sorted(os.walk(...)) in Python: `b c` comes before `b/deep`, as a space comes before a slash.
    assert_eq!(
        relative(dir.path(), &list),
        [
            "B.JPG",
            "a.jfif",
            "z.png",
            "a/c.JPE",
            "b/10.bmp",
            "b/2.webp",
            "b c/1.png",
            "b/deep/er/x.jpeg"
        ]
    );
    let counts: Vec<(&str, usize)> =
        list.passed_over.iter().map(|(e, &n)| (e.as_str(), n)).collect();
    assert_eq!(counts, [("", 1), ("gif", 3), ("tiff", 1), ("txt", 1)]);
    let words = list.passed_over_in_words().unwrap();
    assert_eq!(words, "3 .gif, 1 without extension, 1 .tiff, 1 .txt");
    let error = list_images(&dir.path().join("none")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MissingInput);
    assert!(error.to_string().contains("a folder of images"), "{error}");
}

#[test]
fn many_extensions_and_control_characters_stay_short_and_visible() {
    let mut list = ImageList::default();
    assert_eq!(list.passed_over_in_words(), None);
    for i in 0..1000 {
        list.passed_over.insert(format!("e{i:04}"), 1);
    }
    list.passed_over.insert(format!("\x1b[2J{}", "x".repeat(300)), 2);
    let words = list.passed_over_in_words().unwrap();
    assert!(words.starts_with("2 .\\u{1b}[2Jxxx") && words.ends_with(", 993 others"), "{words}");
    assert!(words.len() < 250, "{words}");
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_in_circles() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    touch(&root, &["a/1.png", "b/2.png"]);
    touch(dir.path(), &["pool/3.png"]);
    symlink(dir.path().join("pool"), root.join("a/pool")).unwrap();
    symlink("../a/1.png", root.join("b/link.png")).unwrap();
    symlink(".", root.join("a/self")).unwrap();
    symlink("..", root.join("a/up")).unwrap();
    symlink(dir.path(), root.join("b/above")).unwrap();
    symlink("../root/b", dir.path().join("pool/b")).unwrap();
    symlink("nowhere", root.join("b/nowhere")).unwrap();
    let list = list_images(&root).unwrap();
    assert_eq!(
        relative(&root, &list),
        ["a/1.png", "a/pool/3.png", "a/pool/b/2.png", "a/pool/b/link.png", "b/2.png", "b/link.png"]
    );
    assert_eq!(list.passed_over_in_words().unwrap(), "2 without extension");
}
