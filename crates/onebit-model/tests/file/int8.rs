//! Files with operations of 8-bit integers.

use std::collections::BTreeMap;

use onebit_model::cost::Cost;
use onebit_model::file::container::{self, Kind};
use onebit_model::file::{FileError, read_model, read_weights, write_model};
use onebit_model::{
    Data, Geometry, Graph, GraphError, Model, ModelError, Node, NodeId, Op, Origin, Tensor,
    Verified,
};

use super::tiny::tiny_model;

fn floats(shape: &[usize], value: f32) -> Tensor {
    Tensor { shape: shape.to_vec(), data: Data::F32(vec![value; shape.iter().product()]) }
}

fn integers(shape: &[usize]) -> Tensor {
    let len: usize = shape.iter().product();
    let values = (0i16..).map(|i| (i * 37 - 128) as i8).take(len);
    Tensor { shape: shape.to_vec(), data: Data::I8(values.collect()) }
}

/// A 2x2 convolution of two channels, then a classifier of what it gives.
fn int8_model() -> Verified<Model> {
    let geometry = Geometry { out_channels: 3, kernel: 2, stride: 1, padding: 1, groups: 1 };
    let ops = [
        ("input", Op::Input { channels: 2, height: 2, width: 2 }),
        ("conv", Op::ConvI8 { geometry }),
        ("fc", Op::LinearI8 { out_features: 2 }),
    ];
    let nodes = ops.into_iter().enumerate().map(|(i, (name, op))| {
        let inputs = i.checked_sub(1).map(NodeId).into_iter().collect();
        Node { name: name.to_string(), op, inputs }
    });
    let graph = Graph { nodes: nodes.collect(), ..tiny_model().graph.clone() };
    let tensors = [
        ("conv.weight", integers(&[3, 2, 2, 2])),
        ("conv.weight_scale", floats(&[3], 0.01)),
        ("conv.input_scale", floats(&[2], 0.02)),
        ("conv.input_offset", floats(&[2], 123.675)),
        ("fc.weight", integers(&[2, 27])),
        ("fc.weight_scale", floats(&[2], 0.0)),
        ("fc.bias", floats(&[2], 0.5)),
        ("fc.input_scale", floats(&[3], 1e-30)),
        ("fc.input_offset", floats(&[3], 255.0)),
    ];
    let tensors = tensors.map(|(name, tensor)| (name.to_string(), tensor)).into();
    Verified::<Model>::new(Model { graph, tensors, origin: Origin::default() }).unwrap()
}

/// What a file with right checksums says that differs so from a good one.
fn refusal(change: impl Fn(&mut Model)) -> FileError {
    let mut model = int8_model().into_inner();
    change(&mut model);
    let metadata = BTreeMap::from([("graph".to_string(), model.graph.to_json().unwrap())]);
    read_model(&container::write(Kind::Model, 1, &metadata, &model.tensors).unwrap()).unwrap_err()
}

fn geometry(model: &mut Model) -> &mut Geometry {
    let Op::ConvI8 { geometry } = &mut model.graph.nodes[1].op else { panic!("conv_i8") };
    geometry
}

#[test]
fn it_survives_writing_and_reading_and_is_counted() {
    let model = int8_model();
    let bytes = write_model(&model).unwrap();
    assert_eq!(read_model(&bytes).unwrap(), model);
    assert_eq!(write_model(&read_model(&bytes).unwrap()).unwrap(), bytes);
    let json = model.graph.to_json().unwrap();
    let expected = r#"{"name":"fc","op":{"linear_i8":{"out_features":2}},"inputs":["conv"]}"#;
    assert!(json.contains(expected) && json.contains(r#"{"conv_i8":{"geometry":{"#), "{json}");

    let cost = Cost::of(&model.graph, [2, 2, 2]).unwrap();
    let layer = |i: usize| {
        let layer = &cost.layers[i];
        (layer.float_params, layer.bits(), layer.flops, layer.float_bytes)
    };
    assert_eq!(layer(1), (24, 8, 24 * 9, 24 + 4 * (3 + 2 + 2)));
    assert_eq!(layer(2), (56, 8, 54, 54 + 4 * (2 + 2 + 3 + 3)));
    let stored: usize = model
        .tensors
        .values()
        .map(|tensor| match &tensor.data {
            Data::I8(values) => values.len(),
            data => 4 * data.len(),
        })
        .sum();
    assert_eq!(cost.bytes(), (stored, 0));
}

#[test]
fn steps_and_factors_outside_their_range_are_refused() {
    for (name, bad) in [
        ("conv.input_scale", &[0.0, -0.02, 1e-31, 1e-40, 2e30][..]),
        ("fc.input_scale", &[0.0, f32::MAX]),
        ("conv.input_offset", &[-0.001, 255.001, -1e30]),
        ("fc.input_offset", &[256.0]),
        ("conv.weight_scale", &[-1e-9, 2e28]),
        ("fc.weight_scale", &[-1.0]),
    ] {
        let set = |model: &mut Model, value: f32| {
            let tensor = model.tensors.get_mut(name).unwrap();
            let Data::F32(values) = &mut tensor.data else { panic!("floats") };
            *values.last_mut().unwrap() = value;
        };
        for &bad in bad {
            let error = refusal(|model| set(model, bad));
            let FileError::Model(ModelError::OutOfRange { name: said, value, .. }) = &error else {
                panic!("{name} {bad}: {error}");
            };
            assert_eq!((said.as_str(), *value), (name, bad));
        }
        for bad in [f32::NAN, f32::INFINITY] {
            let error = refusal(|model| set(model, bad));
            assert_eq!(error, FileError::Model(ModelError::NotFinite(name.to_string())));
        }
    }
}

#[test]
fn tensors_need_their_type_and_shape() {
    for (name, tensor) in [
        ("conv.weight", floats(&[3, 2, 2, 2], 0.5)),
        ("conv.weight", integers(&[3, 2, 2, 1])),
        ("conv.input_scale", floats(&[3], 0.5)),
        ("conv.input_offset", integers(&[2])),
        ("fc.input_scale", floats(&[27], 0.5)),
        ("fc.weight_scale", floats(&[2, 1], 0.5)),
    ] {
        let error = refusal(|model| drop(model.tensors.insert(name.to_string(), tensor.clone())));
        assert!(matches!(error, FileError::Model(ModelError::WrongTensor { .. })), "{error}");
    }
    for name in ["conv.weight_scale", "conv.input_scale", "fc.input_offset", "fc.bias"] {
        let error = refusal(|model| drop(model.tensors.remove(name)));
        assert_eq!(error, FileError::Model(ModelError::MissingTensor(name.to_string())));
    }
    let error = refusal(|model| {
        drop(model.tensors.insert("conv.bias".to_string(), floats(&[3], 0.0)));
    });
    assert_eq!(error, FileError::Model(ModelError::ExtraTensor("conv.bias".to_string())));
}

#[test]
fn groups_and_sums_beyond_32_bits_are_refused() {
    let attribute = |error: &FileError| match error {
        FileError::Model(ModelError::Graph(GraphError::BadAttribute { attribute, .. })) => {
            *attribute
        }
        error => panic!("{error}"),
    };
    assert_eq!(attribute(&refusal(|model| geometry(model).groups = 2)), "groups");
    assert_eq!(attribute(&refusal(|model| geometry(model).groups = 0)), "groups");
    let wide = |model: &mut Model, channels| {
        model.graph.nodes[0].op = Op::Input { channels, height: 2, width: 2 };
        model.graph.normalization.mean = vec![0.5; channels];
        model.graph.normalization.std = vec![0.5; channels];
    };
    let products = "number of products of an output";
    assert_eq!(attribute(&refusal(|model| wide(model, 16_385))), products);
    let error = refusal(|model| wide(model, 16_384));
    assert!(matches!(error, FileError::Model(ModelError::WrongTensor { .. })), "{error}");
    let error = refusal(|model| {
        wide(model, 16_385);
        model.graph.nodes.remove(1);
        model.graph.nodes[1].inputs = vec![NodeId(0)];
        model.tensors.retain(|name, _| name.starts_with("fc"));
    });
    assert_eq!(attribute(&error), products);
}

#[test]
fn trained_weights_have_no_such_operation() {
    let model = int8_model();
    let metadata = BTreeMap::from([("graph".to_string(), model.graph.to_json().unwrap())]);
    let bytes = container::write(Kind::Weights, 1, &metadata, &model.tensors).unwrap();
    let error = read_weights(&bytes).unwrap_err();
    assert!(
        matches!(error, FileError::Model(ModelError::NotTrained { op: "conv_i8", .. })),
        "{error}"
    );
}
