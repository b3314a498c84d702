//! The small networks: shapes, costs and canonical JSON.

use onebit_model::arch::{self, Config, Downsample, Method, Task};
use onebit_model::cost::Cost;
use onebit_model::{Graph, Op, Shift, Threshold, Verified};

const METHODS: [Method; 4] = [Method::Bireal, Method::Reactnet, Method::Ftbnn, Method::Dybnn];

#[test]
fn resnet20_costs_what_the_literature_says() {
    // Counted by hand: 40.1 M binary operations, 0.0107e8 OPs.
    let config = Config {
        downsample: Some(Downsample::Duplicate),
        ..Config::new("resnet20", Method::Bireal)
    };
    let graph = arch::build(&config, &Task::unnamed([3, 32, 32], 10)).unwrap();
    let cost = Cost::of(&graph, [3, 32, 32]).unwrap();
    assert_eq!(cost.bops(), 40_108_032);
    assert_eq!(cost.flops(), 442_368 + 640);
    let (float, binary) = cost.params();
    assert_eq!(binary, 267_264);
    assert_eq!(float, 432 + 2 * (7 * 16 + 6 * 32 + 6 * 64) + 650);
    assert!((cost.ops() - 0.0107e8).abs() < 0.0001e8, "{}", cost.ops());
}

#[test]
fn every_method_builds_for_both_image_sizes_and_survives_json() {
    for method in METHODS {
        for input in [[1, 28, 28], [3, 32, 32]] {
            let graph =
                arch::build(&Config::new("resnet20", method), &Task::unnamed(input, 10)).unwrap();
            let json = graph.to_json().unwrap();
            let again = Verified::<Graph>::new(Graph::from_json(&json).unwrap()).unwrap();
            assert_eq!(graph, again);
            assert_eq!(json, again.to_json().unwrap());
        }
    }
}

#[test]
fn dysign_and_dyprelu_switch_separately() {
    let build = |sign, dyprelu| {
        let mut config = Config::new("resnet20", Method::Reactnet);
        config.sign = sign;
        config.dyprelu = dyprelu;
        arch::build(&config, &Task::unnamed([1, 28, 28], 10)).unwrap()
    };
    let dynamic = |graph: &Graph| {
        let signs = graph
            .nodes
            .iter()
            .filter(|n| matches!(n.op, Op::Sign { threshold: Threshold::Dynamic }));
        let prelus =
            graph.nodes.iter().filter(|n| matches!(n.op, Op::Prelu { shift: Shift::Dynamic, .. }));
        (signs.count(), prelus.count())
    };
    assert_eq!(dynamic(&build(None, None)), (0, 0));
    assert_eq!(dynamic(&build(Some(arch::SignKind::Dysign), None)), (18, 0));
    assert_eq!(dynamic(&build(None, Some(true))), (0, 18));
}

#[test]
fn impossible_options_are_named() {
    let task = Task::unnamed([1, 28, 28], 10);
    let mut config = Config::new("resnet21", Method::Bireal);
    let message = arch::build(&config, &task).unwrap_err().to_string();
    assert!(message.contains("resnet21") && message.contains("resnet20"), "{message}");
    config = Config::new("resnet20", Method::Bireal);
    config.blocks = Some(vec![1]);
    let message = arch::build(&config, &task).unwrap_err().to_string();
    assert!(message.contains("blocks"), "{message}");
    config.blocks = None;
    config.groups = Some(3);
    let message = arch::build(&config, &task).unwrap_err().to_string();
    assert!(message.contains("groups is 3"), "{message}");
}

#[test]
fn one_named_error_for_each_defect() {
    let graph =
        arch::build(&Config::new("resnet20", Method::Dybnn), &Task::unnamed([1, 28, 28], 10))
            .unwrap()
            .into_inner();
    type Defect = (&'static str, fn(&mut Graph));
    let defects: [Defect; 9] = [
        ("has no nodes", |g| g.nodes.clear()),
        ("two nodes are named", |g| g.nodes[2].name = "input".into()),
        ("not a valid name", |g| g.nodes[2].name = "a b".into()),
        ("takes 1 input, found 0", |g| g.nodes[2].inputs.clear()),
        ("not an earlier node", |g| g.nodes[2].inputs[0].0 = 5),
        ("nothing reads", |g| {
            let mut node = g.nodes[1].clone();
            node.name = "spare".into();
            g.nodes.insert(g.nodes.len() - 1, node);
        }),
        ("names 9 classes", |g| drop(g.classes.pop())),
        ("positive standard deviations", |g| g.normalization.std[0] = 0.0),
        ("must be the input", |g| g.nodes[0].op = Op::GlobalAvgPool),
    ];
    for (message, break_it) in defects {
        let mut broken = graph.clone();
        break_it(&mut broken);
        if message.contains("nothing reads") {
            let last = broken.nodes.len() - 1;
            broken.nodes[last].inputs[0].0 = last - 2;
        }
        let error = Verified::<Graph>::new(broken).unwrap_err().to_string();
        assert!(error.contains(message), "expected `{message}`, got `{error}`");
    }
}
