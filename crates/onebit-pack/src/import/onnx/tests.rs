//! Networks as other programs write them: PyTorch, QONNX, FINN. The engine must give what naive loops over the ONNX graph
//! give, and these what RTen gives.

use std::collections::BTreeMap;

use onebit_engine::{Engine, Options};
use onebit_model::{Op, PadValue};
use onebit_testing::{Random, random_seed};
use prost::Message;
use rten::{ModelOptions, Value};

use super::{ImportedOnnx, OnnxOptions, read_onnx};
use crate::import::ImportError;
use crate::lower;
use crate::onnx_proto::{
    AttributeProto, DimensionProto, FLOAT, GraphProto, INT64, ModelProto, NodeProto,
    OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

mod paddings;

const QONNX: &str = "qonnx.custom_op.general";

/// An ONNX graph that is written down operator by operator.
struct Graph {
    proto: GraphProto,
    random: Random,
    input: Vec<usize>,
}

impl Graph {
    fn new(input: &[usize]) -> Self {
        let proto = GraphProto { input: vec![value("x", input)], ..Default::default() };
        Graph { proto, random: Random(8), input: input.to_vec() }
    }

    fn op(&mut self, kind: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let name = format!("{kind}_{}", self.proto.node.len());
        let domain = match kind {
            "BipolarQuant" | "MultiThreshold" | "Quant" => QONNX.to_owned(),
            _ => String::new(),
        };
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: kind.to_owned(),
            attribute,
            domain,
        });
        name
    }

    fn floats(&mut self, shape: &[usize], values: Vec<f32>) -> String {
        assert_eq!(shape.iter().product::<usize>(), values.len());
        self.tensor(shape, FLOAT, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn ints(&mut self, values: &[i64]) -> String {
        self.tensor(&[values.len()], INT64, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn tensor(&mut self, shape: &[usize], data_type: i32, raw_data: Vec<u8>) -> String {
        let name = format!("constant{}", self.proto.initializer.len());
        let dims = shape.iter().map(|&extent| extent as i64).collect();
        let tensor =
            TensorProto { dims, data_type, name: name.clone(), raw_data, ..Default::default() };
        self.proto.initializer.push(tensor);
        name
    }

    fn random(&mut self, shape: &[usize], low: f32, high: f32) -> String {
        let values = self.random.floats(shape.iter().product(), low, high);
        self.floats(shape, values)
    }

    /// Weights of +-1.
    fn signs(&mut self, shape: &[usize]) -> String {
        let values = self.random.floats(shape.iter().product(), -1.0, 1.0);
        self.floats(shape, values.iter().map(|v| v.signum()).collect())
    }

    fn batch_norm(&mut self, x: &str, channels: usize, spread: f32) -> String {
        let weight = self.random(&[channels], 0.5, 1.5);
        let bias = self.random(&[channels], -0.5, 0.5);
        let mean = self.random(&[channels], -0.5 * spread, 0.5 * spread);
        let var = self.random(&[channels], 0.5 * spread * spread, 1.5 * spread * spread);
        let eps = vec![float("epsilon", 1e-4)];
        self.op("BatchNormalization", &[x, &weight, &bias, &mean, &var], eps)
    }

    fn file(&self, output: &str) -> Vec<u8> {
        let graph = GraphProto { output: vec![value(output, &[0])], ..self.proto.clone() };
        let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(13) };
        let model = ModelProto {
            ir_version: Some(7),
            graph: Some(graph),
            opset_import: vec![opset],
            ..Default::default()
        };
        model.encode_to_vec()
    }

    fn images(&mut self, count: usize) -> Vec<Vec<f32>> {
        let len = self.input.iter().product();
        (0..count).map(|_| self.random.floats(len, -1.7, 1.7)).collect()
    }
}

fn value(name: &str, shape: &[usize]) -> ValueInfoProto {
    let batch = DimensionProto { dim_value: None, dim_param: Some("N".to_owned()) };
    let extents =
        shape.iter().map(|&e| DimensionProto { dim_value: Some(e as i64), dim_param: None });
    let shape = TensorShapeProto { dim: [batch].into_iter().chain(extents).collect() };
    let tensor = TensorTypeProto { elem_type: FLOAT, shape: Some(shape) };
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), i: Some(value), r#type: 2, ..Default::default() }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { name: name.to_owned(), ints: values.to_vec(), r#type: 7, ..Default::default() }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: name.to_owned(), f: Some(value), r#type: 1, ..Default::default() }
}

/// The engine's logits of the imported network are those of the ONNX graph.
fn check(imported: &ImportedOnnx, images: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let model = lower(&imported.weights).unwrap();
    let engine = Engine::new(&model, Options::default()).unwrap();
    let mut scratch = engine.scratch().unwrap();
    let [channels, height, width] = model.graph.input_shape();
    let pixels = height * width;
    let compare = |image: &Vec<f32>| {
        let mut nhwc = vec![0.0; image.len()];
        image.iter().enumerate().for_each(|(i, &v)| nhwc[i % pixels * channels + i / pixels] = v);
        let mut logits = vec![0.0; engine.classes()];
        let mut bits = BTreeMap::new();
        let mut see =
            |name: &str, words: &[u64]| drop(bits.insert(name.to_owned(), words.to_vec()));
        engine.run_observed(&nhwc, &mut logits, &mut scratch, &mut see).unwrap();
        let found = imported.compare(image, &bits).unwrap();
        assert_eq!(found.flipped, 0);
        let largest = found.logits.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        for (a, b) in logits.iter().zip(&found.logits) {
            assert!((a - b).abs() <= 1e-5 * largest, "{logits:?} {:?}", found.logits);
        }
        found.logits
    };
    images.iter().map(compare).collect()
}

fn rten(bytes: Vec<u8>, input: &[usize], images: &[Vec<f32>], expected: &[Vec<f32>]) {
    let model = ModelOptions::with_all_ops().load(bytes).unwrap();
    for (image, expected) in images.iter().zip(expected) {
        let shape: Vec<usize> = [1].iter().chain(input).copied().collect();
        let x = Value::from_shape(&shape[..], image.clone()).unwrap();
        let ids = (model.input_ids()[0], model.output_ids()[0]);
        let mut y = model.run(vec![(ids.0, x.into())], &[ids.1], None).unwrap();
        let y = y.remove(0).into_tensor::<f32>().unwrap().into_data().to_vec();
        let largest = expected.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        for (a, b) in y.iter().zip(expected) {
            assert!((a - b).abs() <= 1e-5 * largest, "{y:?} {expected:?}");
        }
    }
}

/// As PyTorch exports it: signs as `Where` and as arithmetic of comparisons, weights times one number for each filter, a bias
/// in front of a normalization, one-padding, tangents in front of signs, poolings of signs, a layer of a flattened map.
fn pytorch() -> (Graph, String) {
    let mut g = Graph::new(&[3, 13, 12]);
    let (weight, bias) = (g.random(&[8, 3, 3, 3], -1.0, 1.0), g.random(&[8], -1.0, 1.0));
    let pads = || ints("pads", &[1, 1, 1, 1]);
    let steps = || ints("strides", &[1, 1]);
    let whole = || ints("dilations", &[1, 1]);
    let conv = g.op("Conv", &["x", &weight, &bias], vec![pads(), steps(), whole()]);
    let norm = g.batch_norm(&conv, 8, 2.0);
    let zero = g.floats(&[], vec![0.0]);
    let (one, minus) = (g.floats(&[], vec![1.0]), g.floats(&[], vec![-1.0]));
    let above = g.op("GreaterOrEqual", &[&norm, &zero], vec![]);
    let bits = g.op("Where", &[&above, &one, &minus], vec![]);
    let sides = g.ints(&[0, 0, 1, 1, 0, 0, 1, 1]);
    let padded = g.op("Pad", &[&bits, &sides, &one], vec![]);
    // Weights that the graph itself computes: sign(w) times a number for each filter.
    let (latent, size) = (g.random(&[8, 8, 3, 3], -1.0, 1.0), g.random(&[8, 1, 1, 1], 0.1, 0.3));
    let signs = g.op("Sign", &[&latent], vec![]);
    let weight = g.op("Mul", &[&signs, &size], vec![]);
    let conv =
        g.op("Conv", &[&padded, &weight], vec![ints("kernel_shape", &[3, 3]), steps(), whole()]);
    let norm2 = g.batch_norm(&conv, 8, 1.5);
    let slope = g.random(&[8, 1, 1], 0.1, 0.4);
    let bent = g.op("PRelu", &[&norm2, &slope], vec![]);
    let sum = g.op("Add", &[&bent, &norm], vec![]);
    // 2 * (x < t) - 1: bits that are set below their threshold.
    let limits = g.random(&[1, 8, 1, 1], -0.5, 0.5);
    let two = g.floats(&[1], vec![2.0]);
    let below = g.op("Less", &[&sum, &limits], vec![]);
    let number = g.op("Cast", &[&below], vec![int("to", 1)]);
    let doubled = g.op("Mul", &[&two, &number], vec![]);
    let bits = g.op("Sub", &[&doubled, &one], vec![]);
    let weight = g.signs(&[16, 4, 3, 3]);
    let window = vec![ints("strides", &[2, 2]), pads(), int("group", 2), whole()];
    let conv = g.op("Conv", &[&bits, &weight], window);
    let norm = g.batch_norm(&conv, 16, 5.0);
    let tanh = g.op("Tanh", &[&norm], vec![]);
    let sign = g.op("Sign", &[&tanh], vec![]);
    let window = vec![ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2]), pads()];
    let pooled = g.op("MaxPool", &[&sign], window);
    let weight = g.signs(&[16, 16, 1, 1]);
    let conv = g.op("Conv", &[&pooled, &weight], vec![steps(), whole(), ints("pads", &[0; 4])]);
    let norm = g.batch_norm(&conv, 16, 4.0);
    let shape = g.op("Shape", &[&norm], vec![]);
    let first = g.ints(&[0]);
    let batch = g.op("Gather", &[&shape, &first], vec![int("axis", 0)]);
    let rest = g.ints(&[-1]);
    let flat_shape = g.op("Concat", &[&batch, &rest], vec![int("axis", 0)]);
    let flat = g.op("Reshape", &[&norm, &flat_shape], vec![]);
    let (weight, bias) = (g.random(&[5, 16 * 4 * 3], -0.2, 0.2), g.random(&[5], -1.0, 1.0));
    let layer = g.op("Gemm", &[&flat, &weight, &bias], vec![int("transB", 1)]);
    let logits = g.op("Softmax", &[&layer], vec![int("axis", 1)]);
    (g, logits)
}

#[test]
fn a_network_as_pytorch_writes_it() {
    let (mut g, output) = pytorch();
    let imported = read_onnx(&g.file(&output), OnnxOptions::default()).unwrap();
    let images = g.images(3);
    let logits = check(&imported, &images);
    let last = g.proto.node.last().unwrap().input[0].clone();
    rten(g.file(&last), &[3, 13, 12], &images, &logits);
    let pads: Vec<PadValue> = imported
        .weights
        .graph
        .nodes
        .iter()
        .filter_map(|node| match node.op {
            Op::ConvBin { pad, geometry, .. } if geometry.padding > 0 => Some(pad),
            _ => None,
        })
        .collect();
    assert_eq!(pads, [PadValue::One, PadValue::Zero]);
    assert!(imported.notes.iter().any(|note| note.contains("Softmax")), "{:?}", imported.notes);
}

/// As QONNX and FINN have it: quantizers of one bit, thresholds, a 1-bit perceptron behind 1-bit convolutions of {0, 1}.
#[test]
fn a_network_of_qonnx_and_finn() {
    let mut g = Graph::new(&[3, 10, 10]);
    let one = g.floats(&[], vec![1.0]);
    let half = g.floats(&[], vec![0.5]);
    let weight = g.random(&[8, 3, 3, 3], -1.0, 1.0);
    let conv = g.op("Conv", &["x", &weight], vec![]);
    let bits = g.op("BipolarQuant", &[&conv, &half], vec![]);
    let latent = g.random(&[12, 8, 3, 3], -1.0, 1.0);
    let weight = g.op("BipolarQuant", &[&latent, &one], vec![]);
    let conv = g.op("Conv", &[&bits, &weight], vec![]);
    let values = (0..12).map(|i| i as f32 - 6.5).collect();
    let thresholds = g.floats(&[12, 1], values);
    let bits = g.op("MultiThreshold", &[&conv, &thresholds], vec![float("out_scale", 1.0)]);
    let window = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    let pooled = g.op("MaxPool", &[&bits], window);
    let shape = g.ints(&[1, -1]);
    let flat = g.op("Reshape", &[&pooled, &shape], vec![]);
    let latent = g.random(&[20, 12 * 9], -1.0, 1.0);
    let signs = g.op("BipolarQuant", &[&latent, &one], vec![]);
    let weight = g.op("Transpose", &[&signs], vec![ints("perm", &[1, 0])]);
    let layer = g.op("MatMul", &[&flat, &weight], vec![]);
    let norm = g.batch_norm(&layer, 20, 8.0);
    let bits = g.op("BipolarQuant", &[&norm, &one], vec![]);
    let weight = g.signs(&[20, 4]);
    let layer = g.op("MatMul", &[&bits, &weight], vec![]);
    let (scale, shift) = (g.floats(&[1], vec![0.25]), g.floats(&[1], vec![-1.0]));
    let scaled = g.op("Mul", &[&layer, &scale], vec![]);
    let logits = g.op("Add", &[&scaled, &shift], vec![]);
    let best = g.op("TopK", &[&logits], vec![]);
    let imported = read_onnx(&g.file(&best), OnnxOptions::default()).unwrap();
    check(&imported, &g.images(4));
    let layers = imported.weights.graph.nodes.iter();
    assert_eq!(layers.filter(|node| matches!(node.op, Op::LinearBin { .. })).count(), 2);
}

/// A perceptron whose input is a vector, and one whose image is flattened in front of its first sign.
#[test]
fn perceptrons_of_images_and_vectors() {
    for (input, given) in [(vec![48], Some([3, 4, 4])), (vec![3, 4, 4], None), (vec![48], None)] {
        let mut g = Graph::new(&input);
        let shape = g.ints(&[1, -1]);
        let flat = g.op("Reshape", &["x", &shape], vec![]);
        let (two, one) = (g.floats(&[], vec![2.0]), g.floats(&[], vec![1.0]));
        let doubled = g.op("Mul", &[&flat, &two], vec![]);
        let centred = g.op("Sub", &[&doubled, &one], vec![]);
        let bits = g.op("BipolarQuant", &[&centred, &one], vec![]);
        let weight = g.signs(&[48, 6]);
        let layer = g.op("MatMul", &[&bits, &weight], vec![]);
        let logits = g.batch_norm(&layer, 6, 7.0);
        let options = OnnxOptions { input: given, ..OnnxOptions::default() };
        let imported = read_onnx(&g.file(&logits), options).unwrap();
        let shape = imported.weights.graph.input_shape();
        assert_eq!(shape, given.unwrap_or(if input.len() == 3 { [3, 4, 4] } else { [48, 1, 1] }));
        check(&imported, &g.images(3));
    }
}

#[test]
fn all_that_cannot_be_read_is_named_at_once() {
    let mut g = Graph::new(&[2, 8, 8]);
    let weight = g.random(&[4, 2, 3, 3], -1.0, 1.0);
    let dilated = vec![ints("dilations", &[2, 2])];
    let conv = g.op("Conv", &["x", &weight], dilated);
    let erf = g.op("Erf", &[&conv], vec![]);
    let sign = g.op("Sign", &["x"], vec![]);
    let real = g.random(&[4, 2, 3, 3], -1.0, 1.0);
    let conv = g.op("Conv", &[&sign, &real], vec![]);
    let sum = g.op("Add", &[&erf, &conv], vec![]);
    let error = read_onnx(&g.file(&sum), OnnxOptions::default()).err().unwrap();
    let said = error.to_string();
    assert!(matches!(error, ImportError::Operators(_)), "{said}");
    for part in ["`Conv_0` (Conv): a dilated window", "`Erf_1` (Erf)"] {
        assert!(said.contains(part), "{said}");
    }
    // Without those, what ONNX computes but a 1-bit network does not have.
    let mut g = Graph::new(&[2, 8, 8]);
    let sign = g.op("Sign", &["x"], vec![]);
    let real = g.random(&[4, 2, 3, 3], -1.0, 1.0);
    let first = g.op("Conv", &[&sign, &real], vec![]);
    let uneven = vec![ints("pads", &[0, 0, 1, 1])];
    let weight = g.signs(&[4, 2, 3, 3]);
    let second = g.op("Conv", &[&sign, &weight], uneven);
    let tanh = g.op("Tanh", &["x"], vec![]);
    let third = g.op("GlobalAveragePool", &[&tanh], vec![]);
    let sum = g.op("Concat", &[&first, &second, &third], vec![int("axis", 1)]);
    let said = match read_onnx(&g.file(&sum), OnnxOptions::default()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("read"),
    };
    assert!(said.contains("shapes of its inputs"), "{said}");
    let sum = g.op("Identity", &[&third], vec![]);
    g.proto.node.retain(|node| node.op_type != "Concat");
    let said = read_onnx(&g.file(&sum), OnnxOptions::default()).err().unwrap().to_string();
    for part in [
        "3 operators are not read",
        "the weights of output 0 are not +-1 times one number",
        "[0, 0, 1, 1] of its sides are not equal",
        "a hyperbolic tangent or clip is only read in front of a sign",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn bytes_that_are_no_network_are_one_error() {
    for bytes in [&b""[..], b"\x08", b"hello, this is text", &[0xff; 64]] {
        let error = read_onnx(bytes, OnnxOptions::default()).err().unwrap();
        assert!(error.to_string().contains("no ONNX file"), "{error}");
    }
    let (g, output) = pytorch();
    let file = g.file(&output);
    for len in (0..file.len()).step_by(file.len() / 40) {
        assert!(read_onnx(&file[..len], OnnxOptions::default()).is_err());
    }
}

/// Files with other bytes here and there are read or refused, and nothing else.
#[test]
fn damaged_files_are_an_error_or_a_network() {
    let (g, output) = pytorch();
    let file = g.file(&output);
    // Weights are most of the file: half of the damage is done to the operators in front of them.
    let operators = GraphProto { initializer: vec![], ..g.proto.clone() }.encoded_len();
    let mut random = Random(random_seed());
    for _ in 0..600 {
        let mut damaged = file.clone();
        for _ in 0..1 + random.next() % 3 {
            let end = random.choose(&[operators, file.len()]) as u64;
            let at = (random.next() % end) as usize;
            damaged[at] =
                random.choose(&[0, 1, 2, 7, 0x7f, 0xff, damaged[at] ^ 1, damaged[at] ^ 0x10]);
        }
        if let Ok(imported) = read_onnx(&damaged, OnnxOptions::default()) {
            _ = lower(&imported.weights);
        }
    }
}

/// A file of some hundred bytes that asks for hours of work, or for more memory than there is.
#[test]
fn little_files_do_not_ask_for_hours_or_all_memory() {
    let refused = |g: &Graph, output: &str, words: &str| {
        let error = read_onnx(&g.file(output), OnnxOptions::default()).err().unwrap();
        assert!(error.to_string().contains(words), "{error}");
    };
    let mut g = Graph::new(&[1, 8, 8]);
    let weight = g.random(&[64, 1, 3, 3], -1.0, 1.0);
    let pads = vec![ints("pads", &[60000; 4])];
    let conv = g.op("Conv", &["x", &weight], pads);
    refused(&g, &conv, "products");
    let mut g = Graph::new(&[1, 8, 8]);
    let mut sum = "x".to_owned();
    for _ in 0..40 {
        let shape = g.ints(&[1, 1, 1 << 12, 1 << 13]);
        let zeros = g.op("ConstantOfShape", &[&shape], vec![]);
        sum = g.op("Concat", &[&sum, &zeros], vec![int("axis", 1)]);
    }
    refused(&g, &sum, "elements");
}

/// What ONNX computes otherwise than a reader would who only looks at the names of operators.
#[test]
fn what_is_not_what_it_seems_is_refused() {
    let refused = |g: &Graph, output: &str, words: &str| {
        let error = read_onnx(&g.file(output), OnnxOptions::default()).err().unwrap();
        assert!(error.to_string().contains(words), "{error}");
    };
    let net = |g: &mut Graph, x: &str| {
        let zero = g.floats(&[], vec![0.0]);
        let above = g.op("Greater", &[x, &zero], vec![]);
        let (one, minus) = (g.floats(&[], vec![1.0]), g.floats(&[], vec![-1.0]));
        let bits = g.op("Where", &[&above, &one, &minus], vec![]);
        let weight = g.signs(&[4, 2, 3, 3]);
        let conv = g.op("Conv", &[&bits, &weight], vec![]);
        g.op("GlobalAveragePool", &[&conv], vec![])
    };
    // A cast to integers rounds.
    for to in [6, 7, 9] {
        let mut g = Graph::new(&[2, 6, 6]);
        let cast = g.op("Cast", &["x"], vec![int("to", to)]);
        let output = net(&mut g, &cast);
        refused(&g, &output, "rounded to integers or truth values");
    }
    let mut g = Graph::new(&[2, 6, 6]);
    let cast = g.op("Cast", &["x"], vec![int("to", 1)]);
    let output = net(&mut g, &cast);
    let imported = read_onnx(&g.file(&output), OnnxOptions::default()).unwrap();
    check(&imported, &g.images(2));
    // Two of one name; an older opset; training mode; groups below 1; axes twice; elements of nothing.
    let mut twice = Graph::new(&[2, 6, 6]);
    let output = net(&mut twice, "x");
    let again = twice.proto.initializer[0].clone();
    twice.proto.initializer.push(again);
    refused(&twice, &output, "two of that name");
    let mut g = Graph::new(&[2, 6, 6]);
    let output = net(&mut g, "x");
    let conv = g.proto.node.iter_mut().find(|node| node.op_type == "Conv").unwrap();
    conv.attribute.push(int("group", 0));
    refused(&g, &output, "0 groups");
    let mut g = Graph::new(&[2, 6, 6]);
    let mean = g.op("ReduceMean", &["x"], vec![ints("axes", &[2, 2])]);
    refused(&g, &mean, "an axis twice");
    let mut g = Graph::new(&[2, 6, 6]);
    let none = g.floats(&[12, 0], vec![]);
    let flat = g.op("Flatten", &["x"], vec![]);
    let layer = g.op("MatMul", &[&flat, &none], vec![]);
    refused(&g, &layer, "no elements");
    let g = Graph::new(&[3, 70_000, 70_000]);
    refused(&g, "x", "extents of 1 to 65536");
}

#[test]
fn signs_that_are_zero_are_counted() {
    let mut g = Graph::new(&[2, 6, 6]);
    let relu = g.op("Relu", &["x"], vec![]);
    let sign = g.op("Sign", &[&relu], vec![]);
    let weight = g.signs(&[4, 2, 3, 3]);
    let conv = g.op("Conv", &[&sign, &weight], vec![]);
    let output = g.op("GlobalAveragePool", &[&conv], vec![]);
    let imported = read_onnx(&g.file(&output), OnnxOptions::default()).unwrap();
    let model = lower(&imported.weights).unwrap();
    let engine = Engine::new(&model, Options::default()).unwrap();
    let image = vec![-1.0; 72];
    let (mut logits, mut bits) = (vec![0.0; 4], BTreeMap::new());
    let mut see = |name: &str, words: &[u64]| drop(bits.insert(name.to_owned(), words.to_vec()));
    engine.run_observed(&image, &mut logits, &mut engine.scratch().unwrap(), &mut see).unwrap();
    let found = imported.compare(&image, &bits).unwrap();
    assert_eq!((found.zeros, found.flipped, found.signs), (72, 0, 72));
}

/// Contraries of comparisons, negative numbers, halves, estimators that round, windows that just fit.
#[test]
fn other_ways_to_say_the_same() {
    let mut g = Graph::new(&[2, 8, 8]);
    let limits = g.random(&[2, 1, 1], -0.5, 0.5);
    let less = g.op("Less", &["x", &limits], vec![]);
    let not = g.op("Not", &[&less], vec![]);
    let (one, minus) = (g.floats(&[], vec![1.0]), g.floats(&[], vec![-1.0]));
    let bits = g.op("Where", &[&not, &one, &minus], vec![]);
    let turned = g.op("Neg", &[&bits], vec![]);
    let rounded = g.random.floats(4 * 2 * 9, -1.0, 1.0);
    let rounded = rounded.iter().map(|w| w.signum() - w + w).collect();
    let weight = g.floats(&[4, 2, 3, 3], rounded);
    let conv = g.op("Conv", &[&turned, &weight], vec![]);
    let window = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2]), int("ceil_mode", 1)];
    let pooled = g.op("MaxPool", &[&conv], window);
    let output = g.op("ReduceMean", &[&pooled], vec![ints("axes", &[-1, -2])]);
    let imported = read_onnx(&g.file(&output), OnnxOptions::default()).unwrap();
    check(&imported, &g.images(3));
}
