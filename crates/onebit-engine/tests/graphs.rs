//! Whole networks of every method and option: signs and logits against an interpreter in f64.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::interpret::{interpret, values};
use common::{Random, definition, engine, graph, isas, lowered, observe, run};
use onebit_engine::{Engine, Isa, Options};
use onebit_model::arch::{
    self, Config, Downsample, Method, Nonlinearity, NonlinearityPosition, Range, Sharing, SignKind,
    Task,
};
use onebit_model::{
    Geometry, Model, Op, PadValue, Precision, Shift, Slope, Statistics, Threshold, Verified,
    WeightScale,
};

/// Signs closer than this to their threshold may round to either side (values are of unit size).
const SIGN_MARGIN: f64 = 1e-4;
/// Largest difference of a logit where all signs agree (logits are of unit size).
const LOGIT_TOLERANCE: f64 = 1e-4;

const METHODS: [Method; 4] = [Method::Bireal, Method::Reactnet, Method::Ftbnn, Method::Dybnn];

fn small(method: Method) -> Config {
    let mut config = Config::new("resnet-small", method);
    config.widths = Some(vec![12, 24]);
    config.blocks = Some(vec![2, 1]);
    config
}

fn model(config: &Config, input: [usize; 3], random: &mut Random) -> Verified<Model> {
    let graph = arch::build(config, &Task::unnamed(input, 10)).unwrap();
    lowered(&graph, random)
}

fn check(model: &Verified<Model>, size: [usize; 2], random: &mut Random, what: &str) {
    let input = [model.graph.input_shape()[0], size[0], size[1]];
    let image = random.floats(input.iter().product(), -1.5, 1.5);
    for isa in isas() {
        let engine =
            Engine::new(model, Options { input: Some(size), isa: Some(isa), ..Options::default() })
                .unwrap();
        let (logits, signs) = observe(&engine, &image);
        let report = interpret(model, input, &image, &signs, SIGN_MARGIN);
        assert!(report.wrong_signs.is_empty(), "{what} {isa}: {:?}", report.wrong_signs);
        assert!(report.close * 200 < report.compared, "{what} {isa}: {} close", report.close);
        for (logit, expected) in logits.iter().zip(&report.logits) {
            let error = (f64::from(*logit) - expected).abs();
            assert!(error <= LOGIT_TOLERANCE, "{what} {isa}: {logit} for {expected}");
        }
        assert_eq!(logits, run(&engine, &image), "{what} {isa}: observed and plain runs");
    }
}

fn check_config(config: &Config, input: [usize; 3], seed: u64) {
    let random = &mut Random(seed);
    let what = format!("seed {seed}, {config:?}");
    check(&model(config, input, random), [input[1], input[2]], random, &what);
}

#[test]
fn every_method_with_every_downsample() {
    for (seed, method) in METHODS.into_iter().enumerate() {
        for downsample in [Downsample::Float, Downsample::Binary, Downsample::Duplicate] {
            let config = Config { downsample: Some(downsample), ..small(method) };
            check_config(&config, [3, 10, 12], 100 + seed as u64);
        }
    }
}

#[test]
fn every_nonlinearity_at_every_position() {
    use Nonlinearity::{Fprelu, Frprelu, None, Prelu, Relu, Rprelu};
    use NonlinearityPosition::{AfterAdd, BeforeAdd, BeforeBn};
    let mut seed = 200;
    for nonlinearity in [None, Relu, Prelu, Rprelu, Fprelu, Frprelu] {
        for nonlinearity_position in [AfterAdd, BeforeAdd, BeforeBn] {
            for dynamic in [false, true] {
                let mut config = Config { nonlinearity_position, ..small(Method::Reactnet) };
                config.nonlinearity = Some(nonlinearity);
                config.dyprelu = Some(dynamic && nonlinearity != None);
                config.sign = Some(if dynamic { SignKind::Dysign } else { SignKind::Plain });
                check_config(&config, [1, 8, 6], seed);
                seed += 1;
            }
        }
    }
}

#[test]
fn groups_with_channel_shuffle() {
    for (seed, method) in METHODS.into_iter().enumerate() {
        for groups in [2, 3] {
            let mut config = Config { groups: Some(groups), ..small(method) };
            config.downsample = Some(Downsample::Binary);
            check_config(&config, [3, 8, 8], 300 + seed as u64);
        }
    }
    let mut config = Config { groups: Some(2), ..small(Method::Reactnet) };
    config.widths = Some(vec![128, 256]);
    check_config(&config, [3, 6, 6], 310);
}

#[test]
fn one_padding() {
    for (seed, method) in METHODS.into_iter().enumerate() {
        let config = Config { padding: PadValue::One, groups: Some(3), ..small(method) };
        check_config(&config, [3, 10, 6], 400 + seed as u64);
    }
}

#[test]
fn every_hyper_statistic_and_range() {
    let mut seed = 500;
    for statistics in [Statistics::Mean, Statistics::MeanStd, Statistics::MeanThird] {
        for range in [Range::Sigmoid, Range::Raw] {
            let mut config = small(Method::Dybnn);
            (config.hyper.statistics, config.hyper.range) = (statistics, range);
            check_config(&config, [3, 8, 6], seed);
            seed += 1;
        }
    }
}

#[test]
fn hyper_functions_that_share_their_trunk() {
    let mut seed = 550;
    for precision in [Precision::F32, Precision::I8] {
        for nonlinearity_position in
            [NonlinearityPosition::AfterAdd, NonlinearityPosition::BeforeBn]
        {
            for downsample in [Downsample::Float, Downsample::Binary] {
                let mut config = Config { nonlinearity_position, ..small(Method::Dybnn) };
                config.downsample = Some(downsample);
                (config.hyper.sharing, config.hyper.precision) = (Sharing::Block, precision);
                check_config(&config, [3, 8, 6], seed);
                seed += 1;
            }
        }
    }
    for statistics in [Statistics::Mean, Statistics::MeanStd, Statistics::MeanThird] {
        for downsample in [Downsample::Float, Downsample::Binary] {
            let mut config = Config::named("dybnn-a-cifar");
            config.widths = Some(vec![16, 32, 32, 64, 64]);
            config.downsample = Some(downsample);
            (config.hyper.sharing, config.hyper.statistics) = (Sharing::Block, statistics);
            check_config(&config, [3, 12, 20], seed);
            seed += 1;
        }
    }
}

#[test]
fn sizes_other_than_the_models_own() {
    for (seed, method) in METHODS.into_iter().enumerate() {
        let random = &mut Random(600 + seed as u64);
        let model = model(&small(method), [3, 16, 16], random);
        for size in [[16, 16], [2, 2], [6, 12], [34, 18]] {
            check(&model, size, random, &format!("{method:?} at {size:?}, seed {}", 600 + seed));
        }
    }
}

#[test]
fn a_whole_resnet20() {
    check_config(&Config::new("resnet20", Method::Dybnn), [3, 32, 32], 700);
}

#[test]
fn every_value_of_a_network_can_be_what_a_run_gives() {
    for (seed, method) in METHODS.into_iter().enumerate() {
        let random = &mut Random(900 + seed as u64);
        let model = model(&small(method), [3, 10, 12], random);
        let input = [3, 14, 12];
        let image = random.floats(input.iter().product(), -1.5, 1.5);
        let size = Some([14, 12]);
        let whole = Engine::new(&model, Options { input: size, ..Options::default() }).unwrap();
        let (logits, signs) = observe(&whole, &image);
        for (id, node) in model.graph.ids().zip(&model.graph.nodes) {
            let options = Options { input: size, output: Some(id), ..Options::default() };
            let engine = Engine::new(&model, options).unwrap();
            let found = run(&engine, &image);
            let mut front = Model::clone(&model);
            front.graph.nodes.truncate(id.0 + 1);
            let shape = engine.output_shape();
            front.graph.classes = vec![String::new(); shape.len()];
            let expected = values(&front, input, &image, &signs);
            assert_eq!(found.len(), expected.len(), "{method:?} {}", node.name);
            for (found, expected) in found.iter().zip(expected) {
                let error = (f64::from(*found) - expected).abs();
                assert!(
                    error <= LOGIT_TOLERANCE,
                    "{method:?} {}: {found} for {expected}",
                    node.name
                );
            }
            if id.0 + 1 == model.graph.nodes.len() {
                assert_eq!(found, logits);
            }
        }
    }
}

#[test]
fn instruction_sets_that_round_alike_give_identical_bits() {
    for (seed, method) in METHODS.into_iter().enumerate() {
        let random = &mut Random(800 + seed as u64);
        let model = model(&small(method), [3, 20, 20], random);
        let image = random.floats(3 * 20 * 20, -1.5, 1.5);
        let logits = |isa| {
            let engine =
                Engine::new(&model, Options { isa: Some(isa), ..Options::default() }).unwrap();
            observe(&engine, &image)
        };
        for isa in isas() {
            let expected = logits(definition(isa));
            assert_eq!(logits(isa), expected, "{isa}, {method:?}, seed {}", 800 + seed);
        }
    }
}

/// A map whose channels are doubled by two binary convolutions of the same bits, which `nodes` follow.
fn doubled(channels: usize, others: [usize; 2]) -> Verified<Model> {
    let geometry = Geometry { out_channels: channels, kernel: 1, stride: 1, padding: 0, groups: 1 };
    let conv = Op::ConvBin { geometry, pad: PadValue::Zero, scale: WeightScale::None };
    let prelu = Op::Prelu { slope: Slope::Both, shift: Shift::Static };
    let sign = Op::Sign { threshold: Threshold::Static };
    let (a_add, b_add) = ([others[0], 5], [6, others[1]]);
    let nodes = vec![
        ("input", Op::Input { channels, height: 5, width: 9 }, &[][..]),
        ("other", Op::Affine, &[0]),
        ("sign", sign.clone(), &[0]),
        ("a", conv.clone(), &[2]),
        ("b", conv.clone(), &[2]),
        ("a.bn", Op::Affine, &[3]),
        ("b.bn", Op::Affine, &[4]),
        ("a.add", Op::Add, &a_add[..]),
        ("b.add", Op::Add, &b_add),
        ("a.prelu", prelu.clone(), &[7]),
        ("b.prelu", prelu.clone(), &[8]),
        ("both", Op::Concat, &[9, 10]),
        ("prelu", prelu, &[11]),
        ("next", sign, &[12]),
        ("conv", conv, &[13]),
        ("pool", Op::GlobalAvgPool, &[14]),
    ];
    lowered(&graph(nodes), &mut Random(7))
}

#[test]
fn sibling_convolutions_run_as_one() {
    let steps = |model: &Verified<Model>| {
        let engine = engine(model, Isa::Portable);
        engine.steps().iter().map(|step| step.ops.join("+")).collect::<Vec<_>>()
    };
    let random = &mut Random(8);
    for channels in [16, 48, 80] {
        let model = doubled(channels, [1, 1]);
        assert!(steps(&model).contains(&"conv_bin+affine+add+prelu+concat+prelu+sign".into()));
        check(&model, [5, 9], random, &format!("siblings of {channels} channels"));
    }
    for (channels, others) in [(24, [1, 1]), (16, [0, 1])] {
        let model = doubled(channels, others);
        assert!(steps(&model).contains(&"concat+prelu+sign".into()));
        check(&model, [5, 9], random, &format!("no siblings, {channels} channels of {others:?}"));
    }
}

#[test]
fn stems_by_minimal_filtering() {
    let random = &mut Random(9);
    for (channels, size) in [(3, [30, 37]), (1, [19, 64])] {
        let stem = Geometry { out_channels: 40, kernel: 7, stride: 2, padding: 3, groups: 1 };
        let geometry = Geometry { out_channels: 10, kernel: 3, stride: 1, padding: 1, groups: 1 };
        let nodes = vec![
            ("input", Op::Input { channels, height: size[0], width: size[1] }, &[][..]),
            ("stem", Op::Conv { geometry: stem }, &[0]),
            ("bn", Op::Affine, &[1]),
            ("sign", Op::Sign { threshold: Threshold::Static }, &[2]),
            ("conv", Op::ConvBin { geometry, pad: PadValue::Zero, scale: WeightScale::None }, &[3]),
            ("affine", Op::Affine, &[4]),
            ("pool", Op::GlobalAvgPool, &[5]),
        ];
        let model = lowered(&graph(nodes), random);
        check(&model, size, random, &format!("stem of {channels} channels"));
    }
}

#[test]
fn poolings_compute_their_rows_as_they_need_them() {
    let random = &mut Random(10);
    let pools = [
        Op::MaxPool { kernel: 3, stride: 2, padding: 1 },
        Op::MaxPool { kernel: 2, stride: 3, padding: 0 },
        Op::MaxPool { kernel: 5, stride: 1, padding: 2 },
        Op::AvgPool { kernel: 2, stride: 2 },
    ];
    let stem = |kernel: usize, stride| {
        let padding = kernel / 2;
        Geometry { out_channels: 20, kernel, stride, padding, groups: 1 }
    };
    for stem in [
        Op::Conv { geometry: stem(7, 2) },
        Op::Conv { geometry: stem(3, 1) },
        Op::ConvI8 { geometry: stem(7, 2) },
        Op::ConvI8 { geometry: stem(2, 3) },
    ] {
        for pool in &pools {
            let geometry =
                Geometry { out_channels: 9, kernel: 3, stride: 1, padding: 1, groups: 1 };
            let nodes = vec![
                ("input", Op::Input { channels: 3, height: 61, width: 45 }, &[][..]),
                ("stem", stem.clone(), &[0]),
                ("bn", Op::Affine, &[1]),
                ("pool", pool.clone(), &[2]),
                ("sign", Op::Sign { threshold: Threshold::Static }, &[3]),
                (
                    "conv",
                    Op::ConvBin { geometry, pad: PadValue::Zero, scale: WeightScale::None },
                    &[4],
                ),
                ("affine", Op::Affine, &[5]),
                ("average", Op::GlobalAvgPool, &[6]),
            ];
            let model = lowered(&graph(nodes), random);
            let steps = engine(&model, Isa::Portable).steps()[0].ops.join("+");
            let start = format!("{}+affine+", stem.name());
            assert!(steps.starts_with(&start) && steps.ends_with("_pool+sign"), "{steps}");
            check(&model, [61, 45], random, &format!("{pool:?} of {stem:?}"));
        }
    }
}

#[test]
fn a_pooled_map_keeps_the_signs_of_rows_that_the_pooling_leaves_out() {
    let reader = Geometry { out_channels: 8, kernel: 1, stride: 1, padding: 0, groups: 1 };
    let conv = |geometry| Op::ConvBin { geometry, pad: PadValue::Zero, scale: WeightScale::None };
    let pools = [
        Op::AvgPool { kernel: 2, stride: 2 },
        Op::AvgPool { kernel: 3, stride: 2 },
        Op::MaxPool { kernel: 3, stride: 2, padding: 1 },
        Op::AvgPool { kernel: 1, stride: 2 },
    ];
    for (seed, pool) in pools.into_iter().enumerate() {
        for (height, width) in [(9, 7), (40, 5), (4, 3), (17, 4)] {
            let random = &mut Random(900 + seed as u64);
            let nodes = vec![
                ("input", Op::Input { channels: 20, height, width }, &[][..]),
                ("sign", Op::Sign { threshold: Threshold::Static }, &[0]),
                ("conv", conv(Geometry::same(20, 3, 1, 1)), &[1]),
                ("affine", Op::Affine, &[2]),
                ("add", Op::Add, &[3, 0]),
                ("next", Op::Sign { threshold: Threshold::Static }, &[4]),
                ("pool", pool.clone(), &[4]),
                ("short", Op::GlobalAvgPool, &[6]),
                ("reader", conv(reader), &[5]),
                ("long", Op::GlobalAvgPool, &[8]),
                ("both", Op::Concat, &[7, 9]),
            ];
            let what = format!("{pool:?} of {height}x{width}");
            check(&lowered(&graph(nodes), random), [height, width], random, &what);
        }
    }
}

#[test]
fn a_shortcut_read_for_the_last_time_is_added_in_its_place() {
    let conv = |geometry| Op::ConvBin { geometry, pad: PadValue::Zero, scale: WeightScale::None };
    let mut nodes = vec![("input", Op::Input { channels: 64, height: 16, width: 16 }, &[][..])];
    nodes.extend([
        ("copy", Op::Affine, &[0][..]),
        ("sign1", Op::Sign { threshold: Threshold::Zero }, &[1]),
        ("conv1", conv(Geometry::same(64, 3, 1, 1)), &[2]),
        ("affine1", Op::Affine, &[3]),
        ("add1", Op::Add, &[4, 1]),
        ("sign2", Op::Sign { threshold: Threshold::Zero }, &[5]),
        ("conv2", conv(Geometry::same(64, 3, 1, 1)), &[6]),
        ("affine2", Op::Affine, &[7]),
        ("add2", Op::Add, &[8, 5]),
        ("pool", Op::GlobalAvgPool, &[9]),
    ]);
    let random = &mut Random(950);
    let model = lowered(&graph(nodes), random);
    let map = 4 * 64 * 16 * 16;
    let scratch = engine(&model, Isa::Reference).memory().scratch;
    assert!(scratch < 2 * map + map / 2, "{scratch} bytes: the image, and one map more");
    check(&model, [16, 16], random, "two blocks");
}

#[test]
fn eight_bit_layers_of_the_image() {
    let random = &mut Random(11);
    let geometry = Geometry { out_channels: 17, kernel: 3, stride: 2, padding: 1, groups: 1 };
    let input = Op::Input { channels: 3, height: 9, width: 31 };
    let last = Geometry { out_channels: 5, kernel: 1, stride: 1, padding: 0, groups: 1 };
    for op in [Op::ConvI8 { geometry }, Op::LinearI8 { out_features: 12 }] {
        let nodes = vec![
            ("input", input.clone(), &[][..]),
            ("first", op, &[0]),
            ("sign", Op::Sign { threshold: Threshold::Static }, &[1]),
            (
                "conv",
                Op::ConvBin { geometry: last, pad: PadValue::Zero, scale: WeightScale::None },
                &[2],
            ),
            ("pool", Op::GlobalAvgPool, &[3]),
        ];
        let model = lowered(&graph(nodes), random);
        check(&model, [9, 31], random, "8 bits");
        let steps = engine(&model, Isa::Portable).steps().to_vec();
        let expected = ["conv_i8_3x3_strided_portable", "linear_i8_portable"];
        assert!(expected.contains(&steps[0].kernel.as_str()) && steps[0].flops > 0, "{steps:?}");
    }
}
