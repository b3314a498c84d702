//! The containers of a checkpoint, told apart by their first bytes, and the state dict inside.

use std::collections::BTreeMap;

use safetensors::SafeTensors;

use super::ImportError;
use super::pickle::{Pickle, Ref, Tensor, Value, is_plain};
use super::tensor::{Dtype, Stored};
use super::zip;

/// Start of each container: a zip entry; the pickle of 0x1950a86a20f9469cfc6c, PyTorch's older magic number.
const ZIP: &[u8] = b"PK\x03\x04";
const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// What `DataParallel` puts before every name.
const PREFIX: &str = "module.";

/// Version of the older container.
const LEGACY_PROTOCOL: i64 = 1001;

/// A state dict, and the entries beside it.
pub(super) struct Contents<'a> {
    /// Tensors by name, without the prefix of `DataParallel`.
    pub(super) tensors: BTreeMap<String, Stored<'a>>,
    /// Names of the entries beside the state dict.
    pub(super) others: Vec<String>,
}

/// Reads whichever container it is.
pub(super) fn read(bytes: &[u8]) -> Result<Contents<'_>, ImportError> {
    let contents = if bytes.starts_with(ZIP) {
        zipped(bytes)
    } else if let Some(rest) = bytes.strip_prefix(LEGACY) {
        legacy(rest)
    } else if bytes.get(8) == Some(&b'{') {
        safetensors(bytes)
    } else {
        Err(ImportError::NotACheckpoint)
    };
    contents.map(without_prefix)
}

/// PyTorch 1.6 and later: `NAME/data.pkl`, `NAME/data/KEY` for each storage, `NAME/byteorder`; nothing is compressed.
fn zipped(bytes: &[u8]) -> Result<Contents<'_>, ImportError> {
    let entries = zip::entries(bytes)?;
    let pickles = entries.keys().filter_map(|name| name.strip_suffix("/data.pkl"));
    let mut roots = pickles.filter(|root| !root.contains('/'));
    let (Some(root), None) = (roots.next(), roots.next()) else {
        return Err(ImportError::Zip("it has no entry NAME/data.pkl".to_owned()));
    };
    if entries.get(format!("{root}/byteorder").as_str()).is_some_and(|order| *order != b"little") {
        return Err(ImportError::BigEndian);
    }
    let content = entries.get(format!("{root}/data.pkl").as_str()).copied().unwrap_or_default();
    let (pickle, _) = Pickle::load(content)?;
    state_dict(&pickle, &|key| entries.get(format!("{root}/data/{key}").as_str()).copied())
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

/// The dictionary itself, or its entry `state_dict`, with all tensors found in their storages.
fn state_dict<'a>(
    pickle: &Pickle<'a>,
    storage: &dyn Fn(&str) -> Option<&'a [u8]>,
) -> Result<Contents<'a>, ImportError> {
    let Value::Dict(root) = pickle.root() else {
        return Err(ImportError::NoStateDict("what was saved is no dictionary".to_owned()));
    };
    let (dict, others) = match pickle.entry(root, "state_dict") {
        Some(Value::Dict(dict)) => (dict, others(pickle, root)),
        Some(_) => {
            return Err(ImportError::NoStateDict("`state_dict` is no dictionary".to_owned()));
        }
        None => (root, vec![]),
    };
    let mut tensors = BTreeMap::new();
    for (name, value) in pickle.entries(dict) {
        let name = name.filter(|name| is_plain(name));
        let name = name.ok_or_else(|| {
            ImportError::NoStateDict("it has an entry without a plain name".to_owned())
        })?;
        let Value::Tensor(tensor) = value else {
            return Err(ImportError::NoStateDict(format!("its entry `{name}` is no tensor")));
        };
        let stored = stored(tensor, storage);
        let stored = stored.map_err(|problem| ImportError::View { name: name.to_owned(), problem });
        tensors.insert(name.to_owned(), stored?);
    }
    Ok(Contents { tensors, others })
}

fn others(pickle: &Pickle<'_>, root: &[(Ref, Ref)]) -> Vec<String> {
    let names = pickle.entries(root).filter_map(|entry| entry.0);
    names.filter(|&name| name != "state_dict" && is_plain(name)).map(str::to_owned).collect()
}

fn stored<'a>(
    tensor: &Tensor<'a>,
    storage: &dyn Fn(&str) -> Option<&'a [u8]>,
) -> Result<Stored<'a>, &'static str> {
    let Tensor { storage: id, offset, shape, strides } = tensor;
    let data = storage(id.key).ok_or("its storage is missing")?;
    let len = id.len.checked_mul(id.dtype.bytes());
    let data = len.and_then(|len| data.get(..len)).ok_or("its storage is cut short")?;
    Stored::strided(id.dtype, shape.clone(), strides.clone(), *offset, data)
}

fn safetensors(bytes: &[u8]) -> Result<Contents<'_>, ImportError> {
    let bad = |error: safetensors::SafeTensorError| ImportError::Safetensors(error.to_string());
    let mut tensors = BTreeMap::new();
    for (name, view) in SafeTensors::deserialize(bytes).map_err(bad)?.tensors() {
        if !is_plain(&name) {
            return Err(ImportError::NoStateDict(
                "it has a tensor without a plain name".to_owned(),
            ));
        }
        let dtype = match view.dtype() {
            safetensors::Dtype::F64 => Dtype::F64,
            safetensors::Dtype::F32 => Dtype::F32,
            safetensors::Dtype::F16 => Dtype::F16,
            safetensors::Dtype::BF16 => Dtype::Bf16,
            other => Dtype::Other(other.bitsize().div_ceil(8)),
        };
        let stored = Stored::contiguous(dtype, view.shape(), view.data());
        let stored = stored.map_err(|problem| ImportError::View { name: name.clone(), problem });
        tensors.insert(name, stored?);
    }
    Ok(Contents { tensors, others: vec![] })
}

fn without_prefix(contents: Contents<'_>) -> Contents<'_> {
    let Contents { tensors, others } = contents;
    if !tensors.keys().all(|name| name.starts_with(PREFIX)) {
        return Contents { tensors, others };
    }
    let stripped = tensors.into_iter();
    let stripped = stripped.map(|(name, tensor)| (name[PREFIX.len()..].to_owned(), tensor));
    Contents { tensors: stripped.collect(), others }
}
