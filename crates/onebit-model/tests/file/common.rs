//! Models and random weights that the file tests share.

use std::collections::BTreeMap;

use onebit_model::arch::{self, Config, Method, Task};
use onebit_model::file::Weights;
use onebit_model::{
    Data, Geometry, Graph, Model, Node, NodeId, Normalization, Op, PadValue, Tensor, Threshold,
    Verified, WeightScale, infer, op,
};

pub(crate) const METHODS: [Method; 4] =
    [Method::Bireal, Method::Reactnet, Method::Ftbnn, Method::Dybnn];

/// A new seed in every run, printed so that a failure can be repeated with `ONEBIT_TEST_SEED`.
pub(crate) fn random_seed() -> u64 {
    let seed = match std::env::var("ONEBIT_TEST_SEED") {
        Ok(text) => text.parse().expect("ONEBIT_TEST_SEED is a number"),
        Err(_) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.expect("the clock is past 1970").as_nanos() as u64
        }
    };
    println!("ONEBIT_TEST_SEED={seed}");
    seed
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

pub(crate) fn build(method: Method) -> Verified<Graph> {
    let mut config = Config::new("resnet-small", method);
    config.widths = Some(vec![3, 5]);
    config.blocks = Some(vec![1, 1]);
    arch::build(&config, &Task::unnamed([2, 8, 8], 3)).unwrap()
}

pub(crate) fn random_weights(graph: Verified<Graph>, seed: u64) -> Verified<Weights> {
    let mut random = Random(seed);
    let shapes = infer::shapes(&graph).unwrap();
    let mut tensors = BTreeMap::new();
    for (id, node) in graph.ids().zip(&graph.nodes) {
        for param in graph.params(id, &shapes) {
            let statistic = param.role == op::Role::Statistic;
            let value = |r: &mut Random| if statistic { r.float().abs() } else { r.float() };
            let data = Data::F32((0..param.len()).map(|_| value(&mut random)).collect());
            tensors.insert(node.param_name(param.suffix), Tensor { shape: param.shape, data });
        }
    }
    Verified::<Weights>::new(Weights { graph: graph.into_inner(), tensors }).unwrap()
}

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
    Verified::<Model>::new(Model { graph, tensors }).unwrap()
}
