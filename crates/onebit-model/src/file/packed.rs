//! Packed models as `.onebit` files.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::FileError;
use super::container::{self, ByteSource, Container, Kind};
use super::{VERSION, dense};
use crate::op::BATCH_NORM_EPS;
use crate::{Graph, Model, Op, Origin, Verified, limits};

const GRAPH: &str = "graph";
const ORIGIN: &str = "origin";

/// The bytes of a `.onebit` file, of version 1 where that holds the model in as few bytes as version 2.
///
/// # Errors
/// A header above the limit (a graph with very many nodes or class names), or not enough memory.
pub fn write_model(model: &Verified<Model>) -> Result<Vec<u8>, FileError> {
    let mut metadata = graph_metadata(&model.graph)?;
    if version_of(model)? == 1 {
        return container::write(Kind::Model, 1, &metadata, &model.tensors);
    }
    if !model.origin.is_empty() {
        metadata.insert(ORIGIN.to_string(), origin_json(&model.origin)?);
    }
    let mut tensors = BTreeMap::new();
    let binary: BTreeMap<_, _> = dense::binary_params(&model.graph)?.into_iter().collect();
    for (name, tensor) in &model.tensors {
        let tensor = match binary.get(name) {
            Some(param) => dense::to_file(param, tensor)?,
            None => tensor.clone(),
        };
        tensors.insert(name.clone(), tensor);
    }
    container::write(Kind::Model, VERSION, &metadata, &tensors)
}

/// The version of the file that [`write_model`] gives: 1 where that holds everything in as few bytes as version 2.
///
/// # Errors
/// Sizes that cannot be computed, which a verified model does not have.
pub fn version_of(model: &Verified<Model>) -> Result<u32, FileError> {
    let binary = dense::binary_params(&model.graph)?;
    let is_first = graph_version(&model.graph) == 1
        && model.origin.is_empty()
        && !binary.iter().any(|(_, param)| dense::saves(param));
    Ok(if is_first { 1 } else { VERSION })
}

/// The first version whose graphs have everything that this one does.
pub(super) fn graph_version(graph: &Graph) -> u32 {
    let short = graph.classes.iter().all(|name| name.len() <= limits::MAX_NAME_BYTES);
    let is_first = |op: &Op| match op {
        Op::LinearBin { .. } => false,
        Op::BatchNorm { eps } => *eps == BATCH_NORM_EPS,
        Op::Input { .. }
        | Op::Conv { .. }
        | Op::ConvBin { .. }
        | Op::ConvI8 { .. }
        | Op::Affine
        | Op::Sign { .. }
        | Op::Prelu { .. }
        | Op::Add
        | Op::Concat
        | Op::ChannelShuffle { .. }
        | Op::AvgPool { .. }
        | Op::MaxPool { .. }
        | Op::GlobalAvgPool
        | Op::Linear { .. }
        | Op::LinearI8 { .. }
        | Op::HyperTrunk { .. }
        | Op::HyperHead { .. } => true,
    };
    let nodes = graph.nodes.iter().all(|node| is_first(&node.op));
    if graph.preprocessing.is_default() && short && nodes { 1 } else { VERSION }
}

fn origin_json(origin: &Origin) -> Result<String, FileError> {
    serde_json::to_string(origin).map_err(|e| FileError::Header(e.to_string()))
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
/// assert_eq!(file::read_model(&file::write_model(&model)?)?, model);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Anything but the bytes that [`write_model`] gives for some model, or those of its file of version 1.
pub fn read_model(bytes: &[u8]) -> Result<Verified<Model>, FileError> {
    read_model_from(bytes)
}

/// [`read_model`] of bytes that need not be in memory all at once.
///
/// # Errors
/// Like [`read_model`], or they cannot be read.
pub fn read_model_from<S: ByteSource>(source: S) -> Result<Verified<Model>, S::Error> {
    Ok(read_versioned_from(source)?.0)
}

/// [`read_model_from`], with the version of the file.
///
/// # Errors
/// Like [`read_model_from`].
pub fn read_versioned_from<S: ByteSource>(source: S) -> Result<(Verified<Model>, u32), S::Error> {
    let container = container::read_from(Kind::Model, source)?;
    let version = container.version;
    Ok((model_of(container)?, version))
}

fn read_origin(json: &str) -> Result<Origin, FileError> {
    let origin: Origin =
        serde_json::from_str(json).map_err(|e| FileError::Header(e.to_string()))?;
    let canonical = if origin.is_empty() { String::new() } else { origin_json(&origin)? };
    match container::first_difference(canonical.as_bytes(), json.as_bytes()) {
        Some(byte) => Err(FileError::NotCanonical { part: ORIGIN, byte }),
        None => Ok(origin),
    }
}

fn model_of(container: Container) -> Result<Verified<Model>, FileError> {
    let Container { version, mut metadata, mut tensors } = container;
    let mut origin = Origin::default();
    if version > 1
        && let Some(json) = metadata.remove(ORIGIN)
    {
        origin = read_origin(&json)?;
    }
    let graph = graph_of(metadata)?;
    if version > 1 {
        let graph = Verified::<Graph>::new(graph.clone())?;
        for (name, param) in dense::binary_params(&graph)? {
            if let Some(tensor) = tensors.get_mut(&name) {
                *tensor = dense::to_model(&name, &param, tensor)?;
            }
        }
    }
    let needed = graph_version(&graph);
    let model = Verified::<Model>::new(Model { graph, tensors, origin })?;
    let expected = if version == 1 { needed } else { version_of(&model)? };
    match version == expected {
        true => Ok(model),
        false => Err(FileError::OtherVersion { found: version, expected }),
    }
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
