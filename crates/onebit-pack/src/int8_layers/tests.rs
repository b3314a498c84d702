//! What rounding the ends of a small network keeps and changes.

use std::collections::BTreeMap;

use onebit_model::{Geometry, Graph, Origin, Preprocessing};

use super::*;

fn model(mean: f32) -> Verified<Model> {
    let geometry = Geometry { out_channels: 2, kernel: 1, stride: 1, padding: 0, groups: 1 };
    let node = |name: &str, op, inputs: &[usize]| {
        let inputs = inputs.iter().map(|&input| NodeId(input)).collect();
        Node { name: name.to_owned(), op, inputs }
    };
    let graph = Graph {
        arch: "test".to_owned(),
        normalization: Normalization { mean: vec![mean; 2], std: vec![0.25, 0.5] },
        preprocessing: Preprocessing::default(),
        classes: vec!["a".to_owned(), "b".to_owned()],
        nodes: vec![
            node("image", Op::Input { channels: 2, height: 1, width: 1 }, &[]),
            node("conv", Op::Conv { geometry }, &[0]),
            node("fc", Op::Linear { out_features: 2 }, &[1]),
        ],
    };
    let tensor = |shape: &[usize], values: &[f32]| Tensor {
        shape: shape.to_vec(),
        data: Data::F32(values.to_vec()),
    };
    let tensors = BTreeMap::from([
        ("conv.weight".to_owned(), tensor(&[2, 1, 1, 2], &[1.0, 2.0, 0.0, 0.0])),
        ("fc.weight".to_owned(), tensor(&[2, 2], &[127.0, 63.5, -63.5, 127.0])),
        ("fc.bias".to_owned(), tensor(&[2], &[0.5, -0.5])),
    ]);
    Verified::<Model>::new(Model { graph, tensors, origin: Origin::default() }).unwrap()
}

#[test]
fn the_steps_of_an_image_are_its_grey_levels() {
    let Quantized { model, nodes, .. } = quantize(&model(0.5), Layers::All, None).unwrap();
    assert_eq!(nodes, ["conv"]);
    let conv = &model.graph.nodes[1];
    let (integers, scale) = model.integers(conv, "weight");
    // Weights times steps: 1 / (255 * 0.25) and 2 / (255 * 0.5) are equal.
    assert_eq!(integers, [127, 127, 0, 0]);
    assert!((scale[0] * 127.0 * 255.0 * 0.25 - 1.0).abs() < 1e-6 && scale[1] == 0.0);
    assert_eq!(model.floats(conv, "input_offset"), [127.5; 2]);
}

#[test]
fn the_classifier_takes_steps_that_cover_its_input() {
    let source = model(0.5);
    assert_eq!(features(&source), Some(NodeId(1)));
    let mut ranges = Ranges::new(2);
    ranges.add(&[2.55, -1.0, 0.5, f32::NAN, 1.0, 4.1]);
    let Quantized { model, nodes, .. } = quantize(&source, Layers::All, Some(&ranges)).unwrap();
    assert_eq!(nodes, ["conv", "fc"]);
    let fc = &model.graph.nodes[2];
    let near = |found: &[f32], expected: [f32; 2]| {
        found.iter().zip(expected).all(|(f, e)| (f - e).abs() <= 1e-5 * e.max(0.01))
    };
    assert!(near(model.floats(fc, "input_scale"), [0.01, 0.02]));
    assert!(near(model.floats(fc, "input_offset"), [0.0, 50.0]));
    assert_eq!(model.integers(fc, "weight").0, [127, 127, -32, 127]);
    assert_eq!(model.floats(fc, "bias"), [0.5, -0.5]);
}

#[test]
fn a_channel_that_does_not_change_gets_a_small_step() {
    let mut ranges = Ranges::new(3);
    ranges.add(&[0.0, 8.0, -8.0]);
    assert_eq!(ranges.widths(), [8.0 / 1024.0, 8.0, 8.0]);
    assert_eq!(Ranges::new(2).widths(), [1.0; 2]);
}

#[test]
fn what_cannot_be_rounded_is_left() {
    let source = model(1.5);
    assert!(matches!(quantize(&source, Layers::All, None), Err(PackError::NothingToQuantize)));
    let left = quantize(&source, Layers::All, Some(&Ranges::new(2))).unwrap().left;
    assert!(
        left.len() == 1 && left[0].node == "conv" && left[0].reason.contains("mean"),
        "{left:?}"
    );
    let once = quantize(&model(0.5), Layers::All, Some(&Ranges::new(2))).unwrap();
    assert!(matches!(quantize(&once.model, Layers::All, None), Err(PackError::NothingToQuantize)));
    assert_eq!(features(&once.model), None);
    let of = |layers| quantize(&model(0.5), layers, Some(&Ranges::new(2))).unwrap().nodes;
    assert_eq!((of(Layers::First), of(Layers::Last)), (vec!["conv".into()], vec!["fc".into()]));
}

#[test]
fn changes_are_counted_and_bounded() {
    let mut comparison = Comparison::default();
    let bounds = Bounds::new;
    assert!(matches!(
        comparison.verdict(Bounds::new(None, None)),
        Err(PackError::Int8Changes { images: 0, .. })
    ));
    for image in 0..200u32 {
        let int8 = if image < 3 { [0.0, 1.5] } else { [1.0, 0.0] };
        comparison.image(u32::from(image == 0), &[1.0, 0.0], &int8);
    }
    let changes = comparison.changes(bounds(Some(0.01), Some(0.01)));
    assert_eq!((changes.images, changes.changed, changes.changed_allowed), (200, 3, Some(2)));
    // Of the three that changed one became right, two wrong.
    assert_eq!((changes.lost, changes.lost_allowed), (1, Some(2)));
    assert_eq!((changes.top1_float, changes.top1_int8), (0.995, 0.99));
    assert_eq!(changes.max_logit_difference, 3.0);
    assert!(matches!(
        comparison.verdict(bounds(Some(0.01), Some(0.01))),
        Err(PackError::Int8Changes { changed: 3, allowed: 2, .. })
    ));
    assert_eq!(comparison.verdict(bounds(None, Some(0.015))).unwrap().changed_allowed, Some(3));
    assert_eq!(comparison.verdict(Bounds::new(None, None)).unwrap().changed_allowed, None);
    for _ in 0..4 {
        comparison.image(0, &[1.0, 0.0], &[0.0, 1.0]);
    }
    assert!(matches!(
        comparison.verdict(Bounds::new(None, None)),
        Err(PackError::Int8Loses { lost: 5, allowed: 2, .. })
    ));
}
