//! Models and random weights that the file tests share.

use std::collections::BTreeMap;

use onebit_model::arch::{self, Config, Method, Task};
use onebit_model::file::Weights;
use onebit_model::{
    Data, Graph, HyperRange, Model, Node, NodeId, Op, Origin, Precision, Statistics, Tensor,
    Verified, infer, op,
};

use crate::tiny::tiny_model;

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

/// Two channels, a hyper function of 8-bit integers that gives the two logits.
pub(crate) fn hyper_model() -> Verified<Model> {
    let (statistics, precision) = (Statistics::Mean, Precision::I8);
    let ops = [
        ("input", Op::Input { channels: 2, height: 2, width: 2 }),
        ("trunk", Op::HyperTrunk { statistics, hidden: 3, precision }),
        ("head", Op::HyperHead { outputs: 2, range: HyperRange::Raw, precision }),
    ];
    let nodes = ops.into_iter().enumerate().map(|(i, (name, op))| {
        let inputs = i.checked_sub(1).map(NodeId).into_iter().collect();
        Node { name: name.to_string(), op, inputs }
    });
    let graph = Graph { nodes: nodes.collect(), ..tiny_model().graph.clone() };
    let vector = |len| Tensor { shape: vec![len], data: Data::F32(vec![0.5; len]) };
    let matrix = |rows: usize, columns: usize, first: i16| {
        let values = (0i16..).take(rows * columns).map(|i| (first + 30 * i) as i8);
        Tensor { shape: vec![rows, columns], data: Data::I8(values.collect()) }
    };
    let tensors = [
        ("trunk.weight", matrix(3, 2, -127)),
        ("trunk.weight_scale", vector(3)),
        ("trunk.bias", vector(3)),
        ("head.weight", matrix(2, 3, -80)),
        ("head.weight_scale", vector(2)),
        ("head.bias", vector(2)),
    ];
    let tensors = tensors.map(|(name, tensor)| (name.to_string(), tensor)).into();
    Verified::<Model>::new(Model { graph, tensors, origin: Origin::default() }).unwrap()
}
