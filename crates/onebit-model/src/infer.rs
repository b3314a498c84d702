//! Shape inference.

#![deny(clippy::wildcard_enum_match_arm)]

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::cost::operations;
use crate::op::window_extent;
use crate::{Geometry, Graph, GraphError, HyperRange, Node, NodeId, Op, Shift, Threshold, limits};

/// What the elements of a map are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// 32-bit floats.
    Float,
    /// One bit each: 1 is +1, 0 is -1.
    Bit,
}

/// Shape of one image's activation. A vector of n is `n x 1 x 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Kind of the elements.
    pub element: Element,
    /// Channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// A real map.
    #[must_use]
    pub fn float(channels: usize, height: usize, width: usize) -> Self {
        Shape { element: Element::Float, channels, height, width }
    }

    /// Rows times columns.
    #[must_use]
    pub fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Number of elements.
    #[must_use]
    pub fn len(self) -> usize {
        self.channels * self.pixels()
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.height == 1 && self.width == 1 {
            write!(f, "{}", self.channels)
        } else {
            write!(f, "{}x{}x{}", self.channels, self.height, self.width)
        }
    }
}

/// Shapes of all nodes for the graph's own input size.
///
/// # Errors
/// The first node whose inputs, attributes or sizes do not fit.
pub fn shapes(graph: &Graph) -> Result<Vec<Shape>, GraphError> {
    shapes_for(graph, graph.input_shape())
}

/// Shapes of all nodes for an input of `[channels, height, width]`.
///
/// # Errors
/// The first node whose inputs, attributes or sizes do not fit; for another input than the graph's own, a layer that
/// reads another number of values, or a last node that does not give one logit for each class.
pub fn shapes_for(graph: &Graph, input: [usize; 3]) -> Result<Vec<Shape>, GraphError> {
    let mut shapes: Vec<Shape> = Vec::with_capacity(graph.nodes.len());
    let mut work = 0;
    for (position, node) in graph.nodes.iter().enumerate() {
        if node.inputs.len() != node.op.arity() {
            return Err(GraphError::Arity {
                node: node.name.clone(),
                op: node.op.name(),
                expected: node.op.arity(),
                found: node.inputs.len(),
            });
        }
        if let Some(id) = node.inputs.iter().find(|id| id.0 >= position) {
            let name = graph.nodes.get(id.0).map_or_else(|| id.0.to_string(), |n| n.name.clone());
            return Err(GraphError::UnknownInput { node: node.name.clone(), input: name });
        }
        let inputs: Vec<Shape> = node.inputs.iter().map(|id| shapes[id.0]).collect();
        let shape = infer(node, &inputs, input)?;
        check_size(node, &inputs, shape)?;
        let x = inputs.first().copied().unwrap_or(shape);
        work += operations(&node.op, x, shape);
        if work > limits::MAX_OPERATIONS {
            return Err(GraphError::TooMuchWork(node.name.clone()));
        }
        shapes.push(shape);
    }
    if input != graph.input_shape() {
        check_other_size(graph, input, &shapes)?;
    }
    Ok(shapes)
}

/// Whether a network takes images of another size than its own: the numbers of inputs of its layers and of its logits
/// are the same.
fn check_other_size(graph: &Graph, input: [usize; 3], found: &[Shape]) -> Result<(), GraphError> {
    let input = format!("{}x{}x{}", input[0], input[1], input[2]);
    let own = shapes(graph)?;
    for node in &graph.nodes {
        let is_flat =
            matches!(node.op, Op::Linear { .. } | Op::LinearBin { .. } | Op::LinearI8 { .. });
        let Some(&NodeId(x)) = node.inputs.first().filter(|_| is_flat) else { continue };
        let (expected, found) = (own[x].len(), found[x].len());
        if expected != found {
            let node = node.name.clone();
            return Err(GraphError::OtherFlattened { node, input, expected, found });
        }
    }
    let outputs = found.last().map_or(0, |shape| shape.len());
    if outputs != graph.classes.len() {
        let classes = graph.classes.len();
        return Err(GraphError::OtherSize { input, classes, outputs });
    }
    Ok(())
}

fn infer(node: &Node, inputs: &[Shape], input: [usize; 3]) -> Result<Shape, GraphError> {
    if let Op::Input { channels, .. } = node.op {
        require(node, "channels", channels, channels == input[0], "the channels of the image")?;
        return Ok(Shape::float(input[0], input[1], input[2]));
    }
    let x = inputs[0];
    check_elements(node, inputs)?;
    match node.op {
        Op::Input { .. } | Op::Affine => Ok(x),
        Op::BatchNorm { eps } => {
            let valid = eps.is_finite() && eps > 0.0;
            require(node, "eps", eps, valid, "a positive number")?;
            Ok(x)
        }
        Op::Conv { geometry } => infer_conv(node, &geometry, x),
        Op::ConvBin { geometry, .. } => {
            let Geometry { kernel, groups, .. } = geometry;
            let shape = infer_conv(node, &geometry, x)?;
            let products = kernel * kernel * (x.channels / groups);
            let valid = products <= limits::MAX_BINARY_PRODUCTS;
            require(node, PRODUCTS, products, valid, "at most 16777216")?;
            Ok(shape)
        }
        Op::ConvI8 { geometry } => {
            let Geometry { kernel, groups, .. } = geometry;
            require(node, "groups", groups, groups == 1, "1")?;
            let shape = infer_conv(node, &geometry, x)?;
            require_products(node, kernel * kernel * x.channels)?;
            Ok(shape)
        }
        Op::Sign { threshold } => {
            if threshold == Threshold::Dynamic {
                require_offsets(node, x, inputs[1], x.channels)?;
            }
            Ok(Shape { element: Element::Bit, ..x })
        }
        Op::Prelu { shift, .. } => {
            if shift == Shift::Dynamic {
                require_offsets(node, x, inputs[1], 2 * x.channels)?;
            }
            Ok(x)
        }
        Op::Add if x == inputs[1] => Ok(x),
        Op::Concat if (x.height, x.width) == (inputs[1].height, inputs[1].width) => {
            Ok(Shape { channels: x.channels + inputs[1].channels, ..x })
        }
        Op::Add | Op::Concat => Err(mismatch(node, x, inputs[1])),
        Op::ChannelShuffle { groups } => {
            let divides = groups > 0 && x.channels.is_multiple_of(groups);
            require(node, "groups", groups, divides, "a divisor of the channels")?;
            Ok(x)
        }
        Op::AvgPool { kernel, stride } => infer_window(node, x, kernel, stride, 0),
        Op::MaxPool { kernel, stride, padding } => {
            require(node, "padding", padding, padding < kernel, "less than the window")?;
            infer_window(node, x, kernel, stride, padding)
        }
        Op::GlobalAvgPool => Ok(Shape::float(x.channels, 1, 1)),
        Op::Linear { out_features } => {
            require_extent(node, "out_features", out_features)?;
            Ok(Shape::float(out_features, 1, 1))
        }
        Op::LinearBin { out_features, .. } => {
            require_extent(node, "out_features", out_features)?;
            let (products, most) = (x.len(), limits::MAX_BINARY_PRODUCTS);
            require(node, PRODUCTS, products, products <= most, "at most 16777216")?;
            Ok(Shape::float(out_features, 1, 1))
        }
        Op::LinearI8 { out_features } => {
            require_extent(node, "out_features", out_features)?;
            require_products(node, x.len())?;
            Ok(Shape::float(out_features, 1, 1))
        }
        Op::HyperTrunk { hidden, .. } => {
            require_extent(node, "hidden", hidden)?;
            Ok(Shape::float(hidden, 1, 1))
        }
        Op::HyperHead { outputs, range, .. } => {
            require_extent(node, "outputs", outputs)?;
            if let HyperRange::Sigmoid { lambda } = range {
                let valid = lambda.is_finite() && lambda > 0.0;
                require(node, "lambda", lambda, valid, "a positive number")?;
            }
            Ok(Shape::float(outputs, 1, 1))
        }
    }
}

fn infer_conv(node: &Node, geometry: &Geometry, x: Shape) -> Result<Shape, GraphError> {
    let Geometry { out_channels, kernel, stride, padding, groups } = *geometry;
    require_extent(node, "out_channels", out_channels)?;
    let divides =
        groups > 0 && x.channels.is_multiple_of(groups) && out_channels.is_multiple_of(groups);
    require(node, "groups", groups, divides, "a divisor of the input and output channels")?;
    require(node, "padding", padding, padding < kernel, "less than the window")?;
    let shape = infer_window(node, x, kernel, stride, padding)?;
    Ok(Shape { element: Element::Float, channels: out_channels, ..shape })
}

fn infer_window(
    node: &Node,
    x: Shape,
    kernel: usize,
    stride: usize,
    padding: usize,
) -> Result<Shape, GraphError> {
    let side = 1..=limits::MAX_KERNEL;
    require(node, "kernel", kernel, side.contains(&kernel), "1 to 31")?;
    require(node, "stride", stride, side.contains(&stride), "1 to 31")?;
    let extent = |input| window_extent(input, kernel, stride, padding);
    match (extent(x.height), extent(x.width)) {
        (Some(height), Some(width)) => Ok(Shape { height, width, ..x }),
        _ => Err(GraphError::WindowTooLarge {
            node: node.name.clone(),
            kernel,
            input: format!("{}x{}", x.height, x.width),
            padding,
        }),
    }
}

fn check_elements(node: &Node, inputs: &[Shape]) -> Result<(), GraphError> {
    let reads_bits = matches!(node.op, Op::ConvBin { .. } | Op::LinearBin { .. });
    let (element, expected) =
        if reads_bits { (Element::Bit, "a bit map") } else { (Element::Float, "a real map") };
    match inputs.iter().position(|x| x.element != element) {
        None => Ok(()),
        Some(position) => Err(GraphError::WrongElement {
            node: node.name.clone(),
            op: node.op.name(),
            expected,
            position,
        }),
    }
}

fn require_offsets(node: &Node, x: Shape, d: Shape, len: usize) -> Result<(), GraphError> {
    if d == Shape::float(len, 1, 1) { Ok(()) } else { Err(mismatch(node, x, d)) }
}

fn require_extent(node: &Node, attribute: &'static str, value: usize) -> Result<(), GraphError> {
    let valid = (1..=limits::MAX_EXTENT).contains(&value);
    require(node, attribute, value, valid, "1 to 65536")
}

const PRODUCTS: &str = "number of products of an output";

/// Any sum of so many products of 8 bits fits in 32 bits.
fn require_products(node: &Node, products: usize) -> Result<(), GraphError> {
    let valid = products <= limits::MAX_I8_PRODUCTS;
    require(node, PRODUCTS, products, valid, "at most 65536")
}

fn require(
    node: &Node,
    attribute: &'static str,
    value: impl ToString,
    valid: bool,
    expected: &'static str,
) -> Result<(), GraphError> {
    if valid {
        return Ok(());
    }
    let (node, value) = (node.name.clone(), value.to_string());
    Err(GraphError::BadAttribute { node, attribute, value, expected })
}

fn mismatch(node: &Node, left: Shape, right: Shape) -> GraphError {
    let show = |s: Shape| -> String { format!("{s}") };
    GraphError::Mismatch {
        node: node.name.clone(),
        op: node.op.name(),
        left: show(left),
        right: show(right),
    }
}

fn check_size(node: &Node, inputs: &[Shape], shape: Shape) -> Result<(), GraphError> {
    let extents = [shape.channels, shape.height, shape.width];
    let in_range = extents.iter().all(|e| (1..=limits::MAX_EXTENT).contains(e));
    let elements = product(&extents);
    let params = inputs.first().map_or_else(Vec::new, |&x| node.op.params(x));
    let params_fit =
        params.iter().all(|p| product(&p.shape).is_some_and(|n| n <= limits::MAX_PARAMETERS));
    if in_range && elements.is_some_and(|n| n <= limits::MAX_ELEMENTS) && params_fit {
        Ok(())
    } else {
        Err(GraphError::TooLarge(node.name.clone()))
    }
}

fn product(extents: &[usize]) -> Option<usize> {
    extents.iter().try_fold(1usize, |n, &e| n.checked_mul(e))
}
