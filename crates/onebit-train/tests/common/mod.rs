//! Reads the PyTorch fixtures.

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

    /// The values of a tensor.
    pub(crate) fn tensor(&self, name: &str) -> Vec<f32> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).unwrap();
        let words = tensor.data().chunks_exact(4);
        words.map(|w| f32::from_le_bytes(w.try_into().unwrap())).collect()
    }

    /// A number of the metadata.
    pub(crate) fn number(&self, key: &str) -> f64 {
        self.metadata[key].parse().unwrap()
    }
}
