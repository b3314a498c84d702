//! Graphs that no architecture would build, so that fusion and memory reuse meet every order of operations.

mod common;

use common::interpret::interpret;
use common::{Random, engine, graph, isas, lowered, observe};
use onebit_engine::StepInfo;
use onebit_model::{
    Geometry, HyperRange, Op, PadValue, Precision, Shift, Slope, Statistics, Threshold, WeightScale,
};

/// Signs closer than this to their threshold may round to either side.
const SIGN_MARGIN: f64 = 1e-3;
/// Largest relative difference of a logit.
const LOGIT_TOLERANCE: f64 = 1e-3;
const CHANNELS: usize = 20;
/// A pooling, with a dynamic rectifier behind it, that gives the dynamic sign of what it reads.
const SIGNED_POOLING: [&str; 3] = ["sign", "max_pool", "prelu"];
const SEEDS: std::ops::Range<u64> = 0..300;

type Nodes = Vec<(String, Op, Vec<usize>)>;

fn add(nodes: &mut Nodes, op: Op, inputs: &[usize]) -> usize {
    nodes.push((format!("n{}", nodes.len()), op, inputs.to_vec()));
    nodes.len() - 1
}

fn hyper(nodes: &mut Nodes, x: usize, outputs: usize) -> usize {
    hyper_of(nodes, x, outputs, Statistics::MeanStd)
}

fn hyper_of(nodes: &mut Nodes, x: usize, outputs: usize, statistics: Statistics) -> usize {
    let precision = Precision::I8;
    let trunk = add(nodes, Op::HyperTrunk { statistics, hidden: 5, precision }, &[x]);
    let range = HyperRange::Sigmoid { lambda: 0.5 };
    add(nodes, Op::HyperHead { outputs, range, precision }, &[trunk])
}

/// Adds one random operation on random earlier maps; returns the map it gives.
fn grow(nodes: &mut Nodes, maps: &[usize], random: &mut Random) -> usize {
    let mut any = || maps[random.next() as usize % maps.len()];
    let (x, other) = (any(), any());
    let geometry = Geometry { out_channels: CHANNELS, kernel: 3, stride: 1, padding: 1, groups: 1 };
    let grouped = Geometry { groups: 2, ..geometry };
    let conv_bin =
        |geometry| Op::ConvBin { geometry, pad: PadValue::Zero, scale: WeightScale::None };
    match random.next() % 12 {
        0 => add(nodes, Op::Affine, &[x]),
        1 => add(nodes, Op::Add, &[x, other]),
        2 => add(nodes, Op::Prelu { slope: Slope::Both, shift: Shift::Static }, &[x]),
        3 => {
            let d = hyper(nodes, other, 2 * CHANNELS);
            add(nodes, Op::Prelu { slope: Slope::Negative, shift: Shift::Dynamic }, &[x, d])
        }
        4 => add(nodes, Op::ChannelShuffle { groups: 4 }, &[x]),
        5 => {
            let both = add(nodes, Op::Concat, &[x, other]);
            add(
                nodes,
                Op::Conv { geometry: Geometry { kernel: 1, padding: 0, ..geometry } },
                &[both],
            )
        }
        6 => add(nodes, Op::MaxPool { kernel: 3, stride: 1, padding: 1 }, &[x]),
        7 => {
            let d = hyper(nodes, other, CHANNELS);
            let bits = add(nodes, Op::Sign { threshold: Threshold::Dynamic }, &[x, d]);
            let y = add(nodes, conv_bin(geometry), &[bits]);
            add(nodes, Op::Affine, &[y])
        }
        8 => {
            let bits = add(nodes, Op::Sign { threshold: Threshold::Static }, &[x]);
            let a = add(nodes, conv_bin(geometry), &[bits]);
            let b = add(nodes, conv_bin(grouped), &[bits]);
            let a = add(nodes, Op::Affine, &[a]);
            let b = add(nodes, Op::Affine, &[b]);
            add(nodes, Op::Add, &[b, a])
        }
        9 => {
            let prelu = |shift| Op::Prelu { slope: Slope::Both, shift };
            let d = hyper_of(nodes, x, 2 * CHANNELS, Statistics::Mean);
            let e = hyper(nodes, other, 2 * CHANNELS);
            let x = add(nodes, prelu(Shift::Dynamic), &[x, d]);
            let d = hyper_of(nodes, x, CHANNELS, Statistics::Mean);
            let bits = add(nodes, Op::Sign { threshold: Threshold::Dynamic }, &[x, d]);
            let y = add(nodes, conv_bin(geometry), &[bits]);
            let y = add(nodes, Op::Affine, &[y]);
            let pooled = add(nodes, Op::MaxPool { kernel: 3, stride: 1, padding: 1 }, &[x]);
            let pooled = add(nodes, prelu(Shift::Dynamic), &[pooled, e]);
            add(nodes, Op::Add, &[y, pooled])
        }
        _ => {
            let bits = add(nodes, Op::Sign { threshold: Threshold::Static }, &[x]);
            let y = add(nodes, conv_bin(grouped), &[bits]);
            let y = add(nodes, Op::Affine, &[y]);
            add(nodes, Op::Add, &[other, y])
        }
    }
}

fn random_nodes(random: &mut Random) -> Nodes {
    let input = Op::Input { channels: CHANNELS, height: 4, width: 5 };
    let mut nodes: Nodes = vec![("input".into(), input, Vec::new())];
    let mut maps = vec![0];
    if random.next().is_multiple_of(3) {
        let geometry =
            Geometry { out_channels: CHANNELS, kernel: 3, stride: 1, padding: 1, groups: 1 };
        maps.push(add(&mut nodes, Op::ConvI8 { geometry }, &[0]));
    }
    for _ in 0..3 + random.next() % 8 {
        let map = grow(&mut nodes, &maps, random);
        maps.push(map);
    }
    let read = |nodes: &Nodes, map: usize| nodes.iter().any(|node| node.2.contains(&map));
    let mut last = maps[maps.len() - 1];
    for &map in &maps[..maps.len() - 1] {
        if !read(&nodes, map) {
            last = add(&mut nodes, Op::Add, &[map, last]);
        }
    }
    if random.next().is_multiple_of(2) {
        add(&mut nodes, Op::GlobalAvgPool, &[last]);
    }
    nodes
}

#[test]
fn random_graphs_equal_the_interpreter() {
    let mut signed_poolings = 0;
    for seed in SEEDS {
        let random = &mut Random(seed);
        let nodes = random_nodes(random);
        let borrowed = nodes.iter().map(|(name, op, x)| (&name[..], op.clone(), &x[..])).collect();
        let model = lowered(&graph(borrowed), random);
        let image = random.floats(CHANNELS * 20, -1.5, 1.5);
        for isa in isas() {
            let engine = engine(&model, isa);
            let is_signed_pooling = |step: &&StepInfo| step.ops == SIGNED_POOLING;
            signed_poolings += engine.steps().iter().filter(is_signed_pooling).count();
            let (logits, signs) = observe(&engine, &image);
            let report = interpret(&model, [CHANNELS, 4, 5], &image, &signs, SIGN_MARGIN);
            assert!(report.wrong_signs.is_empty(), "seed {seed}, {isa}: {:?}", report.wrong_signs);
            for (&logit, expected) in logits.iter().zip(&report.logits) {
                let error = (f64::from(logit) - expected).abs();
                let bound = LOGIT_TOLERANCE * expected.abs().max(1.0);
                assert!(error <= bound, "seed {seed}, {isa}: {logit} for {expected}");
            }
        }
    }
    assert!(signed_poolings > 0, "no graph has a pooling that gives a sign");
}
