//! Bad files give one clear error, quickly, and never a panic.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{assert_says, gzip, idx, png_header, write_idx_set};
use onebit_data::{
    DecodeLimits, ErrorKind, OpenOptions, Split, decode_image, load_for_network, open,
    read_cifar10, read_idx_images, read_idx_labels, read_npy_f32,
};

fn open_error(spec: &str) -> onebit_data::Error {
    match open(spec, Split::Train, &OpenOptions::default()) {
        Ok(_) => panic!("{spec} opens"),
        Err(error) => error,
    }
}

fn folder(path: &Path) -> Result<(), onebit_data::Error> {
    open(&format!("folder:{}", path.display()), Split::Train, &OpenOptions::default()).map(drop)
}

#[test]
fn missing_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none");
    assert_says(read_idx_images(&path), &["none", "not found", "IDX file of images"]);
    assert_says(folder(&path), &["none", "not found", "one subfolder of images per class"]);
    assert_says(decode_image(&path, &DecodeLimits::default()), &["none", "JPEG, PNG, WebP or BMP"]);
    assert_says(read_npy_f32(&path), &["none", ".npy file of float32"]);
    assert_says(read_cifar10(&path, Split::Test), &["batches.meta.txt", "not found"]);
    let error = open_error(&format!("idx:{}", path.display()));
    assert!(error.to_string().contains("train-labels-idx1-ubyte: not found"), "{error}");
    assert_eq!(error.kind(), ErrorKind::MissingInput);
}

#[test]
fn specs_that_name_nothing_say_what_is_known() {
    let error = open_error("fashion");
    assert_eq!(error.kind(), ErrorKind::Usage);
    let text = error.to_string();
    assert!(text.contains("fashion-mnist-sample, fashion-mnist, mnist, cifar10"), "{text}");
    assert!(open_error("folder:").to_string().contains("no path"));
    assert!(open_error("mnist:validation").to_string().contains(":train or :test"));
}

#[test]
fn a_set_that_was_not_fetched_says_how_to_get_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = OpenOptions { data_dir: Some(dir.path().to_owned()), ..OpenOptions::default() };
    assert_says(
        open("cifar10:test", Split::Train, &options).map(drop),
        &["data set `cifar10` has not been fetched, expected it in "],
    );
}

#[test]
fn damaged_idx_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let images = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        read_idx_images(&path)
    };
    let whole = idx(&[0x803, 2, 4, 3], &[7; 24]);
    assert!(images(&whole).is_ok());
    assert_says(images(&whole[..39]), &["image data is 23 bytes, expected 24 bytes"]);
    assert_says(images(&[whole.as_slice(), &[0]].concat()), &["more than 24 bytes"]);
    assert_says(images(&whole[..10]), &["IDX header is cut off"]);
    assert_says(images(&[]), &["IDX header is cut off"]);
    assert_says(
        images(&idx(&[0x801, 2], &[0; 2])),
        &["IDX magic is 0x00000801, expected 0x00000803"],
    );
    assert_says(images(&idx(&[0x803, 0, 4, 3], &[])), &["count is 0"]);
    assert_says(images(&idx(&[0x803, 1, 0, 3], &[])), &["rows is 0"]);
    assert_says(images(&gzip(&whole)[..30]), &["gzip content is cut short"]);
    assert_says(images(b"\x1f\x8bgarbage that is no gzip stream"), &["gzip content"]);
    let mut flipped = gzip(&whole);
    let last = flipped.len() - 6;
    flipped[last] ^= 1;
    assert_says(images(&flipped), &["gzip content"]);
    fs::write(&path, idx(&[0x801, 3], &[0; 2])).unwrap();
    assert_says(read_idx_labels(&path), &["label data is 2 bytes, expected 3 bytes"]);
}

#[test]
fn huge_sizes_in_an_idx_header_are_refused_without_allocating() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let start = Instant::now();
    for (header, part) in [
        ([0x803, u32::MAX, 16_384, 16_384], "over the limit of 8589934592 bytes"),
        ([0x803, 1, u32::MAX, 1], "rows is 4294967295, over the limit of 16384"),
        ([0x803, 30, 16_384, 16_384], "image data is 3 bytes"),
    ] {
        fs::write(&path, idx(&header, &[1, 2, 3])).unwrap();
        assert_says(read_idx_images(&path), &[part]);
    }
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn labels_must_fit_the_images_and_the_classes() {
    let dir = tempfile::tempdir().unwrap();
    write_idx_set(dir.path(), 5);
    let labels = dir.path().join("train-labels-idx1-ubyte.gz");
    fs::write(&labels, idx(&[0x801, 4], &[0, 1, 2, 0])).unwrap();
    let error = open_error(&format!("idx:{}", dir.path().display())).to_string();
    assert!(error.contains("number of labels is 4, expected 5, the number of images"), "{error}");

    let mnist = dir.path().join("mnist");
    fs::create_dir(&mnist).unwrap();
    write_idx_set(&mnist, 5);
    fs::write(mnist.join("train-labels-idx1-ubyte.gz"), idx(&[0x801, 5], &[0, 1, 2, 77, 0]))
        .unwrap();
    let options = OpenOptions { data_dir: Some(dir.path().to_owned()), ..OpenOptions::default() };
    assert_says(
        open("mnist", Split::Train, &options).map(drop),
        &["label 3 is 77, expected less than 10"],
    );
}

#[test]
fn damaged_cifar_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let meta = dir.path().join("batches.meta.txt");
    let batch = dir.path().join("test_batch.bin");
    let read = |bytes: &[u8]| {
        fs::write(&batch, bytes).unwrap();
        read_cifar10(dir.path(), Split::Test)
    };
    fs::write(&meta, "cat\ndog\n\n").unwrap();
    assert!(read(&[1; 3_073]).is_ok());
    assert_says(read(&[1; 3_072]), &["test_batch.bin: length is 3072 bytes", "multiple of 3073"]);
    assert_says(read(&[]), &["length is 0 bytes"]);
    assert_says(read(&[2; 3_073]), &["label 0 is 2, expected less than 2"]);
    fs::write(&meta, "cat\ndog\nowl\ndog\n").unwrap();
    let twice = "batches.meta.txt: class 3 is `dog`, as class 1 is, expected a name of its own";
    assert_says(read(&[0; 3_073]), &[twice]);
    fs::write(&meta, "\n").unwrap();
    assert_says(read(&[0; 3_073]), &["batches.meta.txt: number of classes is 0"]);
    fs::write(&meta, [0xff, 0xfe]).unwrap();
    assert_says(read(&[0; 3_073]), &["not UTF-8"]);
}

#[test]
fn folders_without_images_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert_says(folder(dir.path()), &["folder is without subfolders"]);
    let class = dir.path().join("cats");
    fs::create_dir(&class).unwrap();
    assert_says(folder(dir.path()), &["cats: class folder is without images"]);
    fs::write(class.join("a.jpg"), "not an image").unwrap();
    assert_says(
        folder(dir.path()),
        &["a.jpg: file type is unknown, expected JPEG, PNG, WebP or BMP content"],
    );
}

#[test]
fn an_image_that_goes_bad_later_is_named_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let class = dir.path().join("cats");
    fs::create_dir(&class).unwrap();
    image::RgbImage::new(8, 8).save(class.join("a.png")).unwrap();
    fs::write(class.join("b.jpeg"), "text").unwrap();
    let spec = format!("folder:{}", dir.path().display());
    let set = open(&spec, Split::Train, &OpenOptions::default()).unwrap();
    let mut out = vec![0; 192];
    set.read(0, &mut out).unwrap();
    assert_says(set.read(1, &mut out), &["b.jpeg: file type is unknown"]);
    assert_says(set.read(2, &mut out), &["image index", "is 2", "number of images, 2"]);
    assert_says(set.read(0, &mut out[1..]), &["buffer length", "is 191", "192 bytes"]);
}

#[test]
fn a_png_header_of_50_000_pixels_a_side_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.png");
    let start = Instant::now();
    fs::write(&path, png_header(50_000, 50_000)).unwrap();
    assert_says(
        load_for_network(&path, 3, 224, 224),
        &["big.png: image size is 50000 x 50000 pixels, over the limit of 16384 pixels a side"],
    );
    fs::write(&path, png_header(16_000, 16_000)).unwrap();
    assert_says(
        load_for_network(&path, 3, 224, 224),
        &["over the limit of 64000000 pixels in all"],
    );
    fs::write(&path, png_header(0, 5)).unwrap();
    assert_says(load_for_network(&path, 3, 224, 224), &["big.png", "cannot be decoded"]);
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn truncated_images_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let picture =
        image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8, y as u8, (x * y) as u8]));
    for (name, keep) in
        [("a.png", 60), ("a.png", 20), ("a.jpg", 90), ("a.jpg", 60), ("a.jpg", 25), ("a.jpg", 3)]
    {
        let path = dir.path().join(name);
        picture.save(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() * keep / 100]).unwrap();
        let result = decode_image(&path, &DecodeLimits::default());
        assert_says(result, &[name, "expected a whole JPEG, PNG, WebP or BMP file"]);
    }
}

fn npy(header: &str, version: [u8; 2], data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend_from_slice(&version);
    if version[0] == 1 {
        bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    } else {
        bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    }
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

#[test]
fn wrong_npy_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npy");
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        read_npy_f32(&path)
    };
    let header = |descr: &str, order: &str, shape: &str| {
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n")
    };
    let good = header("<f4", "False", "(2, 1)");
    assert_eq!(read(&npy(&good, [1, 0], &[0; 8])).unwrap(), (vec![2, 1], vec![0.0; 2]));
    assert!(read(&npy(&good, [2, 0], &[0; 8])).is_ok());
    assert_says(read(&npy(&good, [1, 0], &[0; 7])), &["array data is 7 bytes, expected 8 bytes"]);
    assert_says(read(&npy(&good, [1, 0], &[0; 9])), &["more than 8 bytes"]);
    assert_says(read(&npy(&good, [3, 0], &[0; 8])), &["npy version is [3, 0]"]);
    assert_says(read(&npy(&good, [1, 0], &[])[..40]), &["npy header is cut off"]);
    assert_says(read(b"PK\x03\x04 something else"), &["file type is not NumPy"]);
    assert_says(
        read(&npy(&header("<f8", "False", "(1,)"), [1, 0], &[0; 8])),
        &["dtype is `<f8`", "`<f4`"],
    );
    assert_says(read(&npy(&header(">f4", "False", "(1,)"), [1, 0], &[0; 4])), &["dtype is `>f4`"]);
    assert_says(
        read(&npy(&header("<f4", "True", "(1, 1)"), [1, 0], &[0; 4])),
        &["fortran_order is True"],
    );
    assert_says(read(&npy(&header("<f4", "False", "(-1,)"), [1, 0], &[])), &["shape is `(-1,)`"]);
    assert_says(read(&npy(&header("<f4", "False", "2"), [1, 0], &[])), &["shape is `2`"]);
    for empty in ["(0,)", "(0, 4)", "(3, 0, 2)"] {
        let error = read(&npy(&header("<f4", "False", empty), [1, 0], &[])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadData);
        assert!(error.to_string().contains(&format!("shape is `{empty}`")), "{error}");
    }
    let hidden = format!("\x1b]0;title\x07\u{202e}\u{200b}{}", "x".repeat(60_000));
    for text in [header(&hidden, "False", "(1,)"), header("<f4", &hidden, "(1,)"), hidden.clone()] {
        let text = read(&npy(&text, [2, 0], &[0; 4])).unwrap_err().to_string();
        assert!(text.len() < 400 && text.contains("\\u{1b}]0;title\\u{7}"), "{text}");
        assert!(!text.contains(['\x1b', '\x07', '\u{202e}', '\u{200b}']), "{text}");
    }
    let huge = header("<f4", "False", "(4294967296, 4294967296, 4294967296)");
    assert_says(read(&npy(&huge, [1, 0], &[])), &["over the limit of 17179869184 bytes"]);
    let large = header("<f4", "False", "(1000000000,)");
    assert_says(read(&npy(&large, [1, 0], &[])), &["array data is 0 bytes"]);
    assert_says(read(&npy("{'descr': '<f4'}", [1, 0], &[])), &["npy header is `{'descr': '<f4'}`"]);
    let twice = "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}";
    assert_says(read(&npy(twice, [1, 0], &[0; 4])), &["once each"]);
    let mut long = npy("", [2, 0], &[]);
    long[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_says(read(&long), &["npy header is 4294967295 bytes, over the limit"]);
}
