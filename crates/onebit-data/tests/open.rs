//! Every kind of data spec opens and gives the documented images.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{idx, write_idx_set};
use onebit_data::{
    Dataset, Normalization, OpenOptions, SetState, Split, decode_image, list, load_for_network,
    measure_normalization, open, path, sample_idx,
};

fn open_or_panic(spec: &str, options: &OpenOptions) -> Box<dyn Dataset> {
    open(spec, Split::Train, options).unwrap_or_else(|error| panic!("{error}"))
}

fn read(set: &dyn Dataset, i: usize) -> Vec<u8> {
    let mut out = vec![0; set.shape().iter().product()];
    set.read(i, &mut out).unwrap();
    out
}

#[test]
fn the_bundled_sample_is_balanced() {
    for (spec, len) in [
        ("fashion-mnist-sample", 10_000),
        ("fashion-mnist-sample:train", 10_000),
        ("fashion-mnist-sample:test", 2_000),
        ("fashion-mnist-sample:val", 2_000),
    ] {
        let set = open_or_panic(spec, &OpenOptions::default());
        assert_eq!(
            (set.name(), set.len(), set.shape()),
            ("fashion-mnist-sample", len, [1, 28, 28])
        );
        let mut counts = [0; 10];
        (0..len).for_each(|i| counts[set.label(i)] += 1);
        assert_eq!(counts, [len / 10; 10]);
        assert_eq!(set.classes()[9], "Ankle boot");
        assert_eq!(set.normalization(), Normalization { mean: vec![0.2860], std: vec![0.3530] });
        let pixels: Vec<u8> = (0..len).flat_map(|i| read(set.as_ref(), i)).collect();
        let measured = measure_normalization(&pixels, 1);
        assert!((measured.mean[0] - 0.2860).abs() < 0.003, "{measured:?}");
        assert!((measured.std[0] - 0.3530).abs() < 0.003, "{measured:?}");
    }
}

#[test]
fn a_limit_keeps_images_of_all_classes() {
    let options = OpenOptions { limit: Some(100), ..OpenOptions::default() };
    let set = open_or_panic("fashion-mnist-sample:test", &options);
    let whole = open_or_panic("fashion-mnist-sample:test", &OpenOptions::default());
    assert_eq!(set.len(), 100);
    assert_eq!(read(set.as_ref(), 99), read(whole.as_ref(), 1_980));
    assert_eq!(set.label(99), whole.label(1_980));
    let more = OpenOptions { limit: Some(5_000), ..OpenOptions::default() };
    assert_eq!(open_or_panic("fashion-mnist-sample:test", &more).len(), 2_000);
    let none = OpenOptions { limit: Some(0), ..OpenOptions::default() };
    assert!(open("fashion-mnist-sample", Split::Train, &none).is_err());
}

#[test]
fn idx_folders_open_plain_and_gzip() {
    let dir = tempfile::tempdir().unwrap();
    write_idx_set(dir.path(), 6);
    let set = open_or_panic(&format!("idx:{}:test", dir.path().display()), &OpenOptions::default());
    assert_eq!((set.len(), set.shape()), (6, [1, 4, 3]));
    assert_eq!(set.classes(), ["0", "1", "2"]);
    assert_eq!(read(set.as_ref(), 4), [4; 12]);
    assert_eq!(set.label(4), 1);
    let normalization = set.normalization();
    assert!((normalization.mean[0] * 255.0 - 2.5).abs() < 1e-5);
    assert!((normalization.std[0] * 255.0 - (35.0f32 / 12.0).sqrt()).abs() < 1e-5);
}

#[test]
fn cifar_records_become_interleaved_pixels() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("cifar-10-batches-bin");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("batches.meta.txt"), "cat\ndog\n\n").unwrap();
    let record: Vec<u8> = std::iter::once(1)
        .chain((0..3).flat_map(|c| (0..1_024).map(move |p| (p % 80 + c * 80) as u8)))
        .collect();
    fs::write(inner.join("test_batch.bin"), [record.as_slice(), &[0; 3_073]].concat()).unwrap();
    let set =
        open_or_panic(&format!("cifar:{}:test", dir.path().display()), &OpenOptions::default());
    assert_eq!((set.len(), set.shape()), (2, [3, 32, 32]));
    assert_eq!((set.label(0), set.label(1)), (1, 0));
    let image = read(set.as_ref(), 0);
    for (p, pixel) in image.chunks(3).enumerate() {
        let first = (p % 80) as u8;
        assert_eq!(pixel, [first, first + 80, first + 160]);
    }
    assert_eq!(set.normalization().mean, [0.4914, 0.4822, 0.4465]);
}

#[test]
fn folders_give_rgb_of_the_wanted_size_by_class() {
    let dir = tempfile::tempdir().unwrap();
    for (split, class, name) in [
        ("train", "dog", "b.png"),
        ("train", "cat", "a.PNG"),
        ("train", "cat", "c.jpg"),
        ("val", "dog", "z.png"),
        ("val", "cat", "y.png"),
    ] {
        let folder = dir.path().join(split).join(class);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("notes.txt"), "passed over").unwrap();
        let value = name.as_bytes()[0];
        image::RgbImage::from_pixel(40, 30, image::Rgb([value, 0, 255]))
            .save(folder.join(name))
            .unwrap();
    }
    let options = OpenOptions { image_size: Some((14, 21)), ..OpenOptions::default() };
    let spec = format!("folder:{}", dir.path().display());
    let train = open_or_panic(&spec, &options);
    assert_eq!((train.len(), train.shape()), (3, [3, 14, 21]));
    assert_eq!(train.classes(), ["cat", "dog"]);
    assert_eq!((0..3).map(|i| train.label(i)).collect::<Vec<_>>(), [0, 0, 1]);
    assert!(read(train.as_ref(), 0).chunks(3).all(|pixel| pixel == [b'a', 0, 255]));
    let test = open_or_panic(&format!("{spec}:val"), &OpenOptions::default());
    assert_eq!((test.len(), test.shape()), (2, [3, 30, 40]));
    assert_eq!(read(test.as_ref(), 1)[..3], [b'z', 0, 255]);
    assert_eq!(test.normalization(), Normalization::imagenet());
}

#[test]
fn images_are_converted_and_fitted_for_a_network() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.png");
    image::RgbaImage::from_pixel(28, 28, image::Rgba([200, 100, 50, 7])).save(&path).unwrap();
    assert_eq!(load_for_network(&path, 3, 28, 28).unwrap()[..3], [200, 100, 50]);
    assert!(load_for_network(&path, 1, 28, 28).unwrap().iter().all(|&grey| grey == 124));
    assert!(load_for_network(&path, 2, 28, 28).is_err());
    assert!(load_for_network(&path, 3, 0, 28).is_err());
    assert!(load_for_network(&path, 3, 28, 1 << 40).is_err());
    image::GrayImage::from_fn(28, 28, |x, _| image::Luma([x as u8])).save(&path).unwrap();
    let grey = decode_image(&path, &onebit_data::DecodeLimits::default()).unwrap();
    assert_eq!((grey.height, grey.width, grey.channels), (28, 28, 1));
    assert_eq!(load_for_network(&path, 3, 28, 28).unwrap()[3..6], [1, 1, 1]);
    for (width, height) in [(1, 1), (1, 400), (400, 1), (27, 29), (64, 32), (500, 33)] {
        image::GrayImage::from_pixel(width, height, image::Luma([77])).save(&path).unwrap();
        let pixels = load_for_network(&path, 1, 28, 28).unwrap();
        assert!(pixels.len() == 784 && pixels.iter().all(|&grey| grey == 77), "{width} x {height}");
    }
}

#[test]
fn the_centre_is_kept_when_an_image_is_fitted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.png");
    image::GrayImage::from_fn(512, 256, |x, y| {
        image::Luma([if x / 2 == 127 || x / 2 == 128 { 255 } else { y as u8 / 2 }])
    })
    .save(&path)
    .unwrap();
    let pixels = load_for_network(&path, 1, 224, 224).unwrap();
    assert_eq!(pixels[0], 8);
    assert_eq!(pixels[223 * 224], 119);
    let columns: Vec<usize> = (0..224).filter(|&x| pixels[x] == 255).collect();
    assert_eq!(columns, [110, 111, 112, 113]);
}

#[test]
fn the_sample_script_takes_the_first_of_each_class() {
    let dir = tempfile::tempdir().unwrap();
    write_idx_set(dir.path(), 9);
    let output = dir.path().join("sample");
    fs::create_dir(&output).unwrap();
    for split in [Split::Train, Split::Test] {
        sample_idx(dir.path(), &output, split, 2).unwrap();
        let spec = format!("idx:{}:{}", output.display(), split.name());
        let set = open_or_panic(&spec, &OpenOptions::default());
        let images: Vec<u8> = (0..set.len()).map(|i| read(set.as_ref(), i)[0]).collect();
        assert_eq!(images, [0, 1, 2, 3, 4, 5]);
        assert_eq!((0..6).map(|i| set.label(i)).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
    }
    let error = sample_idx(dir.path(), &output, Split::Train, 4).unwrap_err().to_string();
    assert!(error.contains("number of images of class 0 is 3, expected at least 4"), "{error}");
}

/// The fetched full set where there is one; else the bundled sample with more images behind it.
fn full_set(split: Split, made_up: &Path) -> PathBuf {
    if let Ok(folder) = path("fashion-mnist")
        && folder.is_dir()
    {
        return folder;
    }
    let sample =
        open_or_panic(&format!("fashion-mnist-sample:{}", split.name()), &OpenOptions::default());
    let len = sample.len();
    let count = (len + 100) as u32;
    let mut pixels: Vec<u8> = (0..len).flat_map(|i| read(sample.as_ref(), i)).collect();
    pixels.resize(count as usize * 784, 99);
    let mut labels: Vec<u8> = (0..len).map(|i| sample.label(i) as u8).collect();
    labels.extend((0..100).map(|i| i % 10));
    let prefix = if split == Split::Train { "train" } else { "t10k" };
    let images = idx(&[0x803, count, 28, 28], &pixels);
    fs::write(made_up.join(format!("{prefix}-images-idx3-ubyte")), images).unwrap();
    let labels = idx(&[0x801, count], &labels);
    fs::write(made_up.join(format!("{prefix}-labels-idx1-ubyte")), labels).unwrap();
    made_up.to_owned()
}

#[test]
fn the_bundled_sample_is_what_its_script_makes_of_the_full_set() {
    let made_up = tempfile::tempdir().unwrap();
    let output = tempfile::tempdir().unwrap();
    for (split, per_class) in [(Split::Train, 1_000), (Split::Test, 200)] {
        sample_idx(&full_set(split, made_up.path()), output.path(), split, per_class).unwrap();
        let spec = format!("idx:{}:{}", output.path().display(), split.name());
        let made = open_or_panic(&spec, &OpenOptions::default());
        let spec = format!("fashion-mnist-sample:{}", split.name());
        let bundled = open_or_panic(&spec, &OpenOptions::default());
        assert_eq!(made.len(), bundled.len());
        for i in 0..made.len() {
            assert_eq!(made.label(i), bundled.label(i));
            assert_eq!(read(made.as_ref(), i), read(bundled.as_ref(), i), "image {i}");
        }
    }
}

#[test]
fn the_list_says_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let sets = list(dir.path());
    let names: Vec<&str> = sets.iter().map(|set| set.name).collect();
    assert_eq!(names, ["fashion-mnist-sample", "fashion-mnist", "mnist", "cifar10"]);
    assert_eq!(sets[0].state, SetState::Bundled);
    assert_eq!(sets[3].state, SetState::Absent { how: "onebit data fetch cifar10".to_owned() });
    assert_eq!((sets[3].bytes, sets[3].train, sets[3].shape), (184_380_061, 50_000, [3, 32, 32]));
}
