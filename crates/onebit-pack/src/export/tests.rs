//! What every exported file keeps to.

use std::collections::BTreeSet;

use onebit_model::arch::{self, Config, Method, Task};
use onebit_model::{Model, Normalization, PadValue, Verified, bits};
use onebit_testing::{Random, balanced_weights};
use prost::Message;

use super::{IR_VERSION, MAX_ONNX_BYTES, OPSET, to_onnx};
use crate::onnx_proto::{FLOAT, GraphProto, ModelProto, ValueInfoProto};
use crate::{PackError, lower};

const INPUT: [usize; 3] = [2, 8, 8];

fn model(arch: &str, change: impl Fn(&mut Config)) -> Verified<Model> {
    let mut config = Config::new(arch, Method::Dybnn);
    change(&mut config);
    let normalization = Normalization { mean: vec![0.485, 0.5], std: vec![0.229, 1e-7] };
    let classes = vec!["\"a\", b".to_owned(), "c".to_owned()];
    let task = Task { input: INPUT, classes, normalization };
    lower(&balanced_weights(arch::build(&config, &task).unwrap(), &mut Random(1))).unwrap()
}

fn small() -> Verified<Model> {
    model("resnet-small", |c| {
        (c.widths, c.blocks) = (Some(vec![4, 8]), Some(vec![1, 1]));
        (c.groups, c.padding) = (Some(2), PadValue::One);
    })
}

fn graph(model: &Verified<Model>) -> GraphProto {
    let onnx = to_onnx(model, None).unwrap();
    let graph = ModelProto::decode(onnx.bytes.as_slice()).unwrap().graph.unwrap();
    assert_eq!(graph.node.len(), onnx.nodes);
    graph
}

#[test]
fn the_file_says_what_it_is() {
    let onnx = to_onnx(&small(), None).unwrap();
    let file = ModelProto::decode(onnx.bytes.as_slice()).unwrap();
    assert_eq!((onnx.input, file.ir_version), (INPUT, Some(IR_VERSION)));
    assert_eq!((file.producer_name, file.opset_import.len()), ("onebit".to_owned(), 1));
    assert_eq!(file.producer_version, env!("CARGO_PKG_VERSION"));
    let opset = &file.opset_import[0];
    assert_eq!((opset.domain.as_deref(), opset.version), (Some(""), Some(OPSET)));
    let metadata = file.metadata_props.iter().map(|entry| (&*entry.key, &*entry.value));
    let expected = [
        ("arch", "resnet-small"),
        ("mean", "[0.485, 0.5]"),
        ("std", "[0.229, 1e-7]"),
        ("classes", r#"["\"a\", b","c"]"#),
    ];
    assert!(metadata.eq(expected), "{:?}", file.metadata_props);
}

#[test]
fn input_and_output_are_batches() {
    let graph = graph(&small());
    let extents = |value: &ValueInfoProto| {
        let tensor = value.r#type.clone().unwrap().tensor_type.unwrap();
        assert_eq!(tensor.elem_type, FLOAT);
        let mut dims = tensor.shape.unwrap().dim;
        let batch = dims.remove(0);
        assert_eq!((batch.dim_param.as_deref(), batch.dim_value), (Some("N"), None));
        dims.iter().map(|dim| dim.dim_value.unwrap()).collect::<Vec<_>>()
    };
    let ([input], [output]) = (&*graph.input, &*graph.output) else { panic!("{:?}", graph.input) };
    assert_eq!((&*input.name, extents(input)), ("input", vec![2, 8, 8]));
    assert_eq!((&*output.name, extents(output)), ("logits", vec![2]));
}

#[test]
fn every_value_is_computed_once_and_before_it_is_read() {
    let graph = graph(&small());
    let mut known: BTreeSet<&str> = ["input"].into();
    for constant in &graph.initializer {
        assert!(known.insert(&constant.name), "{}", constant.name);
        let size = if constant.data_type == FLOAT { 4 } else { 8 };
        let elements: i64 = constant.dims.iter().product();
        assert_eq!(constant.raw_data.len(), size * elements as usize, "{}", constant.name);
    }
    let mut names = BTreeSet::new();
    let mut read = BTreeSet::new();
    for node in &graph.node {
        assert!(names.insert(&node.name), "{}", node.name);
        for input in &node.input {
            assert!(known.contains(&**input), "{} reads {input}", node.name);
            read.insert(&**input);
        }
        for output in &node.output {
            assert!(known.insert(output), "{output}");
        }
    }
    read.insert("logits");
    assert_eq!(known, read, "a constant or value that nothing reads");
}

#[test]
fn binary_weights_are_plus_and_minus_one_by_channel() {
    let model = small();
    let graph = graph(&model);
    let name = "stage2.0.conv";
    let weight = graph.initializer.iter().find(|t| t.name == format!("{name}/weight")).unwrap();
    assert_eq!(weight.dims, [8, 2, 3, 3]);
    let (floats, _) = weight.raw_data.as_chunks::<4>();
    let node = model.graph.nodes.iter().find(|node| node.name == name).unwrap();
    let mut taps = model.words(node, "weight").iter();
    for o in 0..8 {
        for tap in 0..9 {
            let word = taps.next().unwrap();
            for i in 0..2 {
                let float = f32::from_le_bytes(floats[(o * 2 + i) * 9 + tap]);
                assert_eq!(float, bits::value(&[*word], i), "{o} {i} {tap}");
            }
        }
    }
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    assert_eq!(to_onnx(&small(), None).unwrap(), to_onnx(&small(), Some(INPUT)).unwrap());
}

#[test]
fn a_size_that_the_network_does_not_take_is_refused() {
    let error = to_onnx(&small(), Some([3, 8, 8])).unwrap_err().to_string();
    assert!(error.starts_with("the network does not take 3x8x8 images: "), "{error}");
    let vgg = model("vgg-small", |c| c.widths = Some(vec![4, 8]));
    let error = to_onnx(&vgg, Some([2, 8, 12])).unwrap_err().to_string();
    let expected = "the network does not take 2x8x12 images: node `fc`: it takes 128 values, of images of 2x8x12 there \
                    are 192: this network takes images of its own size";
    assert_eq!(error, expected);
}

#[test]
fn a_network_too_large_for_protobuf_is_refused() {
    assert!(super::onnx::check_bytes(MAX_ONNX_BYTES).is_ok());
    let error = super::onnx::check_bytes(MAX_ONNX_BYTES + 1).unwrap_err();
    assert!(matches!(error, PackError::ExportTooLarge { .. }), "{error}");
}
