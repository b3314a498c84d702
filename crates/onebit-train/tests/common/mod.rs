//! Reads the PyTorch fixtures.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;

/// One fixture file.
pub(crate) struct Fixture {
    bytes: Vec<u8>,
    metadata: HashMap<String, String>,
}

impl Fixture {
    /// Reads `tests/fixtures/<name>.safetensors`.
    pub(crate) fn read(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let path = folder.join(format!("{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap();
        Fixture { bytes, metadata }
    }

    /// Names of all tensors.
    pub(crate) fn names(&self) -> Vec<String> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        file.names().into_iter().map(ToString::to_string).collect()
    }

    /// The values of a tensor, if it is there.
    pub(crate) fn find(&self, name: &str) -> Option<Vec<f32>> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).ok()?;
        Some(tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    /// The values of a tensor.
    pub(crate) fn tensor(&self, name: &str) -> Vec<f32> {
        self.find(name).unwrap_or_else(|| panic!("no tensor {name}"))
    }

    /// A word of the metadata.
    pub(crate) fn word(&self, key: &str) -> &str {
        &self.metadata[key]
    }

    /// A number of the metadata.
    pub(crate) fn number(&self, key: &str) -> f64 {
        self.word(key).parse().unwrap()
    }
}
