//! Reads the PyTorch fixtures, here and for the unit tests.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use safetensors::SafeTensors;

/// One fixture file.
pub(crate) struct Fixture {
    /// The file's name without its ending.
    pub(crate) name: String,
    /// Shape and values of each tensor.
    pub(crate) tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    metadata: BTreeMap<String, String>,
}

impl Fixture {
    /// Reads `tests/fixtures/<name>.safetensors`.
    pub(crate) fn read(name: &str) -> Self {
        Fixture::load(&folder().join(format!("{name}.safetensors")))
    }

    /// All files of `tests/fixtures/ops` whose names begin so.
    pub(crate) fn all(prefix: &str) -> Vec<Self> {
        let files = fs::read_dir(folder().join("ops")).unwrap();
        let mut paths: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let matches = |p: &&PathBuf| p.file_name().unwrap().to_string_lossy().starts_with(prefix);
        let found: Vec<Self> = paths.iter().filter(matches).map(|p| Fixture::load(p)).collect();
        assert!(!found.is_empty(), "no fixtures named {prefix}*");
        found
    }

    fn load(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let floats = |data: &[u8]| {
            data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect::<Vec<_>>()
        };
        let tensors =
            file.tensors().into_iter().map(|(n, t)| (n, (t.shape().to_vec(), floats(t.data()))));
        Fixture {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            tensors: tensors.collect(),
            metadata: header.metadata().clone().unwrap().into_iter().collect(),
        }
    }

    /// Names of all tensors.
    pub(crate) fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    /// The values of a tensor, if it is there.
    pub(crate) fn find(&self, name: &str) -> Option<Vec<f32>> {
        self.tensors.get(name).map(|(_, values)| values.clone())
    }

    /// The values of a tensor.
    pub(crate) fn tensor(&self, name: &str) -> Vec<f32> {
        self.find(name).unwrap_or_else(|| panic!("no tensor {name}"))
    }

    /// A word of the metadata.
    pub(crate) fn word(&self, key: &str) -> &str {
        &self.metadata[key]
    }

    /// A value of the metadata.
    pub(crate) fn attribute<T: FromStr<Err: Debug>>(&self, key: &str) -> T {
        self.word(key).parse().unwrap()
    }

    /// A number of the metadata.
    pub(crate) fn number(&self, key: &str) -> f64 {
        self.attribute(key)
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}
