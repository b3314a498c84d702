//! Where in what was saved the state dict is, and its tensors.

use onebit_files::shown;

use super::ImportError;
use super::container::Contents;
use super::pickle::{Global, Pickle, Ref, Tensor, Value};
use super::tensor::Stored;

/// Names of the entry that holds the state dict, those preferred first: an average of the weights stands for the
/// network only where there is nothing else.
#[rustfmt::skip]
const ENTRIES: &[&str] = &[
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights", "params",
    "state_dict_ema", "ema_state_dict", "model_ema", "ema",
];

/// Most dictionaries inside one another that are looked into.
const MAX_DEPTH: usize = 4;

/// Entries of a dictionary among which another is looked for.
const MAX_LOOKED_AT: usize = 1024;

/// Most entries beside the state dict that are named.
const MAX_OTHERS: usize = 1000;

type Entries = [(Ref, Ref)];

/// Finds the state dict, with all tensors found in their storages.
pub(super) fn state_dict<'a>(
    pickle: &Pickle<'a>,
    storage: &dyn Fn(&str) -> Option<&'a [u8]>,
) -> Result<Contents<'a>, ImportError> {
    let mut dict = match pickle.root() {
        Value::Dict(root) => root.as_slice(),
        Value::Object(name) | Value::Global(Global::Other(name)) => {
            return Err(ImportError::Global(name.to_string()));
        }
        _ => return Err(none("what was saved is no dictionary")),
    };
    let mut contents = Contents::default();
    while let Some((key, inner)) = inner(pickle, dict, MAX_DEPTH - contents.path.len())? {
        let beside = pickle.entries(dict).filter_map(|entry| entry.0).filter(|&name| name != key);
        contents.others.extend(beside.take(MAX_OTHERS).map(shown));
        contents.path.push(shown(key));
        dict = inner;
    }
    if !pickle.entries(dict).any(|entry| matches!(entry, (Some(_), Value::Tensor(_)))) {
        return Err(missing(pickle, dict));
    }
    for (name, value) in pickle.entries(dict) {
        let name = name.ok_or_else(|| none("it has an entry whose name is no text"))?;
        match value {
            Value::Tensor(tensor) => {
                let stored = stored(tensor, storage);
                let stored =
                    stored.map_err(|problem| ImportError::View { name: shown(name), problem })?;
                contents.tensors.insert(name.to_owned(), stored);
            }
            Value::Object(class) => {
                contents.objects.insert(name.to_owned(), class.to_string());
            }
            _ if contents.others.len() < MAX_OTHERS => contents.others.push(shown(name)),
            _ => {}
        }
    }
    Ok(contents)
}

/// The entry of a dictionary in which the state dict is; `None` if it is the dictionary itself.
fn inner<'p, 'a>(
    pickle: &'p Pickle<'a>,
    dict: &'p Entries,
    depth: usize,
) -> Result<Option<(&'a str, &'p Entries)>, ImportError> {
    if depth == 0 {
        return Ok(None);
    }
    let dict = start(dict);
    for &key in ENTRIES {
        if let Some(Value::Dict(inner)) = pickle.entry(dict, key)
            && leads_to_tensors(pickle, inner)
        {
            return Ok(Some((key, inner)));
        }
    }
    if has_tensors(pickle, dict) {
        return Ok(None);
    }
    let mut others = pickle.entries(dict).filter_map(|(key, value)| match value {
        Value::Dict(inner) if leads_to_tensors(pickle, inner) => Some((key?, inner.as_slice())),
        _ => None,
    });
    match (others.next(), others.next()) {
        (Some((first, _)), Some((second, _))) => Err(none(&format!(
            "it holds several, `{}` and `{}` among them; save one of them alone",
            shown(first),
            shown(second)
        ))),
        (found, _) => Ok(found),
    }
}

/// Whether a dictionary holds tensors of layers, or one of the entries of a state dict in it does.
fn leads_to_tensors(pickle: &Pickle<'_>, dict: &Entries) -> bool {
    let dict = start(dict);
    has_tensors(pickle, dict)
        || ENTRIES.iter().any(|key| match pickle.entry(dict, key) {
            Some(Value::Dict(inner)) => has_tensors(pickle, start(inner)),
            _ => false,
        })
}

/// Whether a dictionary holds tensors with names of layers, such as `fc.weight`.
fn has_tensors(pickle: &Pickle<'_>, dict: &Entries) -> bool {
    pickle.entries(dict).any(|(name, value)| {
        name.is_some_and(|name| name.contains('.')) && matches!(value, Value::Tensor(_))
    })
}

fn start(dict: &Entries) -> &Entries {
    dict.get(..MAX_LOOKED_AT).unwrap_or(dict)
}

/// Why a dictionary without tensors is none of a network.
fn missing(pickle: &Pickle<'_>, dict: &Entries) -> ImportError {
    let entries = ENTRIES.iter().filter_map(|key| Some((key, pickle.entry(dict, key)?)));
    for (key, value) in entries {
        match value {
            Value::Object(name) => return ImportError::Global(name.to_string()),
            Value::Dict(_) => {}
            _ => return none(&format!("`{key}` is no dictionary")),
        }
    }
    let names = pickle.entries(dict).filter_map(|entry| entry.0).take(8);
    let names: Vec<_> = names.map(|name| format!("`{}`", shown(name))).collect();
    match names.is_empty() {
        true => none("its dictionary has no tensors"),
        false => none(&format!("its dictionary has no tensors, but {}", names.join(", "))),
    }
}

fn stored<'a>(
    tensor: &Tensor<'a>,
    storage: &dyn Fn(&str) -> Option<&'a [u8]>,
) -> Result<Stored<'a>, &'static str> {
    let Tensor { storage: id, dtype, offset, shape, strides } = tensor;
    let data = storage(id.key).ok_or("its storage is missing")?;
    let len = id.len.checked_mul(id.dtype.bytes());
    let data = len.and_then(|len| data.get(..len)).ok_or("its storage is cut short")?;
    Stored::strided(*dtype, shape.clone(), strides.clone(), *offset, data)
}

fn none(reason: &str) -> ImportError {
    ImportError::NoStateDict(reason.to_owned())
}
