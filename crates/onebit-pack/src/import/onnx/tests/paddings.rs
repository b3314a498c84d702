//! Paddings as PyTorch writes them, and maps where logits are expected.

use super::{Graph, check, int, ints};
use crate::import::onnx::{OnnxOptions, read_onnx};

/// What PyTorch writes for paddings: zero ones in front of poolings, and from opset 11 on extents that are computed.
#[test]
fn paddings_of_pytorch() {
    let mut g = Graph::new(&[2, 8, 8]);
    let none = g.ints(&[0; 8]);
    let same = g.op("Pad", &["x", &none], vec![]);
    let window = || vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    let average = g.op("AveragePool", &[&same], window());
    let zero = g.floats(&[], vec![0.0]);
    let above = g.op("Greater", &[&average, &zero], vec![]);
    let (one, minus) = (g.floats(&[], vec![1.0]), g.floats(&[], vec![-1.0]));
    let bits = g.op("Where", &[&above, &one, &minus], vec![]);
    // `F.pad(x, (1, 1, 1, 1), value=1.0)`: innermost axis first, and nothing for the others.
    let sides = g.ints(&[1, 1, 1, 1]);
    let count = g.ints(&[4]);
    let others = g.op("ConstantOfShape", &[&count], vec![]);
    let all = g.op("Concat", &[&sides, &others], vec![int("axis", 0)]);
    let pairs = g.ints(&[-1, 2]);
    let pairs = g.op("Reshape", &[&all, &pairs], vec![]);
    let [from, to, axes, steps] = [-1, i64::MIN + 1, 0, -1].map(|v| g.ints(&[v]));
    let turned = g.op("Slice", &[&pairs, &from, &to, &axes, &steps], vec![]);
    let turned = g.op("Transpose", &[&turned], vec![ints("perm", &[1, 0])]);
    let flat = g.ints(&[-1]);
    let flat = g.op("Reshape", &[&turned, &flat], vec![]);
    let pads = g.op("Cast", &[&flat], vec![int("to", 7)]);
    let padded = g.op("Pad", &[&bits, &pads, &one], vec![]);
    let weight = g.signs(&[4, 2, 3, 3]);
    let conv = g.op("Conv", &[&padded, &weight], vec![]);
    let again = g.op("Pad", &[&conv, &none], vec![]);
    let most = g.op("MaxPool", &[&again], window());
    let output = g.op("GlobalAveragePool", &[&most], vec![]);
    let imported = read_onnx(&g.file(&output), OnnxOptions::default()).unwrap();
    check(&imported, &g.images(3));
    let op = |name: &str| imported.weights.graph.nodes.iter().any(|node| node.op.name() == name);
    assert!(op("avg_pool") && op("max_pool") && op("conv_bin"));
    // A part of the image is no constant.
    let mut g = Graph::new(&[2, 8, 8]);
    let [from, to] = [0, 1].map(|v| g.ints(&[v]));
    let part = g.op("Slice", &["x", &from, &to], vec![]);
    let output = g.op("GlobalAveragePool", &[&part], vec![]);
    let error = read_onnx(&g.file(&output), OnnxOptions::default()).err().unwrap().to_string();
    assert!(error.contains("only constants are sliced"), "{error}");
    // A map is no vector of logits.
    let mut g = Graph::new(&[2, 8, 8]);
    let weight = g.random(&[4, 2, 3, 3], -1.0, 1.0);
    let output = g.op("Conv", &["x", &weight], vec![]);
    let error = read_onnx(&g.file(&output), OnnxOptions::default()).err().unwrap().to_string();
    assert!(error.contains("[1, 4, 6, 6]: expected one logit for each class"), "{error}");
}
