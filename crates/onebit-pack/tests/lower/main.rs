//! A lowered network computes what the trained one does.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod engine;
mod networks;

use onebit_model::file::Weights;
use onebit_model::file::container::{self, Kind};
use onebit_model::op::BATCH_NORM_EPS;
use onebit_model::quantization::Rows;
use onebit_model::{
    Data, Geometry, Graph, Model, ModelError, Node, NodeId, Normalization, Op, PadValue, Precision,
    Preprocessing, Tensor, Threshold, Verified, WeightScale, quantization,
};
use onebit_pack::{Inspection, PackError, lower};
use onebit_testing::{Random, Signs, forward, packed_params, random_seed};

use networks::{build, configs, random_weights};

/// Rounding of folded constants to f32, relative to the largest value that takes part.
const TOLERANCE: f64 = 1e-5;

#[test]
fn every_option_computes_the_same_lowered_and_unlowered() {
    let mut random = Random(random_seed());
    for config in configs(&mut random) {
        let weights = random_weights(build(&config), &mut random);
        let model = lower(&weights).unwrap();
        let image: Vec<f64> = (0..2 * 8 * 8).map(|_| f64::from(random.float())).collect();
        assert_same(&weights, &model, &image, &format!("{config:?}"));
    }
}

fn assert_same(weights: &Verified<Weights>, model: &Verified<Model>, image: &[f64], what: &str) {
    let (expected, patterns) = trained(weights, image);
    let mut patterns = patterns.into_iter();
    let found = lowered(model, image, &mut |node, _, margins| {
        let (name, pattern) = patterns.next().unwrap();
        assert_eq!(node.name, name, "{what}");
        let largest = margins.iter().fold(1.0f64, |m, x| m.max(x.abs()));
        for (&margin, &positive) in margins.iter().zip(&pattern) {
            let same = (margin > 0.0) == positive;
            assert!(same || margin.abs() < TOLERANCE * largest, "{name}: {margin:e}, {what}");
        }
        pattern
    });
    let largest = expected.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    for (e, f) in expected.iter().zip(&found) {
        assert!((e - f).abs() < TOLERANCE * largest, "{expected:?} {found:?} {what}");
    }
}

/// Logits and sign patterns of the network as trained.
pub(crate) fn trained(
    weights: &Verified<Weights>,
    image: &[f64],
) -> (Vec<f64>, Vec<(String, Vec<bool>)>) {
    let mut patterns = Vec::new();
    let logits = forward(
        &weights.graph,
        weights.graph.input_shape(),
        &|node, suffix| acting_weights(weights, node, suffix),
        image,
        &mut |node, _, margins| {
            let pattern: Vec<bool> = margins.iter().map(|&m| m > 0.0).collect();
            patterns.push((node.name.clone(), pattern.clone()));
            pattern
        },
    );
    (logits, patterns)
}

fn acting_weights(weights: &Verified<Weights>, node: &Node, suffix: &str) -> Vec<f64> {
    let values = weights.floats(node, suffix);
    if let (Op::HyperTrunk { precision: Precision::I8, .. }, "weight")
    | (Op::HyperHead { precision: Precision::I8, .. }, "weight") = (&node.op, suffix)
    {
        let shape = &weights.tensors[&node.param_name(suffix)].shape;
        let Rows { integers, scale } = quantization::quantize(values, shape[1]);
        let columns = shape[1];
        let weight = |(i, &q): (usize, &i8)| f64::from(q) * f64::from(scale[i / columns]);
        return integers.iter().enumerate().map(weight).collect();
    }
    let values: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
    let Op::ConvBin { geometry, scale, .. } = node.op else {
        return values;
    };
    let per_channel = values.len() / geometry.out_channels;
    let channels = values.chunks(per_channel).enumerate();
    let acting = channels.flat_map(|(o, w)| {
        let alpha = match scale {
            WeightScale::None => 1.0,
            WeightScale::L1Detached | WeightScale::L1Grad => {
                w.iter().map(|w| w.abs()).sum::<f64>() / per_channel as f64
            }
            WeightScale::Learned => f64::from(weights.floats(node, "scale")[o]),
        };
        w.iter().map(move |&w| if w > 0.0 { alpha } else { -alpha })
    });
    acting.collect()
}

fn lowered(model: &Verified<Model>, image: &[f64], signs: Signs<'_>) -> Vec<f64> {
    let params = |node: &Node, suffix: &str| packed_params(model, node, suffix);
    forward(&model.graph, model.graph.input_shape(), &params, image, signs)
}

const NORM: Op = Op::BatchNorm { eps: BATCH_NORM_EPS };
const GEOMETRY: Geometry =
    Geometry { out_channels: 2, kernel: 1, stride: 1, padding: 0, groups: 1 };

/// Input of 2 channels, sign, convolution, then `tail`, each node after the one before.
fn chain(scale: WeightScale, tail: &[(&str, Op)]) -> Graph {
    let head = [
        ("input", Op::Input { channels: 2, height: 1, width: 1 }),
        ("sign", Op::Sign { threshold: Threshold::Zero }),
        ("conv", Op::ConvBin { geometry: GEOMETRY, pad: PadValue::Zero, scale }),
    ];
    let nodes = head.iter().chain(tail).enumerate().map(|(i, (name, op))| {
        let inputs = i.checked_sub(1).map(NodeId).into_iter().collect();
        Node { name: (*name).to_string(), op: op.clone(), inputs }
    });
    Graph {
        arch: "chain".to_string(),
        normalization: Normalization { mean: vec![0.0; 2], std: vec![1.0; 2] },
        preprocessing: Preprocessing::default(),
        classes: vec!["a".to_string(), "b".to_string()],
        nodes: nodes.collect(),
    }
}

fn verified(graph: Graph) -> Verified<Weights> {
    random_weights(Verified::<Graph>::new(graph).unwrap(), &mut Random(1))
}

fn names(model: &Model) -> Vec<&str> {
    model.graph.nodes.iter().map(|node| node.name.as_str()).collect()
}

#[test]
fn a_scale_folds_into_the_only_reader_if_it_normalizes() {
    let weights = verified(chain(WeightScale::L1Detached, &[("bn", NORM)]));
    let model = lower(&weights).unwrap();
    assert_eq!(names(&model), ["input", "sign", "conv", "bn"]);
    assert_eq!(model.graph.nodes[3].op, Op::Affine);
    assert_same(&weights, &model, &[0.5, -0.5], "sole reader");
}

#[test]
fn a_scale_without_normalization_gets_a_node() {
    for scale in [WeightScale::L1Grad, WeightScale::Learned] {
        let weights = verified(chain(scale, &[]));
        let model = lower(&weights).unwrap();
        assert_eq!(names(&model), ["input", "sign", "conv", "conv.scale"]);
        assert_same(&weights, &model, &[0.5, -0.5], "last node");
    }
    let weights = verified(chain(WeightScale::None, &[]));
    assert_eq!(names(&lower(&weights).unwrap()), ["input", "sign", "conv"]);
}

#[test]
fn a_scale_with_two_readers_gets_a_node() {
    let mut graph = chain(WeightScale::Learned, &[("bn", NORM), ("add", Op::Add)]);
    graph.nodes[4].inputs = vec![NodeId(3), NodeId(2)];
    let weights = verified(graph);
    let model = lower(&weights).unwrap();
    assert_eq!(names(&model), ["input", "sign", "conv", "conv.scale", "bn", "add"]);
    assert_same(&weights, &model, &[0.5, -0.5], "two readers");
}

#[test]
fn a_network_that_is_lowered_already_stays_as_it_is() {
    let weights = verified(chain(WeightScale::None, &[("affine", Op::Affine)]));
    assert_eq!(lower(&weights).unwrap().graph, weights.graph);
}

#[test]
fn what_cannot_be_folded_is_named() {
    let set = |suffix: &str, value: f32| {
        let weights = verified(chain(WeightScale::None, &[("bn", NORM)]));
        let mut weights = weights.into_inner();
        let tensor = weights.tensors.get_mut(&format!("bn.{suffix}")).unwrap();
        tensor.data = Data::F32(vec![0.0, value]);
        lower(&Verified::<Weights>::new(weights).unwrap()).unwrap_err()
    };
    let error = set("running_var", -0.5).to_string();
    assert_eq!(
        error,
        "tensor `bn.running_var`: the variance of channel 1 is -0.5, expected 0 or more"
    );
    let mut weights = verified(chain(WeightScale::None, &[("bn", NORM)])).into_inner();
    let zeros = Tensor { shape: vec![2], data: Data::F32(vec![0.0; 2]) };
    let large = Tensor { shape: vec![2], data: Data::F32(vec![f32::MAX; 2]) };
    weights.tensors.insert("bn.running_var".to_string(), zeros);
    weights.tensors.insert("bn.weight".to_string(), large);
    let error = lower(&Verified::<Weights>::new(weights).unwrap()).unwrap_err();
    assert!(matches!(error, PackError::Lowered(ModelError::NotFinite(_))), "{error}");
}

#[test]
fn an_inspection_says_what_is_not_one_bit_and_why() {
    let mut random = Random(random_seed());
    let weights = random_weights(build(&configs(&mut random)[3]), &mut random);
    let model = lower(&weights).unwrap();
    let bytes = onebit_model::file::write_model(&model).unwrap();
    let inspection = Inspection::of(&model, 2, bytes.len()).unwrap();
    let layer = |name: &str| inspection.layers.iter().find(|l| l.name == name).unwrap();
    let conv = layer("stage2.1.conv");
    assert_eq!((conv.bits, conv.weights, conv.bytes), (1, 12 * 9 * 12, 12 * 2 * 8));
    assert_eq!(conv.reason, None);
    assert!(layer("stem.conv").reason.unwrap().contains("image"));
    assert!(layer("fc").reason.unwrap().contains("classifier"));
    let head = layer("stage2.1.prelu_hyper");
    assert_eq!((head.bits, head.weights, head.bytes), (8, 24 * 9, 24 * 8 + 24 * 4 + 24 * 4));
    assert!(inspection.layers.iter().all(|l| (l.bits == 1) == l.reason.is_none()));
    let file = container::read(Kind::Model, &bytes).unwrap();
    let size = |tensor: &Tensor| {
        tensor.data.len()
            * match tensor.data {
                Data::U64(_) => 8,
                Data::F32(_) => 4,
                Data::I8(_) => 1,
            }
    };
    let stored: usize = file.tensors.values().map(size).sum();
    assert_eq!(inspection.bytes.total, stored);
    assert_eq!(inspection.bytes.total, inspection.layers.iter().map(|l| l.bytes).sum::<usize>());
    assert_eq!(
        inspection.weights.binary,
        inspection.layers.iter().filter(|l| l.bits == 1).map(|l| l.weights).sum::<usize>()
    );
}
