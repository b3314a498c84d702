//! Graphs at their limits: the last that is accepted, the first that is refused.

use onebit_model::arch::Task;
use onebit_model::{
    Geometry, Graph, GraphError, Node, NodeId, Op, PadValue, Preprocessing, Threshold, Verified,
    WeightScale, infer, limits,
};

/// Verifies a chain of operations behind an image.
fn verify([channels, height, width]: [usize; 3], ops: Vec<Op>) -> Result<(), GraphError> {
    let input = Op::Input { channels, height, width };
    let nodes = [input].into_iter().chain(ops).enumerate().map(|(i, op)| Node {
        name: format!("n{i}"),
        op,
        inputs: i.checked_sub(1).map(NodeId).into_iter().collect(),
    });
    let mut graph = Graph {
        arch: "test".into(),
        normalization: Task::unnamed([channels, 1, 1], 1).normalization,
        preprocessing: Preprocessing::default(),
        classes: Vec::new(),
        nodes: nodes.collect(),
    };
    let outputs = infer::shapes(&graph)?.last().map_or(0, |shape| shape.len());
    graph.classes = (0..outputs).map(|i| i.to_string()).collect();
    Verified::<Graph>::new(graph).map(|_| ())
}

fn too_much(node: usize) -> Result<(), GraphError> {
    Err(GraphError::TooMuchWork(format!("n{node}")))
}

/// 2^40 products each, and some more for what surrounds them.
#[test]
fn the_work_of_an_image_is_limited() {
    let geometry = Geometry { out_channels: 4096, kernel: 1, stride: 1, padding: 0, groups: 1 };
    let conv = |count: usize| {
        let mut ops = vec![Op::Conv { geometry }; count];
        ops.push(Op::GlobalAvgPool);
        ops
    };
    assert_eq!(verify([4096, 256, 256], conv(3)), Ok(()));
    assert_eq!(verify([4096, 256, 256], conv(4)), too_much(4));
    assert_eq!(verify([4096, 256, 256], conv(5)), too_much(4));
}

#[test]
fn every_operation_counts() {
    let geometry = Geometry { out_channels: 1, kernel: 31, stride: 1, padding: 15, groups: 1 };
    let side = 1 << 14;
    let pools = [
        Op::MaxPool { kernel: 31, stride: 1, padding: 15 },
        Op::Conv { geometry },
        Op::ConvI8 { geometry },
    ];
    for op in pools {
        let ops = |count| [vec![op.clone(); count], vec![Op::GlobalAvgPool]].concat();
        assert_eq!(verify([1, side, side], ops(16)), Ok(()));
        assert_eq!(verify([1, side, side], ops(18)), too_much(18));
    }
    // Shrinks by 30 rows and columns each time.
    let ops = |count| {
        [vec![Op::AvgPool { kernel: 31, stride: 1 }; count], vec![Op::GlobalAvgPool]].concat()
    };
    assert_eq!(verify([1, side, side], ops(16)), Ok(()));
    assert_eq!(verify([1, side, side], ops(20)), too_much(18));
    let sign = Op::Sign { threshold: Threshold::Zero };
    let pad = PadValue::One;
    let binary = Op::ConvBin { geometry, pad, scale: WeightScale::None };
    let ops = |count| {
        let pairs = vec![vec![sign.clone(), binary.clone()]; count].concat();
        [pairs, vec![Op::GlobalAvgPool]].concat()
    };
    assert_eq!(verify([1, side, side], ops(16)), Ok(()));
    assert_eq!(verify([1, side, side], ops(20)), too_much(36));
    let elementwise = |count| [vec![Op::Affine; count], vec![Op::GlobalAvgPool]].concat();
    assert_eq!(verify([1, side, side], elementwise(4000)), Ok(()));
    assert_eq!(verify([1, 1 << 16, 1 << 12], elementwise(4094)), Ok(()));
}

#[test]
fn sums_of_bits_are_exact_as_floats() {
    let verify = |channels, kernel, groups| {
        let geometry = Geometry { out_channels: groups, kernel, stride: 1, padding: 0, groups };
        let conv = Op::ConvBin { geometry, pad: PadValue::Zero, scale: WeightScale::None };
        verify([channels, kernel, kernel], vec![Op::Sign { threshold: Threshold::Zero }, conv])
    };
    assert_eq!(limits::MAX_BINARY_PRODUCTS, 1 << 24);
    assert_eq!(verify(1 << 16, 16, 1), Ok(()));
    assert_eq!(verify(1 << 16, 17, 2), Ok(()));
    assert_eq!(
        verify(1 << 16, 17, 1).map_err(|error| error.to_string()),
        Err("node `n2`: number of products of an output is 18939904, expected at most 16777216"
            .into())
    );
}
