//! The containers of a checkpoint, told apart by their first bytes, and the state dict inside.

use std::collections::{BTreeMap, BTreeSet};

use onebit_files::{shown, shown_within};
use safetensors::SafeTensors;

use super::names::without_prefix;
use super::pickle::{Pickle, Value};
use super::state_dict::state_dict;
use super::tensor::{Dtype, Stored};
use super::{ImportError, zip};

/// Start of a zip container: an entry.
const ZIP: &[u8] = b"PK\x03\x04";

/// Bytes at the start that tell the container: no pickle of the magic number of the older one is longer.
pub(crate) const START_BYTES: usize = 64;

/// Most characters of a message of the crate `safetensors`, which quotes the file.
const MAX_MESSAGE: usize = 200;

/// Version of the older container.
const LEGACY_PROTOCOL: i64 = 1001;

/// A state dict, and the entries beside it.
#[derive(Default)]
pub(super) struct Contents<'a> {
    /// Tensors by name.
    pub(super) tensors: BTreeMap<String, Stored<'a>>,
    /// Class of what is no tensor, by name.
    pub(super) objects: BTreeMap<String, String>,
    /// Keys that lead to the state dict.
    pub(super) path: Vec<String>,
    /// Names of the entries beside the state dict.
    pub(super) others: Vec<String>,
    /// What was taken from the start of the names, each once.
    pub(super) prefixes: BTreeSet<String>,
}

/// A container, by its first bytes.
enum Container<'a> {
    Zip,
    /// What follows the magic number.
    Legacy(&'a [u8]),
    Safetensors,
}

impl<'a> Container<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        if bytes.starts_with(ZIP) {
            Some(Container::Zip)
        } else if let Some(rest) = behind_magic(bytes) {
            Some(Container::Legacy(rest))
        } else {
            (bytes.get(8) == Some(&b'{')).then_some(Container::Safetensors)
        }
    }
}

/// Whether a checkpoint can start with these [`START_BYTES`], or be these bytes where they are fewer.
pub(crate) fn is_start(start: &[u8]) -> bool {
    Container::of(start).is_some()
}

/// Reads whichever container it is.
pub(super) fn read<'a>(
    bytes: &'a [u8],
    known: &BTreeSet<String>,
) -> Result<Contents<'a>, ImportError> {
    let contents = match Container::of(bytes).ok_or(ImportError::NotACheckpoint)? {
        Container::Zip => zipped(bytes),
        Container::Legacy(rest) => legacy(rest),
        Container::Safetensors => safetensors(bytes),
    };
    without_prefix(contents?, known)
}

/// What follows the magic number of the older container, if that is there.
fn behind_magic(bytes: &[u8]) -> Option<&[u8]> {
    let start = bytes.get(..bytes.len().min(START_BYTES))?;
    let (pickle, rest) = Pickle::load(start).ok()?;
    matches!(pickle.root(), Value::Magic).then(|| bytes.get(start.len() - rest.len()..))?
}

/// PyTorch 1.6 and later: `NAME/data.pkl`, `NAME/data/KEY` for each storage, `NAME/byteorder`; nothing is compressed.
fn zipped(bytes: &[u8]) -> Result<Contents<'_>, ImportError> {
    let entries = zip::entries(bytes)?;
    let pickles = entries.keys().filter_map(|name| name.strip_suffix(b"/data.pkl"));
    let mut roots = pickles.filter(|root| !root.contains(&b'/'));
    let (Some(root), None) = (roots.next(), roots.next()) else {
        return Err(ImportError::Zip("it has no entry NAME/data.pkl".to_owned()));
    };
    let entry = |name: &str| {
        let name = [root, b"/", name.as_bytes()].concat();
        entries.get(name.as_slice()).copied()
    };
    if entry("byteorder").is_some_and(|order| order != b"little") {
        return Err(ImportError::BigEndian);
    }
    let (pickle, _) = Pickle::load(entry("data.pkl").unwrap_or_default())?;
    state_dict(&pickle, &|key| entry(&format!("data/{key}")))
}

/// Before PyTorch 1.6: pickles of the protocol, of the machine, of the object, and of the storages' keys; then for
/// each key the number of elements and the elements.
fn legacy(bytes: &[u8]) -> Result<Contents<'_>, ImportError> {
    let (protocol, rest) = Pickle::load(bytes)?;
    if !matches!(protocol.root(), Value::Int(LEGACY_PROTOCOL)) {
        return Err(ImportError::NoStateDict(format!(
            "its protocol is not {LEGACY_PROTOCOL}, the only one that is known"
        )));
    }
    let (machine, rest) = Pickle::load(rest)?;
    if let Value::Dict(entries) = machine.root()
        && let Some(Value::Bool(false)) = machine.entry(entries, "little_endian")
    {
        return Err(ImportError::BigEndian);
    }
    let (object, rest) = Pickle::load(rest)?;
    let (keys, rest) = Pickle::load(rest)?;
    let storages = legacy_storages(&object, &keys, rest)?;
    state_dict(&object, &|key| storages.get(key).copied())
}

fn legacy_storages<'a>(
    object: &Pickle<'a>,
    keys: &Pickle<'a>,
    mut rest: &'a [u8],
) -> Result<BTreeMap<&'a str, &'a [u8]>, ImportError> {
    let sizes: BTreeMap<_, _> =
        object.storages().map(|storage| (storage.key, storage.dtype.bytes())).collect();
    let Value::List(list) = keys.root() else {
        return Err(ImportError::NoStateDict("its list of storages is none".to_owned()));
    };
    let mut storages = BTreeMap::new();
    for &key in list {
        let known = match *keys.get(key) {
            Value::Text(key) => sizes.get_key_value(key),
            _ => None,
        };
        let (&key, &size) = known.ok_or_else(|| {
            ImportError::NoStateDict("it lists a storage that no tensor is in".to_owned())
        })?;
        let cut_short = || ImportError::CutShort("a storage".to_owned());
        let (len, behind) = rest.split_first_chunk().ok_or_else(cut_short)?;
        let len = usize::try_from(i64::from_le_bytes(*len)).ok();
        let len = len.and_then(|len| len.checked_mul(size)).ok_or_else(cut_short)?;
        let (storage, behind) = behind.split_at_checked(len).ok_or_else(cut_short)?;
        storages.insert(key, storage);
        rest = behind;
    }
    Ok(storages)
}

fn safetensors(bytes: &[u8]) -> Result<Contents<'_>, ImportError> {
    let bad = |error: safetensors::SafeTensorError| {
        ImportError::Safetensors(shown_within(&error.to_string(), MAX_MESSAGE))
    };
    let mut contents = Contents::default();
    for (name, view) in SafeTensors::deserialize(bytes).map_err(bad)?.tensors() {
        let dtype = match view.dtype() {
            safetensors::Dtype::F64 => Dtype::F64,
            safetensors::Dtype::F32 => Dtype::F32,
            safetensors::Dtype::F16 => Dtype::F16,
            safetensors::Dtype::BF16 => Dtype::Bf16,
            other => Dtype::Other(other.bitsize().div_ceil(8)),
        };
        let stored = Stored::contiguous(dtype, view.shape(), view.data());
        let stored = stored.map_err(|problem| ImportError::View { name: shown(&name), problem })?;
        contents.tensors.insert(name, stored);
    }
    Ok(contents)
}
