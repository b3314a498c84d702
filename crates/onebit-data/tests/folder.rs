//! Folders of images: what is a class, a split and an image, what is warned of, and what is done about bad images.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use common::assert_says;
use onebit_data::{
    Dataset, Error, ErrorKind, Loader, LoaderConfig, Normalization, OpenOptions, Share, Split,
    check, decode_image, open, same_images,
};

/// Saves an image of one grey, in the format that its name says.
fn save(root: &Path, name: &str, grey: u8) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_pixel(8, 8, image::Rgb([grey; 3])).save(path).unwrap();
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn greys(set: &dyn Dataset) -> Vec<u8> {
    let mut pixels = vec![0; set.shape().iter().product()];
    let read = |i| {
        set.read(i, &mut pixels).unwrap();
        pixels[0]
    };
    (0..set.len()).map(read).collect()
}

fn spec(root: &Path) -> String {
    format!("folder:{}", root.display())
}

fn open_train(root: &Path) -> Result<Box<dyn Dataset>, Error> {
    open(&spec(root), Split::Train, &OpenOptions::default())
}

#[test]
fn nested_folders_and_every_format_are_read_and_the_rest_counted() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for (name, grey) in [
        ("b/z.png", 1),
        ("b/deep/er/a.WEBP", 2),
        ("b/deep/b.bmp", 3),
        ("a/more/x.png", 4),
        ("a/y.BMP", 5),
        ("a/z.webp", 6),
    ] {
        save(root, name, grey);
    }
    for name in ["a/one.gif", "a/more/two.GIF", "b/three.tif", "notes.txt"] {
        write(root, name, "");
    }
    save(root, "stray.png", 7);
    let set = open_train(root).unwrap();
    assert_eq!(set.classes(), ["a", "b"]);
    assert_eq!(greys(set.as_ref()), [5, 6, 4, 1, 3, 2]);
    assert_eq!((0..6).map(|i| set.label(i)).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1]);
    let [stray, others] = set.warnings() else { panic!("{:?}", set.warnings()) };
    assert!(
        stray.contains(": 1 image beside the class folders, of no class, is passed over"),
        "{stray}"
    );
    assert!(others.contains("passed over: 2 .gif, 1 .tif, 1 .txt;"), "{others}");
    let limited = OpenOptions { limit: Some(2), ..OpenOptions::default() };
    let limited = open(&spec(root), Split::Train, &limited).unwrap();
    assert_eq!(limited.warnings().len(), 2);
}

#[test]
fn a_class_of_images_that_are_not_read_says_which() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a/one.heic", "");
    write(dir.path(), "a/deep/two.heic", "");
    assert_says(
        open_train(dir.path()).map(drop),
        &["a: class folder is without images (2 .heic)", ".webp and .bmp"],
    );
}

#[test]
fn cut_off_images_of_every_format_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    let picture =
        image::RgbImage::from_fn(23, 19, |x, y| image::Rgb([x as u8 * 9, y as u8, (x * y) as u8]));
    for format in [image::ImageFormat::WebP, image::ImageFormat::Bmp, image::ImageFormat::Png] {
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        let bytes = bytes.into_inner();
        fs::write(&path, &bytes).unwrap();
        assert!(decode_image(&path, &Default::default()).unwrap().pixels == *picture.as_raw());
        // Of a PNG file, the end chunk may be missing.
        for length in (0..bytes.len() - 12).step_by(5) {
            fs::write(&path, &bytes[..length]).unwrap();
            let error = decode_image(&path, &Default::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadData, "{format:?}, {length} bytes: {error}");
        }
    }
}

#[test]
fn a_folder_of_one_part_is_both_splits_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let whole = |root: &Path| {
        let options = OpenOptions::default();
        let [train, test] =
            [Split::Train, Split::Test].map(|split| open(&spec(root), split, &options).unwrap());
        (train.classes().to_vec(), train.len(), test.len(), same_images(&*train, &*test))
    };
    for part in ["", "train", "val", "test"] {
        let root = dir.path().join(format!("only-{part}"));
        save(&root.join(part), "cat/1.png", 1);
        save(&root.join(part), "dog/1.png", 1);
        let (classes, train, test, warning) = whole(&root);
        assert_eq!(
            (classes, train, test),
            (vec!["cat".to_owned(), "dog".to_owned()], 2, 2),
            "{part}"
        );
        assert!(
            warning.unwrap().contains("the same images are used to learn from and to measure with")
        );
        let checked = check(&spec(&root), None, &|_, _, _| ()).unwrap();
        assert_eq!((checked.len(), checked[0].images(), checked[0].warnings.len()), (1, 2, 1));
    }
    let root = dir.path().join("both");
    save(&root, "train/cat/1.png", 1);
    save(&root, "val/cat/1.png", 1);
    assert_eq!(whole(&root).3, None);
    let same =
        open(&format!("{}:train", spec(&root)), Split::Test, &OpenOptions::default()).unwrap();
    assert!(same_images(&*open_train(&root).unwrap(), &*same).is_some());
    // `train` and `valid` are no two classes.
    fs::rename(root.join("val"), root.join("valid")).unwrap();
    assert_says(
        open_train(&root).map(drop),
        &["both: class `train` is a folder of folders of images", "`train` and `val`"],
    );
    for (train, val) in [("Train", "Val"), ("TRAIN", "Valid"), ("train", "VAL")] {
        let root = dir.path().join(format!("{train}-{val}"));
        save(&root, &format!("{train}/cat/1.png"), 1);
        save(&root, &format!("{val}/cat/1.png"), 1);
        assert_says(open_train(&root).map(drop), &["is a folder of folders of images"]);
    }
    // A class may be called so where its images lie in it.
    let root = dir.path().join("vehicles");
    save(&root, "train/1.png", 1);
    save(&root, "car/1.png", 1);
    assert_eq!(open_train(&root).unwrap().classes(), ["car", "train"]);
}

#[test]
fn of_val_and_test_the_one_that_is_named_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for (part, grey) in [("train", 1), ("val", 2), ("test", 3)] {
        save(root, &format!("{part}/cat/1.png"), grey);
    }
    let options = OpenOptions::default();
    let taken = |end: &str, default| {
        let set = open(&format!("{}{end}", spec(root)), default, &options).unwrap();
        (greys(&*set)[0], set.warnings().to_vec())
    };
    assert_eq!(taken(":test", Split::Test), (3, vec![]));
    assert_eq!(taken(":val", Split::Train), (2, vec![]));
    assert_eq!(taken("", Split::Train), (1, vec![]));
    let (grey, warnings) = taken("", Split::Test);
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert_eq!(grey, 2);
    let end =
        ": folder `test` is not used beside `train` and `val` (`test` is with :test at the end)";
    assert!(warning.ends_with(end), "{warning}");
    let checked = check(&spec(root), None, &|_, _, _| ()).unwrap();
    assert_eq!(checked.last().unwrap().warnings, warnings);
    save(root, "spare/cat/1.png", 4);
    let (_, warnings) = taken(":test", Split::Test);
    assert!(warnings[0].ends_with(": folder `spare` is not used beside `train` and `test`"));
    fs::remove_dir_all(root.join("val")).unwrap();
    assert_eq!(taken(":val", Split::Test).0, 3);
}

/// A folder with 3 bad images among 3 + 40.
fn with_bad_ones(root: &Path) {
    for i in 0..40 {
        save(root, &format!("{}/{i:02}.png", ["cat", "dog"][i % 2]), i as u8);
    }
    write(root, "cat/00a.jpg", "no image");
    let half = fs::read(root.join("dog/07.png")).unwrap();
    fs::write(root.join("dog/07a.png"), &half[..half.len() / 2]).unwrap();
    write(root, "dog/39a.webp", "");
}

#[test]
fn a_check_lists_every_bad_image() {
    let dir = tempfile::tempdir().unwrap();
    with_bad_ones(dir.path());
    let done = AtomicU64::new(0);
    let checked = check(&spec(dir.path()), None, &|split, n, all| {
        assert!(split == Split::Train && all == 43);
        done.fetch_max(n, Ordering::Relaxed);
    });
    let [checked] = &checked.unwrap()[..] else { panic!("one split") };
    assert_eq!(done.load(Ordering::Relaxed), 43);
    assert_eq!(checked.classes, [("cat".to_owned(), 21, 1), ("dog".to_owned(), 22, 2)]);
    let bad: Vec<(usize, usize, &str)> = checked
        .bad
        .iter()
        .map(|bad| {
            (bad.index, bad.label, Path::new(&bad.image).file_name().unwrap().to_str().unwrap())
        })
        .collect();
    assert_eq!(bad, [(1, 0, "00a.jpg"), (25, 1, "07a.png"), (42, 1, "39a.webp")]);
    for bad in &checked.bad {
        assert_eq!(bad.error.kind(), ErrorKind::BadData);
        assert!(bad.error.to_string().contains(&bad.image));
    }
    let sample = check("fashion-mnist-sample:test", None, &|_, _, _| ()).unwrap();
    assert_eq!((sample.len(), sample[0].images(), sample[0].bad.len()), (1, 2000, 0));
    let sample = check("fashion-mnist-sample", None, &|_, _, _| ()).unwrap();
    assert_eq!([sample[0].images(), sample[1].images()], [10_000, 2_000]);
}

#[test]
fn bad_images_are_left_out_where_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    with_bad_ones(dir.path());
    let set = open_train(dir.path()).unwrap();
    assert_eq!(set.len(), 43);
    assert_says(set.original(1), &["00a.jpg"]);
    let options = OpenOptions { skip_bad: true, ..OpenOptions::default() };
    let set = open(&spec(dir.path()), Split::Train, &options).unwrap();
    let expected: Vec<u8> = (0..40).step_by(2).chain((1..40).step_by(2)).collect();
    assert_eq!(greys(set.as_ref()), expected);
    assert_eq!((0..40).map(|i| set.label(i)).collect::<Vec<_>>(), [[0; 20], [1; 20]].concat());
    let [warning] = set.warnings() else { panic!("{:?}", set.warnings()) };
    for part in ["3 of 43 images cannot be read and are left out", "00a.jpg", "39a.webp"] {
        assert!(warning.contains(part), "{warning}");
    }
    // Without a size given, the first image that can be read gives it.
    fs::remove_file(dir.path().join("cat/00.png")).unwrap();
    assert_eq!(open(&spec(dir.path()), Split::Train, &options).unwrap().shape(), [3, 8, 8]);
    write(dir.path(), "eel/only.png", "no image");
    let error = open(&spec(dir.path()), Split::Train, &options).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadData);
    assert!(error.to_string().contains("eel: class folder is without an image"), "{error}");
}

#[test]
fn batches_without_the_bad_images_are_those_of_a_folder_that_never_had_them() {
    let (clean, dirty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    with_bad_ones(dirty.path());
    with_bad_ones(clean.path());
    for name in ["cat/00a.jpg", "dog/07a.png", "dog/39a.webp"] {
        fs::remove_file(clean.path().join(name)).unwrap();
    }
    let batches = |root: &Path, threads: usize, start: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let options = OpenOptions { skip_bad: true, ..OpenOptions::default() };
        let set = pool.install(|| open(&spec(root), Split::Train, &options)).unwrap();
        let config = LoaderConfig {
            batch: 7,
            normalization: Normalization::imagenet(),
            augment: None,
            seed: 3,
            shuffle: true,
            drop_last: true,
            share: Share::WHOLE,
        };
        let loader = Loader::new(set.into(), config).unwrap();
        loader.epoch(2, start).map(Result::unwrap).collect::<Vec<_>>()
    };
    let expected = batches(clean.path(), 1, 0);
    assert!(batches(dirty.path(), 1, 0) == expected);
    assert!(batches(dirty.path(), 4, 0) == expected);
    assert!(batches(dirty.path(), 3, 2) == expected[2..]);
}

#[test]
fn a_leading_tilde_is_the_home_folder() {
    // The environment belongs to all threads of a process: the child has the home folder.
    if std::env::var_os("ONEBIT_TEST_TILDE").is_none() {
        let home = tempfile::tempdir().unwrap();
        save(home.path(), "photos/cat/1.png", 1);
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_leading_tilde_is_the_home_folder"])
            .env("ONEBIT_TEST_TILDE", "1")
            .env("HOME", home.path())
            .env("USERPROFILE", home.path())
            .stdout(std::process::Stdio::null())
            .status();
        assert!(status.unwrap().success());
        return;
    }
    for spec in ["folder:~/photos", "folder:~/photos:test", "folder:~/photos/"] {
        assert_eq!(open(spec, Split::Train, &OpenOptions::default()).unwrap().len(), 1);
    }
    assert_eq!(check("folder:~/photos", None, &|_, _, _| ()).unwrap()[0].images(), 1);
    let error = open("cifar:~/none", Split::Train, &OpenOptions::default()).map(drop).unwrap_err();
    assert!(!error.to_string().contains('~'), "{error}");
    assert!(open("folder:~photos", Split::Train, &OpenOptions::default()).is_err());
}

#[cfg(unix)]
mod special {
    use std::os::unix::fs::symlink;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;
    use onebit_data::{DownloadPlan, Source, fetch, list_images, load_for_network};

    fn fifo(root: &Path, name: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    fn refuses<T>(result: Result<T, Error>, parts: &[&str]) {
        let error = result.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadData);
        assert_says(Err::<(), _>(error), parts);
    }

    #[test]
    fn pipes_and_devices_are_named_and_never_opened() {
        let start = Instant::now();
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        save(root, "photos/cat/1.png", 1);
        fifo(root, "photos/cat/0.jpg");
        let pipe = ["0.jpg: is a named pipe, expected a regular file"];
        refuses(open_train(&root.join("photos")), &pipe);
        refuses(load_for_network(&root.join("photos/cat/0.jpg"), 3, 8, 8), &pipe);
        assert_eq!(list_images(&root.join("photos")).unwrap().paths.len(), 2);
        let checked = check(&spec(&root.join("photos")), None, &|_, _, _| ()).unwrap();
        assert_says(Err::<(), _>(checked.into_iter().next().unwrap().bad.remove(0).error), &pipe);
        let options = OpenOptions { skip_bad: true, ..OpenOptions::default() };
        assert_eq!(open(&spec(&root.join("photos")), Split::Train, &options).unwrap().len(), 1);

        save(root, "links/cat/1.png", 1);
        symlink("/dev/zero", root.join("links/cat/2.jpg")).unwrap();
        refuses(open_train(&root.join("links")), &["2.jpg: is a device"]);
        fs::remove_file(root.join("links/cat/2.jpg")).unwrap();
        symlink("nowhere", root.join("links/cat/2.jpg")).unwrap();
        refuses(open_train(&root.join("links")), &["2.jpg: is a link to nothing"]);
        fs::remove_file(root.join("links/cat/2.jpg")).unwrap();
        symlink("1.png", root.join("links/cat/2.png")).unwrap();
        assert_eq!(open_train(&root.join("links")).unwrap().len(), 2);

        fifo(root, "idx/t10k-labels-idx1-ubyte");
        let options = OpenOptions::default();
        let spec = format!("idx:{}", root.join("idx").display());
        refuses(open(&spec, Split::Test, &options), &["t10k-labels-idx1-ubyte: is a named pipe"]);
        fs::create_dir_all(root.join("idx2/train-labels-idx1-ubyte.gz")).unwrap();
        let spec = format!("idx:{}", root.join("idx2").display());
        refuses(open(&spec, Split::Train, &options), &["idx1-ubyte.gz: is a folder"]);
        fifo(root, "cifar/batches.meta.txt");
        let spec = format!("cifar:{}", root.join("cifar").display());
        refuses(open(&spec, Split::Test, &options), &["batches.meta.txt: is a named pipe"]);
        fs::remove_file(root.join("cifar/batches.meta.txt")).unwrap();
        write(root, "cifar/batches.meta.txt", "a\nb\n");
        symlink("/dev/zero", root.join("cifar/test_batch.bin")).unwrap();
        refuses(open(&spec, Split::Test, &options), &["test_batch.bin: is a device"]);
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn names_of_classes_are_text() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;

        let folder = tempfile::tempdir().unwrap();
        for name in [b"a\xff", b"a\xfe"] {
            let class = folder.path().join(OsStr::from_bytes(name));
            fs::create_dir(&class).unwrap();
            fs::write(class.join("1.png"), "").unwrap();
        }
        let options = OpenOptions { image_size: Some((4, 4)), ..OpenOptions::default() };
        let spec = format!("folder:{}", folder.path().display());
        refuses(open(&spec, Split::Test, &options), &["name of the class folder is not UTF-8"]);
    }

    #[test]
    fn fetched_sets_and_their_sources_are_regular_files() {
        let (data, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fifo(data.path(), "cifar10/batches.meta.txt");
        fifo(from.path(), "cifar-10-binary.tar.gz");
        let source = Source::Dir(from.path().to_owned());
        let fetched = fetch("cifar10", data.path(), &source, &mut |_, _, _| {});
        refuses(fetched, &["cifar-10-binary.tar.gz: is a named pipe"]);
        let plan = DownloadPlan { name: "cifar10", base: "http://127.0.0.1:9", downloads: &[] };
        assert!(plan.verify(&data.path().join("cifar10")).is_ok());
        let options =
            OpenOptions { data_dir: Some(data.path().to_owned()), ..OpenOptions::default() };
        refuses(open("cifar10", Split::Test, &options), &["batches.meta.txt: is a named pipe"]);
    }
}
