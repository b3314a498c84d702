//! JPEG files of every sampling, size and order of scans have libjpeg's pixels, and only whole ones are read.
//!
//! The files and their pixels in `jpeg/` come from `scripts/fixtures/jpeg.py`.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use onebit_data::random::{Key, Stream};
use onebit_data::{DecodeLimits, Error, ErrorKind, Image, decode_image};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jpeg")
}

fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().unwrap() == "jpg").collect();
    files.sort();
    files
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap()
}

/// Decodes `bytes`, written to a file.
fn decode(bytes: &[u8]) -> Result<Image, Error> {
    decode_within(bytes, &DecodeLimits::default())
}

fn decode_within(bytes: &[u8], limits: &DecodeLimits) -> Result<Image, Error> {
    thread_local!(static FILE: tempfile::NamedTempFile = tempfile::NamedTempFile::new().unwrap());
    FILE.with(|file| {
        fs::write(file.path(), bytes).unwrap();
        decode_image(file.path(), limits)
    })
}

fn pixels(path: &Path) -> Image {
    decode_image(path, &DecodeLimits::default()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_file_has_the_pixels_of_libjpeg() {
    let files = files();
    assert_eq!(files.len(), 135);
    for path in files {
        let (found, expected) = (pixels(&path), pixels(&path.with_extension("png")));
        let apart = found.pixels.iter().zip(&expected.pixels).map(|(a, b)| a.abs_diff(*b)).max();
        assert_eq!(apart, Some(0), "{}", path.display());
        assert!(found == expected, "{}: another shape", path.display());
    }
}

#[test]
fn no_beginning_of_a_file_is_an_image() {
    for name in [
        "4-2-0_17x15_interleaved.jpg",
        "4-4-0_21x19_scans.jpg",
        "4-2-0_21x19_progressive.jpg",
        "grey_33x17_restart.jpg",
        "4-2-0_33x17_scans-restart.jpg",
        "ycck_17x15.jpg",
    ] {
        let whole = with_thumbnail(&bytes(name));
        assert!(decode(&whole).is_ok());
        let last = whole.len() - 20;
        for length in (0..last).step_by(3).chain(last..whole.len()) {
            let error = decode(&whole[..length]).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::BadData, "{name}, {length} bytes: {error}");
        }
    }
}

/// Puts an Exif block with a whole JPEG file in it behind the start-of-image marker.
fn with_thumbnail(jpeg: &[u8]) -> Vec<u8> {
    let mut block = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0".to_vec();
    block.extend_from_slice(&bytes("grey_33x17_interleaved.jpg"));
    let length = (block.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &block, &jpeg[2..]].concat()
}

#[test]
fn what_follows_the_end_is_no_part_of_the_image() {
    let film = b"\xff\xda\0\x08ftypmp42 \xff\xd8\xff\xe0\xff\xda\xff\xd9\xff\xda....".repeat(9);
    for path in files() {
        let jpeg = fs::read(&path).unwrap();
        let expected = decode(&jpeg).unwrap();
        // A motion photo, and the further pictures of an MPO file.
        for behind in
            [film.as_slice(), &bytes("4-4-4_21x19_interleaved.jpg"), &[0xff], &[0xff, 0xda]]
        {
            let found = decode(&[jpeg.as_slice(), behind].concat());
            assert!(found.unwrap() == expected, "{}", path.display());
        }
    }
}

/// The offsets of the markers outside of entropy-coded data.
fn markers(jpeg: &[u8]) -> Vec<usize> {
    let (mut found, mut at) = (Vec::new(), 2);
    while jpeg[at + 1] != 0xd9 {
        found.push(at);
        let scan = jpeg[at + 1] == 0xda;
        at += 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        while scan && (jpeg[at] != 0xff || matches!(jpeg[at + 1], 0 | 0xd0..=0xd7)) {
            at += 1;
        }
    }
    found.push(at);
    found
}

#[test]
fn fill_bytes_comments_and_a_number_of_lines_are_passed_over() {
    for name in ["4-2-0_33x17_progressive.jpg", "4-4-0_21x19_scans.jpg", "grey_33x17_restart.jpg"] {
        let jpeg = bytes(name);
        let expected = decode(&jpeg).unwrap();
        let markers = markers(&jpeg);
        let insert = |inserted: &[u8], markers: &[usize]| {
            let (mut changed, mut from) = (Vec::new(), 0);
            for &at in markers {
                changed.extend_from_slice(&jpeg[from..at]);
                changed.extend_from_slice(inserted);
                from = at;
            }
            changed.extend_from_slice(&jpeg[from..]);
            decode(&changed).unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        assert!(insert(&[0xff, 0xff, 0xff], &markers) == expected, "{name}: fill bytes");
        assert!(
            insert(b"\xff\xfe\0\x06\xff\xd9\xff\xda", &markers) == expected,
            "{name}: comments"
        );
        let end = &markers[markers.len() - 1..];
        assert!(insert(&[0, 0], end) == expected, "{name}: zeros before the end");
        let lines = [0xff, 0xdc, 0, 4, 0, expected.height as u8];
        assert!(insert(&lines, end) == expected, "{name}: DNL");
    }
}

#[test]
fn what_is_not_read_is_named() {
    let jpeg = bytes("4-2-0_17x15_interleaved.jpg");
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    let refused = |at: usize, value: u8, word: &str| {
        let mut changed = jpeg.clone();
        changed[frame + at] = value;
        let text = decode(&changed).unwrap_err().to_string();
        assert!(text.contains(word) && !text.contains('\n'), "{text}");
    };
    refused(1, 0xc9, "arithmetic coding is not read");
    refused(1, 0xc3, "lossless JPEG is not read");
    refused(1, 0xc5, "hierarchical JPEG is not read");
    refused(4, 12, "samples of 12 bits are not read");
    refused(6, 0, "it has 17 x 0 pixels");
    refused(9, 2, "it has 2 components");
    refused(14, 0x33, "sampling factors");
    refused(5, 0x4f, "16384 pixels a side");
    let path = folder().join("4-2-0_33x17_progressive.jpg");
    let limits = DecodeLimits { memory: 4000, ..DecodeLimits::default() };
    let text = decode_image(&path, &limits).unwrap_err().to_string();
    assert!(text.contains("memory to decode the image is too much"), "{text}");
}

#[test]
fn damaged_files_end_in_an_error_or_an_image_soon() {
    let start = Instant::now();
    let limits = DecodeLimits { pixels: 1 << 18, ..DecodeLimits::default() };
    let (files, rounds) = (files(), 20);
    let mut read = 0;
    for (index, path) in files.iter().enumerate() {
        let jpeg = fs::read(path).unwrap();
        for round in 0..rounds {
            let key = Key { seed: 7, epoch: round, index: index as u64, stream: Stream::AUGMENT };
            let mut changed = jpeg.clone();
            for k in 0..=round % 4 {
                let at = key.below(2 * k, jpeg.len() as u64) as usize;
                changed[at] = key.below(2 * k + 1, 256) as u8;
            }
            read += usize::from(decode_within(&changed, &limits).is_ok());
        }
    }
    let all = files.len() * rounds as usize;
    assert!(read > all / 10, "{read} of {all} damaged files are read");
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn many_scans_are_refused() {
    let jpeg = bytes("grey_21x19_interleaved.jpg");
    let scan = *markers(&jpeg).iter().find(|&&at| jpeg[at + 1] == 0xda).unwrap();
    let (head, rest) = jpeg.split_at(scan);
    let scans = rest[..rest.len() - 2].repeat(257);
    let text = decode(&[head, &scans, &[0xff, 0xd9]].concat()).unwrap_err().to_string();
    assert!(text.contains("more than 256 scans"), "{text}");
}
