//! Operators of an ONNX graph and their attributes.

use super::array::Array;
use crate::onnx_proto::{AttributeProto, NodeProto};

/// One operator.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    pub(super) kind: String,
    /// What messages call it.
    pub(super) name: String,
    /// Values that it reads; an empty name is an input that is left out.
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    attributes: Vec<AttributeProto>,
}

/// Domains of operators that are read: ONNX's own, and those of QONNX, FINN and Brevitas.
const DOMAINS: [&str; 6] =
    ["", "ai.onnx", "qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas", "finn"];

/// Operators that are read, in some places; all others are named as such.
#[rustfmt::skip]
const READ: [&str; 47] = [
    "Add", "AveragePool", "BatchNormalization", "BipolarQuant", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape",
    "Conv", "Div", "Dropout", "Flatten", "Gather", "Gemm", "GlobalAveragePool", "Greater", "GreaterOrEqual", "HardTanh",
    "Identity", "LeakyRelu", "Less", "LessOrEqual", "MatMul", "MaxPool", "Mul", "MultiThreshold", "Neg", "Not", "PRelu",
    "Pad", "Pow", "ReduceMean", "Relu", "Reshape", "Shape", "Sigmoid", "Sign", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Tanh",
    "Transpose", "Unsqueeze", "Where",
];

impl Operator {
    pub(super) fn new(node: NodeProto) -> Self {
        let kind = match DOMAINS.contains(&node.domain.as_str()) {
            true => node.op_type,
            false => format!("{}.{}", node.domain, node.op_type),
        };
        let name = match node.name.is_empty() {
            true => node.output.first().cloned().unwrap_or_default(),
            false => node.name,
        };
        let (inputs, outputs) = (node.input, node.output);
        Operator { kind, name, inputs, outputs, attributes: node.attribute }
    }

    /// What a message says of it, and what is wrong with it, if that is more than that it is not read.
    pub(super) fn problem(&self, problem: &str) -> String {
        let named = format!("`{}` ({})", self.name, self.kind);
        if problem.is_empty() { named } else { format!("{named}: {problem}") }
    }

    /// That it is not read, wherever it stands.
    pub(super) fn unknown(&self) -> Option<String> {
        (!READ.contains(&self.kind.as_str())).then(|| self.problem(""))
    }

    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).and_then(|attribute| attribute.i).unwrap_or(default)
    }

    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).and_then(|attribute| attribute.f).unwrap_or(default)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        let bytes = self.attribute(name)?.s.as_ref()?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    pub(super) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|attribute| &attribute.ints[..])
    }

    pub(super) fn tensor(&self, name: &str) -> Option<Result<Array, String>> {
        self.attribute(name)?.t.as_ref().map(Array::read)
    }

    /// A float that an attribute gives, as in early versions, or else an input.
    pub(super) fn floats(&self, name: &str) -> Option<&[f32]> {
        self.attribute(name).map(|attribute| &attribute.floats[..])
    }

    /// An axis of an array of so many, counted from the front.
    pub(super) fn axis(&self, rank: usize, default: i64) -> Result<usize, String> {
        axis(self.int("axis", default), rank)
    }

    /// The side lengths, steps and padding of a window on a map.
    pub(super) fn window(&self, kernel: &[usize], input: &[usize]) -> Result<Window, String> {
        let two = |name: &str, default: i64| -> Result<[usize; 2], String> {
            match self.ints(name) {
                None => Ok([default as usize; 2]),
                Some(&[a, b]) if [a, b].iter().all(|&v| (1..1 << 16).contains(&v)) => {
                    Ok([a as usize, b as usize])
                }
                Some(other) => {
                    Err(format!("`{name}` is {other:?}, expected two numbers of 1 to 65,535"))
                }
            }
        };
        let &[rows, columns] = kernel else {
            return Err(format!("a window of the sides {kernel:?}, expected two"));
        };
        let (kernel, stride) = ([rows, columns], two("strides", 1)?);
        if two("dilations", 1)? != [1, 1] {
            return Err("a dilated window".to_owned());
        }
        let pads = match self.text("auto_pad").as_deref() {
            None | Some("NOTSET") => match self.ints("pads") {
                None => [0; 4],
                Some(&[a, b, c, d])
                    if [a, b, c, d].iter().all(|&pad| (0..1 << 16).contains(&pad)) =>
                {
                    [a, b, c, d].map(|pad| pad as usize)
                }
                Some(other) => {
                    return Err(format!(
                        "`pads` is {other:?}, expected four numbers of 0 to 65,535"
                    ));
                }
            },
            Some("VALID") => [0; 4],
            Some(mode @ ("SAME_UPPER" | "SAME_LOWER")) => {
                same(kernel, stride, [input[0], input[1]], mode == "SAME_LOWER")
            }
            Some(other) => return Err(format!("`auto_pad` is `{other}`")),
        };
        let window = Window { kernel, stride, pads };
        let left = |side: usize| {
            (input[side] + pads[side] + pads[side + 2]).wrapping_sub(kernel[side]) % stride[side]
                != 0
        };
        match self.int("ceil_mode", 0) != 0 && (left(0) || left(1)) {
            true => Err("a window that hangs over the end of the map (`ceil_mode`)".to_owned()),
            false => Ok(window),
        }
    }
}

/// A window of two sides; pads of the top, left, bottom and right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) pads: [usize; 4],
}

impl Window {
    /// Rows and columns of the map that it gives.
    pub(super) fn extents(&self, input: [usize; 2]) -> Result<[usize; 2], String> {
        let extent = |side: usize| {
            let padded = input[side] + self.pads[side] + self.pads[side + 2];
            let inside = padded.checked_sub(self.kernel[side]);
            inside
                .map(|inside| inside / self.stride[side] + 1)
                .ok_or("a window larger than the map")
        };
        Ok([extent(0)?, extent(1)?])
    }
}

fn same(kernel: [usize; 2], stride: [usize; 2], input: [usize; 2], lower: bool) -> [usize; 4] {
    let pads = |side: usize| {
        let outputs = input[side].div_ceil(stride[side]);
        let needed =
            ((outputs.max(1) - 1) * stride[side] + kernel[side]).saturating_sub(input[side]);
        let less = needed / 2;
        if lower { [needed - less, less] } else { [less, needed - less] }
    };
    let ([top, bottom], [left, right]) = (pads(0), pads(1));
    [top, left, bottom, right]
}

/// An axis, counted from the front.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let from_front = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(from_front)
        .ok()
        .filter(|&found| found < rank.max(1))
        .ok_or_else(|| format!("there is no axis {axis} of {rank}"))
}
