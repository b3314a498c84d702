//! Checkpoints of the official PyTorch code, made by `scripts/fixtures/checkpoints.py`, become networks that compute
//! what that code computes.

#![allow(clippy::unwrap_used)]

mod defects;
mod forms;
mod hostile;
mod torch_save;

use std::collections::BTreeMap;
use std::path::Path;

use onebit_engine::{Engine, Isa, Options};
use onebit_model::arch::{self, Config, Task};
use onebit_model::file::{write_model, write_weights};
use onebit_model::{Graph, Model, NodeId, Verified, infer};
use onebit_pack::import::{Checkpoint, Found, ImportError, Imported};
use onebit_pack::{load_weights, lower};
use safetensors::SafeTensors;

/// Largest difference of a logit from PyTorch's in `f64`, in standard deviations of all logits; signs are equal.
const MAX_LOGIT_DIFFERENCE: f64 = 1e-5;

const CLASSES: usize = 5;

/// Each network and its checkpoints.
const NETWORKS: &[(&str, &[&str])] = &[
    ("bireal", &["legacy.pth.tar", "zip.pth", "safetensors"]),
    (
        "reactnet",
        &[
            "legacy.pth.tar",
            "zip.pth",
            "safetensors",
            "mixed.pth",
            "mixed.legacy.pth",
            "mixed.safetensors",
        ],
    ),
    ("mobile", &["legacy.pth.tar", "zip.pth", "safetensors"]),
];

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import");
    std::fs::read(folder.join(name)).unwrap()
}

fn network(name: &str) -> Verified<Graph> {
    let mut config = Config::named(match name {
        "bireal" => "birealnet18",
        "reactnet" => "reactnet18",
        _ => "reactnet-a",
    });
    if name == "mobile" {
        config.widths = Some(vec![8, 16, 16, 32]);
    } else {
        config.widths = Some(vec![8, 16]);
        config.blocks = Some(vec![2, 2]);
    }
    arch::build(&config, &Task::unnamed([3, 64, 64], CLASSES)).unwrap()
}

fn import(bytes: &[u8], name: &str) -> Result<Imported, ImportError> {
    let checkpoint = Checkpoint::parse(bytes)?;
    assert_eq!(checkpoint.classes()?, CLASSES);
    checkpoint.weights(network(name))
}

fn packed(imported: &Imported) -> Vec<u8> {
    write_model(&lower(&imported.weights).unwrap()).unwrap()
}

#[test]
fn every_container_and_form_gives_the_same_file() {
    for (name, files) in NETWORKS {
        let written = files.iter().map(|file| {
            let imported = import(&fixture(&format!("{name}.{file}")), name);
            packed(&imported.unwrap_or_else(|e| panic!("{name}.{file}: {e}")))
        });
        let written: Vec<_> = written.collect();
        for (file, bytes) in files.iter().zip(&written) {
            assert!(*bytes == written[0], "{name}.{file} is another network");
        }
    }
}

#[test]
fn what_is_not_needed_is_counted() {
    let imported = import(&fixture("bireal.legacy.pth.tar"), "bireal").unwrap();
    assert_eq!(imported.found.others, ["epoch", "best_top1_acc", "optimizer"]);
    assert_eq!(imported.found.path, ["state_dict"]);
    assert!(imported.found.prefixes.iter().eq(["module."]));
    // The stem: a convolution and a normalization. Four blocks with as many, one of them with another pair. The
    // classifier. A normalization has a counter and four tensors.
    assert_eq!((imported.read, imported.counters), (6 * (1 + 4) + 2, 6));
    assert_eq!(imported.ties, 0);
    assert_eq!(import(&fixture("bireal.zip.pth"), "bireal").unwrap().found, Found::default());
}

#[test]
fn the_engine_computes_what_the_official_code_does() {
    let images = fixture("images.safetensors");
    let images = SafeTensors::deserialize(&images).unwrap();
    for (name, _) in NETWORKS {
        let model =
            lower(&import(&fixture(&format!("{name}.zip.pth")), name).unwrap().weights).unwrap();
        let expected = fixture(&format!("{name}.expected.safetensors"));
        let expected = SafeTensors::deserialize(&expected).unwrap();
        for (size, batch) in images.tensors() {
            let &[n, channels, height, width] = batch.shape() else {
                panic!("{:?}", batch.shape())
            };
            let logits = expected.tensor(&format!("logits.{size}")).unwrap();
            let logits = logits.data().as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes));
            let logits: Vec<f64> = logits.collect();
            let signs = expected.tensor(&format!("signs.{size}")).unwrap();
            let deviation = standard_deviation(&logits);
            for isa in Isa::available() {
                let options =
                    Options { input: Some([height, width]), isa: Some(isa), ..Options::default() };
                let engine = Engine::new(&model, options).unwrap();
                for image in 0..n {
                    let what = format!("{name} {size}, image {image}, {isa}");
                    let planes = part(batch.data(), n, image);
                    let found = run(&engine, &model, &channels_last(planes, channels));
                    assert!(found.signs == part(signs.data(), n, image), "{what}: other signs");
                    for (e, f) in part(&logits, n, image).iter().zip(found.logits) {
                        let difference = (e - f64::from(f)).abs() / deviation;
                        assert!(difference <= MAX_LOGIT_DIFFERENCE, "{what}: {e} {f}");
                    }
                }
            }
        }
    }
}

fn part<T>(all: &[T], parts: usize, index: usize) -> &[T] {
    let len = all.len() / parts;
    &all[index * len..(index + 1) * len]
}

fn standard_deviation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// The image as the script shows it to PyTorch, `(byte - 128) / 64`.
fn channels_last(planes: &[u8], channels: usize) -> Vec<f32> {
    let pixels = planes.len() / channels;
    let bytes = (0..pixels).flat_map(|p| (0..channels).map(move |c| planes[c * pixels + p]));
    bytes.map(|byte| (f32::from(byte) - 128.0) / 64.0).collect()
}

struct Computed {
    logits: Vec<f32>,
    /// Bits of all signs, eight to a byte, the channels innermost, each sign starting a byte.
    signs: Vec<u8>,
}

fn run(engine: &Engine, model: &Verified<Model>, image: &[f32]) -> Computed {
    let shapes = infer::shapes(&model.graph).unwrap();
    let channels: BTreeMap<&str, usize> = model
        .graph
        .ids()
        .map(|id: NodeId| (model.graph.nodes[id.0].name.as_str(), shapes[id.0].channels))
        .collect();
    let mut found = Computed { logits: vec![0.0; engine.classes()], signs: vec![] };
    let signs = &mut found.signs;
    let mut observer = |node: &str, words: &[u64]| {
        // Channels are a multiple of 8 and at most 64, so a pixel is one word, of which whole bytes are in use.
        let bytes = channels[node] / 8;
        signs.extend(words.iter().flat_map(|word| word.to_le_bytes().into_iter().take(bytes)));
    };
    engine
        .run_observed(image, &mut found.logits, &mut engine.scratch().unwrap(), &mut observer)
        .unwrap();
    found
}

#[test]
fn weights_to_train_on_with_pack_to_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    for (name, _) in NETWORKS {
        let imported = import(&fixture(&format!("{name}.legacy.pth.tar")), name).unwrap();
        let path = folder.path().join(format!("{name}.safetensors"));
        std::fs::write(&path, write_weights(&imported.weights).unwrap()).unwrap();
        let loaded = load_weights(&path).unwrap();
        assert_eq!(loaded.weights, imported.weights);
        assert!(
            write_model(&lower(&loaded.weights).unwrap()).unwrap() == packed(&imported),
            "{name}"
        );
    }
}
