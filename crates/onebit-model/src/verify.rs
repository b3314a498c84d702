//! The proof that a graph keeps the rules.

use alloc::collections::BTreeSet;
use alloc::vec;
use core::ops::Deref;

use crate::infer::{self, Element, Shape};
use crate::{Graph, GraphError, Node, Op, limits};

/// A value whose rules have been checked. The engine and the trainer accept nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Only for checks in this crate that have just succeeded.
    pub(crate) fn assume(value: T) -> Self {
        Verified(value)
    }

    /// Gives up the proof, to change the value.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl Verified<Graph> {
    /// Checks names, order, arities, shapes, sizes, classes, normalization and preprocessing.
    ///
    /// # Errors
    /// The first defect found.
    pub fn new(graph: Graph) -> Result<Self, GraphError> {
        check_names(&graph)?;
        check_input(&graph)?;
        let shapes = infer::shapes(&graph)?;
        check_used(&graph)?;
        check_classes(&graph, &shapes)?;
        check_normalization(&graph)?;
        graph.preprocessing.check(graph.input_shape())?;
        Ok(Verified(graph))
    }
}

fn check_names(graph: &Graph) -> Result<(), GraphError> {
    if graph.nodes.len() > limits::MAX_NODES {
        return Err(GraphError::TooManyNodes(graph.nodes.len()));
    }
    let mut seen = BTreeSet::new();
    let names = graph.nodes.iter().map(|node| &node.name);
    for name in names.chain([&graph.arch]) {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > limits::MAX_NAME_BYTES || !name.bytes().all(plain) {
            return Err(GraphError::BadName(name.clone()));
        }
    }
    match graph.nodes.iter().find(|node| !seen.insert(&node.name)) {
        Some(node) => Err(GraphError::DuplicateName(node.name.clone())),
        None => Ok(()),
    }
}

fn check_input(graph: &Graph) -> Result<(), GraphError> {
    let is_input = |node: &Node| matches!(node.op, Op::Input { .. });
    let (first, rest) = graph.nodes.split_first().ok_or(GraphError::Empty)?;
    if !is_input(first) {
        return Err(GraphError::MisplacedInput(first.name.clone()));
    }
    match rest.iter().find(|node| is_input(node)) {
        Some(node) => Err(GraphError::MisplacedInput(node.name.clone())),
        None => Ok(()),
    }
}

fn check_used(graph: &Graph) -> Result<(), GraphError> {
    let mut used = vec![false; graph.nodes.len()];
    for id in graph.nodes.iter().flat_map(|node| &node.inputs) {
        used[id.0] = true;
    }
    used.pop();
    match used.iter().position(|used| !used) {
        Some(unused) => Err(GraphError::Unused(graph.nodes[unused].name.clone())),
        None => Ok(()),
    }
}

fn check_classes(graph: &Graph, shapes: &[Shape]) -> Result<(), GraphError> {
    if let (Some(node), Some(Shape { element: Element::Bit, .. })) =
        (graph.nodes.last(), shapes.last())
    {
        return Err(GraphError::BitLogits(node.name.clone()));
    }
    let outputs = shapes.last().map_or(0, |shape| shape.len());
    if graph.classes.len() != outputs || outputs > limits::MAX_CLASSES {
        return Err(GraphError::Classes { classes: graph.classes.len(), outputs });
    }
    graph.classes.iter().try_for_each(|name| check_class_name(name))
}

/// Refuses a name that no class of a network can have.
///
/// # Errors
/// [`GraphError::BadClassName`]: an empty name, a long one, or one with control characters.
pub fn check_class_name(name: &str) -> Result<(), GraphError> {
    let empty_or_long = !(1..=limits::MAX_CLASS_NAME_BYTES).contains(&name.len());
    match empty_or_long || name.chars().any(char::is_control) {
        true => Err(GraphError::BadClassName(name.into())),
        false => Ok(()),
    }
}

fn check_normalization(graph: &Graph) -> Result<(), GraphError> {
    let channels = graph.input_shape()[0];
    match graph.normalization.fits(channels) {
        true => Ok(()),
        false => Err(GraphError::Normalization(channels)),
    }
}
