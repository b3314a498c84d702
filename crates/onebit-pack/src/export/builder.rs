//! The nodes and constants of an ONNX graph, one after the other.

use crate::onnx_proto::{
    ATTRIBUTE_INT, ATTRIBUTE_INTS, AttributeProto, DimensionProto, FLOAT, GraphProto, INT64,
    NodeProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

/// Nodes and constants of an ONNX graph.
#[derive(Default)]
pub(super) struct Builder {
    node: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
}

impl Builder {
    /// Appends a node; it and its only output are called `name`, which is returned.
    pub(super) fn node(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        name: String,
        attribute: Vec<AttributeProto>,
    ) -> String {
        self.nodes(op_type, inputs, name.clone(), vec![name.clone()], attribute);
        name
    }

    /// Appends a node with several outputs.
    pub(super) fn nodes(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        name: String,
        output: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) {
        let input = inputs.iter().map(|&input| input.to_owned()).collect();
        let (op_type, domain) = (op_type.to_owned(), String::new());
        self.node.push(NodeProto { input, output, name, op_type, attribute, domain });
    }

    /// Adds a constant of float32; returns its name.
    pub(super) fn floats(
        &mut self,
        name: String,
        dims: &[usize],
        values: impl Iterator<Item = f32>,
    ) -> String {
        self.constant(name, FLOAT, dims, values.flat_map(f32::to_le_bytes).collect())
    }

    /// Adds a constant vector of int64, such as a shape; returns its name.
    pub(super) fn ints(&mut self, name: String, values: &[i64]) -> String {
        let raw_data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(name, INT64, &[values.len()], raw_data)
    }

    /// Adds a number that several nodes share, where it is not there yet; returns its name.
    pub(super) fn scalar(&mut self, name: &str, value: f32) -> String {
        if !self.initializer.iter().any(|known| known.name == name) {
            self.floats(name.to_owned(), &[], [value].into_iter());
        }
        name.to_owned()
    }

    fn constant(
        &mut self,
        name: String,
        data_type: i32,
        dims: &[usize],
        raw_data: Vec<u8>,
    ) -> String {
        let dims = dims.iter().map(|&extent| extent as i64).collect();
        let tensor =
            TensorProto { dims, data_type, name: name.clone(), raw_data, ..Default::default() };
        self.initializer.push(tensor);
        name
    }

    /// Number of nodes.
    pub(super) fn len(&self) -> usize {
        self.node.len()
    }

    /// The graph; `input` and `output` are names and extents behind the batch `N`.
    pub(super) fn finish(
        self,
        name: String,
        input: (&str, &[usize]),
        output: (&str, &[usize]),
    ) -> GraphProto {
        GraphProto {
            node: self.node,
            name,
            initializer: self.initializer,
            input: vec![batch_of(input.0, input.1)],
            output: vec![batch_of(output.0, output.1)],
        }
    }
}

/// An integer attribute.
pub(super) fn int(name: &str, value: usize) -> AttributeProto {
    let (name, i) = (name.to_owned(), Some(value as i64));
    AttributeProto { name, i, r#type: ATTRIBUTE_INT, ..Default::default() }
}

/// An attribute that is a list of integers.
pub(super) fn ints(name: &str, values: &[usize]) -> AttributeProto {
    let ints = values.iter().map(|&value| value as i64).collect();
    AttributeProto { name: name.to_owned(), ints, r#type: ATTRIBUTE_INTS, ..Default::default() }
}

fn batch_of(name: &str, extents: &[usize]) -> ValueInfoProto {
    let batch = DimensionProto { dim_value: None, dim_param: Some("N".to_owned()) };
    let extents = extents
        .iter()
        .map(|&extent| DimensionProto { dim_value: Some(extent as i64), dim_param: None });
    let shape = TensorShapeProto { dim: [batch].into_iter().chain(extents).collect() };
    let tensor = TensorTypeProto { elem_type: FLOAT, shape: Some(shape) };
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}
