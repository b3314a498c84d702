//! Trained models, and their files.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::FileError;
use super::container::{self, ByteSource, Container, Kind};
use super::packed::{graph_metadata, graph_of, graph_version};
use crate::{Data, Graph, ModelError, Node, Op, Tensor, Verified, infer};

/// A trained model, before it is packed: a graph as trained and the real values of all its parameters and statistics, by
/// full name. What lowering makes of it is the packed [`Model`](crate::Model).
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// The graph that was trained.
    pub graph: Graph,
    /// One F32 tensor, in its logical shape, for each parameter of each node.
    pub tensors: BTreeMap<String, Tensor>,
}

impl Verified<Weights> {
    /// Checks the graph, and that the tensors are exactly those it needs, finite, in their logical shapes.
    ///
    /// # Errors
    /// The first defect found.
    pub fn new(weights: Weights) -> Result<Self, ModelError> {
        let graph = Verified::<Graph>::new(weights.graph)?;
        let shapes = infer::shapes(&graph)?;
        let mut known = BTreeSet::new();
        for (id, node) in graph.ids().zip(&graph.nodes) {
            if matches!(node.op, Op::ConvI8 { .. } | Op::LinearI8 { .. }) {
                let (node, op) = (node.name.clone(), node.op.name());
                return Err(ModelError::NotTrained { node, op });
            }
            for param in graph.params(id, &shapes) {
                let name = node.param_name(param.suffix);
                check(&name, weights.tensors.get(&name), &param.shape)?;
                known.insert(name);
            }
        }
        if let Some(extra) = weights.tensors.keys().find(|name| !known.contains(*name)) {
            return Err(ModelError::ExtraTensor(extra.clone()));
        }
        Ok(Verified::assume(Weights { graph: graph.into_inner(), tensors: weights.tensors }))
    }

    /// Values of the tensor `suffix` of `node`; empty when the node has no such tensor.
    #[must_use]
    pub fn floats(&self, node: &Node, suffix: &str) -> &[f32] {
        match self.tensors.get(&node.param_name(suffix)) {
            Some(Tensor { data: Data::F32(values), .. }) => values,
            _ => &[],
        }
    }
}

fn check(name: &str, tensor: Option<&Tensor>, shape: &[usize]) -> Result<(), ModelError> {
    let tensor = tensor.ok_or_else(|| ModelError::MissingTensor(name.into()))?;
    let len = shape.iter().try_fold(1usize, |n, &e| n.checked_mul(e));
    match &tensor.data {
        Data::F32(values) if tensor.shape == shape && len == Some(values.len()) => {
            let finite = values.iter().all(|v| v.is_finite());
            if finite { Ok(()) } else { Err(ModelError::NotFinite(name.into())) }
        }
        data => Err(ModelError::WrongTensor {
            name: name.into(),
            found: format!("{} {:?}", data.dtype(), tensor.shape),
            expected: format!("F32 {shape:?}"),
        }),
    }
}

/// The bytes of a checkpoint's `weights.safetensors`.
///
/// # Errors
/// A header above the limit (a graph with very many nodes or class names).
pub fn write_weights(weights: &Verified<Weights>) -> Result<Vec<u8>, FileError> {
    let version = graph_version(&weights.graph);
    container::write(Kind::Weights, version, &graph_metadata(&weights.graph)?, &weights.tensors)
}

/// Reads a checkpoint's `weights.safetensors`.
///
/// # Errors
/// Anything but the bytes that [`write_weights`] gives for some weights.
pub fn read_weights(bytes: &[u8]) -> Result<Verified<Weights>, FileError> {
    read_weights_from(bytes)
}

/// [`read_weights`] of bytes that need not be in memory all at once.
///
/// # Errors
/// Like [`read_weights`], or they cannot be read.
pub fn read_weights_from<S: ByteSource>(source: S) -> Result<Verified<Weights>, S::Error> {
    let Container { version, metadata, tensors } = container::read_from(Kind::Weights, source)?;
    let graph = graph_of(metadata)?;
    let expected = graph_version(&graph);
    if version != expected {
        return Err(FileError::OtherVersion { found: version, expected }.into());
    }
    Ok(Verified::<Weights>::new(Weights { graph, tensors }).map_err(FileError::from)?)
}
