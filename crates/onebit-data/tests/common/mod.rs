//! Files that several tests write.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn idx(header: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
    bytes.extend_from_slice(data);
    bytes
}

/// A set of `count` 4 x 3 images in two splits; image i is filled with i, its label is i mod 3.
pub fn write_idx_set(folder: &Path, count: usize) {
    for prefix in ["train", "t10k"] {
        let pixels: Vec<u8> = (0..count).flat_map(|i| [i as u8; 12]).collect();
        let labels: Vec<u8> = (0..count).map(|i| (i % 3) as u8).collect();
        let images = idx(&[0x803, count as u32, 4, 3], &pixels);
        let labels = idx(&[0x801, count as u32], &labels);
        std::fs::write(folder.join(format!("{prefix}-images-idx3-ubyte")), images).unwrap();
        let name = format!("{prefix}-labels-idx1-ubyte.gz");
        std::fs::write(folder.join(name), gzip(&labels)).unwrap();
    }
}

/// A PNG file that is only a header of this size and the start of its data.
pub fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        bytes.extend_from_slice(&(data.len() as u32).to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(data);
        bytes.extend_from_slice(kind);
        bytes.extend_from_slice(data);
        bytes.extend_from_slice(&crc.sum().to_be_bytes());
    };
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend_from_slice(&[8, 2, 0, 0, 0]);
    chunk(b"IHDR", &header);
    chunk(b"IDAT", &[0x78, 0x9c, 0x03]);
    bytes
}

/// The one sentence of an error, checked to name `parts`.
pub fn assert_says<T>(result: Result<T, onebit_data::Error>, parts: &[&str]) {
    let Err(error) = result else { panic!("expected an error that says {parts:?}") };
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    for part in parts {
        assert!(text.contains(part), "`{text}` does not say `{part}`");
    }
}
