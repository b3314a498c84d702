//! Files as an attacker would write them.

use onebit_model::file::{FileError, read_model};
use sha2::{Digest, Sha256};

/// The tiny model as a file of version 1.
pub(crate) const TINY_1: &[u8] = include_bytes!("tiny.onebit");

pub(crate) fn tiny_file() -> Vec<u8> {
    TINY_1.to_vec()
}

pub(crate) fn refusal(bytes: &[u8]) -> FileError {
    read_model(bytes).expect_err("this file must be refused")
}

/// Header and data of a file.
pub(crate) fn split(bytes: &[u8]) -> (String, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
    (header.trim_end().to_string(), bytes[8 + length..].to_vec())
}

/// A file with that header, padded, and a digest that is right: as an attacker would write it.
pub(crate) fn forge(header: &str, data: &[u8]) -> Vec<u8> {
    let mut header = header.to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let place = header.find("\"sha256\":\"").map(|at| at + 10).unwrap();
    header.replace_range(place..place + 64, &"0".repeat(64));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    let digest: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    bytes[8 + place..8 + place + 64].copy_from_slice(digest.as_bytes());
    bytes
}

/// The tiny file with `from` replaced once by `to` in its header.
pub(crate) fn forged(from: &str, to: &str) -> Vec<u8> {
    let (header, data) = split(&tiny_file());
    assert!(header.contains(from), "{from} is not in {header}");
    forge(&header.replacen(from, to, 1), &data)
}

pub(crate) fn not_canonical(error: &FileError, part: &str) -> bool {
    matches!(error, FileError::NotCanonical { part: p, .. } if *p == part)
}
