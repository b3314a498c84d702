//! Segments of a JPEG file and the tables they define.

use super::bits::HuffmanTable;
use super::{Failure, refused};

pub(super) const EOI: u8 = 0xd9;
pub(super) const SOS: u8 = 0xda;
const SOI: u8 = 0xd8;
const DHT: u8 = 0xc4;
const DQT: u8 = 0xdb;
const DRI: u8 = 0xdd;
const APP0: u8 = 0xe0;
const APP1: u8 = 0xe1;
const APP14: u8 = 0xee;
/// Where each coefficient of the zigzag order stands in the block.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Whether a marker begins a frame, of whatever process.
pub(super) fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, DHT | 0xc8 | 0xcc)
}

/// Walks the markers of a file.
pub(super) struct Markers<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Markers<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Failure> {
        if !bytes.starts_with(&[0xff, SOI]) {
            return refused("it does not begin with a start-of-image marker");
        }
        Ok(Self { bytes, at: 2 })
    }

    /// The next marker with its segment, which is empty for a marker without one. Bytes between segments, fill bytes and
    /// lone restart markers are passed over.
    pub(super) fn next_segment(&mut self) -> Result<(u8, &'a [u8]), Failure> {
        loop {
            let marker = self.next_marker()?;
            match marker {
                EOI => return Ok((marker, &[])),
                0x01 | 0xd0..=0xd7 => {}
                SOI => return refused("it has a second start-of-image marker"),
                _ => return Ok((marker, self.segment(marker)?)),
            }
        }
    }

    /// What follows the segment read last.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(super) fn skip(&mut self, count: usize) {
        self.at = self.at.saturating_add(count);
    }

    fn next_marker(&mut self) -> Result<u8, Failure> {
        match next_marker(self.rest()) {
            Some((start, marker)) => {
                self.skip(start + 2);
                Ok(marker)
            }
            None => refused("it has no end-of-image marker"),
        }
    }

    fn segment(&mut self, marker: u8) -> Result<&'a [u8], Failure> {
        let cut_off = || Failure::Refused(format!("segment {marker:02X} is cut off"));
        let (length, rest) = self.rest().split_first_chunk().ok_or_else(cut_off)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let length = length.checked_sub(2).ok_or_else(cut_off)?;
        let segment = rest.get(..length).ok_or_else(cut_off)?;
        self.skip(2 + length);
        Ok(segment)
    }
}

/// The first marker in `bytes` and where its last fill byte stands: `FF` and a byte that is neither `00` nor `FF`.
pub(super) fn next_marker(bytes: &[u8]) -> Option<(usize, u8)> {
    let pairs = bytes.windows(2).enumerate();
    let mut found = pairs.filter_map(|(i, pair)| match *pair {
        [0xff, marker] if marker != 0 && marker != 0xff => Some((i, marker)),
        _ => None,
    });
    found.next()
}

/// Tables and notes that hold for what follows them.
#[derive(Default)]
pub(super) struct Tables<'a> {
    pub(super) quantization: [Option<[u16; 64]>; 4],
    pub(super) dc: [Option<HuffmanTable>; 4],
    pub(super) ac: [Option<HuffmanTable>; 4],
    pub(super) restart_interval: usize,
    pub(super) jfif: bool,
    /// The colour transform that Adobe's segment names.
    pub(super) adobe: Option<u8>,
    pub(super) exif: Option<&'a [u8]>,
}

impl<'a> Tables<'a> {
    /// Takes in what a segment defines; one that is not known is passed over.
    pub(super) fn take(&mut self, marker: u8, segment: &'a [u8]) -> Result<(), Failure> {
        match marker {
            DQT => self.quantization(segment),
            DHT => self.huffman(segment),
            DRI => match *segment {
                [high, low] => {
                    self.restart_interval = usize::from(u16::from_be_bytes([high, low]));
                    Ok(())
                }
                _ => refused("the restart interval is not of two bytes"),
            },
            APP0 => {
                self.jfif |= segment.starts_with(b"JFIF\0") && segment.len() >= 14;
                Ok(())
            }
            APP14 => {
                if let Some(transform) = segment.get(11).filter(|_| segment.starts_with(b"Adobe")) {
                    self.adobe = Some(*transform);
                }
                Ok(())
            }
            APP1 => {
                self.exif = self.exif.or_else(|| segment.strip_prefix(b"Exif\0\0"));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn quantization(&mut self, mut segment: &[u8]) -> Result<(), Failure> {
        let bad = || Failure::Refused("a quantization table is damaged".to_owned());
        while let Some((&kind, rest)) = segment.split_first() {
            let wide = kind >> 4 != 0;
            let length = if wide { 128 } else { 64 };
            let (values, rest) = rest.split_at_checked(length).ok_or_else(bad)?;
            let table = self.quantization.get_mut(usize::from(kind & 15)).ok_or_else(bad)?;
            let mut found = [0; 64];
            for (k, &place) in ZIGZAG.iter().enumerate() {
                found[usize::from(place)] = if wide {
                    u16::from_be_bytes([values[2 * k], values[2 * k + 1]])
                } else {
                    u16::from(values[k])
                };
            }
            *table = Some(found);
            segment = rest;
        }
        Ok(())
    }

    fn huffman(&mut self, mut segment: &[u8]) -> Result<(), Failure> {
        let bad = || Failure::Refused("a Huffman table is damaged".to_owned());
        while let Some((&kind, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(bad)?;
            let length = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(length).ok_or_else(bad)?;
            let tables = match kind >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(bad()),
            };
            let table = tables.get_mut(usize::from(kind & 15)).ok_or_else(bad)?;
            *table = Some(HuffmanTable::new(counts, symbols).ok_or_else(bad)?);
            segment = rest;
        }
        Ok(())
    }
}
