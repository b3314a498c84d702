//! Names of tensors without what wrappers of a network put before them.

use std::collections::{BTreeMap, BTreeSet};

use onebit_files::shown;

use super::container::Contents;
use super::{CLASSIFIER, ImportError};

/// Parts of a name that a wrapper adds wherever the module that it wraps is: `DataParallel`, its successors and averages
/// of models; `torch.compile`.
const WRAPPERS: &[&str] = &["module", "_orig_mod"];

/// Names of the network within a larger module, at the start of a name.
const NETWORKS: &[&str] = &["model", "net", "network"];

/// The counter of an averaged model.
const AVERAGED: &str = "n_averaged";

/// The names that the network's own tensors have: without wrappers, and without the name of the network within a larger
/// module, which the classifier shows. Names in `known` are the network's own as they are.
pub(super) fn without_prefix<'a>(
    contents: Contents<'a>,
    known: &BTreeSet<String>,
) -> Result<Contents<'a>, ImportError> {
    let Contents { tensors, objects, path, mut others, .. } = contents;
    let larger = before_classifier(&tensors);
    let split = |name: &str| {
        if known.contains(name) {
            return (String::new(), name.to_owned());
        }
        let (removed, kept) = unwrapped(name);
        match larger.as_deref().and_then(|larger| Some((larger, kept.strip_prefix(larger)?))) {
            Some((larger, rest)) => (removed + larger, rest.to_owned()),
            None => (removed, kept),
        }
    };
    let mut prefixes = BTreeSet::new();
    let mut tensors = renamed(tensors, split, &mut prefixes)?;
    let objects = renamed(objects, split, &mut prefixes)?;
    if tensors.remove(AVERAGED).is_some() {
        others.push(AVERAGED.to_owned());
    }
    Ok(Contents { tensors, objects, path, others, prefixes })
}

/// The parts that wrappers added to a name, and the rest.
fn unwrapped(name: &str) -> (String, String) {
    let (mut removed, mut kept) = (String::new(), Vec::new());
    let mut parts = name.split('.').peekable();
    while let Some(part) = parts.next() {
        let wraps = WRAPPERS.contains(&part) || kept.is_empty() && NETWORKS.contains(&part);
        // The last part is the name of the tensor itself.
        if wraps && parts.peek().is_some() {
            removed += part;
            removed.push('.');
        } else {
            kept.push(part);
        }
    }
    (removed, kept.join("."))
}

/// What is before `fc.weight` in the one name that ends with it, wrappers aside.
fn before_classifier<T>(tensors: &BTreeMap<String, T>) -> Option<String> {
    let ends = tensors.keys().filter(|name| name.ends_with(CLASSIFIER));
    let names = ends.map(|name| unwrapped(name).1);
    let mut prefixes = names.filter_map(|name| Some(name.strip_suffix(CLASSIFIER)?.to_owned()));
    let (first, None) = (prefixes.next()?, prefixes.next()) else { return None };
    first.ends_with('.').then_some(first)
}

/// The entries under the second parts of their names; the first parts are collected.
fn renamed<T>(
    entries: BTreeMap<String, T>,
    split: impl Fn(&str) -> (String, String),
    prefixes: &mut BTreeSet<String>,
) -> Result<BTreeMap<String, T>, ImportError> {
    let mut renamed: BTreeMap<String, (String, T)> = BTreeMap::new();
    for (first, value) in entries {
        let (prefix, name) = split(&first);
        if !prefix.is_empty() {
            prefixes.insert(shown(&prefix));
        }
        if let Some((second, _)) = renamed.insert(name.clone(), (first.clone(), value)) {
            let (first, second, name) = (shown(&first), shown(&second), shown(&name));
            return Err(ImportError::SameName { first, second, name });
        }
    }
    Ok(renamed.into_iter().map(|(name, (_, value))| (name, value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_are_left_out_wherever_they_are() {
        for (name, prefix, rest) in [
            ("layer1.0.bn1.weight", "", "layer1.0.bn1.weight"),
            ("module.fc.bias", "module.", "fc.bias"),
            ("module.module.fc.bias", "module.module.", "fc.bias"),
            ("_orig_mod.module.fc.bias", "_orig_mod.module.", "fc.bias"),
            ("model.net.fc.bias", "model.net.", "fc.bias"),
            ("layer1._orig_mod.0.bn1.weight", "_orig_mod.", "layer1.0.bn1.weight"),
            ("layer1.0.model.weight", "", "layer1.0.model.weight"),
            ("module", "", "module"),
            ("n_averaged", "", "n_averaged"),
        ] {
            assert_eq!(unwrapped(name), (prefix.to_owned(), rest.to_owned()), "{name}");
        }
    }
}
