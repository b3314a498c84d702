//! The full-size networks: their operations and parameters against what the papers print and what was counted
//! independently of this program.

use onebit_model::arch::{
    self, ARCHITECTURES, Config, Downsample, Method, NonlinearityPosition, Sharing, Stem, Task,
};
use onebit_model::cost::Cost;
use onebit_model::{Graph, Node, Op, Precision, Shift, Threshold, Verified, infer, limits};

const METHODS: [Method; 4] = [Method::Bireal, Method::Reactnet, Method::Ftbnn, Method::Dybnn];

/// A figure as printed: equal after rounding to its digits.
fn assert_prints(value: f64, printed: &str, what: &str) {
    let digits = printed.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    assert_eq!(format!("{value:.digits$}"), printed, "{what} is {value}");
}

fn build(config: &Config) -> Verified<Graph> {
    let architecture = arch::find(&config.arch).expect("a known name");
    arch::build(config, &Task::unnamed(architecture.input, architecture.classes))
        .expect("a network")
}

fn cost(config: &Config) -> Cost {
    let graph = build(config);
    Cost::of(&graph, graph.input_shape()).expect("its own input")
}

fn named(arch: &str) -> Cost {
    cost(&Config::named(arch))
}

fn total(cost: &Cost) -> usize {
    let (float, binary) = cost.params();
    float + binary
}

/// Parameters of convolutions and classifiers that stay real.
fn real_weights(cost: &Cost) -> usize {
    let layers = cost.layers.iter().filter(|l| matches!(l.op, "conv" | "linear"));
    layers.map(|l| l.float_params).sum()
}

/// Bits of a network whose real parameters have 32 bits, without the padding of words.
fn megabits(cost: &Cost) -> f64 {
    let (float, binary) = cost.params();
    (32 * float + binary) as f64 / 1e6
}

#[test]
fn reactnet_a_is_the_network_of_the_paper() {
    // The paper prints 0.12e8 FLOPs, 4.82e9 BOPs, 0.87e8 OPs.
    let a = named("reactnet-a");
    assert_eq!((a.flops(), a.bops()), (11_862_016, 4_816_896_000));
    assert_prints(a.ops() / 1e8, "0.8713", "OPs");
    assert_eq!(total(&a), 29_343_592);
    assert_prints(real_weights(&a) as f64 / 1e6, "1.026", "real weights");
    assert_prints(a.params().0 as f64 / 1e6, "1.090", "real parameters");
    assert_prints(a.params().1 as f64 / 1e6, "28.253", "binary parameters");
    assert_prints(megabits(&a), "63.15", "memory");
}

#[test]
fn reactnet_b_and_c_are_the_networks_of_the_paper() {
    // The paper prints 0.44e8 and 1.40e8 FLOPs, 4.69e9 BOPs, and 2.14e8 OPs for C. The 1.63e8 that we remember for B
    // do not follow from its FLOPs and BOPs.
    for (arch, flops, ops, weights) in
        [("reactnet-b", "43.97", "1.172", "1.200"), ("reactnet-c", "140.31", "2.136", "1.724")]
    {
        let cost = named(arch);
        assert_prints(cost.flops() as f64 / 1e6, flops, arch);
        assert_prints(cost.bops() as f64 / 1e9, "4.6884", arch);
        assert_prints(cost.ops() / 1e8, ops, arch);
        assert_prints(real_weights(&cost) as f64 / 1e6, weights, arch);
        assert_prints(cost.params().1 as f64 / 1e6, "27.555", arch);
    }
}

#[test]
fn residual_networks_are_those_of_the_papers() {
    // Bi-Real Net and ReActNet print 1.63e8 OPs for 18 layers (1.6399 cut) and 1.93e8 for 34.
    for (arch, bops, ops, params, float, binary) in [
        ("birealnet18", 1_676_279_808, "1.6399", 11_689_512, "0.704", "10.985"),
        ("reactnet18", 1_676_279_808, "1.6399", 11_704_424, "0.719", "10.985"),
        ("birealnet34", 3_525_967_872, "1.9289", 21_797_672, "0.711", "21.086"),
    ] {
        let cost = named(arch);
        assert_eq!((cost.flops(), cost.bops()), (137_793_536, bops), "{arch}");
        assert_prints(cost.ops() / 1e8, ops, arch);
        assert_eq!(total(&cost), params, "{arch}");
        assert_prints(real_weights(&cost) as f64 / 1e6, "0.694", arch);
        assert_prints(cost.params().0 as f64 / 1e6, float, arch);
        assert_prints(cost.params().1 as f64 / 1e6, binary, arch);
    }
    assert_prints(megabits(&named("reactnet18")), "33.99", "ReActNet-18");
    // The independent count prints 33.52, which neither rounding nor cutting these parameters gives.
    assert_prints(megabits(&named("birealnet18")), "33.51", "Bi-Real-18");
    assert_eq!(named("reactnet34").bops(), named("birealnet34").bops());
}

#[test]
fn compression_costs_what_was_counted() {
    // M FLOPs, G BOPs, 1e8 OPs, M real and binary parameters of ReActNet-18 with a cheaper stem and shortcut. The
    // independent count leaves out the 448 thresholds of the binary shortcuts; without them it is 0.547, 0.539, 0.543
    // and 0.539 of real parameters.
    for (stem, downsample, figures) in [
        (Stem::Full, Downsample::Float, ["137.79", "1.676", "1.640", "0.719", "10.985"]),
        (Stem::Full, Downsample::Binary, ["118.53", "1.696", "1.450", "0.547", "11.158"]),
        (Stem::Conv3x3, Downsample::Binary, ["22.19", "1.696", "0.487", "0.540", "11.158"]),
        (Stem::Grouped, Downsample::Binary, ["69.15", "1.696", "0.956", "0.544", "11.158"]),
        (Stem::Quick, Downsample::Binary, ["9.59", "1.696", "0.361", "0.540", "11.158"]),
    ] {
        let mut config = Config::named("reactnet18");
        (config.stem, config.downsample) = (Some(stem), Some(downsample));
        let cost = cost(&config);
        assert_row(&cost, figures, &format!("{stem:?} {downsample:?}"));
        let thresholds: usize = cost
            .layers
            .iter()
            .filter(|l| l.name.ends_with(".down.sign"))
            .map(|l| l.float_params)
            .sum();
        assert_eq!(thresholds, if downsample == Downsample::Binary { 448 } else { 0 });
    }
}

fn assert_row(cost: &Cost, printed: [&str; 5], what: &str) {
    let (float, binary) = cost.params();
    let values = [
        cost.flops() as f64 / 1e6,
        cost.bops() as f64 / 1e9,
        cost.ops() / 1e8,
        float as f64 / 1e6,
        binary as f64 / 1e6,
    ];
    for (value, printed) in values.into_iter().zip(printed) {
        assert_prints(value, printed, what);
    }
}

#[test]
fn group_execution_costs_what_was_counted() {
    // Width, groups, then G BOPs, 1e8 OPs, M binary and real parameters, with the quick stem and binary shortcuts.
    for (width, groups, [bops, ops, binary, float]) in [
        (1.5, 1, ["3.815", "0.764", "25.10", "0.81"]),
        (1.5, 2, ["1.929", "0.469", "12.75", "0.81"]),
        (2.0, 1, ["6.782", "1.316", "44.63", "1.08"]),
        (2.0, 2, ["3.430", "0.792", "22.66", "1.08"]),
        (2.0, 4, ["1.753", "0.530", "11.67", "1.08"]),
        (4.0, 16, ["1.985", "1.079", "13.74", "2.17"]),
    ] {
        let mut config = Config::new("ftbnn18-compressed", Method::Reactnet);
        (config.width_multiplier, config.groups) = (Some(width), Some(groups));
        let cost = cost(&config);
        let what = format!("width {width}, {groups} groups");
        assert_prints(cost.bops() as f64 / 1e9, bops, &what);
        assert_prints(cost.ops() / 1e8, ops, &what);
        assert_prints(cost.params().1 as f64 / 1e6, binary, &what);
        assert_prints(cost.params().0 as f64 / 1e6, float, &what);
    }
}

#[test]
fn dybnn_costs_what_was_counted() {
    // Reduction, our extra real parameters, then hyper MACs and extra real parameters in millions, 1e8 OPs and megabits
    // in all of an independent count that has C/r hidden units even where we have the least number, 8.
    for (arch, base, reduction, ours, [macs, extra, ops, memory]) in [
        ("dybnn-a", "reactnet-a", 4, 7_798_616, ["7.76", "7.80", "0.949", "312.7"]),
        ("dybnn-a", "reactnet-a", 8, 3_916_088, ["3.88", "3.92", "0.910", "188.4"]),
        ("dybnn-a", "reactnet-a", 16, 1_977_400, ["1.94", "1.97", "0.891", "126.3"]),
        ("dybnn18", "reactnet18", 8, 817_864, ["0.81", "0.82", "1.648", "60.2"]),
        ("dybnn18", "reactnet18", 16, 420_136, ["0.40", "0.41", "1.644", "47.3"]),
    ] {
        let mut config = Config::named(arch);
        (config.hyper.reduction, config.hyper.precision) = (reduction, Precision::F32);
        let (dynamic, base) = (cost(&config), named(base));
        let what = format!("{arch}, reduction {reduction}");
        let added = total(&dynamic) - total(&base);
        assert_eq!(added, ours, "{what}");
        assert_eq!(dynamic.bops(), base.bops(), "{what}");
        let (more_macs, more_params) = above_reduction(&build(&config), reduction);
        let flops = dynamic.flops() - base.flops() - more_macs as u64;
        assert_prints(flops as f64 / 1e6, macs, &what);
        assert_prints((added - more_params) as f64 / 1e6, extra, &what);
        assert_prints(dynamic.ops() / 1e8, ops, &what);
        assert_prints(megabits(&dynamic) - 32e-6 * more_params as f64, memory, &what);
    }
}

/// MACs and parameters of the hidden units that hyper functions have above `channels / reduction`.
fn above_reduction(graph: &Verified<Graph>, reduction: usize) -> (usize, usize) {
    let shapes = infer::shapes(graph).expect("a verified graph");
    let units = |trunk: &Node| match trunk.op {
        Op::HyperTrunk { hidden, .. } => hidden - shapes[trunk.inputs[0].0].channels / reduction,
        _ => 0,
    };
    let hypers = graph.nodes.iter().map(|node| match node.op {
        Op::HyperTrunk { .. } => {
            let channels = shapes[node.inputs[0].0].channels;
            (units(node) * channels, units(node) * (channels + 1))
        }
        Op::HyperHead { outputs, .. } => {
            let weights = units(&graph.nodes[node.inputs[0].0]) * outputs;
            (weights, weights)
        }
        _ => (0, 0),
    });
    hypers.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[test]
fn int8_and_shared_trunks_keep_dybnn_small() {
    for (arch, base) in [("dybnn-a", "reactnet-a"), ("dybnn18", "reactnet18")] {
        let bytes = |sharing, precision| {
            let mut config = Config::named(arch);
            (config.hyper.sharing, config.hyper.precision) = (sharing, precision);
            let (float, binary) = cost(&config).bytes();
            float + binary
        };
        let (float, binary) = named(base).bytes();
        let base = float + binary;
        let added = |sharing, precision| bytes(sharing, precision) - base;
        let of_float = added(Sharing::None, Precision::F32);
        let quarter = added(Sharing::None, Precision::I8) as f64 / of_float as f64;
        assert!((0.25..0.28).contains(&quarter), "{arch}: {quarter}");
        let shared = added(Sharing::Block, Precision::I8) as f64 / of_float as f64;
        assert!(shared < 0.85 * quarter, "{arch}: {shared} of {quarter}");
    }
}

#[test]
fn a_block_has_one_shared_trunk() {
    for (arch, blocks) in [("dybnn-a", 13), ("dybnn18", 16)] {
        let mut config = Config::named(arch);
        config.hyper.sharing = Sharing::Block;
        let graph = build(&config);
        let trunks = graph.nodes.iter().filter(|node| matches!(node.op, Op::HyperTrunk { .. }));
        assert_eq!(trunks.count(), blocks, "{arch}");
    }
    let mut config = Config::named("dybnn-a");
    config.hyper.sharing = Sharing::Block;
    let graph = build(&config);
    let of_head = |head: &str| {
        let head = graph.nodes.iter().find(|node| node.name == head).unwrap();
        graph.nodes[head.inputs[0].0].name.as_str()
    };
    for head in ["3x3.sign_hyper", "3x3.prelu_hyper", "pw.sign_hyper", "pw.prelu_hyper"] {
        assert_eq!(of_head(&format!("feature.2.{head}")), "feature.2.trunk", "{head}");
    }
}

#[test]
fn every_sign_and_prelu_of_dybnn_is_dynamic() {
    for (arch, sites) in [("dybnn-a", 26), ("dybnn18", 16)] {
        let graph = build(&Config::named(arch));
        let count =
            |dynamic: fn(&Op) -> bool| graph.nodes.iter().filter(|n| dynamic(&n.op)).count();
        assert_eq!(count(|op| matches!(op, Op::Sign { threshold: Threshold::Dynamic })), sites);
        assert_eq!(count(|op| matches!(op, Op::Sign { .. })), sites);
        assert_eq!(count(|op| matches!(op, Op::Prelu { shift: Shift::Dynamic, .. })), sites);
        assert_eq!(count(|op| matches!(op, Op::Prelu { .. })), sites);
    }
}

#[test]
fn networks_for_small_images_cost_what_the_literature_says() {
    let reactnet18 = named("reactnet18-cifar");
    assert_prints(reactnet18.ops() / 1e8, "0.166", "ReActNet-18");
    assert_prints(reactnet18.bops() as f64 / 1e9, "0.547", "ReActNet-18");
    assert_prints(total(&reactnet18) as f64 / 1e6, "11.189", "ReActNet-18");
    let a = named("reactnet-a-cifar");
    assert_prints(a.ops() / 1e8, "0.070", "ReActNet-A");
    assert_prints(total(&a) as f64 / 1e6, "28.329", "ReActNet-A");
    let vgg = cost(&Config::new("vgg-small", Method::Bireal));
    assert_prints(vgg.bops() as f64 / 1e9, "0.604", "VGG-small");
    assert_prints(vgg.ops() / 1e8, "0.131", "VGG-small");
    assert_eq!(total(&vgg), 4_660_106);
    // 784 x 1,024 + 2 x 1,024 x 1,024 + 1,024 x 10 binary products, none of them real.
    let lfc = named("lfc");
    assert_eq!((lfc.flops(), lfc.bops(), lfc.params().1), (0, 2_910_208, 2_910_208));
    // Of 1,542,848 weights those of the first convolution, 3 x 64 x 9, are real here.
    assert_eq!(named("cnv").params().1, 1_542_848 - 1_728);
}

#[test]
fn every_architecture_builds_for_every_method_and_survives_json() {
    for architecture in ARCHITECTURES {
        for method in METHODS {
            let graph = build(&Config::new(architecture.name, method));
            let json = graph.to_json().unwrap();
            let again = Verified::<Graph>::new(Graph::from_json(&json).unwrap()).unwrap();
            assert_eq!(graph, again, "{} {method:?}", architecture.name);
            // The header holds this JSON as a string, and names, places and checksums of the tensors.
            let shapes = infer::shapes(&graph).unwrap();
            let tensors: usize = graph.ids().map(|id| graph.params(id, &shapes).len()).sum();
            assert!(tensors <= limits::MAX_TENSORS, "{}", architecture.name);
            let header = serde_json::to_string(&json).unwrap().len() + 256 * tensors;
            assert!(header <= limits::MAX_HEADER_BYTES, "{} {header}", architecture.name);
        }
    }
}

#[test]
fn an_option_goes_before_the_architectures_own() {
    for (arch, own) in [
        ("birealnet18", Method::Bireal),
        ("reactnet-a", Method::Reactnet),
        ("ftbnn18-cifar", Method::Ftbnn),
        ("dybnn-a-cifar", Method::Dybnn),
    ] {
        let graph = build(&Config::named(arch));
        assert_eq!(graph, build(&Config::new(arch, own)), "{arch}");
        for other in METHODS.into_iter().filter(|&method| method != own) {
            assert_ne!(graph.nodes, build(&Config::new(arch, other)).nodes, "{arch} {other:?}");
        }
    }
    let mut config = Config::named("ftbnn18-grouped-2x4g");
    let grouped = build(&config);
    config.groups = Some(1);
    config.width_multiplier = Some(1.0);
    assert_eq!(build(&config).nodes, build(&Config::named("ftbnn18-compressed")).nodes);
    assert!(grouped.nodes.iter().any(|n| n.op == Op::ChannelShuffle { groups: 4 }));
}

#[test]
fn every_module_position_builds_in_every_family() {
    for arch in ["ftbnn18", "ftbnn-a", "vgg-small"] {
        let places = [
            NonlinearityPosition::BeforeBn,
            NonlinearityPosition::BeforeAdd,
            NonlinearityPosition::AfterAdd,
        ];
        let built = places.map(|position| {
            build(&Config { nonlinearity_position: position, ..Config::new(arch, Method::Ftbnn) })
        });
        assert_ne!(built[0], built[1], "{arch}");
        assert_ne!(built[0], built[2], "{arch}");
        // Without an addition, before it and after it are the same place.
        assert_eq!(built[1] == built[2], arch == "vgg-small", "{arch}");
    }
}

#[test]
fn options_that_a_family_lacks_are_named() {
    type Break = fn(&mut Config);
    let cases: [(&str, Break, &str); 9] = [
        ("reactnet-a", |c| c.blocks = Some(vec![1]), "blocks` is [1], expected no value"),
        ("reactnet-a", |c| c.widths = Some(vec![32, 48]), "widths` is [32, 48], expected"),
        ("reactnet-a", |c| c.downsample = Some(Downsample::Duplicate), "expected binary, float"),
        (
            "vgg-small",
            |c| c.downsample = Some(Downsample::Float),
            "downsample` is \"float\", expected",
        ),
        ("vgg-small", |c| c.blocks = Some(vec![1]), "blocks` is [1], expected no value"),
        ("lfc", |c| c.stem = Some(Stem::Small), "stem` is Small, expected no value"),
        ("cnv", |c| c.groups = Some(2), "groups` is 2, expected 1 here"),
        ("reactnet18", |c| c.width_multiplier = Some(0.0), "width_multiplier` is 0.0, expected"),
        ("reactnet18", |c| c.hyper.reduction = 0, "hyper.reduction` is 0, expected"),
    ];
    for (arch, break_it, expected) in cases {
        let mut config = Config::named(arch);
        break_it(&mut config);
        let error = arch::build(&config, &Task::unnamed([3, 32, 32], 10)).unwrap_err().to_string();
        assert!(error.contains(expected), "expected `{expected}`, got `{error}`");
    }
}
