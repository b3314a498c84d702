//! The part of a network in front of one of its values.

use alloc::vec;
use alloc::vec::Vec;

use onebit_model::{Graph, Model, Node, NodeId, Shape};

/// The nodes that lead to the value of `output`, which is the last one of what is returned, with their parameters and
/// shapes. The classes stay those of the whole network.
pub(crate) fn front(model: &Model, shapes: &[Shape], output: NodeId) -> (Model, Vec<Shape>) {
    let all = &model.graph.nodes;
    let mut is_needed = vec![false; all.len()];
    // The image is the first node of every graph.
    is_needed[0] = true;
    is_needed[output.0] = true;
    for (id, node) in all.iter().enumerate().rev() {
        if is_needed[id] {
            node.inputs.iter().for_each(|input| is_needed[input.0] = true);
        }
    }
    let mut places = vec![NodeId(0); all.len()];
    let mut nodes = Vec::new();
    for (id, node) in all.iter().enumerate().filter(|(id, _)| is_needed[*id]) {
        places[id] = NodeId(nodes.len());
        let inputs = node.inputs.iter().map(|input| places[input.0]).collect();
        nodes.push(Node { inputs, ..node.clone() });
    }
    let is_of = |tensor: &str| {
        tensor.rsplit_once('.').is_some_and(|(name, _)| nodes.iter().any(|node| node.name == name))
    };
    let tensors = model.tensors.iter().filter(|(name, _)| is_of(name));
    let tensors = tensors.map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
    let graph = Graph { nodes, ..model.graph.clone() };
    let kept = shapes.iter().zip(&is_needed).filter(|(_, is_needed)| **is_needed);
    let shapes = kept.map(|(shape, _)| *shape).collect();
    (Model { graph, tensors, origin: model.origin.clone() }, shapes)
}
