//! `onebit pack --graph` makes files of networks that other programs trained: what they compute is computed here once more,
//! in f64 and in PyTorch's order, by code that shares nothing with the packer and the engine.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::{Outcome, names, onebit};
use onebit_testing::Random;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

const IMAGES: usize = 6;

/// A map `[channels, height, width]`.
#[derive(Clone)]
struct Map {
    shape: [usize; 3],
    values: Vec<f64>,
}

impl Map {
    fn channels(&self, tensors: &Tensors, name: &str, f: impl Fn(f64, f64) -> f64) -> Map {
        let parameter = &tensors[name].1;
        let pixels = self.shape[1] * self.shape[2];
        let values = self.values.iter().enumerate();
        let at = |i: usize| f64::from(parameter[(i / pixels) % parameter.len()]);
        Map { values: values.map(|(i, &v)| f(v, at(i))).collect(), ..self.clone() }
    }

    /// `+1` where `x >= 0`.
    fn sign(&self) -> Map {
        let sign = |&v: &f64| if v >= 0.0 { 1.0 } else { -1.0 };
        Map { values: self.values.iter().map(sign).collect(), ..self.clone() }
    }

    fn batch_norm(&self, tensors: &Tensors, name: &str, eps: f64) -> Map {
        let part = |suffix| format!("{name}.{suffix}");
        self.channels(tensors, &part("running_mean"), |v, mean| v - mean)
            .channels(tensors, &part("running_var"), |v, var| v / (var + eps).sqrt())
            .channels(tensors, &part("weight"), |v, weight| v * weight)
            .channels(tensors, &part("bias"), |v, bias| v + bias)
    }

    /// A convolution of weights `[O, I, k, k]`, of which only the sign counts if they are binary.
    fn conv(&self, tensors: &Tensors, name: &str, padding: usize, pad: f64, binary: bool) -> Map {
        let (shape, weight) = &tensors[&format!("{name}.weight")];
        let &[outputs, inputs, kernel, _] = &shape[..] else { panic!("OIHW") };
        let [_, height, width] = self.shape;
        let extent = |side: usize| side + 2 * padding - kernel + 1;
        let shape = [outputs, extent(height), extent(width)];
        let mut values = vec![];
        for o in 0..outputs {
            for y in 0..shape[1] {
                for x in 0..shape[2] {
                    let mut sum = 0.0;
                    for i in 0..inputs {
                        for (ky, kx) in
                            (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx)))
                        {
                            let row = (y + ky).checked_sub(padding).filter(|&row| row < height);
                            let column = (x + kx).checked_sub(padding).filter(|&c| c < width);
                            let value = match (row, column) {
                                (Some(r), Some(c)) => self.values[(i * height + r) * width + c],
                                _ => pad,
                            };
                            let w =
                                f64::from(weight[((o * inputs + i) * kernel + ky) * kernel + kx]);
                            let sign = if w >= 0.0 { 1.0 } else { -1.0 };
                            sum += value * if binary { sign } else { w };
                        }
                    }
                    values.push(sum);
                }
            }
        }
        Map { shape, values }
    }

    fn max_pool(&self) -> Map {
        let [channels, height, width] = self.shape;
        let shape = [channels, height / 2, width / 2];
        let mut values = vec![];
        for c in 0..channels {
            for (y, x) in (0..shape[1]).flat_map(|y| (0..shape[2]).map(move |x| (y, x))) {
                let at = |dy, dx| self.values[(c * height + 2 * y + dy) * width + 2 * x + dx];
                values.push(at(0, 0).max(at(0, 1)).max(at(1, 0)).max(at(1, 1)));
            }
        }
        Map { shape, values }
    }

    /// A layer of weights `[O, C*H*W]` on the flattened map.
    fn linear(&self, tensors: &Tensors, name: &str, binary: bool) -> Map {
        let (shape, weight) = &tensors[&format!("{name}.weight")];
        let act = |w: f32| match (binary, w >= 0.0) {
            (false, _) => f64::from(w),
            (true, true) => 1.0,
            (true, false) => -1.0,
        };
        let rows = weight.chunks(self.values.len());
        let dot = |row: &[f32]| row.iter().zip(&self.values).map(|(&w, x)| act(w) * x).sum();
        let values: Vec<f64> = rows.map(dot).collect();
        assert_eq!(shape[0], values.len());
        Map { shape: [values.len(), 1, 1], values }
    }

    fn add(&self, other: &Map) -> Map {
        let values = self.values.iter().zip(&other.values).map(|(a, b)| a + b).collect();
        Map { values, ..self.clone() }
    }
}

/// A network: its description, its weights, and what it computes.
struct Network {
    graph: Value,
    tensors: Tensors,
    input: [usize; 3],
    forward: fn(&Tensors, Map) -> Map,
}

fn conv(out_channels: usize, padding: usize) -> Value {
    json!({"conv": {"geometry": {"out_channels": out_channels, "kernel": 3, "padding": padding}}})
}

fn conv_bin(out_channels: usize, padding: usize, pad: &str) -> Value {
    let geometry = json!({"out_channels": out_channels, "kernel": 3, "padding": padding});
    json!({"conv_bin": {"geometry": geometry, "pad": pad}})
}

fn random(tensors: &mut Tensors, random: &mut Random, name: &str, shape: &[usize]) {
    let len = shape.iter().product();
    tensors.insert(name.to_owned(), (shape.to_vec(), random.floats(len, -1.0, 1.0)));
}

fn random_norm(tensors: &mut Tensors, draw: &mut Random, name: &str, channels: usize, spread: f32) {
    for (suffix, low, high) in [
        ("weight", 0.5, 1.5),
        ("bias", -0.5, 0.5),
        ("running_mean", -0.5 * spread, 0.5 * spread),
        ("running_var", 0.5 * spread * spread, 1.5 * spread * spread),
    ] {
        let values = draw.floats(channels, low, high);
        tensors.insert(format!("{name}.{suffix}"), (vec![channels], values));
    }
    tensors.insert(format!("{name}.num_batches_tracked"), (vec![], vec![7.0]));
}

fn normalization(channels: usize) -> Value {
    json!({"mean": vec![0.5; channels], "std": vec![0.5; channels]})
}

/// Layers of FINN's LFC and QONNX's TFC: a 1-bit perceptron whose image is 1-bit, too.
fn perceptron() -> Network {
    let mut tensors = Tensors::new();
    let draw = &mut Random(3);
    random(&mut tensors, draw, "fc1.weight", &[40, 49]);
    random_norm(&mut tensors, draw, "bn1", 40, 7.0);
    random(&mut tensors, draw, "fc2.weight", &[5, 40]);
    random_norm(&mut tensors, draw, "bn2", 5, 6.0);
    let graph = json!({
        "$schema": "graph.schema.json",
        "normalization": normalization(1),
        "sign_of_zero": "plus",
        "nodes": [
            {"name": "image", "op": {"input": {"channels": 1, "height": 7, "width": 7}}},
            {"name": "sign1", "op": {"sign": {"threshold": "zero"}}},
            {"name": "fc1", "op": {"linear_bin": {"out_features": 40}}},
            {"name": "bn1", "op": "batch_norm"},
            {"name": "sign2", "op": {"sign": {"threshold": "zero"}}},
            {"name": "fc2", "op": {"linear_bin": {"out_features": 5}}},
            {"name": "bn2", "op": "batch_norm"}
        ]
    });
    let forward = |tensors: &Tensors, x: Map| {
        let x = x.sign().linear(tensors, "fc1", true).batch_norm(tensors, "bn1", 1e-5);
        x.sign().linear(tensors, "fc2", true).batch_norm(tensors, "bn2", 1e-5)
    };
    Network { graph, tensors, input: [1, 7, 7], forward }
}

/// Layers of FINN's CNV: convolutions without padding, integer sums pooled in front of the sign, a binary layer on a map.
fn cnv() -> Network {
    let mut tensors = Tensors::new();
    let draw = &mut Random(4);
    random(&mut tensors, draw, "conv1.weight", &[9, 3, 3, 3]);
    random_norm(&mut tensors, draw, "bn1", 9, 2.0);
    random(&mut tensors, draw, "conv2.weight", &[70, 9, 3, 3]);
    random_norm(&mut tensors, draw, "bn2", 70, 9.0);
    random(&mut tensors, draw, "fc.weight", &[4, 70 * 4 * 4]);
    random_norm(&mut tensors, draw, "bn3", 4, 30.0);
    let graph = json!({
        "arch": "cnv", "normalization": normalization(3), "sign_of_zero": "plus",
        "classes": ["a", "b", "c", "d"],
        "nodes": [
            {"name": "image", "op": {"input": {"channels": 3, "height": 12, "width": 12}}},
            {"name": "conv1", "op": conv(9, 0)},
            {"name": "bn1", "op": {"batch_norm": {"eps": 1e-4}}},
            {"name": "sign1", "op": {"sign": {"threshold": "zero"}}},
            {"name": "conv2", "op": conv_bin(70, 0, "zero")},
            {"name": "bn2", "op": {"batch_norm": {"eps": 1e-4}}},
            {"name": "pool", "op": {"max_pool": {"kernel": 2, "stride": 2}}},
            {"name": "sign2", "op": {"sign": {"threshold": "zero"}}},
            {"name": "fc", "op": {"linear_bin": {"out_features": 4}}},
            {"name": "bn3", "op": {"batch_norm": {"eps": 1e-4}}}
        ]
    });
    let forward = |tensors: &Tensors, x: Map| {
        let x = x.conv(tensors, "conv1", 0, 0.0, false).batch_norm(tensors, "bn1", 1e-4).sign();
        let x = x.conv(tensors, "conv2", 0, 0.0, true).batch_norm(tensors, "bn2", 1e-4);
        x.max_pool().sign().linear(tensors, "fc", true).batch_norm(tensors, "bn3", 1e-4)
    };
    Network { graph, tensors, input: [3, 12, 12], forward }
}

/// Blocks of a binary ResNet whose convolutions have biases, one of them without a normalization behind it, one-padding, and
/// rectifiers of one slope for all channels.
fn resnet() -> Network {
    let mut tensors = Tensors::new();
    let draw = &mut Random(5);
    random(&mut tensors, draw, "conv1.weight", &[8, 3, 3, 3]);
    random(&mut tensors, draw, "conv1.bias", &[8]);
    random_norm(&mut tensors, draw, "bn1", 8, 2.0);
    tensors.insert("sign1.threshold".to_owned(), (vec![1, 8, 1, 1], draw.floats(8, -0.3, 0.3)));
    random(&mut tensors, draw, "conv2.weight", &[8, 8, 3, 3]);
    random(&mut tensors, draw, "conv2.bias", &[8]);
    tensors.insert("prelu.slope_neg".to_owned(), (vec![1], vec![0.25]));
    random(&mut tensors, draw, "conv3.weight", &[8, 8, 3, 3]);
    tensors.insert("conv3.scale".to_owned(), (vec![8], draw.floats(8, 0.1, 0.2)));
    random(&mut tensors, draw, "conv3.bias", &[8]);
    random_norm(&mut tensors, draw, "bn3", 8, 2.0);
    random(&mut tensors, draw, "fc.weight", &[5, 8 * 8 * 8]);
    random(&mut tensors, draw, "fc.bias", &[5]);
    let learned = json!({"conv_bin": {
        "geometry": {"out_channels": 8, "kernel": 3, "padding": 1}, "pad": "zero", "scale": "learned"
    }});
    let graph = json!({
        "normalization": normalization(3), "sign_of_zero": "plus",
        "nodes": [
            {"name": "image", "op": {"input": {"channels": 3, "height": 8, "width": 8}}},
            {"name": "conv1", "op": conv(8, 1)},
            {"name": "bn1", "op": "batch_norm"},
            {"name": "sign1", "op": {"sign": {"threshold": "static"}}},
            {"name": "conv2", "op": conv_bin(8, 1, "one")},
            {"name": "prelu", "op": {"prelu": {"slope": "negative", "shift": "none"}}},
            {"name": "add", "op": "add", "inputs": ["prelu", "bn1"]},
            {"name": "sign2", "op": {"sign": {"threshold": "zero"}}},
            {"name": "conv3", "op": learned},
            {"name": "bn3", "op": "batch_norm"},
            {"name": "fc", "op": {"linear": {"out_features": 5}}}
        ]
    });
    let forward = |tensors: &Tensors, x: Map| {
        let add = |v: f64, bias: f64| v + bias;
        let x = x.conv(tensors, "conv1", 1, 0.0, false).channels(tensors, "conv1.bias", add);
        let shortcut = x.batch_norm(tensors, "bn1", 1e-5);
        let x = shortcut.channels(tensors, "sign1.threshold", |v, t| v - t).sign();
        let x = x.conv(tensors, "conv2", 1, 1.0, true).channels(tensors, "conv2.bias", add);
        let bend = |v: f64, slope: f64| if v > 0.0 { v } else { slope * v };
        let x = x.channels(tensors, "prelu.slope_neg", bend).add(&shortcut).sign();
        let x = x.conv(tensors, "conv3", 1, 0.0, true);
        let x = x.channels(tensors, "conv3.scale", |v, scale| v * scale);
        let x = x.channels(tensors, "conv3.bias", add).batch_norm(tensors, "bn3", 1e-5);
        x.linear(tensors, "fc", false).channels(tensors, "fc.bias", add)
    };
    Network { graph, tensors, input: [3, 8, 8], forward }
}

fn write_tensors(path: &Path, tensors: &Tensors) {
    let bytes: BTreeMap<&String, Vec<u8>> = tensors
        .iter()
        .map(|(name, (_, values))| (name, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let view = |name: &String| {
        TensorView::new(Dtype::F32, tensors[name].0.clone(), &bytes[name]).expect("a tensor")
    };
    let views = tensors.keys().map(|name| (name, view(name)));
    fs::write(path, safetensors::serialize(views, None).expect("a file")).expect("written");
}

/// The files of a network in a folder.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn of(network: &Network) -> Self {
        let files = Files { folder: tempfile::tempdir().expect("a folder") };
        fs::write(files.path("net.json"), format!("{:#}", network.graph)).expect("written");
        write_tensors(&files.path("net.safetensors"), &network.tensors);
        let [channels, height, width] = network.input;
        let len = channels * height * width;
        let mut images = Random(9).floats(IMAGES * len, -1.0, 1.0);
        images.iter_mut().step_by(5).for_each(|value| *value = 0.0);
        let logits = images.chunks(len).flat_map(|image| {
            let values = image.iter().map(|&v| f64::from(v)).collect();
            (network.forward)(&network.tensors, Map { shape: network.input, values }).values
        });
        let logits: Vec<f32> = logits.map(|v| v as f32).collect();
        let classes = logits.len() / IMAGES;
        let write = |name: &str, shape: &[usize], values: &[f32]| {
            onebit_data::write_npy_f32(&files.path(name), shape, values).expect("written");
        };
        write("x.npy", &[IMAGES, channels, height, width], &images);
        write("y.npy", &[IMAGES, classes], &logits);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pack(&self, more: &[&str]) -> Outcome {
        let path = |name| self.path(name).display().to_string();
        let [weights, graph, output, x, y] =
            ["net.safetensors", "net.json", "net.onebit", "x.npy", "y.npy"].map(path);
        let mut arguments = vec!["pack", &weights, "--graph", &graph, "-o", &output];
        arguments.extend(["--expect", &x, &y]);
        arguments.extend(more);
        onebit(&arguments)
    }
}

#[test]
fn networks_of_other_programs_give_their_logits() {
    for network in [perceptron(), cnv(), resnet()] {
        let files = Files::of(&network);
        let done =
            files.pack(&["--json", "--licence", "BSD-3-Clause", "--source", "a paper"]).json();
        assert_eq!(done["expected"]["images"], IMAGES);
        assert!(done["expected"]["max_difference"].as_f64().expect("a number") < 1e-4);
        let output = files.path("net.onebit").display().to_string();
        let inspection = onebit(&["inspect", &output, "--json"]).json();
        assert_eq!(inspection["origin"]["licence"], "BSD-3-Clause");
        let graph = files.path("net.json").display().to_string();
        let summary = onebit(&["summary", &graph, "--json"]).json();
        let [channels, height, width] = network.input;
        assert_eq!(summary["input"], format!("{channels}x{height}x{width}"));
    }
}

/// What would be wrong by one step of the carrying over.
#[test]
fn images_that_are_no_numbers_are_refused() {
    let network = perceptron();
    let files = Files::of(&network);
    files.pack(&[]).succeeded();
    let (shape, mut values) = onebit_data::read_npy_f32(&files.path("x.npy")).expect("an array");
    let each = values.len() / IMAGES;
    values[2 * each + 1] = f32::NAN;
    onebit_data::write_npy_f32(&files.path("x.npy"), &shape, &values).expect("written");
    let path = |name| files.path(name).display().to_string();
    let [model, x, out] = ["net.onebit", "x.npy", "out.npy"].map(path);
    let run = onebit(&["run", &model, "--input", &x, "--output", &out]);
    for outcome in [files.pack(&[]), run] {
        let said = outcome.failed(65);
        assert!(
            said.contains("x.npy: the values of image 2 (counted from 0) are not finite"),
            "{said}"
        );
    }
}

#[test]
fn small_mistakes_are_noticed_and_nothing_is_written() {
    let changed = |mut network: Network, change: &dyn Fn(&mut Network)| {
        let files = Files::of(&network);
        change(&mut network);
        fs::write(files.path("net.json"), network.graph.to_string()).expect("written");
        write_tensors(&files.path("net.safetensors"), &network.tensors);
        let said = files.pack(&[]).failed(65).to_owned();
        assert!(said.contains("differ from the expected ones"), "{said}");
        assert!(!names(files.folder.path()).contains(&"net.onebit".to_owned()), "{said}");
    };
    let one = |name: &'static str, change: fn(&mut Vec<f32>)| {
        move |network: &mut Network| change(&mut network.tensors.get_mut(name).expect("there").1)
    };
    // Sums of 49 products are odd numbers: a threshold that is off by one is off by half a step of them.
    changed(perceptron(), &one("bn1.running_mean", |mean| mean.iter_mut().for_each(|m| *m += 1.0)));
    changed(perceptron(), &|network| network.graph["sign_of_zero"] = "minus".into());
    changed(cnv(), &one("bn2.running_mean", |mean| mean.swap(0, 1)));
    changed(cnv(), &one("conv2.weight", |weight| weight.rotate_left(81)));
    changed(resnet(), &|network| {
        network.graph["nodes"][4]["op"]["conv_bin"]["pad"] = "zero".into();
    });
    changed(resnet(), &|network| network.graph["nodes"][8]["op"]["conv_bin"]["pad"] = "one".into());
    changed(resnet(), &one("conv2.bias", |bias| bias[0] += 1.0));
    changed(resnet(), &one("sign1.threshold", |t| t.iter_mut().for_each(|t| *t = -*t)));
}

#[test]
fn all_tensors_that_do_not_fit_are_named_at_once() {
    let network = resnet();
    let files = Files::of(&network);
    let mut tensors = network.tensors.clone();
    tensors.remove("conv2.weight");
    tensors.insert("head.weight".to_owned(), (vec![1], vec![0.0]));
    tensors.insert("fc.bias".to_owned(), (vec![1, 4], vec![0.0; 4]));
    tensors.insert("bn3.weight".to_owned(), (vec![8], vec![f32::NAN; 8]));
    write_tensors(&files.path("net.safetensors"), &tensors);
    let outcome = files.pack(&[]);
    let said = outcome.failed(65);
    for part in [
        "4 tensors do not fit the graph",
        "`conv2.weight` is missing, expected [8, 8, 3, 3]",
        "`head.weight` has no place in the graph",
        "`fc.bias` has the shape [1, 4], expected [5]",
        "`bn3.weight` holds a value that is not finite",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let mut network = cnv();
    network.graph["layout"] = "ohwi".into();
    let outcome = Files::of(&network).pack(&[]);
    assert!(
        outcome
            .failed(65)
            .contains("`conv2.weight` has the shape [70, 9, 3, 3], expected [70, 3, 3, 9]")
    );
}

#[test]
fn what_may_not_be_meant_is_said() {
    let files = Files::of(&perceptron());
    let (x, y) = (files.path("x.npy"), files.path("y.npy"));
    let twice = ["--expect", x.to_str().expect("UTF-8"), y.to_str().expect("UTF-8")];
    assert!(files.pack(&twice).failed(64).contains("--expect"));
    let mut network = perceptron();
    let weight = network.tensors.get_mut("fc1.weight").expect("there");
    weight.1.iter_mut().for_each(|w| *w = f32::from(u8::from(*w >= 0.0)));
    write_tensors(&files.path("net.safetensors"), &network.tensors);
    assert!(files.pack(&[]).failed(65).contains("`fc1.weight` holds only 0 and 1"));
    let weight = network.tensors.get_mut("fc1.weight").expect("there");
    weight.1.iter_mut().for_each(|w| *w = 0.5 * (2.0 * *w - 1.0));
    write_tensors(&files.path("net.safetensors"), &network.tensors);
    let outcome = files.pack(&[]);
    assert!(outcome.stderr.contains("`fc1.weight` is +-0.5 throughout"), "{}", outcome.stderr);
}

#[test]
fn a_description_that_cannot_be_is_one_sentence() {
    let files = Files::of(&perceptron());
    let write = |text: &str| fs::write(files.path("net.json"), text).expect("written");
    let graph = perceptron().graph;
    write(&format!("// mine\n{graph}"));
    assert!(files.pack(&[]).failed(65).contains("line 1"));
    write(&graph.to_string().replace("\"nodes\"", "\"layers\""));
    assert!(files.pack(&[]).failed(65).contains("unknown field `layers`"));
    write(&graph.to_string().replace("linear_bin", "linear_ternary"));
    assert!(files.pack(&[]).failed(65).contains("unknown variant `linear_ternary`"));
    let mut broken = graph.clone();
    broken["nodes"][2]["inputs"] = json!(["sign7"]);
    write(&broken.to_string());
    assert!(files.pack(&[]).failed(65).contains("sign7"));
    fs::remove_file(files.path("net.json")).expect("removed");
    assert!(files.pack(&[]).failed(66).contains("a graph in JSON"));
}

#[test]
fn names_of_classes_can_come_from_a_file() {
    let files = Files::of(&perceptron());
    let classes = files.path("classes.txt");
    let long = "n".repeat(1000);
    fs::write(&classes, format!("a\nb\nc\nd\n{long}\n")).expect("written");
    files.pack(&["--classes", classes.to_str().expect("UTF-8")]).succeeded();
    let output = files.path("net.onebit").display().to_string();
    assert_eq!(onebit(&["inspect", &output, "--json"]).json()["classes"][4], long);
    fs::write(&classes, "a\nb\n").expect("written");
    let said = files.pack(&["--classes", classes.to_str().expect("UTF-8")]);
    assert!(said.failed(65).contains("names 2 classes, the graph has 5"));
}

#[test]
fn the_schema_is_the_published_one() {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/graph.schema.json");
    let schema = onebit(&["pack", "--json-schema"]);
    let text = fs::read_to_string(&published).expect("docs/graph.schema.json");
    assert_eq!(schema.succeeded(), text, "`onebit pack --json-schema` gives the new one");
}

#[test]
fn the_graphs_of_the_document_are_graphs() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/bring-your-own.md");
    let text = fs::read_to_string(document).expect("docs/bring-your-own.md");
    let folder = tempfile::tempdir().expect("a folder");
    let graphs: Vec<&str> =
        text.split("```json\n").skip(1).filter_map(|t| t.split("```").next()).collect();
    assert_eq!(graphs.len(), 3);
    for graph in graphs {
        let path = folder.path().join("net.json");
        fs::write(&path, graph).expect("written");
        let summary = onebit(&["summary", path.to_str().expect("UTF-8"), "--json"]).json();
        assert!(summary["bops"].as_u64().expect("a number") > 0);
    }
}
