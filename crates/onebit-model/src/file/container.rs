//! The container: a strict profile of safetensors (`docs/format.md`).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytemuck::Pod;
use crc::{CRC_32_ISCSI, Crc, Table};
use sha2::{Digest, Sha256};

use super::header::{Dtype, Entry, Header};
use super::{FileError, VERSION};
use crate::{Data, Tensor, hex, limits};

/// Longest name of a tensor in a file, in bytes: a node's name, its suffix and an optimizer's own.
pub const MAX_TENSOR_NAME_BYTES: usize = limits::MAX_NAME_BYTES + 64;

const FORMAT: &str = "format";
const VERSION_KEY: &str = "version";
const CRC: &str = "crc32c";
const SHA: &str = "sha256";
const RESERVED: [&str; 4] = [FORMAT, VERSION_KEY, CRC, SHA];
const NO_DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const LENGTH_BYTES: usize = 8;
/// Bytes at the start of a file that tell most others: the length of the header and its first character.
pub const START_BYTES: usize = LENGTH_BYTES + 1;
/// Bytes that are read, checked and hashed at a time: they stay in the second-level cache.
const PART_BYTES: usize = 1 << 17;

static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// What a file holds: its `format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A packed model, `onebit`.
    Model,
    /// The weights of a checkpoint, `onebit-weights`.
    Weights,
    /// The optimizer's state of a checkpoint, `onebit-optimizer`.
    Optimizer,
}

impl Kind {
    /// The value of the metadata key `format`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Model => "onebit",
            Kind::Weights => "onebit-weights",
            Kind::Optimizer => "onebit-optimizer",
        }
    }

    /// The newest version of this kind.
    #[must_use]
    pub fn newest_version(self) -> u32 {
        match self {
            Kind::Model | Kind::Weights => VERSION,
            Kind::Optimizer => 1,
        }
    }
}

/// What a file was made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// Version of the format.
    pub version: u32,
    /// The writer's own metadata, without `format`, `version`, `crc32c` and `sha256`.
    pub metadata: BTreeMap<String, String>,
    /// The tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
}

/// The bytes of a file. The same contents always give the same bytes.
///
/// # Errors
/// A version that there is not of this kind, a reserved metadata key, an invalid name, a shape that does not fit its elements, more than the limits allow, less
/// memory than the file takes.
pub fn write(
    kind: Kind,
    version: u32,
    metadata: &BTreeMap<String, String>,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<Vec<u8>, FileError> {
    if !(1..=kind.newest_version()).contains(&version) {
        return Err(FileError::BadVersion(version.to_string()));
    }
    if let Some(key) = metadata.keys().find(|key| RESERVED.contains(&key.as_str())) {
        return Err(FileError::UnknownMetadata(key.clone()));
    }
    for (name, tensor) in tensors {
        if elements(name, &tensor.shape)? != tensor.data.len() {
            return Err(bad_shape(name, &tensor.shape));
        }
    }
    let described = tensors.iter().map(|(name, t)| (name.as_str(), dtype(&t.data), &t.shape));
    let (entries, data_bytes) = layout(described)?;
    let mut data = room(data_bytes)?;
    for tensor in entries.iter().filter_map(|(name, _)| tensors.get(name)) {
        append(&mut data, &tensor.data);
    }
    let mut metadata = metadata.clone();
    metadata.insert(FORMAT.to_string(), kind.name().to_string());
    metadata.insert(VERSION_KEY.to_string(), version.to_string());
    metadata.insert(CRC.to_string(), checksums(&entries, &data).join(","));
    let mut header = Header { metadata, tensors: entries };
    let sha = digest(&mut header, &data)?;
    header.metadata.insert(SHA.to_string(), sha);
    let header = header.to_bytes()?;
    let mut bytes = room(LENGTH_BYTES + header.len() + data.len())?;
    bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&data);
    Ok(bytes)
}

/// Room for so many bytes.
fn room(bytes: usize) -> Result<Vec<u8>, FileError> {
    let mut room = Vec::new();
    room.try_reserve_exact(bytes).map_err(|_| FileError::OutOfMemory { bytes })?;
    Ok(room)
}

/// The bytes of a file, from the first to the last.
pub trait ByteSource {
    /// Why they cannot be read, or are refused.
    type Error: From<FileError>;

    /// Number of bytes.
    fn bytes(&self) -> usize;

    /// Fills `to` with the next bytes; it never asks for more than there are.
    ///
    /// # Errors
    /// They cannot be read.
    fn read(&mut self, to: &mut [u8]) -> Result<(), Self::Error>;
}

impl ByteSource for &[u8] {
    type Error = FileError;

    fn bytes(&self) -> usize {
        self.len()
    }

    fn read(&mut self, to: &mut [u8]) -> Result<(), FileError> {
        let found = self.len();
        let short = || FileError::Truncated { expected: to.len(), found };
        to.copy_from_slice(self.split_off(..to.len()).ok_or_else(short)?);
        Ok(())
    }
}

/// Reads a file of that kind. Nothing larger than the file itself is allocated.
///
/// # Errors
/// Anything but the bytes that [`write()`] gives for some contents.
pub fn read(kind: Kind, bytes: &[u8]) -> Result<Container, FileError> {
    read_from(kind, bytes)
}

/// [`read()`] of bytes that need not be in memory all at once.
///
/// # Errors
/// Like [`read()`], or they cannot be read.
pub fn read_from<S: ByteSource>(kind: Kind, mut source: S) -> Result<Container, S::Error> {
    let found = source.bytes();
    let json = header(&mut source, found)?;
    let version = check_kind(kind, &json)?;
    let mut header = Header::parse(&json)?;
    check_layout(&header, found - LENGTH_BYTES - json.len(), found)?;
    let canonical = header.to_bytes()?;
    if let Some(byte) = first_difference(&canonical, json.as_bytes()) {
        return Err(FileError::NotCanonical { part: "header", byte }.into());
    }
    let sha = header.metadata.remove(SHA).ok_or(FileError::MissingMetadata(SHA))?;
    let crcs = header.metadata.get(CRC).ok_or(FileError::MissingMetadata(CRC))?.clone();
    let mut hash = start_digest(&mut header)?;
    let Header { mut metadata, tensors: entries } = header;
    metadata.retain(|key, _| !RESERVED.contains(&key.as_str()));
    let mut tensors = BTreeMap::new();
    let (mut stored, mut computed) = (crcs.split(','), Vec::new());
    for (name, entry) in entries {
        let mut crc = CRC32C.digest();
        let data = elements_of(&entry, |part| {
            source.read(part)?;
            crc.update(part);
            hash.update(part);
            Ok::<_, S::Error>(())
        })?;
        let crc = checksum(crc.finalize());
        if stored.next().is_some_and(|stored| stored != crc) {
            return Err(FileError::Checksum(name).into());
        }
        computed.push(crc);
        tensors.insert(name, Tensor { shape: entry.shape, data });
    }
    if let Some(byte) = first_difference(computed.join(",").as_bytes(), crcs.as_bytes()) {
        return Err(FileError::NotCanonical { part: CRC, byte }.into());
    }
    if hex(&hash.finalize()) != sha {
        return Err(FileError::Digest.into());
    }
    Ok(Container { version, metadata, tensors })
}

/// Refuses what is no file of onebit by its first [`START_BYTES`], or all of its bytes where there are fewer.
///
/// # Errors
/// No bytes, no header, or one above the limit.
pub fn check_start(start: &[u8]) -> Result<(), FileError> {
    announced(start).map(drop)
}

/// The length of the header, of a file that starts so.
fn announced(start: &[u8]) -> Result<usize, FileError> {
    if start.is_empty() {
        return Err(FileError::Empty);
    }
    let (&length, json) = start.split_first_chunk().ok_or(FileError::NotOnebit)?;
    if json.first().is_some_and(|&b| b != b'{') {
        return Err(FileError::NotOnebit);
    }
    let length = u64::from_le_bytes(length);
    match usize::try_from(length) {
        Ok(bytes) if bytes <= limits::MAX_HEADER_BYTES => Ok(bytes),
        _ => Err(FileError::HeaderTooLong(length)),
    }
}

/// The JSON of the header, padding included.
fn header<S: ByteSource>(source: &mut S, found: usize) -> Result<String, S::Error> {
    let mut start = [0; START_BYTES];
    let start = &mut start[..found.min(START_BYTES)];
    source.read(start)?;
    let header_bytes = announced(start)?;
    let expected = LENGTH_BYTES + header_bytes;
    if expected > found {
        return Err(FileError::Truncated { expected, found }.into());
    }
    let mut json = start[LENGTH_BYTES..].to_vec();
    let first = json.len();
    json.resize(header_bytes, 0);
    source.read(&mut json[first.min(header_bytes)..])?;
    Ok(String::from_utf8(json).map_err(|_| FileError::NotOnebit)?)
}

/// The version of a file of that kind.
fn check_kind(kind: Kind, json: &str) -> Result<u32, FileError> {
    let metadata = Header::peek(json).ok_or(FileError::NotOnebit)?;
    let format = metadata.get(FORMAT).ok_or(FileError::NotOnebit)?;
    let known = [Kind::Model, Kind::Weights, Kind::Optimizer];
    if !known.iter().any(|kind| kind.name() == format) {
        return Err(FileError::NotOnebit);
    }
    let version = metadata.get(VERSION_KEY).ok_or(FileError::MissingMetadata(VERSION_KEY))?;
    let number = match version.parse::<u64>() {
        Ok(v) if v > u64::from(VERSION) => return Err(FileError::NewerVersion(v)),
        _ => (1..=VERSION).find(|known| *version == known.to_string()),
    };
    let number = number.ok_or_else(|| FileError::BadVersion(version.clone()))?;
    if format != kind.name() {
        return Err(FileError::WrongKind { found: format.clone(), expected: kind.name() });
    }
    if number > kind.newest_version() {
        return Err(FileError::BadVersion(version.clone()));
    }
    Ok(number)
}

/// The places of the tensors follow from their names, types and shapes alone.
fn check_layout(header: &Header, data_bytes: usize, found: usize) -> Result<(), FileError> {
    let described = header.tensors.iter().map(|(name, e)| (name.as_str(), e.dtype, &e.shape));
    let (entries, needed) = layout(described)?;
    let expected = (found - data_bytes).saturating_add(needed);
    let expected_header = Header { metadata: header.metadata.clone(), tensors: entries };
    if expected_header != *header {
        let (ours, theirs) = (expected_header.to_bytes()?, header.to_bytes()?);
        let byte = first_difference(&ours, &theirs).unwrap_or(ours.len());
        return Err(FileError::NotCanonical { part: "header", byte });
    }
    match data_bytes {
        n if n < needed => Err(FileError::Truncated { expected, found }),
        n if n > needed => Err(FileError::Trailing { expected, found }),
        _ => Ok(()),
    }
}

/// Order by element width, widest first, then by name; no gaps. Returns the number of data bytes as well.
fn layout<'a>(
    described: impl Iterator<Item = (&'a str, Dtype, &'a Vec<usize>)>,
) -> Result<(Vec<(String, Entry)>, usize), FileError> {
    let mut described: Vec<_> = described.collect();
    if described.len() > limits::MAX_TENSORS {
        return Err(FileError::TooManyTensors(described.len()));
    }
    described.sort_by_key(|&(name, dtype, _)| (core::cmp::Reverse(dtype.bytes()), name));
    let mut entries = Vec::with_capacity(described.len());
    let mut names = BTreeSet::new();
    let mut end = 0usize;
    for (name, dtype, shape) in described {
        check_name(name)?;
        if !names.insert(name) {
            return Err(FileError::DuplicateTensor(name.to_string()));
        }
        let bytes = elements(name, shape)?.checked_mul(dtype.bytes());
        let start = end;
        end = bytes.and_then(|n| end.checked_add(n)).ok_or_else(|| bad_shape(name, shape))?;
        let entry = Entry { dtype, shape: shape.clone(), data_offsets: [start, end] };
        entries.push((name.to_string(), entry));
    }
    Ok((entries, end))
}

fn check_name(name: &str) -> Result<(), FileError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let valid = (1..=MAX_TENSOR_NAME_BYTES).contains(&name.len()) && name.bytes().all(plain);
    if valid && name != "__metadata__" {
        Ok(())
    } else {
        Err(FileError::BadTensorName(name.to_string()))
    }
}

fn elements(name: &str, shape: &[usize]) -> Result<usize, FileError> {
    let product = shape.iter().try_fold(1usize, |n, &e| n.checked_mul(e));
    product.filter(|&n| n > 0).ok_or_else(|| bad_shape(name, shape))
}

fn bad_shape(name: &str, shape: &[usize]) -> FileError {
    FileError::BadShape { name: name.to_string(), shape: shape.to_vec() }
}

pub(super) fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let common = a.iter().zip(b).position(|(x, y)| x != y);
    common.or_else(|| (a.len() != b.len()).then(|| a.len().min(b.len())))
}

fn checksums(entries: &[(String, Entry)], data: &[u8]) -> Vec<String> {
    let bytes = entries.iter().map(|(_, e)| data.get(e.data_offsets[0]..e.data_offsets[1]));
    bytes.map(|bytes| checksum(CRC32C.checksum(bytes.unwrap_or_default()))).collect()
}

fn checksum(crc: u32) -> String {
    format!("{crc:08x}")
}

/// SHA-256 of the whole file with 64 zeros in place of the digest.
fn digest(header: &mut Header, data: &[u8]) -> Result<String, FileError> {
    let mut hash = start_digest(header)?;
    hash.update(data);
    Ok(hex(&hash.finalize()))
}

/// The digest up to the data.
fn start_digest(header: &mut Header) -> Result<Sha256, FileError> {
    header.metadata.insert(SHA.to_string(), NO_DIGEST.to_string());
    let header = header.to_bytes()?;
    let mut hash = Sha256::new();
    hash.update((header.len() as u64).to_le_bytes());
    hash.update(&header);
    Ok(hash)
}

fn dtype(data: &Data) -> Dtype {
    match data {
        Data::U64(_) => Dtype::U64,
        Data::F32(_) => Dtype::F32,
        Data::I8(_) => Dtype::I8,
    }
}

fn append(bytes: &mut Vec<u8>, data: &Data) {
    match data {
        Data::U64(words) => bytes.extend(words.iter().flat_map(|w| w.to_le_bytes())),
        Data::F32(values) => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
        Data::I8(values) => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
    }
}

/// The elements of a tensor, whose bytes `read` fills, a part at a time.
fn elements_of<E: From<FileError>>(
    entry: &Entry,
    read: impl FnMut(&mut [u8]) -> Result<(), E>,
) -> Result<Data, E> {
    let [start, end] = entry.data_offsets;
    let bytes = end - start;
    Ok(match entry.dtype {
        Dtype::U64 => Data::U64(numbers(bytes, read, u64::from_le)?),
        Dtype::F32 => {
            Data::F32(numbers(bytes, read, |v: f32| f32::from_bits(u32::from_le(v.to_bits())))?)
        }
        Dtype::I8 => Data::I8(numbers(bytes, read, |v| v)?),
    })
}

/// So many bytes as numbers.
fn numbers<T: Pod, E: From<FileError>>(
    bytes: usize,
    mut read: impl FnMut(&mut [u8]) -> Result<(), E>,
    from_le: impl Fn(T) -> T,
) -> Result<Vec<T>, E> {
    let (mut values, len) = (Vec::new(), bytes / size_of::<T>());
    values.try_reserve_exact(len).map_err(|_| FileError::OutOfMemory { bytes })?;
    values.resize(len, T::zeroed());
    for part in bytemuck::cast_slice_mut(&mut values).chunks_mut(PART_BYTES) {
        read(part)?;
    }
    for value in &mut values {
        *value = from_le(*value);
    }
    Ok(values)
}
