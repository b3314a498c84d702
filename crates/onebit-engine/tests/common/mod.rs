//! Random lowered models, and engines to run them.
#![allow(dead_code, clippy::unwrap_used, reason = "helpers of tests; each test uses a part")]

pub(crate) mod hostile;
pub(crate) mod interpret;

use std::collections::BTreeMap;

use onebit_engine::{Engine, Isa, Options};
use onebit_model::arch::Task;
use onebit_model::{
    Data, Graph, Model, Node, NodeId, Op, Origin, Preprocessing, Shape, Tensor, Verified,
    WeightScale, bits, infer, op, packed_shape, row_scale,
};
pub(crate) use onebit_testing::Random;

/// A graph of `nodes` with as many classes as its last node has outputs.
pub(crate) fn graph(nodes: Vec<(&str, Op, &[usize])>) -> Graph {
    let nodes = nodes.into_iter().map(|(name, op, inputs)| Node {
        name: name.into(),
        op,
        inputs: inputs.iter().map(|&i| NodeId(i)).collect(),
    });
    let mut graph = Graph {
        arch: "test".into(),
        normalization: Task::unnamed([1, 1, 1], 1).normalization,
        preprocessing: Preprocessing::default(),
        classes: Vec::new(),
        nodes: nodes.collect(),
    };
    let [channels, ..] = graph.input_shape();
    graph.normalization = Task::unnamed([channels, 1, 1], 1).normalization;
    let outputs = infer::shapes(&graph).unwrap().last().unwrap().len();
    graph.classes = (0..outputs).map(|i| i.to_string()).collect();
    graph
}

/// A trained graph lowered with random tensors: batch normalization becomes affine, scales disappear.
pub(crate) fn lowered(graph: &Graph, random: &mut Random) -> Verified<Model> {
    let mut graph = graph.clone();
    for node in &mut graph.nodes {
        match &mut node.op {
            op @ Op::BatchNorm { .. } => *op = Op::Affine,
            Op::ConvBin { scale, .. } | Op::LinearBin { scale, .. } => *scale = WeightScale::None,
            _ => {}
        }
    }
    let shapes = infer::shapes(&graph).unwrap();
    let mut tensors = BTreeMap::new();
    for (id, node) in graph.nodes.iter().enumerate() {
        for param in graph.params(NodeId(id), &shapes) {
            let tensor = match param.role {
                op::Role::Binary => random_bits(&param.shape, random),
                op::Role::Int8 => {
                    let name = row_scale(&node.param_name(param.suffix));
                    let data = Data::F32(random.floats(param.shape[0], 0.0005, 0.003));
                    tensors.insert(name, Tensor { shape: vec![param.shape[0]], data });
                    random_integers(&param.shape, random)
                }
                _ => random_floats(&graph, &shapes, node, &param, random),
            };
            tensors.insert(node.param_name(param.suffix), tensor);
        }
    }
    Verified::<Model>::new(Model { graph, tensors, origin: Origin::default() }).unwrap()
}

fn random_bits(shape: &[usize], random: &mut Random) -> Tensor {
    let channels = *shape.last().unwrap();
    let stored = packed_shape(shape);
    let mut words: Vec<u64> = (0..stored.iter().product()).map(|_| random.next()).collect();
    for tap in words.chunks_mut(bits::words(channels)) {
        *tap.last_mut().unwrap() &= bits::tail_mask(channels);
    }
    Tensor { shape: stored, data: Data::U64(words) }
}

fn random_integers(shape: &[usize], random: &mut Random) -> Tensor {
    let integers = (0..shape.iter().product()).map(|_| random.next() as i8);
    Tensor { shape: shape.to_vec(), data: Data::I8(integers.collect()) }
}

/// Values that keep every activation near unit size.
fn random_floats(
    graph: &Graph,
    shapes: &[Shape],
    node: &Node,
    param: &op::Param,
    random: &mut Random,
) -> Tensor {
    let fan_in = |node: &Node| match node.op {
        Op::ConvBin { geometry, .. } | Op::Conv { geometry } => {
            let channels = shapes[node.inputs[0].0].channels;
            geometry.weight_shape(channels)[1..].iter().product()
        }
        Op::Linear { .. } | Op::LinearBin { .. } | Op::HyperHead { .. } => {
            shapes[node.inputs[0].0].len()
        }
        _ => 1,
    };
    let source = &graph.nodes[node.inputs[0].0];
    let (low, high) = match (&node.op, param.suffix) {
        (Op::Conv { .. } | Op::Linear { .. }, "weight") => {
            let bound = (3.0 / fan_in(node) as f32).sqrt();
            (-bound, bound)
        }
        (Op::Affine, "scale") => {
            let size = match source.op {
                Op::ConvBin { .. } | Op::LinearBin { .. } => 1.0 / (fan_in(source) as f32).sqrt(),
                _ => 1.0,
            };
            (-1.2 * size, 1.2 * size)
        }
        (_, op::INPUT_SCALE) => (0.006, 0.02),
        (_, op::INPUT_OFFSET) => (100.0, 155.0),
        (_, "slope_pos") => (0.5, 1.5),
        (_, "slope_neg") => (-0.1, 0.5),
        _ => (-0.4, 0.4),
    };
    Tensor { shape: param.shape.clone(), data: Data::F32(random.floats(param.len(), low, high)) }
}

/// Logits and the packed bits of every sign.
pub(crate) fn observe(engine: &Engine, image: &[f32]) -> (Vec<f32>, BTreeMap<String, Vec<u64>>) {
    let mut signs = BTreeMap::new();
    let mut logits = vec![f32::NAN; engine.classes()];
    let mut scratch = engine.scratch().unwrap();
    let mut observer = |name: &str, words: &[u64]| {
        assert!(signs.insert(name.to_string(), words.to_vec()).is_none());
    };
    engine.run_observed(image, &mut logits, &mut scratch, &mut observer).unwrap();
    (logits, signs)
}

/// Logits.
pub(crate) fn run(engine: &Engine, image: &[f32]) -> Vec<f32> {
    let mut logits = vec![f32::NAN; engine.classes()];
    engine.run(image, &mut logits, &mut engine.scratch().unwrap()).unwrap();
    logits
}

/// An engine for the model's own image size.
pub(crate) fn engine(model: &Verified<Model>, isa: Isa) -> Engine {
    Engine::new(model, Options { isa: Some(isa), ..Options::default() }).unwrap()
}

/// Instruction sets to test: all that this CPU and this build have. The environment variable
/// `ONEBIT_REQUIRE_ISA` lists, with commas, those that must be among them.
pub(crate) fn isas() -> Vec<Isa> {
    let available = Isa::available();
    for name in std::env::var("ONEBIT_REQUIRE_ISA").unwrap_or_default().split_terminator(',') {
        let found = Isa::from_name(name).is_some_and(|isa| available.contains(&isa));
        assert!(found, "ONEBIT_REQUIRE_ISA: this CPU or this build lacks `{name}`");
    }
    available
}

/// The plainer instruction set that rounds like `isa`, whose floats it must have bit for bit.
pub(crate) fn definition(isa: Isa) -> Isa {
    match isa {
        Isa::Portable | Isa::Simd128 => Isa::Portable,
        _ => Isa::Reference,
    }
}
