//! Graphs that people and other programs write: the JSON of a graph with white space, and without what is usual.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::json::{NodeJson, named_nodes, read_op};
use crate::{Graph, GraphError, Normalization, Op, Preprocessing, Verified, infer};

/// A graph as it is described, and how the weights beside it are to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The graph. Classes without names are numbered.
    pub graph: Verified<Graph>,
    /// The order of the axes of weights.
    pub layout: WeightLayout,
    /// What the sign of 0 is.
    pub sign_of_zero: SignOfZero,
}

/// The order of the axes of weights, and of the values of a map that a layer reads as one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WeightLayout {
    /// Convolutions `[O, I, k, k]`; a map is flattened channel by channel: PyTorch, ONNX, MXNet.
    #[default]
    Oihw,
    /// Convolutions `[O, k, k, I]`; a map is flattened pixel by pixel: the files of onebit.
    Ohwi,
}

/// What the sign of 0 is, in activations and in weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SignOfZero {
    /// -1: the bit `x > threshold`.
    #[default]
    Minus,
    /// +1: the bit `x >= threshold`, which is `x > t` for the next smaller float `t`.
    Plus,
}

/// A network of 1-bit convolutions and layers, described for `onebit pack --graph`. The first node is the input, the last gives
/// the logits.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct DescriptionJson {
    /// Where the schema is, for editors.
    #[serde(rename = "$schema", default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    _schema: IgnoredAny,
    /// A name for the network: letters, digits, `.`, `_`, `-`.
    #[serde(default = "custom")]
    arch: String,
    /// What is done to the pixels of an image: `(pixel / 255 - mean) / std`.
    normalization: Normalization,
    /// How an image becomes those pixels.
    #[serde(default)]
    preprocessing: Preprocessing,
    /// Names of the classes, one for each logit; numbers where they are left out.
    classes: Option<Vec<String>>,
    /// The order of the axes of the weights beside this description.
    #[serde(default)]
    layout: WeightLayout,
    /// What the sign of 0 is, in activations and in weights.
    #[serde(default)]
    sign_of_zero: SignOfZero,
    /// Operations in the order in which they are computed.
    nodes: Vec<DescribedNode>,
}

/// One operation applied to earlier nodes.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct DescribedNode {
    /// Its own, and the start of the names of its tensors: `NAME.weight`.
    name: String,
    /// What it computes.
    #[serde(deserialize_with = "read_op")]
    #[cfg_attr(feature = "schema", schemars(with = "DescribedOp"))]
    op: Op,
    /// Names of the earlier nodes that it reads; the one before where they are left out.
    inputs: Option<Vec<String>>,
}

/// An operation; a batch normalization with PyTorch's eps of 1e-5 is its name alone.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it stands for what `read_op` takes")]
enum DescribedOp {
    Op(Op),
    Usual(UsualOp),
}

#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "it stands for what `read_op` takes")]
enum UsualOp {
    BatchNorm,
}

fn custom() -> String {
    "custom".to_string()
}

impl Description {
    /// Reads a description: JSON, without comments.
    ///
    /// # Errors
    /// No such JSON, or a graph that breaks a rule.
    pub fn from_json(text: &str) -> Result<Self, GraphError> {
        let json: DescriptionJson =
            serde_json::from_str(text).map_err(|e| GraphError::Json(e.to_string()))?;
        let mut before: Option<String> = None;
        let nodes = json.nodes.into_iter().map(|node| {
            let usual = |name| if matches!(node.op, Op::Input { .. }) { None } else { name };
            let inputs = match node.inputs {
                Some(inputs) => inputs,
                None => usual(before.take()).into_iter().collect(),
            };
            before = Some(node.name.clone());
            NodeJson { name: node.name, op: node.op, inputs }
        });
        let nodes = nodes.collect();
        let mut graph = Graph {
            arch: json.arch,
            normalization: json.normalization,
            preprocessing: json.preprocessing,
            classes: json.classes.unwrap_or_default(),
            nodes: named_nodes(nodes)?,
        };
        if graph.classes.is_empty() {
            let logits = infer::shapes(&graph)?.last().map_or(0, |shape| shape.len());
            graph.classes = numbered(logits)?;
        }
        let graph = Verified::<Graph>::new(graph)?;
        Ok(Description { graph, layout: json.layout, sign_of_zero: json.sign_of_zero })
    }

    /// The graph with other names of classes.
    ///
    /// # Errors
    /// Not one valid name for each logit.
    pub fn with_classes(self, classes: Vec<String>) -> Result<Self, GraphError> {
        let graph = Graph { classes, ..self.graph.into_inner() };
        Ok(Description { graph: Verified::<Graph>::new(graph)?, ..self })
    }
}

/// Numbers as names of classes; a network of too many outputs is refused before they are made.
///
/// # Errors
/// More than [`MAX_CLASSES`](crate::limits::MAX_CLASSES).
pub fn numbered(logits: usize) -> Result<Vec<String>, GraphError> {
    match logits > crate::limits::MAX_CLASSES {
        true => Err(GraphError::Classes { classes: 0, outputs: logits }),
        false => Ok((0..logits).map(|class| class.to_string()).collect()),
    }
}

/// The JSON schema (draft 2020-12) of a description: what an editor needs to complete and check one.
#[cfg(feature = "schema")]
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(DescriptionJson);
    schema.insert("title".into(), "onebit graph".into());
    schema.to_value()
}
