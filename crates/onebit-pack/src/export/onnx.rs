//! The float twin of a packed model, in ONNX.

use std::borrow::Cow;
use std::iter;

use onebit_model::op::{HYPER_STD_EPS, INPUT_OFFSET, INPUT_SCALE};
use onebit_model::{
    Geometry, HyperRange, Model, ModelError, Node, NodeId, Op, PadValue, Shape, Shift, Slope,
    Statistics, Threshold, Verified, bits, infer, quantization,
};
use prost::Message;

use super::builder::{Builder, int, ints};
use crate::PackError;
use crate::error::check_room;
use crate::onnx_proto::{AttributeProto, ModelProto, OperatorSetIdProto, StringStringEntryProto};

/// Version of ONNX's operators that an exported network uses.
pub const OPSET: i64 = 13;
/// Version of ONNX's own format, the one that came with [`OPSET`].
pub const IR_VERSION: i64 = 7;
/// Largest ONNX file, in bytes: protobuf's limit.
pub const MAX_ONNX_BYTES: u64 = (1 << 31) - 1;

const INPUT: &str = "input";
const LOGITS: &str = "logits";

/// A network as an ONNX file.
#[derive(Clone, Debug, PartialEq)]
pub struct Onnx {
    /// The file.
    pub bytes: Vec<u8>,
    /// Number of ONNX nodes.
    pub nodes: usize,
    /// `[channels, height, width]` of the images that it takes.
    pub input: [usize; 3],
}

/// The float twin of a packed network: an ONNX graph of float32 operators whose binary weights are the numbers +-1.
///
/// It maps `input` `[N, channels, height, width]`, the normalised images, to `logits` `[N, classes]`. Height and
/// width are those of `size` (channels, height, width), or the network's own. A value has the name of our node, what
/// is computed on the way to it is `node/step`, and a parameter `node/suffix`; the value of the first node is
/// `input`. Architecture, normalization, class names and origin are metadata. The same model gives the same bytes.
///
/// # Errors
/// The network does not take images of this size, the file would exceed [`MAX_ONNX_BYTES`], or there is too little memory.
pub fn to_onnx(model: &Verified<Model>, size: Option<[usize; 3]>) -> Result<Onnx, PackError> {
    let input = size.unwrap_or_else(|| model.graph.input_shape());
    let shapes = infer::shapes_for(&model.graph, input)
        .map_err(|source| PackError::ExportInput { input, source })?;
    let bytes = parameter_bytes(model)?;
    check_bytes(bytes)?;
    check_room(2 * bytes, "the network as 32-bit floats and its file")?;
    let mut exporter = Exporter { model, input, shapes, onnx: Builder::default() };
    for id in model.graph.ids() {
        exporter.node(id)?;
    }
    exporter.logits();
    let nodes = exporter.onnx.len();
    let file = exporter.finish();
    check_bytes(file.encoded_len() as u64)?;
    Ok(Onnx { bytes: file.encode_to_vec(), nodes, input })
}

pub(super) fn check_bytes(bytes: u64) -> Result<(), PackError> {
    if bytes > MAX_ONNX_BYTES { Err(PackError::ExportTooLarge { bytes }) } else { Ok(()) }
}

fn parameter_bytes(model: &Verified<Model>) -> Result<u64, PackError> {
    let shapes = infer::shapes(&model.graph)?;
    let params = model.graph.ids().flat_map(|id| model.graph.params(id, &shapes));
    Ok(params.map(|param| 4 * param.len() as u64).sum())
}

struct Exporter<'a> {
    model: &'a Verified<Model>,
    input: [usize; 3],
    shapes: Vec<Shape>,
    onnx: Builder,
}

/// A node of the network, what it reads, and what its value is called in the ONNX graph.
struct NodeContext<'a> {
    node: &'a Node,
    /// First input.
    x: String,
    /// Shape of the first input.
    shape: Shape,
    /// Second input, or nothing.
    other: String,
    /// The value that it computes.
    y: String,
}

impl NodeContext<'_> {
    /// Name of a value computed on the way, or of a parameter.
    fn part(&self, name: &str) -> String {
        format!("{}/{name}", self.node.name)
    }
}

impl<'a> Exporter<'a> {
    fn node(&mut self, id: NodeId) -> Result<(), PackError> {
        let node = &self.model.graph.nodes[id.0];
        let Some(&first) = node.inputs.first() else { return Ok(()) };
        let other = node.inputs.get(1).map(|&id| self.value(id)).unwrap_or_default();
        let (x, shape, y) = (self.value(first), self.shapes[first.0], self.value(id));
        let cx = NodeContext { node, x, shape, other, y };
        let (inputs, y) = ([&*cx.x, &*cx.other], cx.y.clone());
        match node.op {
            Op::Input { .. } => {}
            Op::BatchNorm { .. } => {
                let (node, what) = (node.name.clone(), "batch normalization");
                return Err(ModelError::NotLowered { node, what }.into());
            }
            Op::Conv { geometry } => self.conv(&cx, geometry),
            Op::ConvBin { geometry, pad, .. } => self.conv_bin(&cx, geometry, pad),
            Op::LinearBin { out_features, .. } => self.linear_bin(&cx, out_features),
            Op::ConvI8 { geometry } => self.conv_i8(&cx, geometry),
            Op::LinearI8 { out_features } => self.linear_i8(&cx, out_features),
            Op::Affine => self.affine(&cx),
            Op::Sign { threshold } => self.sign(&cx, threshold),
            Op::Prelu { slope, shift } => self.prelu(&cx, slope, shift),
            Op::Add => _ = self.onnx.node("Add", &inputs, y, vec![]),
            Op::Concat => _ = self.onnx.node("Concat", &inputs, y, vec![int("axis", 1)]),
            Op::ChannelShuffle { groups } => self.shuffle(&cx, groups),
            Op::AvgPool { kernel, stride } => {
                self.onnx.node("AveragePool", &inputs[..1], y, window([kernel; 2], stride, 0));
            }
            Op::MaxPool { kernel, stride, padding } => {
                self.onnx.node("MaxPool", &inputs[..1], y, window([kernel; 2], stride, padding));
            }
            Op::GlobalAvgPool => _ = self.onnx.node("GlobalAveragePool", &inputs[..1], y, vec![]),
            Op::Linear { out_features } => self.linear(&cx, (&cx.x, shape), out_features, y),
            Op::HyperTrunk { statistics, hidden, .. } => {
                self.hyper_trunk(&cx, statistics, hidden);
            }
            Op::HyperHead { outputs, range, .. } => self.hyper_head(&cx, outputs, range),
        }
        Ok(())
    }

    /// Name of a node's value. `input` and `logits` are the graph's own.
    fn value(&self, id: NodeId) -> String {
        match self.model.graph.nodes[id.0].name.as_str() {
            _ if id.0 == 0 => INPUT.to_owned(),
            name @ (INPUT | LOGITS) => format!("{name}/value"),
            name => name.to_owned(),
        }
    }

    fn conv(&mut self, cx: &NodeContext<'_>, geometry: Geometry) {
        let Geometry { out_channels, kernel, groups, .. } = geometry;
        let shape = [out_channels, kernel, kernel, cx.shape.channels / groups];
        let weight = self.weight(cx, &self.weights(cx.node), shape);
        self.convolution(&[&cx.x, &weight], geometry, cx.y.clone());
    }

    fn conv_bin(&mut self, cx: &NodeContext<'_>, geometry: Geometry, pad: PadValue) {
        let Geometry { out_channels, kernel, padding, groups, .. } = geometry;
        let channels = cx.shape.channels / groups;
        let values = self.signs(cx.node, channels);
        let weight = self.weight(cx, &values, [out_channels, kernel, kernel, channels]);
        if pad == PadValue::Zero || padding == 0 {
            self.convolution(&[&cx.x, &weight], geometry, cx.y.clone());
            return;
        }
        let p = padding as i64;
        let pads = self.onnx.ints(cx.part("pads"), &[0, 0, p, p, 0, 0, p, p]);
        let one = self.onnx.scalar("/one", 1.0);
        let padded = self.onnx.node("Pad", &[&cx.x, &pads, &one], cx.part("padded"), vec![]);
        let geometry = Geometry { padding: 0, ..geometry };
        self.convolution(&[&padded, &weight], geometry, cx.y.clone());
    }

    /// A binary layer as a convolution of the whole map.
    fn linear_bin(&mut self, cx: &NodeContext<'_>, outputs: usize) {
        let Shape { channels, height, width, .. } = cx.shape;
        let values = self.signs(cx.node, cx.shape.len());
        let weight = self.weight(cx, &values, [outputs, height, width, channels]);
        self.onnx.node("Conv", &[&cx.x, &weight], cx.y.clone(), window([height, width], 1, 0));
    }

    /// Binary weights as -1 and +1; every `channels` of them start a new word.
    fn signs(&self, node: &Node, channels: usize) -> Vec<f32> {
        let words = self.model.words(node, "weight").chunks(bits::words(channels));
        words.flat_map(|tap| (0..channels).map(|c| bits::value(tap, c))).collect()
    }

    fn convolution(&mut self, inputs: &[&str], geometry: Geometry, y: String) {
        let Geometry { kernel, stride, padding, groups, .. } = geometry;
        let mut attributes = window([kernel; 2], stride, padding);
        attributes.push(int("group", groups));
        self.onnx.node("Conv", inputs, y, attributes);
    }

    fn affine(&mut self, cx: &NodeContext<'_>) {
        let scale = self.per_channel(cx, "scale");
        let shift = self.per_channel(cx, "shift");
        let scaled = self.onnx.node("Mul", &[&cx.x, &scale], cx.part("scaled"), vec![]);
        self.onnx.node("Add", &[&scaled, &shift], cx.y.clone(), vec![]);
    }

    fn sign(&mut self, cx: &NodeContext<'_>, threshold: Threshold) {
        let limit = match threshold {
            Threshold::Zero => self.onnx.scalar("/zero", 0.0),
            Threshold::Static => self.per_channel(cx, "threshold"),
            Threshold::Dynamic => {
                let own = self.per_channel(cx, "threshold");
                self.onnx.node("Add", &[&own, &cx.other], cx.part("limit"), vec![])
            }
        };
        let above = self.onnx.node("Greater", &[&cx.x, &limit], cx.part("above"), vec![]);
        let one = self.onnx.scalar("/one", 1.0);
        let minus_one = self.onnx.scalar("/minus_one", -1.0);
        self.onnx.node("Where", &[&above, &one, &minus_one], cx.y.clone(), vec![]);
    }

    fn prelu(&mut self, cx: &NodeContext<'_>, slope: Slope, shift: Shift) {
        let shifts = match shift {
            Shift::None => None,
            Shift::Static => Some(["shift_x", "shift_y"].map(|name| self.per_channel(cx, name))),
            Shift::Dynamic => Some(self.dynamic_shifts(cx)),
        };
        let Some([shift_x, shift_y]) = shifts else {
            return self.slopes(cx, &cx.x, slope, cx.y.clone());
        };
        let moved = self.onnx.node("Sub", &[&cx.x, &shift_x], cx.part("moved"), vec![]);
        let bent = cx.part("bent");
        self.slopes(cx, &moved, slope, bent.clone());
        self.onnx.node("Add", &[&bent, &shift_y], cx.y.clone(), vec![]);
    }

    fn dynamic_shifts(&mut self, cx: &NodeContext<'_>) -> [String; 2] {
        let [x, y] = ["offset_x", "offset_y"].map(|name| cx.part(name));
        let sizes = self.onnx.ints(cx.part("sizes"), &[cx.shape.channels as i64; 2]);
        let outputs = vec![x.clone(), y.clone()];
        let axis = vec![int("axis", 1)];
        self.onnx.nodes("Split", &[&cx.other, &sizes], cx.part("offsets"), outputs, axis);
        let (own_x, own_y) = (self.per_channel(cx, "shift_x"), self.per_channel(cx, "shift_y"));
        [
            self.onnx.node("Add", &[&own_x, &x], cx.part("moved_by"), vec![]),
            self.onnx.node("Add", &[&own_y, &y], cx.part("lifted_by"), vec![]),
        ]
    }

    fn slopes(&mut self, cx: &NodeContext<'_>, x: &str, slope: Slope, y: String) {
        match slope {
            Slope::Relu => _ = self.onnx.node("Relu", &[x], y, vec![]),
            Slope::Negative => {
                let negative = self.per_channel(cx, "slope_neg");
                self.onnx.node("PRelu", &[x, &negative], y, vec![]);
            }
            Slope::Both => {
                let positive = self.per_channel(cx, "slope_pos");
                let negative = self.per_channel(cx, "slope_neg");
                let zero = self.onnx.scalar("/zero", 0.0);
                let above = self.onnx.node("Greater", &[x, &zero], cx.part("above"), vec![]);
                let inputs = [&*above, &*positive, &*negative];
                let slope = self.onnx.node("Where", &inputs, cx.part("slope"), vec![]);
                self.onnx.node("Mul", &[x, &slope], y, vec![]);
            }
        }
    }

    fn shuffle(&mut self, cx: &NodeContext<'_>, groups: usize) {
        let Shape { channels, height, width, .. } = cx.shape;
        let [c, h, w, groups] = [channels, height, width, groups].map(|extent| extent as i64);
        let split = self.onnx.ints(cx.part("split"), &[0, groups, c / groups, h, w]);
        let merged = self.onnx.ints(cx.part("merged"), &[0, c, h, w]);
        let grouped = self.onnx.node("Reshape", &[&cx.x, &split], cx.part("grouped"), vec![]);
        let order = vec![ints("perm", &[0, 2, 1, 3, 4])];
        let shuffled = self.onnx.node("Transpose", &[&grouped], cx.part("shuffled"), order);
        self.onnx.node("Reshape", &[&shuffled, &merged], cx.y.clone(), vec![]);
    }

    /// A convolution whose window is the whole map `x`.
    fn linear(
        &mut self,
        cx: &NodeContext<'_>,
        (x, shape): (&str, Shape),
        outputs: usize,
        y: String,
    ) {
        let values = self.weights(cx.node);
        let Shape { channels, height, width, .. } = shape;
        let weight = self.weight(cx, &values, [outputs, height, width, channels]);
        let bias = self.vector(cx, "bias", &[outputs]);
        self.onnx.node("Conv", &[x, &weight, &bias], y, window([height, width], 1, 0));
    }

    /// Weights of a layer, those of 8 bits as the floats that they act as.
    fn weights(&self, node: &Node) -> Cow<'a, [f32]> {
        let (integers, scale) = self.model.integers(node, "weight");
        if scale.is_empty() {
            return Cow::Borrowed(self.model.floats(node, "weight"));
        }
        let rows = integers.chunks(integers.len() / scale.len()).zip(scale);
        Cow::Owned(rows.flat_map(|(row, s)| row.iter().map(move |&q| f32::from(q) * s)).collect())
    }

    fn conv_i8(&mut self, cx: &NodeContext<'_>, geometry: Geometry) {
        let Geometry { out_channels, kernel, .. } = geometry;
        let apart = self.rounded(cx);
        let (integers, _) = self.model.integers(cx.node, "weight");
        let values: Vec<f32> = integers.iter().map(|&q| f32::from(q)).collect();
        let weight = self.weight(cx, &values, [out_channels, kernel, kernel, cx.shape.channels]);
        let sums = cx.part("sums");
        self.convolution(&[&apart, &weight], geometry, sums.clone());
        self.scale_sums(cx, &sums);
    }

    /// A convolution whose window is the whole map, of integers.
    fn linear_i8(&mut self, cx: &NodeContext<'_>, outputs: usize) {
        let (integers, _) = self.model.integers(cx.node, "weight");
        let apart = self.rounded(cx);
        let Shape { channels, height, width, .. } = cx.shape;
        let values: Vec<f32> = integers.iter().map(|&q| f32::from(q)).collect();
        let weight = self.weight(cx, &values, [outputs, height, width, channels]);
        let sums = cx.part("sums");
        self.onnx.node("Conv", &[&apart, &weight], sums.clone(), window([height, width], 1, 0));
        self.scale_sums(cx, &sums);
    }

    /// The input of an 8-bit operation as differences of integers from that of 0.
    fn rounded(&mut self, cx: &NodeContext<'_>) -> String {
        let dims = [cx.shape.channels, 1, 1];
        let scale = self.model.floats(cx.node, INPUT_SCALE);
        let offset = self.model.floats(cx.node, INPUT_OFFSET);
        let zeros = offset.iter().map(|&offset| f32::from(quantization::zero_point(offset)));
        let inverse = self.onnx.floats(cx.part("inverse"), &dims, scale.iter().map(|s| 1.0 / s));
        let offset = self.onnx.floats(cx.part(INPUT_OFFSET), &dims, offset.iter().copied());
        let zeros = self.onnx.floats(cx.part("zeros"), &dims, zeros);
        let (zero, most) = (self.onnx.scalar("/zero", 0.0), self.onnx.scalar("/most", 255.0));
        let steps = self.onnx.node("Mul", &[&cx.x, &inverse], cx.part("steps"), vec![]);
        let moved = self.onnx.node("Add", &[&steps, &offset], cx.part("positions"), vec![]);
        let nearest = self.onnx.node("Round", &[&moved], cx.part("nearest"), vec![]);
        let inputs = [&*nearest, &*zero, &*most];
        let integers = self.onnx.node("Clip", &inputs, cx.part("integers"), vec![]);
        self.onnx.node("Sub", &[&integers, &zeros], cx.part("apart"), vec![])
    }

    /// The value of an 8-bit operation from the sums of its integers.
    fn scale_sums(&mut self, cx: &NodeContext<'_>, sums: &str) {
        let (integers, scale) = self.model.integers(cx.node, "weight");
        let offset = self.model.floats(cx.node, INPUT_OFFSET);
        let bias = self.model.floats(cx.node, "bias").iter().copied().chain(iter::repeat(0.0));
        let filters = integers.chunks(integers.len() / scale.len()).zip(scale).zip(bias);
        let shift =
            filters.map(|((filter, &s), bias)| quantization::shift(filter, s, offset, bias));
        let dims = [scale.len(), 1, 1];
        let shift = self.onnx.floats(cx.part("shift"), &dims, shift);
        let scale = self.onnx.floats(cx.part("scale"), &dims, scale.iter().copied());
        let scaled = self.onnx.node("Mul", &[sums, &scale], cx.part("scaled"), vec![]);
        self.onnx.node("Add", &[&scaled, &shift], cx.y.clone(), vec![]);
    }

    fn hyper_trunk(&mut self, cx: &NodeContext<'_>, statistics: Statistics, hidden: usize) {
        let read = self.statistics(cx, statistics);
        let shape = Shape::float(statistics.count() * cx.shape.channels, 1, 1);
        let linear = cx.part("linear");
        self.linear(cx, (&read, shape), hidden, linear.clone());
        self.onnx.node("Relu", &[&linear], cx.y.clone(), vec![]);
    }

    fn statistics(&mut self, cx: &NodeContext<'_>, statistics: Statistics) -> String {
        let x = &*cx.x;
        let mean = self.onnx.node("GlobalAveragePool", &[x], cx.part("mean"), vec![]);
        let second = match statistics {
            Statistics::Mean => return mean,
            Statistics::MeanStd => {
                let d = self.onnx.node("Sub", &[x, &mean], cx.part("centred"), vec![]);
                let squares = self.onnx.node("Mul", &[&d, &d], cx.part("squares"), vec![]);
                let variance = cx.part("variance");
                let variance = self.onnx.node("GlobalAveragePool", &[&squares], variance, vec![]);
                let eps = self.onnx.scalar("/eps", HYPER_STD_EPS);
                let sum = self.onnx.node("Add", &[&variance, &eps], cx.part("padded"), vec![]);
                self.onnx.node("Sqrt", &[&sum], cx.part("std"), vec![])
            }
            Statistics::MeanThird => {
                let squares = self.onnx.node("Mul", &[x, x], cx.part("squares"), vec![]);
                let cubes = self.onnx.node("Mul", &[&squares, x], cx.part("cubes"), vec![]);
                self.onnx.node("GlobalAveragePool", &[&cubes], cx.part("third"), vec![])
            }
        };
        let (inputs, axis) = ([&*mean, &*second], vec![int("axis", 1)]);
        self.onnx.node("Concat", &inputs, cx.part("statistics"), axis)
    }

    fn hyper_head(&mut self, cx: &NodeContext<'_>, outputs: usize, range: HyperRange) {
        let units = (&*cx.x, cx.shape);
        let HyperRange::Sigmoid { lambda } = range else {
            return self.linear(cx, units, outputs, cx.y.clone());
        };
        let linear = cx.part("linear");
        self.linear(cx, units, outputs, linear.clone());
        let sigmoid = self.onnx.node("Sigmoid", &[&linear], cx.part("sigmoid"), vec![]);
        let two = self.onnx.scalar("/two", 2.0);
        let one = self.onnx.scalar("/one", 1.0);
        let doubled = self.onnx.node("Mul", &[&sigmoid, &two], cx.part("doubled"), vec![]);
        let unit = self.onnx.node("Sub", &[&doubled, &one], cx.part("unit"), vec![]);
        let lambda = self.onnx.floats(cx.part("lambda"), &[], [lambda].into_iter());
        self.onnx.node("Mul", &[&unit, &lambda], cx.y.clone(), vec![]);
    }

    /// The last value as a vector, channels innermost.
    fn logits(&mut self) {
        let last = NodeId(self.shapes.len() - 1);
        let mut value = self.value(last);
        if self.shapes[last.0].pixels() > 1 {
            let order = vec![ints("perm", &[0, 2, 3, 1])];
            value = self.onnx.node("Transpose", &[&value], "/channels_last".to_owned(), order);
        }
        self.onnx.node("Flatten", &[&value], LOGITS.to_owned(), vec![int("axis", 1)]);
    }

    /// A parameter that is the same for all pixels.
    fn per_channel(&mut self, cx: &NodeContext<'_>, suffix: &str) -> String {
        self.vector(cx, suffix, &[cx.shape.channels, 1, 1])
    }

    fn vector(&mut self, cx: &NodeContext<'_>, suffix: &str, dims: &[usize]) -> String {
        let values = self.model.floats(cx.node, suffix);
        self.onnx.floats(cx.part(suffix), dims, values.iter().copied())
    }

    /// A constant `[O, I, height, width]` of `values` `[O, height, width, I]`.
    fn weight(&mut self, cx: &NodeContext<'_>, values: &[f32], ohwi: [usize; 4]) -> String {
        let [outputs, height, width, inputs] = ohwi;
        let taps = height * width;
        let filters = (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i)));
        let oihw = filters
            .flat_map(|(o, i)| (0..taps).map(move |tap| values[(o * taps + tap) * inputs + i]));
        self.onnx.floats(cx.part("weight"), &[outputs, inputs, height, width], oihw)
    }

    fn finish(self) -> ModelProto {
        let graph = &self.model.graph;
        let normalization = &graph.normalization;
        let metadata = [
            ("arch", graph.arch.clone()),
            ("mean", format!("{:?}", normalization.mean)),
            ("std", format!("{:?}", normalization.std)),
            ("classes", serde_json::Value::from(graph.classes.clone()).to_string()),
        ];
        let preprocessing = serde_json::to_string(&graph.preprocessing).ok();
        let preprocessing = preprocessing.filter(|_| !graph.preprocessing.is_default());
        let origin = self.model.origin.fields().map(|(key, text)| (key, text.to_owned()));
        let metadata = metadata
            .into_iter()
            .chain(preprocessing.map(|text| ("preprocessing", text)))
            .chain(origin)
            .map(|(key, value)| StringStringEntryProto { key: key.to_owned(), value })
            .collect();
        let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) };
        let logits = self.shapes.last().map_or(0, |shape| shape.len());
        ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: "onebit".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.onnx.finish(
                graph.arch.clone(),
                (INPUT, &self.input),
                (LOGITS, &[logits]),
            )),
            opset_import: vec![opset],
            metadata_props: metadata,
        }
    }
}

/// Attributes of a window; pads are those of the top, left, bottom and right.
fn window(kernel: [usize; 2], stride: usize, padding: usize) -> Vec<AttributeProto> {
    vec![ints("kernel_shape", &kernel), ints("strides", &[stride; 2]), ints("pads", &[padding; 4])]
}
