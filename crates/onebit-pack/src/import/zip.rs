//! The part of the zip format that `torch.save` writes: nothing compressed, nothing split.
//!
//! Fields are those of the format's specification (APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.14 to 4.3.16, and 4.5.3 for
//! sizes of 64 bits).

use std::collections::BTreeMap;

use onebit_files::shown;

use super::ImportError;

/// Bytes of the end record without its comment, which is at most 65,535 bytes long.
const END_BYTES: usize = 22;

/// Bytes of the record that says where the end record of 64 bits is.
const LOCATOR_BYTES: usize = 20;

/// What stands in place of a size of more than 32 bits.
const UNKNOWN: u64 = u32::MAX as u64;

/// The extra field that holds such sizes.
const SIZES: u16 = 1;

/// The entries by name.
pub(super) fn entries(bytes: &[u8]) -> Result<BTreeMap<&[u8], &[u8]>, ImportError> {
    let (count, mut directory) = directory(bytes).ok_or_else(|| bad("it has no directory"))?;
    let mut entries = BTreeMap::new();
    let mut unread = bytes.len();
    for _ in 0..count {
        let (entry, rest) =
            Entry::read(directory).ok_or_else(|| bad("its directory is damaged"))?;
        directory = rest;
        let name = shown(&String::from_utf8_lossy(entry.name));
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
        entries.insert(entry.name, content);
    }
    Ok(entries)
}

/// Number of entries, and their descriptions.
fn directory(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let last = bytes.len().checked_sub(END_BYTES)?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    let (at, end) = (first..=last).rev().find_map(|at| {
        let end = bytes.get(at..)?.strip_prefix(b"PK\x05\x06")?;
        (usize::from(u16_at(end, 16)?) == last - at).then_some((at, end))
    })?;
    let mut count = u64::from(u16_at(end, 6)?);
    let (mut len, mut start) = (u64::from(u32_at(end, 8)?), u64::from(u32_at(end, 12)?));
    if count == u64::from(u16::MAX) || len == UNKNOWN || start == UNKNOWN {
        // In place of what 32 bits cannot hold: another record, found by its place, which is directly before the end.
        let locator = bytes.get(at.checked_sub(LOCATOR_BYTES)?..)?.strip_prefix(b"PK\x06\x07")?;
        let record = bytes.get(usize::try_from(u64_at(locator, 4)?).ok()?..)?;
        let record = record.strip_prefix(b"PK\x06\x06")?;
        (count, len, start) = (u64_at(record, 28)?, u64_at(record, 36)?, u64_at(record, 44)?);
    }
    let (len, start) = (usize::try_from(len).ok()?, usize::try_from(start).ok()?);
    Some((count, bytes.get(start..start.checked_add(len)?)?))
}

/// What the directory says of an entry.
struct Entry<'a> {
    name: &'a [u8],
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
        let (name, rest) = fields.get(42..)?.split_at_checked(name_len)?;
        let (extra, rest) = rest.split_at_checked(usize::from(u16_at(fields, 26)?))?;
        let encrypted = u16_at(fields, 4)? & 1 == 1;
        let mut sizes = sizes(extra);
        let mut size = |at| match u64::from(u32_at(fields, at)?) {
            UNKNOWN => {
                let (size, rest) = sizes.split_first_chunk()?;
                sizes = rest;
                Some(u64::from_le_bytes(*size))
            }
            size => Some(size),
        };
        // The order in which the extra field has those that need it.
        let (len, packed, start) = (size(20)?, size(16)?, size(38)?);
        let entry = Entry {
            name,
            stored: !encrypted && u16_at(fields, 6)? == 0 && packed == len,
            checksum: u32_at(fields, 12)?,
            len: usize::try_from(len).ok()?,
            start: usize::try_from(start).ok()?,
        };
        Some((entry, rest.get(usize::from(u16_at(fields, 28)?)..)?))
    }

    fn content(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let fields = bytes.get(self.start..)?.strip_prefix(b"PK\x03\x04")?;
        let skipped = usize::from(u16_at(fields, 22)?) + usize::from(u16_at(fields, 24)?);
        fields.get(26..)?.get(skipped..)?.get(..self.len)
    }
}

/// The sizes of 64 bits in an entry's extra fields; none if they are not there.
fn sizes(mut extra: &[u8]) -> &[u8] {
    while let (Some(id), Some(len)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let Some((content, rest)) =
            extra.get(4..).and_then(|extra| extra.split_at_checked(usize::from(len)))
        else {
            break;
        };
        if id == SIZES {
            return content;
        }
        extra = rest;
    }
    &[]
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

fn bad(problem: impl Into<String>) -> ImportError {
    ImportError::Zip(problem.into())
}
