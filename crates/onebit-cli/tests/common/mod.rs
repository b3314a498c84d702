//! Runs the program, and makes small files for it.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use onebit_model::arch::{self, Config, Method, Task};
use onebit_model::file::{self, Weights};
use onebit_model::{Data, Graph, Node, NodeId, Op, Tensor, Verified, infer};
use serde_json::Value;

/// What a run of the program gave.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onebit"));
    command.env_remove("RUST_BACKTRACE");
    command
}

pub(crate) fn onebit<S: AsRef<OsStr>>(arguments: &[S]) -> Outcome {
    Outcome::from(program().args(arguments).output().expect("the program starts"))
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Outcome {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Outcome {
    /// Exit code 0; returns stdout.
    pub(crate) fn succeeded(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        &self.stdout
    }

    /// Exit code 0 and one JSON value on stdout.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.succeeded()).expect("one JSON value on stdout")
    }

    /// The exit code, nothing on stdout, and one sentence on stderr, which is returned.
    pub(crate) fn failed(&self, code: i32) -> &str {
        let Outcome { stdout, stderr, .. } = self;
        assert_eq!(self.code, Some(code), "{stdout}{stderr}");
        assert_eq!(stdout, "");
        let sentence =
            stderr.strip_prefix("error: ").unwrap_or_else(|| panic!("no error: {stderr}"));
        assert_eq!(sentence.lines().count(), 1, "{stderr}");
        sentence.trim_end()
    }
}

/// The classes of `fashion-mnist-sample`.
pub(crate) const CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// Weights of a small network for the images and classes of `fashion-mnist-sample`.
pub(crate) fn weights() -> Verified<Weights> {
    let normalization = onebit_model::Normalization { mean: vec![0.286], std: vec![0.353] };
    let classes = CLASSES.map(str::to_owned).to_vec();
    let task = Task { input: [1, 28, 28], classes, normalization };
    let config = Config {
        widths: Some(vec![8, 16]),
        blocks: Some(vec![1, 1]),
        ..Config::new("resnet-small", Method::Reactnet)
    };
    let graph = arch::build(&config, &task).expect("a network").into_inner();
    let tensors = tensors(&graph);
    Verified::<Weights>::new(Weights { graph, tensors }).expect("weights")
}

fn tensors(graph: &Graph) -> BTreeMap<String, Tensor> {
    let shapes = infer::shapes(graph).expect("shapes");
    let mut tensors = BTreeMap::new();
    for id in graph.ids() {
        for param in graph.params(id, &shapes) {
            let seed = tensors.len();
            let wave = |i: usize| ((i * 7 + seed) as f32 * 0.7).sin();
            let value = |i| match param.suffix {
                "running_var" => 1.0 + 0.5 * wave(i),
                _ => 0.3 * wave(i),
            };
            let data = Data::F32((0..param.len()).map(value).collect());
            let name = graph.nodes[id.0].param_name(param.suffix);
            tensors.insert(name, Tensor { shape: param.shape.clone(), data });
        }
    }
    tensors
}

/// A packed file of [`weights`] in `folder`.
pub(crate) fn packed(folder: &Path) -> PathBuf {
    let path = folder.join("small.onebit");
    let model = onebit_pack::lower(&weights()).expect("lowers");
    std::fs::write(&path, file::write_model(&model).expect("a file")).expect("written");
    path
}

/// A network that is one linear layer without a bias: `weight` of a class and of the position of a value in the image
/// (height x width x channels), whose pixels are 0 to 1.
pub(crate) fn linear(
    classes: &[&str],
    [channels, height, width]: [usize; 3],
    weight: impl Fn(usize, usize) -> f32,
) -> Verified<Weights> {
    let input = Op::Input { channels, height, width };
    let last = Op::Linear { out_features: classes.len() };
    let nodes = [("input", input, vec![]), ("fc", last, vec![NodeId(0)])];
    let nodes = nodes.map(|(name, op, inputs)| Node { name: name.to_owned(), op, inputs });
    let graph = Graph {
        arch: "linear".to_owned(),
        normalization: onebit_model::Normalization {
            mean: vec![0.0; channels],
            std: vec![1.0; channels],
        },
        preprocessing: onebit_model::Preprocessing::default(),
        classes: classes.iter().map(|name| (*name).to_owned()).collect(),
        nodes: nodes.into(),
    };
    let values = channels * height * width;
    let weights = (0..classes.len() * values).map(|i| weight(i / values, i % values)).collect();
    let tensors = [
        ("fc.weight", Tensor { shape: vec![classes.len(), values], data: Data::F32(weights) }),
        (
            "fc.bias",
            Tensor { shape: vec![classes.len()], data: Data::F32(vec![0.0; classes.len()]) },
        ),
    ];
    let tensors = tensors.map(|(name, tensor)| (name.to_owned(), tensor)).into();
    Verified::<Weights>::new(Weights { graph, tensors }).expect("weights")
}

/// The packed file of `weights` at `path`.
pub(crate) fn pack(path: &Path, weights: &Verified<Weights>) {
    let model = onebit_pack::lower(weights).expect("lowers");
    std::fs::write(path, file::write_model(&model).expect("a file")).expect("written");
}

/// A PNG file of one colour.
pub(crate) fn colour(path: &Path, side: u32, colour: [u8; 3]) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let image = image::RgbImage::from_pixel(side, side, image::Rgb(colour));
    image.save(path).expect("saved");
}

/// A NumPy file of `shape` and `dtype` (`<f4` or `<f8`) full of zeros.
pub(crate) fn npy(path: &Path, dtype: &str, shape: &[usize]) {
    let extents: Vec<String> = shape.iter().map(|extent| format!("{extent},")).collect();
    let dict = format!(
        "{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({}), }}",
        extents.join(" ")
    );
    let padded = (dict.len() + 11).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((padded as u16).to_le_bytes());
    bytes.extend(format!("{dict:<width$}\n", width = padded - 1).bytes());
    let size = if dtype == "<f8" { 8 } else { 4 };
    bytes.resize(bytes.len() + size * shape.iter().product::<usize>(), 0);
    std::fs::write(path, bytes).expect("written");
}

/// A PNG file of grey pixels.
pub(crate) fn png(path: &Path, width: u32, height: u32) {
    let pixels = (0..width * height).map(|i| (i * 7 % 256) as u8).collect();
    image::GrayImage::from_raw(width, height, pixels).expect("an image").save(path).expect("saved");
}

/// Names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.expect("an entry").file_name().into_string().expect("UTF-8")
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

/// A recipe that trains in seconds, with `extra` lines in its `[train]` section.
#[cfg(feature = "train")]
pub(crate) fn recipe(folder: &Path, extra: &str) -> PathBuf {
    let path = folder.join("tiny.toml");
    let text = format!(
        "[data]\ntrain = \"fashion-mnist-sample:train\"\ntest = \"fashion-mnist-sample:test\"\n\
         train_limit = 640\ntest_limit = 100\n\
         [network]\narch = \"resnet-small\"\nwidths = [8, 16]\nblocks = [1, 1]\n\
         [train]\nbatch = 32\nseed = 3\nlr = 2e-3\n{extra}\n"
    );
    std::fs::write(&path, text).expect("written");
    path
}
