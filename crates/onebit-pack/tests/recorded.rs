//! What every architecture packs to and computes, as recorded: changes of the code's structure leave both as they are.

#![allow(clippy::unwrap_used)]

use onebit_engine::{Engine, Options};
use onebit_model::arch::{ARCHITECTURES, Architecture, Config, Task, build};
use onebit_model::file::write_model;
use onebit_pack::lower;
use onebit_testing::{Random, balanced_weights};
use sha2::{Digest, Sha256};

const RECORD: &str = include_str!("recorded.txt");

/// A line of the record: name, SHA-256 of the packed file, SHA-256 of the logits' bits for one image.
fn line(architecture: &Architecture) -> String {
    let task = Task::unnamed(architecture.input, architecture.classes);
    let graph = build(&Config::named(architecture.name), &task).unwrap();
    let mut random = Random(1);
    let model = lower(&balanced_weights(graph, &mut random)).unwrap();
    let image = random.floats(architecture.input.iter().product(), -2.0, 2.0);
    let engine = Engine::new(&model, Options::default()).unwrap();
    let mut logits = vec![0.0; engine.classes()];
    engine.run(&image, &mut logits, &mut engine.scratch().unwrap()).unwrap();
    assert!(logits.iter().all(|logit| logit.is_finite()));
    let bits: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    let file = write_model(&model).unwrap();
    format!("{} {} {}", architecture.name, sha256(&file), sha256(&bits))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn files_and_logits_of_all_architectures_are_those_recorded() {
    let found: Vec<String> = ARCHITECTURES.iter().map(line).collect();
    let recorded: Vec<&str> = RECORD.lines().collect();
    assert_eq!(found, recorded, "found:\n{}\n", found.join("\n"));
}
