//! Packed models as `.onebit` files.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::FileError;
use super::container::{self, ByteSource, Container, Kind};
use crate::{Graph, Model, Verified};

const GRAPH: &str = "graph";

/// The bytes of a `.onebit` file.
///
/// # Errors
/// A header above the limit (a graph with very many nodes or class names).
pub fn write_model(model: &Verified<Model>) -> Result<Vec<u8>, FileError> {
    container::write(Kind::Model, &graph_metadata(&model.graph)?, &model.tensors)
}

/// Reads a `.onebit` file.
///
/// ```
/// use onebit_model::file;
///
/// # let bytes = include_bytes!("../../tests/file/tiny.onebit");
/// let model = file::read_model(bytes)?; // refused unless every field, size and checksum is right
/// assert_eq!(model.graph.input_shape(), [2, 2, 2]);
/// assert_eq!(model.graph.classes, ["cat", "dog"]);
/// assert_eq!(file::write_model(&model)?, bytes); // one model, one file
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Anything but the bytes that [`write_model`] gives for some model.
pub fn read_model(bytes: &[u8]) -> Result<Verified<Model>, FileError> {
    read_model_from(bytes)
}

/// [`read_model`] of bytes that need not be in memory all at once.
///
/// # Errors
/// Like [`read_model`], or they cannot be read.
pub fn read_model_from<S: ByteSource>(source: S) -> Result<Verified<Model>, S::Error> {
    let Container { metadata, tensors } = container::read_from(Kind::Model, source)?;
    let graph = graph_of(metadata)?;
    Ok(Verified::<Model>::new(Model { graph, tensors }).map_err(FileError::from)?)
}

/// The metadata that a graph becomes.
pub(super) fn graph_metadata(graph: &Graph) -> Result<BTreeMap<String, String>, FileError> {
    let json = graph.to_json()?;
    let again = Graph::from_json(&json)?.to_json()?;
    match container::first_difference(again.as_bytes(), json.as_bytes()) {
        Some(byte) => Err(FileError::NotCanonical { part: GRAPH, byte }),
        None => Ok(BTreeMap::from([(GRAPH.to_string(), json)])),
    }
}

/// The graph in a file's metadata, which must hold nothing else.
pub(super) fn graph_of(mut metadata: BTreeMap<String, String>) -> Result<Graph, FileError> {
    let json = metadata.remove(GRAPH).ok_or(FileError::MissingMetadata(GRAPH))?;
    if let Some((key, _)) = metadata.pop_first() {
        return Err(FileError::UnknownMetadata(key));
    }
    let graph = Graph::from_json(&json)?;
    match container::first_difference(graph.to_json()?.as_bytes(), json.as_bytes()) {
        Some(byte) => Err(FileError::NotCanonical { part: GRAPH, byte }),
        None => Ok(graph),
    }
}
