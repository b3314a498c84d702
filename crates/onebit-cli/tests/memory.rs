//! Where memory does not suffice, one sentence says so.
#![cfg(target_os = "linux")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::Outcome;
use onebit_model::{
    Data, Geometry, Graph, Model, Node, NodeId, Normalization, Op, Origin, PadValue, Preprocessing,
    Tensor, Threshold, Verified, WeightScale, file, packed_shape,
};

/// A packed file of 300 bytes that takes the mean of each channel of 12 MB images.
fn means(folder: &Path) -> PathBuf {
    let input = Op::Input { channels: 3, height: 1024, width: 1024 };
    let nodes = [("input", input, vec![]), ("mean", Op::GlobalAvgPool, vec![NodeId(0)])];
    let nodes = nodes.map(|(name, op, inputs)| Node { name: name.to_owned(), op, inputs });
    let graph = Graph {
        arch: "means".to_owned(),
        normalization: Normalization { mean: vec![0.5; 3], std: vec![0.5; 3] },
        preprocessing: Preprocessing::default(),
        classes: ["red", "green", "blue"].map(str::to_owned).into(),
        nodes: nodes.into(),
    };
    let model =
        Verified::<Model>::new(Model { graph, tensors: [].into(), origin: Origin::default() })
            .expect("a model");
    let path = folder.join("means.onebit");
    std::fs::write(&path, file::write_model(&model).expect("a file")).expect("written");
    path
}

/// A packed file of 9 MB whose weights take 302 MB as 32-bit floats.
fn wide(folder: &Path) -> PathBuf {
    let (channels, outputs) = (2048, 4096);
    let input = Op::Input { channels, height: 1, width: 1 };
    let geometry = Geometry { out_channels: outputs, kernel: 3, stride: 1, padding: 1, groups: 1 };
    let conv = Op::ConvBin { geometry, pad: PadValue::Zero, scale: WeightScale::None };
    let nodes = [
        ("input", input, vec![]),
        ("sign", Op::Sign { threshold: Threshold::Zero }, vec![NodeId(0)]),
        ("conv", conv, vec![NodeId(1)]),
        ("mean", Op::GlobalAvgPool, vec![NodeId(2)]),
    ];
    let nodes = nodes.map(|(name, op, inputs)| Node { name: name.to_owned(), op, inputs });
    let graph = Graph {
        arch: "wide".to_owned(),
        normalization: Normalization { mean: vec![0.5; channels], std: vec![0.5; channels] },
        preprocessing: Preprocessing::default(),
        classes: (0..outputs).map(|class| class.to_string()).collect(),
        nodes: nodes.into(),
    };
    let shape = packed_shape(&[outputs, 3, 3, channels]);
    let words = vec![0; shape.iter().product()];
    let bits = Tensor { shape, data: Data::U64(words) };
    let tensors = [("conv.weight".to_owned(), bits)].into();
    let model = Verified::<Model>::new(Model { graph, tensors, origin: Origin::default() })
        .expect("a model");
    let path = folder.join("wide.onebit");
    std::fs::write(&path, file::write_model(&model).expect("a file")).expect("written");
    path
}

#[test]
fn a_network_whose_floats_do_not_fit_is_not_exported() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = wide(folder.path()).display().to_string();
    let onnx = folder.path().join("wide.onnx").display().to_string();
    let export = ["export", &model, "-o", &onnx];
    let outcome = limited_to(400_000, &export);
    let sentence = outcome.failed(65);
    assert!(sentence.contains("not enough memory for the network as 32-bit floats"), "{sentence}");
    assert!(!Path::new(&onnx).exists());
    limited(&export).succeeded();
}

/// The program with 2 GB of address space.
fn limited(arguments: &[&str]) -> Outcome {
    limited_to(2_000_000, arguments)
}

/// The program with so many kilobytes of address space.
fn limited_to(kilobytes: usize, arguments: &[&str]) -> Outcome {
    let mut shell = Command::new("sh");
    let script = format!("ulimit -v {kilobytes}; exec \"$0\" \"$@\"");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_onebit")]);
    Outcome::from(shell.args(arguments).env_remove("RUST_BACKTRACE").output().expect("a shell"))
}

#[test]
fn a_batch_that_does_not_fit() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = means(folder.path());
    let model = model.to_str().expect("UTF-8");
    for threads in ["1", "2"] {
        let outcome =
            limited(&["bench", model, "--batch", "4096", "--runs", "1", "--threads", threads]);
        let sentence = outcome.failed(65);
        assert!(sentence.contains("memory") && sentence.contains("51.54 GB"), "{sentence}");
    }
    let outcome = limited(&["bench", model, "--batch", "2", "--runs", "1", "--json"]);
    assert_eq!(outcome.json()["batch"], 2);
}

/// A file with `start` and so many bytes in all, which take no room on the disk.
fn sparse(path: &Path, start: &[u8], bytes: u64) {
    std::fs::write(path, start).expect("written");
    let file = std::fs::File::options().write(true).open(path).expect("a file");
    file.set_len(bytes).expect("a long file");
}

#[test]
fn files_that_do_not_fit_have_one_exit_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name).display().to_string();
    let (checkpoint, x, out) = (place("a.pth"), place("x.npy"), place("out"));
    let model = common::packed(folder.path()).display().to_string();
    sparse(Path::new(&checkpoint), b"PK\x03\x04", 1 << 30);
    common::npy(Path::new(&x), "<f4", &[1, 1, 1, 1]);
    let mut header = std::fs::read(&x).expect("a file");
    header.truncate(header.len() - 4);
    let text =
        String::from_utf8_lossy(&header[10..]).replace("(1, 1, 1, 1,)", "(9, 1, 6000, 6000)");
    let text = text.trim_end().to_owned() + " \n";
    header.truncate(8);
    header.extend((text.len() as u16).to_le_bytes());
    header.extend(text.bytes());
    sparse(Path::new(&x), &header, header.len() as u64 + 9 * 4 * 6000 * 6000);
    for command in [
        &["import", &checkpoint, "--arch", "resnet20", "-o", &out][..],
        &["run", &model, "--input", &x, "--output", &out, "--threads", "1"],
        &["bench", &model, "--threads", "999"],
    ] {
        let outcome = limited_to(400_000, command);
        let sentence = outcome.failed(65);
        assert!(sentence.contains("memory"), "{command:?}: {sentence}");
    }
    assert!(!Path::new(&out).exists());
}

#[test]
fn threads_for_which_there_is_no_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = common::packed(folder.path());
    let model = model.to_str().expect("UTF-8");
    for kilobytes in [200_000, 400_000, 1_500_000] {
        let batch = ["bench", model, "--batch", "4096", "--runs", "1", "--threads", "1024"];
        let outcome = limited_to(kilobytes, &batch);
        let sentence = outcome.failed(65);
        assert!(sentence.starts_with("1024 threads cannot be started: "), "{sentence}");
        assert!(sentence.contains("not enough memory"), "{sentence}");
        let data = ["eval", model, "--data", "fashion-mnist-sample", "--threads", "1024"];
        assert!(limited_to(kilobytes, &data).failed(65).contains("1024 threads"));
    }
}

#[test]
fn an_image_for_which_there_is_no_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = common::packed(folder.path());
    let image = folder.path().join("large.png");
    let large = image::GrayImage::new(7900, 7900);
    large.save(&image).expect("written");
    let [model, image] = [&model, &image].map(|path| path.to_str().expect("UTF-8"));
    let outcome = limited_to(250_000, &["predict", model, image, "--threads", "1"]);
    assert!(outcome.failed(65).contains("not enough memory to decode it"), "{}", outcome.stderr);
}
