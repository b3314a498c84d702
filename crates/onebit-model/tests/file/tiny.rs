//! The model whose file `docs/format.md` shows byte for byte.

use onebit_model::{
    Data, Geometry, Graph, Model, Node, NodeId, Normalization, Op, Origin, PadValue, Preprocessing,
    Tensor, Threshold, Verified, WeightScale,
};

/// Two channels of 2x2 pixels, sign, one binary 2x2 convolution of two outputs, affine.
pub(crate) fn tiny_model() -> Verified<Model> {
    let geometry = Geometry { out_channels: 2, kernel: 2, stride: 1, padding: 0, groups: 1 };
    let conv = Op::ConvBin { geometry, pad: PadValue::Zero, scale: WeightScale::None };
    let ops = [
        ("input", Op::Input { channels: 2, height: 2, width: 2 }),
        ("sign", Op::Sign { threshold: Threshold::Static }),
        ("conv", conv),
        ("affine", Op::Affine),
    ];
    let nodes = ops.into_iter().enumerate().map(|(i, (name, op))| {
        let inputs = i.checked_sub(1).map(NodeId).into_iter().collect();
        Node { name: name.to_string(), op, inputs }
    });
    let graph = Graph {
        arch: "tiny".to_string(),
        normalization: Normalization { mean: vec![0.5, 0.5], std: vec![0.25, 0.25] },
        preprocessing: Preprocessing::default(),
        classes: vec!["cat".to_string(), "dog".to_string()],
        nodes: nodes.collect(),
    };
    let floats = |values: &[f32]| Tensor { shape: vec![2], data: Data::F32(values.to_vec()) };
    let words = vec![0b01, 0b10, 0b11, 0b00, 0b11, 0b01, 0b00, 0b10];
    let tensors = [
        ("sign.threshold", floats(&[0.0, -0.5])),
        ("conv.weight", Tensor { shape: vec![2, 2, 2, 1], data: Data::U64(words) }),
        ("affine.scale", floats(&[0.25, -0.125])),
        ("affine.shift", floats(&[1.0, 2.0])),
    ];
    let tensors = tensors.map(|(name, tensor)| (name.to_string(), tensor)).into();
    Verified::<Model>::new(Model { graph, tensors, origin: Origin::default() }).unwrap()
}
