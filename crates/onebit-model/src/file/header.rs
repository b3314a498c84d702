//! The JSON header of a file.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::FileError;
use crate::limits;

const METADATA: &str = "__metadata__";

/// The JSON header: metadata, then the tensors in the order of their data.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) tensors: Vec<(String, Entry)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) data_offsets: [usize; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Dtype {
    U64,
    F32,
    I8,
}

impl Dtype {
    pub(super) fn bytes(self) -> usize {
        match self {
            Dtype::U64 => 8,
            Dtype::F32 => 4,
            Dtype::I8 => 1,
        }
    }
}

impl Header {
    /// The metadata alone, whatever else the header holds: enough to know the kind and the version.
    pub(super) fn peek(json: &str) -> Option<BTreeMap<String, String>> {
        #[derive(Deserialize)]
        struct Peek {
            #[serde(rename = "__metadata__")]
            metadata: BTreeMap<String, String>,
        }
        serde_json::from_str::<Peek>(json).ok().map(|peek| peek.metadata)
    }

    pub(super) fn parse(json: &str) -> Result<Self, FileError> {
        let header: Header =
            serde_json::from_str(json).map_err(|e| FileError::Header(e.to_string()))?;
        match header.tensors.len() {
            n if n > limits::MAX_TENSORS => Err(FileError::TooManyTensors(n)),
            _ => Ok(header),
        }
    }

    /// The canonical bytes: compact JSON, padded with spaces to a multiple of 8.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, FileError> {
        let mut bytes = serde_json::to_vec(self).map_err(|e| FileError::Header(e.to_string()))?;
        bytes.resize(bytes.len().next_multiple_of(8), b' ');
        match bytes.len() {
            n if n > limits::MAX_HEADER_BYTES => Err(FileError::HeaderTooLong(n as u64)),
            _ => Ok(bytes),
        }
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.tensors.len() + 1))?;
        map.serialize_entry(METADATA, &self.metadata)?;
        for (name, entry) in &self.tensors {
            map.serialize_entry(name, entry)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of tensors and `__metadata__`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut metadata = None;
        let mut tensors = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                metadata = Some(map.next_value()?);
            } else {
                tensors.push((name, map.next_value()?));
            }
        }
        let metadata = metadata.ok_or_else(|| A::Error::missing_field(METADATA))?;
        Ok(Header { metadata, tensors })
    }
}
