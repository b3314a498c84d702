//! A packed model that does not compute what was trained is found out, whatever is wrong with it.

#![allow(clippy::unwrap_used)]

use onebit_model::{
    Geometry, Graph, Node, NodeId, Normalization, Op, PadValue, Preprocessing, Threshold,
    WeightScale,
};
use onebit_pack::agreement::{MAX_FLIPPED_SHARE, MAX_LOGIT_DIFFERENCE};
use onebit_pack::{Agreement, Disagreement, Observed};

/// Two sign nodes of one word each, three logits.
fn graph() -> Graph {
    let sign = Op::Sign { threshold: Threshold::Zero };
    let geometry = Geometry { out_channels: 3, kernel: 1, stride: 1, padding: 0, groups: 1 };
    let conv = Op::ConvBin { geometry, pad: PadValue::Zero, scale: WeightScale::None };
    let ops = [
        ("input", Op::Input { channels: 40, height: 1, width: 1 }),
        ("sign.a", sign.clone()),
        ("conv.a", conv.clone()),
        ("sign.b", sign),
        ("conv.b", conv),
    ];
    let nodes = ops.into_iter().enumerate().map(|(i, (name, op))| {
        let inputs = i.checked_sub(1).map(NodeId).into_iter().collect();
        Node { name: name.to_string(), op, inputs }
    });
    Graph {
        arch: "test".to_string(),
        normalization: Normalization { mean: vec![0.0; 40], std: vec![1.0; 40] },
        preprocessing: Preprocessing::default(),
        classes: ["a", "b", "c"].map(String::from).to_vec(),
        nodes: nodes.collect(),
    }
}

fn observed(logits: [f32; 3]) -> Observed {
    let signs = [("sign.a", vec![0b1010]), ("sign.b", vec![0b1])];
    let signs = signs.map(|(node, words)| (node.to_string(), words)).to_vec();
    Observed { logits: logits.to_vec(), signs }
}

fn flipped(logits: [f32; 3]) -> Observed {
    let mut observed = observed(logits);
    observed.signs[0].1[0] ^= 0b110;
    observed.signs[1].1[0] ^= 0b1;
    observed
}

fn compare(pairs: impl IntoIterator<Item = (Observed, Observed)>) -> Agreement {
    let mut agreement = Agreement::new(&graph()).unwrap();
    pairs.into_iter().for_each(|(trainer, engine)| agreement.image(&trainer, &engine));
    agreement
}

const LOGITS: [f32; 3] = [-1.0, 0.0, 1.0];

#[test]
fn equal_outputs_agree() {
    let report = compare((0..10).map(|_| (observed(LOGITS), observed(LOGITS)))).verdict().unwrap();
    assert_eq!((report.images, report.top1_agree, report.flipped_images), (10, 10, 0));
    assert_eq!(report.max_logit_difference, 0.0);
    assert!((report.logit_deviation - (2.0f64 / 3.0).sqrt()).abs() < 1e-12);
    assert!(report.flips.is_empty());
}

#[test]
fn the_logits_of_one_class_are_compared_with_their_size() {
    let mut graph = graph();
    graph.classes.truncate(1);
    let one = |logit: f32| Observed { logits: vec![logit], ..observed(LOGITS) };
    let differing = |by: f32| {
        let mut agreement = Agreement::new(&graph).unwrap();
        agreement.image(&one(4.0), &one(4.0 + by));
        agreement.verdict()
    };
    assert_eq!(differing(4e-6).unwrap().logit_deviation, 0.0);
    assert!(matches!(differing(4e-4), Err(Disagreement::Logits { .. })));
}

#[test]
fn rounding_is_allowed_and_measured() {
    let report =
        compare([(observed(LOGITS), observed([-1.0, 0.0, 1.0 + 2e-6]))]).verdict().unwrap();
    assert!(report.max_logit_difference > 1e-6, "{}", report.max_logit_difference);
    assert!(report.max_logit_difference < MAX_LOGIT_DIFFERENCE);
}

#[test]
fn logits_beyond_rounding_fail() {
    let error = compare([(observed(LOGITS), observed([-1.0, 1e-4, 1.0]))]).verdict().unwrap_err();
    assert!(matches!(error, Disagreement::Logits { found } if found > 1e-4), "{error}");
}

#[test]
fn constant_logits_leave_no_room() {
    let error = compare([(observed([0.5; 3]), observed([0.5, 0.5, 0.500001]))]).verdict();
    assert!(matches!(error, Err(Disagreement::Logits { .. })));
    assert!(compare([(observed([0.5; 3]), observed([0.5; 3]))]).verdict().is_ok());
}

#[test]
fn another_class_fails_even_within_rounding() {
    let near_tie = (observed([-1.0, 1.0, 1.0 - 1e-7]), observed([-1.0, 1.0 - 1e-7, 1.0]));
    let error = compare([near_tie]).verdict().unwrap_err();
    assert_eq!(error, Disagreement::Top1 { images: 1 });
}

#[test]
fn a_tie_is_no_disagreement() {
    let tie = (observed([-1.0, 1.0, 1.0]), observed([-1.0, 1.0, 1.0 - 1e-7]));
    assert_eq!(compare([tie]).verdict().unwrap().top1_agree, 1);
}

#[test]
fn rare_flips_are_counted_and_their_logits_left_out() {
    let mut pairs = vec![(observed(LOGITS), observed(LOGITS)); 99];
    pairs.push((observed(LOGITS), flipped([2.0, 0.0, 1.0])));
    let report = compare(pairs).verdict().unwrap();
    assert_eq!((report.flipped_images, report.flipped_images_allowed), (1, 2));
    assert_eq!((report.top1_agree, report.max_logit_difference), (99, 0.0));
    let flips: Vec<_> = report.flips.iter().map(|n| (n.node.as_str(), n.bits, n.first)).collect();
    assert_eq!(flips, [("sign.a", 2, 1), ("sign.b", 1, 0)]);
}

#[test]
fn frequent_flips_fail_and_name_the_node() {
    let pair = |i| if i < 3 { flipped(LOGITS) } else { observed(LOGITS) };
    let error = compare((0..100).map(|i| (observed(LOGITS), pair(i)))).verdict().unwrap_err();
    let allowed = (100.0 * MAX_FLIPPED_SHARE) as u64;
    let node = "sign.a".to_string();
    assert_eq!(error, Disagreement::Flips { flipped: 3, images: 100, allowed, node });
}

#[test]
fn what_cannot_be_compared_fails() {
    let right = || observed(LOGITS);
    let mut wrong: Vec<Observed> = vec![observed([0.0, f32::NAN, 1.0]), Observed::default()];
    wrong.resize(6, right());
    wrong[2].logits.pop();
    wrong[3].signs.pop();
    wrong[4].signs[0].0 = "other".to_string();
    wrong[5].signs[1].1.push(0);
    for wrong in wrong {
        for pair in [(right(), wrong.clone()), (wrong.clone(), right()), (wrong.clone(), wrong)] {
            let error = compare([(right(), right()), pair]).verdict().unwrap_err();
            assert!(matches!(error, Disagreement::NotComparable(_)), "{error}");
        }
    }
}

#[test]
fn nothing_compared_proves_nothing() {
    assert_eq!(compare([]).verdict(), Err(Disagreement::NoImages));
}
