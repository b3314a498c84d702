//! Canonical JSON of a graph: fields in declaration order, no white space, inputs by name.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use core::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::op::BATCH_NORM_EPS;
use crate::{Graph, GraphError, Node, NodeId, Normalization, Op, Preprocessing};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GraphJson {
    arch: String,
    normalization: Normalization,
    #[serde(default, skip_serializing_if = "Preprocessing::is_default")]
    preprocessing: Preprocessing,
    classes: Vec<String>,
    nodes: Vec<NodeJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeJson {
    pub(crate) name: String,
    #[serde(serialize_with = "write_op", deserialize_with = "read_op")]
    pub(crate) op: Op,
    pub(crate) inputs: Vec<String>,
}

/// An operation; a batch normalization of the usual `eps` is its name alone, as in version 1.
fn write_op<S: Serializer>(op: &Op, serializer: S) -> Result<S::Ok, S::Error> {
    match op {
        Op::BatchNorm { eps } if *eps == BATCH_NORM_EPS => serializer.serialize_str(op.name()),
        _ => op.serialize(serializer),
    }
}

pub(crate) fn read_op<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Op, D::Error> {
    struct OpVisitor;

    impl<'de> Visitor<'de> for OpVisitor {
        type Value = Op;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an operation")
        }

        fn visit_str<E: de::Error>(self, name: &str) -> Result<Op, E> {
            let usual = Op::BatchNorm { eps: BATCH_NORM_EPS };
            if name == usual.name() { Ok(usual) } else { Op::deserialize(name.into_deserializer()) }
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Op, A::Error> {
            Op::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_any(OpVisitor)
}

impl Graph {
    /// The canonical JSON: the same graph always gives the same bytes.
    ///
    /// # Errors
    /// An input outside the graph, or a number that JSON cannot hold.
    pub fn to_json(&self) -> Result<String, GraphError> {
        let name = |node: &Node, id: &NodeId| match self.nodes.get(id.0) {
            Some(input) => Ok(input.name.clone()),
            None => {
                Err(GraphError::UnknownInput { node: node.name.clone(), input: id.0.to_string() })
            }
        };
        let nodes = self.nodes.iter().map(|node| {
            let inputs = node.inputs.iter().map(|id| name(node, id)).collect::<Result<_, _>>()?;
            Ok(NodeJson { name: node.name.clone(), op: node.op.clone(), inputs })
        });
        let json = GraphJson {
            arch: self.arch.clone(),
            normalization: self.normalization.clone(),
            preprocessing: self.preprocessing,
            classes: self.classes.clone(),
            nodes: nodes.collect::<Result<_, _>>()?,
        };
        serde_json::to_string(&json).map_err(|e| GraphError::Json(e.to_string()))
    }

    /// Reads the JSON of [`Graph::to_json`]; the result still has to be verified.
    ///
    /// # Errors
    /// Not the JSON of a graph, or an input that names no earlier node.
    pub fn from_json(text: &str) -> Result<Self, GraphError> {
        let json: GraphJson =
            serde_json::from_str(text).map_err(|e| GraphError::Json(e.to_string()))?;
        Ok(Graph {
            arch: json.arch,
            normalization: json.normalization,
            preprocessing: json.preprocessing,
            classes: json.classes,
            nodes: named_nodes(json.nodes)?,
        })
    }
}

/// Nodes whose inputs are positions.
pub(crate) fn named_nodes(nodes: Vec<NodeJson>) -> Result<Vec<Node>, GraphError> {
    let mut ids: BTreeMap<String, NodeId> = BTreeMap::new();
    let mut found = Vec::with_capacity(nodes.len());
    for (position, node) in nodes.into_iter().enumerate() {
        let id = |input: String| match ids.get(&input) {
            Some(&id) => Ok(id),
            None => Err(GraphError::UnknownInput { node: node.name.clone(), input }),
        };
        let inputs = node.inputs.into_iter().map(id).collect::<Result<_, _>>()?;
        if ids.insert(node.name.clone(), NodeId(position)).is_some() {
            return Err(GraphError::DuplicateName(node.name));
        }
        found.push(Node { name: node.name, op: node.op, inputs });
    }
    Ok(found)
}
