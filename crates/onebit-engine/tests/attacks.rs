//! Inputs made to break the engine: each is computed as the graph says, or refused in one sentence.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::interpret::compare_bounded;
use common::{Random, engine, graph, isas, lowered, observe, run};
use onebit_engine::{Engine, EngineError, Options};
use onebit_model::{
    Geometry, Graph, GraphError, HyperRange, Model, Op, PadValue, Precision, Shift, Slope,
    Statistics, Threshold, Verified, WeightScale,
};

type Nodes<'a> = Vec<(&'a str, Op, &'a [usize])>;

fn input([channels, height, width]: [usize; 3]) -> (&'static str, Op, &'static [usize]) {
    ("input", Op::Input { channels, height, width }, &[])
}

/// Compares signs and logits with the interpreter's, on every instruction set.
fn check(nodes: Nodes<'_>, seed: u64) {
    let random = &mut Random(seed);
    let model = lowered(&graph(nodes), random);
    let image = random.floats(model.graph.input_shape().iter().product(), -1.5, 1.5);
    for isa in isas() {
        let (logits, signs) = observe(&engine(&model, isa), &image);
        let compared = compare_bounded(&model, &image, &logits, &signs);
        assert_eq!(compared, Ok(()), "{isa}: {:?}", model.graph.nodes);
    }
}

/// The memory that the mean is given is as long as the longest vector of any step, here 32 to 128 floats.
#[test]
fn means_of_fewer_channels_than_other_steps_have() {
    for shape in [[3, 4, 4], [3, 5, 9], [1, 2, 7], [17, 3, 3], [33, 2, 2], [16, 1, 5]] {
        let channels = shape[0];
        for (wide, hidden) in [(1, 1), (20, 3), (65, 40)] {
            let linear = Op::Linear { out_features: wide };
            let statistics = Statistics::MeanStd;
            let trunk = Op::HyperTrunk { statistics, hidden, precision: Precision::F32 };
            check(
                vec![
                    input(shape),
                    ("linear", linear.clone(), &[0]),
                    ("mean", Op::GlobalAvgPool, &[0]),
                    ("both", Op::Concat, &[1, 2]),
                ],
                channels as u64,
            );
            check(
                vec![
                    input(shape),
                    ("linear", linear, &[0]),
                    ("mean_of_vector", Op::GlobalAvgPool, &[1]),
                    ("trunk", trunk, &[0]),
                    ("both", Op::Concat, &[2, 3]),
                    ("mean_of_map", Op::GlobalAvgPool, &[0]),
                    ("all", Op::Concat, &[4, 5]),
                ],
                channels as u64,
            );
        }
    }
}

#[test]
fn means_of_an_image_are_right() {
    let model = lowered(
        &graph(vec![
            input([3, 4, 4]),
            ("linear", Op::Linear { out_features: 1 }, &[0]),
            ("mean", Op::GlobalAvgPool, &[0]),
            ("both", Op::Concat, &[1, 2]),
        ]),
        &mut Random(1),
    );
    let image: Vec<f32> = (0..48u8).map(f32::from).collect();
    for isa in isas() {
        assert_eq!(run(&engine(&model, isa), &image)[1..], [22.5, 23.5, 24.5], "{isa}");
    }
}

/// A sign can read a pooled value in two places: what it compares, and its offsets.
#[test]
fn a_sign_whose_offsets_are_pooled() {
    let sign = |threshold| Op::Sign { threshold };
    let geometry = Geometry { out_channels: 2, kernel: 1, stride: 1, padding: 0, groups: 1 };
    let conv = Op::ConvBin { geometry, pad: PadValue::Zero, scale: WeightScale::None };
    let head = Op::HyperHead { outputs: 4, range: HyperRange::Raw, precision: Precision::F32 };
    let pools = [
        Op::MaxPool { kernel: 1, stride: 1, padding: 0 },
        Op::MaxPool { kernel: 3, stride: 1, padding: 1 },
        Op::AvgPool { kernel: 1, stride: 1 },
    ];
    for (seed, pool) in pools.into_iter().enumerate() {
        for compared in [0, 1] {
            check(
                vec![
                    input([4, 4, 6]),
                    ("offsets", head.clone(), &[0]),
                    ("sign", sign(Threshold::Dynamic), &[compared, 1]),
                    ("pool", pool.clone(), &[1]),
                    ("conv", conv.clone(), &[2]),
                    ("mean", Op::GlobalAvgPool, &[4]),
                    ("both", Op::Concat, &[5, 3]),
                ],
                seed as u64,
            );
        }
    }
}

/// NaN wherever a window holds one, and nowhere else.
#[test]
fn a_maximum_is_nan_where_its_window_holds_a_nan() {
    let (height, width) = (7, 9);
    for (channels, kernel, stride, padding) in
        [(1, 3, 1, 0), (3, 3, 2, 1), (17, 2, 2, 0), (16, 2, 1, 0), (5, 1, 1, 0), (33, 5, 1, 4)]
    {
        let pool = Op::MaxPool { kernel, stride, padding };
        let geometry =
            Geometry { out_channels: channels, kernel: 1, stride: 1, padding: 0, groups: channels };
        let alone = vec![input([channels, height, width]), ("pool", pool.clone(), &[0][..])];
        let behind_a_convolution = vec![
            input([channels, height, width]),
            ("conv", Op::Conv { geometry: Geometry { groups: 1, ..geometry } }, &[0]),
            ("pool", pool.clone(), &[1]),
        ];
        let relu = Op::Prelu { slope: Slope::Both, shift: Shift::Static };
        let rectified = vec![
            input([channels, height, width]),
            ("grouped", Op::Conv { geometry }, &[0]),
            ("pool", pool, &[1]),
            ("relu", relu, &[2]),
        ];
        for nodes in [alone, behind_a_convolution, rectified] {
            let model = lowered(&graph(nodes), &mut Random(1));
            for at in 0..height * width {
                let mut image = Random(2).floats(channels * height * width, -1.0, 1.0);
                image[at * channels + at % channels] = f32::NAN;
                for isa in isas() {
                    let (logits, signs) = observe(&engine(&model, isa), &image);
                    assert_eq!(compare_bounded(&model, &image, &logits, &signs), Ok(()), "{isa}");
                }
            }
        }
    }
}

/// What every operation makes of infinities and NaN: the same on every instruction set, and what the interpreter does.
#[test]
fn numbers_that_are_not_finite_go_through_every_operation_alike() {
    let geometry = Geometry { out_channels: 5, kernel: 3, stride: 1, padding: 1, groups: 1 };
    let layer = Precision::I8;
    let sigmoid = HyperRange::Sigmoid { lambda: 0.5 };
    let ops = [
        Op::Conv { geometry },
        Op::ConvI8 { geometry },
        Op::Affine,
        Op::Prelu { slope: Slope::Both, shift: Shift::Static },
        Op::AvgPool { kernel: 2, stride: 1 },
        Op::MaxPool { kernel: 2, stride: 1, padding: 0 },
        Op::GlobalAvgPool,
        Op::Linear { out_features: 5 },
        Op::LinearI8 { out_features: 5 },
        Op::HyperTrunk { statistics: Statistics::MeanStd, hidden: 5, precision: layer },
        Op::HyperHead { outputs: 5, range: sigmoid, precision: layer },
    ];
    for (seed, op) in ops.into_iter().enumerate() {
        let sign = Op::Sign { threshold: Threshold::Static };
        let pad = PadValue::One;
        let one = Geometry { kernel: 1, padding: 0, ..geometry };
        let conv = Op::ConvBin { geometry: one, pad, scale: WeightScale::None };
        let nodes = vec![
            input([5, 4, 6]),
            ("first", op, &[0][..]),
            ("sign", sign, &[1]),
            ("conv", conv, &[2]),
            ("both", Op::Concat, &[1, 3]),
        ];
        let model = lowered(&graph(nodes), &mut Random(seed as u64));
        for special in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut image = Random(2).floats(5 * 4 * 6, -1.0, 1.0);
            image[47] = special;
            for isa in isas() {
                let (logits, signs) = observe(&engine(&model, isa), &image);
                let compared = compare_bounded(&model, &image, &logits, &signs);
                assert_eq!(compared, Ok(()), "{isa}: {special} through {:?}", model.graph.nodes[1]);
            }
        }
    }
}

/// A mean of a pooled image: 2 GiB of working memory for a small file.
fn large() -> Verified<Model> {
    let nodes = vec![
        input([1, 4096, 4096]),
        ("pool", Op::AvgPool { kernel: 1, stride: 1 }, &[0][..]),
        ("mean", Op::GlobalAvgPool, &[1]),
    ];
    lowered(&graph(nodes), &mut Random(1))
}

#[test]
fn the_working_memory_of_all_threads_is_limited() {
    let engine = Engine::new(&large(), Options::default()).unwrap();
    assert!(engine.memory().scratch > 1 << 29);
    for threads in [5, 1 << 20, usize::MAX] {
        let error = engine.scratches(threads).unwrap_err();
        assert_eq!(error, EngineError::TooLargeTogether { threads, limit: 1 << 31 });
    }
    assert_eq!(
        engine.scratches(5).unwrap_err().to_string(),
        "5 threads need more than 2147483648 bytes of working memory together for images of this size: use fewer \
         threads, or smaller images"
    );
}

/// Runs itself with little memory; in an emulator a program cannot be started by its path.
#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
fn memory_that_the_system_refuses_is_an_error() {
    const CHILD: &str = "ONEBIT_TEST_LITTLE_MEMORY";
    if std::env::var_os(CHILD).is_some() {
        let engine = Engine::new(&large(), Options::default()).unwrap();
        for error in [engine.scratch().err(), engine.scratch_for(2).err()] {
            assert!(matches!(error, Some(EngineError::OutOfMemory { bytes }) if bytes > 1 << 28));
        }
        return;
    }
    let child = std::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -v 400000; exec \"$0\" --exact memory_that_the_system_refuses_is_an_error",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && output.contains("1 passed"), "{child:?}");
}

fn pools(count: usize) -> Graph {
    let names: Vec<String> = (1..=count).map(|i| format!("pool{i}")).collect();
    let before: Vec<[usize; 1]> = (0..count).map(|i| [i]).collect();
    let pool = Op::MaxPool { kernel: 31, stride: 1, padding: 15 };
    let pools = names.iter().zip(&before).map(|(name, x)| (&name[..], pool.clone(), &x[..]));
    let mut nodes = vec![input([1, 64, 64])];
    nodes.extend(pools);
    nodes.push(("mean", Op::GlobalAvgPool, std::slice::from_ref(&count)));
    graph(nodes)
}

#[test]
fn more_work_than_the_limit_is_refused_for_the_size_that_is_asked_for() {
    let model = lowered(&pools(40), &mut Random(1));
    let plan =
        |side| Engine::new(&model, Options { input: Some([side, side]), ..Options::default() });
    assert!(plan(64).is_ok());
    let error = plan(16_384).unwrap_err();
    let EngineError::InputSize { source, .. } = &error else { panic!("{error}") };
    assert_eq!(*source, GraphError::TooMuchWork("pool18".into()));
    assert_eq!(
        error.to_string(),
        "the network cannot take an image of 16384x16384: node `pool18`: with it, one image takes more than \
         4398046511104 elementary operations, the most allowed"
    );
}

/// Plans of graphs with as many nodes as there may be take no longer than reading the file.
#[test]
fn the_largest_graphs_are_planned_at_once() {
    let geometry = Geometry { out_channels: 16, kernel: 1, stride: 1, padding: 0, groups: 1 };
    let conv = Op::ConvBin { geometry, pad: PadValue::Zero, scale: WeightScale::None };
    let pool = Op::MaxPool { kernel: 1, stride: 1, padding: 0 };
    let sign = Op::Sign { threshold: Threshold::Static };
    let (mut ops, mut inputs) = (Vec::new(), vec![]);
    let mut x = 0;
    while ops.len() < 4000 {
        let first = ops.len() + 1;
        ops.extend([sign.clone(), conv.clone(), conv.clone(), Op::Concat]);
        inputs.extend([vec![x], vec![first], vec![first], vec![first + 1, first + 2]]);
        ops.extend([sign.clone(), conv.clone(), pool.clone()]);
        inputs.extend([vec![first + 3], vec![first + 4], vec![first + 5]]);
        x = first + 6;
    }
    let names: Vec<String> = (0..ops.len()).map(|i| format!("n{i}")).collect();
    let mut nodes = vec![input([16, 2, 2])];
    let others = names.iter().zip(ops).zip(&inputs).map(|((name, op), x)| (&name[..], op, &x[..]));
    nodes.extend(others);
    let model = lowered(&graph(nodes), &mut Random(1));
    let started = std::time::Instant::now();
    let engine = Engine::new(&model, Options::default()).unwrap();
    assert!(engine.steps().len() < 2000);
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}
