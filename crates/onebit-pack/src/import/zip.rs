//! The part of the zip format that `torch.save` writes: nothing compressed, nothing split, at most 4 GiB.
//!
//! Fields are those of the format's specification (APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16).

use std::collections::BTreeMap;

use super::ImportError;
use super::pickle::is_plain;

/// Bytes of the end record without its comment, which is at most 65,535 bytes long.
const END_BYTES: usize = 22;

/// The entries by name.
pub(super) fn entries(bytes: &[u8]) -> Result<BTreeMap<&str, &[u8]>, ImportError> {
    let (count, mut directory) = directory(bytes).ok_or_else(|| bad("it has no directory"))?;
    let mut entries = BTreeMap::new();
    let mut unread = bytes.len();
    for _ in 0..count {
        let (entry, rest) =
            Entry::read(directory).ok_or_else(|| bad("its directory is damaged"))?;
        directory = rest;
        let name = entry.name;
        if !entry.stored {
            return Err(bad(format!("its entry {name} is compressed or encrypted")));
        }
        // Entries that share their bytes would take a time far beyond the length of the file.
        unread = unread.checked_sub(entry.len).ok_or_else(|| bad("its entries overlap"))?;
        let content = entry.content(bytes);
        let content = content.ok_or_else(|| bad(format!("its entry {name} is cut short")))?;
        // PyTorch writes 0 where it was told to leave out checksums.
        if entry.checksum != 0 && entry.checksum != crc32fast::hash(content) {
            return Err(bad(format!("its entry {name} is not what the checksum says")));
        }
        entries.insert(name, content);
    }
    Ok(entries)
}

/// Number of entries, and their descriptions.
fn directory(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let last = bytes.len().checked_sub(END_BYTES)?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    let end = (first..=last).rev().find_map(|at| {
        let end = bytes.get(at..)?.strip_prefix(b"PK\x05\x06")?;
        (usize::from(u16_at(end, 16)?) == last - at).then_some(end)
    })?;
    let start = size_at(end, 12)?;
    let len = size_at(end, 8)?;
    Some((u16_at(end, 6)?, bytes.get(start..start.checked_add(len)?)?))
}

/// What the directory says of an entry.
struct Entry<'a> {
    name: &'a str,
    stored: bool,
    checksum: u32,
    len: usize,
    /// Where its own header starts.
    start: usize,
}

impl<'a> Entry<'a> {
    /// The first entry of a directory, and the others.
    fn read(directory: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let fields = directory.strip_prefix(b"PK\x01\x02")?;
        let name_len = usize::from(u16_at(fields, 24)?);
        let behind = usize::from(u16_at(fields, 26)?) + usize::from(u16_at(fields, 28)?);
        let (name, rest) = fields.get(42..)?.split_at_checked(name_len)?;
        let encrypted = u16_at(fields, 4)? & 1 == 1;
        let len = size_at(fields, 20)?;
        let entry = Entry {
            name: std::str::from_utf8(name).ok().filter(|name| is_plain(name))?,
            stored: !encrypted && u16_at(fields, 6)? == 0 && size_at(fields, 16)? == len,
            checksum: u32_at(fields, 12)?,
            len,
            start: size_at(fields, 38)?,
        };
        Some((entry, rest.get(behind..)?))
    }

    fn content(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let fields = bytes.get(self.start..)?.strip_prefix(b"PK\x03\x04")?;
        let skipped = usize::from(u16_at(fields, 22)?) + usize::from(u16_at(fields, 24)?);
        fields.get(26..)?.get(skipped..)?.get(..self.len)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn size_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32_at(bytes, at)?).ok()
}

fn bad(problem: impl Into<String>) -> ImportError {
    ImportError::Zip(problem.into())
}
