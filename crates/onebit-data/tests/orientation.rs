//! Images are turned as their Exif block says, in every format that has one.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use image::ImageEncoder;
use image::codecs::webp::WebPEncoder;
use onebit_data::{Dataset, DecodeLimits, Folder, Image, Split, decode_image, load_for_network};

/// An Exif block whose first directory holds two tags, the orientation second.
fn exif(value: u16, big: bool) -> Vec<u8> {
    let short = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let long = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut block = if big { b"MM".to_vec() } else { b"II".to_vec() };
    block.extend(short(42));
    block.extend(long(8));
    block.extend(short(2));
    for (tag, value) in [(0x0100, 640), (0x0112, value)] {
        block.extend(short(tag));
        block.extend(short(3));
        block.extend(long(1));
        block.extend(short(value));
        block.extend(short(0));
    }
    block.extend(long(0));
    block
}

/// `image` as PNG, with chunks behind the header and at the end.
fn png(image: &image::GrayImage, second: &[u8], last: &[u8]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let bytes = bytes.into_inner();
    let (header, rest) = bytes.split_at(33);
    let (middle, end) = rest.split_at(rest.len() - 12);
    [header, second, middle, last, end].concat()
}

fn chunk(kind: &[u8], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    [&(data.len() as u32).to_be_bytes(), kind, data, &crc.sum().to_be_bytes()].concat()
}

fn jpeg(exif: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jpeg/grey_33x17_interleaved.jpg");
    let jpeg = fs::read(path).unwrap();
    let block = [b"Exif\0\0", exif].concat();
    let length = (block.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &block, &jpeg[2..]].concat()
}

fn webp(image: &image::GrayImage, exif: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = WebPEncoder::new_lossless(&mut bytes);
    encoder.set_exif_metadata(exif.to_vec()).unwrap();
    let (width, height) = image.dimensions();
    encoder.write_image(image, width, height, image::ExtendedColorType::L8).unwrap();
    bytes
}

fn decode(bytes: &[u8]) -> Image {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    decode_image(file.path(), &DecodeLimits::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// What each value makes of the rows 1 2 3 and 4 5 6.
const SEEN: [(u16, [usize; 2], [u8; 6]); 8] = [
    (1, [2, 3], [1, 2, 3, 4, 5, 6]),
    (2, [2, 3], [3, 2, 1, 6, 5, 4]),
    (3, [2, 3], [6, 5, 4, 3, 2, 1]),
    (4, [2, 3], [4, 5, 6, 1, 2, 3]),
    (5, [3, 2], [1, 4, 2, 5, 3, 6]),
    (6, [3, 2], [4, 1, 5, 2, 6, 3]),
    (7, [3, 2], [6, 3, 5, 2, 4, 1]),
    (8, [3, 2], [3, 6, 2, 5, 1, 4]),
];

#[test]
fn all_eight_orientations_are_honoured_in_every_format() {
    let small = image::GrayImage::from_raw(3, 2, vec![1, 2, 3, 4, 5, 6]).unwrap();
    let photo = decode(&jpeg(&exif(1, false)));
    assert_eq!((photo.height, photo.width), (17, 33));
    let photo = image::GrayImage::from_raw(33, 17, photo.pixels).unwrap();
    for (value, [height, width], seen) in SEEN {
        for big in [false, true] {
            let block = exif(value, big);
            let in_png = chunk(b"eXIf", &block);
            for bytes in [png(&small, &in_png, &[]), png(&small, &[], &in_png)] {
                let image = decode(&bytes);
                assert_eq!((image.height, image.width, image.channels), (height, width, 1));
                assert_eq!(image.pixels, seen, "orientation {value}");
            }
            let with_prefix = [b"Exif\0\0", block.as_slice()].concat();
            for block in [&block, &with_prefix] {
                let image = decode(&webp(&small, block));
                assert_eq!((image.height, image.width), (height, width), "orientation {value}");
                let grey: Vec<u8> = image.pixels.iter().copied().step_by(image.channels).collect();
                assert_eq!(grey, seen, "orientation {value}");
            }
            assert!(
                decode(&jpeg(&block)) == decode(&png(&photo, &in_png, &[])),
                "orientation {value}"
            );
        }
    }
}

#[test]
fn a_damaged_block_is_ignored() {
    let upright = decode(&jpeg(&exif(1, false)));
    let block = exif(6, true);
    for length in 0..block.len() {
        let image = decode(&jpeg(&block[..length]));
        assert!(image == upright || length >= 32, "{length} bytes");
    }
    for (at, value) in [
        (0, 0x49),
        (2, 7),
        (4, 0xff),
        (7, 0xff),
        (7, 9),
        (9, 0),
        (24, 1),
        (31, 0),
        (31, 9),
        (31, 255),
    ] {
        let mut damaged = block.clone();
        damaged[at] = value;
        assert!(decode(&jpeg(&damaged)) == upright, "byte {at}");
    }
    let small = image::GrayImage::new(3, 2);
    for block in [&b""[..], b"MM", &[0xff; 40]] {
        let in_png = chunk(b"eXIf", block);
        assert_eq!(decode(&png(&small, &in_png, &[])).height, 2);
        assert_eq!(decode(&webp(&small, block)).height, 2);
    }
}

#[test]
fn sizes_and_limits_are_those_of_the_turned_image() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("a")).unwrap();
    let path = dir.path().join("a/b.jpg");
    fs::write(&path, jpeg(&exif(6, false))).unwrap();
    let folder = Folder::open(dir.path(), Split::Train, None).unwrap();
    assert_eq!(folder.shape(), [3, 33, 17]);
    let mut pixels = vec![0; 3 * 33 * 17];
    folder.read(0, &mut pixels).unwrap();
    let original = folder.original(0).unwrap();
    assert_eq!((original.height, original.width), (33, 17));
    assert!(load_for_network(&path, 3, 33, 17).unwrap() == pixels);
    assert!(original.pixels == pixels);
    let limits = DecodeLimits { side: 32, ..DecodeLimits::default() };
    common::assert_says(decode_image(&path, &limits), &["33 x 17 pixels", "32 pixels a side"]);
}
