//! Files: what is written is read back, is canonical, and is readable by the safetensors crate.

use std::collections::BTreeMap;

use super::common::{METHODS, Random, build, hyper_model, random_seed, random_weights};
use super::tiny::tiny_model;
use onebit_model::file::container::{self, Kind};
use onebit_model::file::{
    FileError, read_model, read_weights, version_of, write_model, write_weights,
};
use onebit_model::{Data, Graph, Model, Tensor, Verified};

#[test]
fn a_model_survives_writing_and_reading() {
    let model = tiny_model();
    let bytes = write_model(&model).unwrap();
    assert_eq!(read_model(&bytes).unwrap(), model);
    assert_eq!(write_model(&read_model(&bytes).unwrap()).unwrap(), bytes);
}

#[test]
fn weights_of_every_method_survive_writing_and_reading() {
    let seed = random_seed();
    for method in METHODS {
        let weights = random_weights(build(method), seed);
        let bytes = write_weights(&weights).unwrap();
        assert_eq!(read_weights(&bytes).unwrap(), weights);
        assert_eq!(write_weights(&weights).unwrap(), bytes);
    }
}

#[test]
fn an_optimizer_state_may_hold_any_tensors_and_metadata() {
    let metadata = BTreeMap::from([("step".to_string(), "17 \"quoted\" \u{e9}\n".to_string())]);
    let tensors = BTreeMap::from([
        ("fc.weight.exp_avg".to_string(), floats(vec![2, 3], 6)),
        ("scalar".to_string(), floats(vec![], 1)),
        ("a".to_string(), Tensor { shape: vec![2], data: Data::U64(vec![u64::MAX, 1]) }),
    ]);
    let bytes = container::write(Kind::Optimizer, 1, &metadata, &tensors).unwrap();
    let read = container::read(Kind::Optimizer, &bytes).unwrap();
    assert_eq!((read.metadata, read.tensors), (metadata, tensors));
}

#[test]
fn the_safetensors_crate_reads_a_model() {
    for model in [tiny_model(), hyper_model()] {
        safetensors_reads(&model);
    }
}

fn safetensors_reads(model: &Verified<Model>) {
    let bytes = write_model(model).unwrap();
    assert_eq!(read_model(&bytes).unwrap(), *model);
    let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(read.len(), model.tensors.len());
    let stored = container::read(Kind::Model, &bytes).unwrap();
    for (name, tensor) in &stored.tensors {
        let view = read.tensor(name).unwrap();
        let (dtype, data): (_, Vec<u8>) = match &tensor.data {
            Data::U64(words) => {
                (safetensors::Dtype::U64, words.iter().flat_map(|w| w.to_le_bytes()).collect())
            }
            Data::F32(values) => {
                (safetensors::Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
            Data::I8(values) => {
                (safetensors::Dtype::I8, values.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
        };
        assert_eq!(
            (view.dtype(), view.shape(), view.data()),
            (dtype, &tensor.shape[..], &data[..])
        );
    }
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    assert_eq!(metadata["format"], "onebit");
    assert_eq!(metadata["version"], version_of(model).unwrap().to_string());
    assert_eq!(metadata["graph"], model.graph.to_json().unwrap());
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let none = BTreeMap::new();
    let write = |metadata: &BTreeMap<_, _>, tensors: &[(String, Tensor)]| {
        container::write(Kind::Optimizer, 1, metadata, &tensors.iter().cloned().collect())
            .unwrap_err()
    };
    let reserved = BTreeMap::from([("sha256".to_string(), String::new())]);
    assert_eq!(write(&reserved, &[]), FileError::UnknownMetadata("sha256".into()));
    let error = write(&none, &[("a b".to_string(), floats(vec![1], 1))]);
    assert_eq!(error, FileError::BadTensorName("a b".into()));
    let error = write(&none, &[("__metadata__".to_string(), floats(vec![1], 1))]);
    assert_eq!(error, FileError::BadTensorName("__metadata__".into()));
    for (shape, len) in [(vec![2, 2], 3), (vec![0], 0), (vec![usize::MAX, 2], 6)] {
        let error = write(&none, &[("a".to_string(), floats(shape.clone(), len))]);
        assert_eq!(error, FileError::BadShape { name: "a".into(), shape });
    }
    let long = BTreeMap::from([("x".to_string(), "y".repeat(1 << 20))]);
    assert!(matches!(write(&long, &[]), FileError::HeaderTooLong(_)));
    let many: BTreeMap<_, _> = (0..4097).map(|i| (i.to_string(), floats(vec![1], 1))).collect();
    let error = container::write(Kind::Optimizer, 1, &none, &many).unwrap_err();
    assert_eq!(error, FileError::TooManyTensors(4097));
}

fn floats(shape: Vec<usize>, len: usize) -> Tensor {
    Tensor { shape, data: Data::F32((0..len).map(|i| i as f32 - 0.5).collect()) }
}

#[test]
fn every_float_of_a_graph_survives() {
    let mut random = Random(random_seed());
    for _ in 0..200_000 {
        let mut graph = tiny_model().graph.clone();
        let mean = f32::from_bits(random.next() as u32);
        let std = f32::from_bits(random.next() as u32).abs();
        if !mean.is_finite() || !std.is_finite() || std == 0.0 {
            continue;
        }
        graph.normalization.mean[0] = mean;
        graph.normalization.std[1] = std;
        let json = graph.to_json().unwrap();
        let again = Graph::from_json(&json).unwrap();
        assert_eq!(again.normalization, graph.normalization, "{mean:e} {std:e}");
        assert_eq!(again.to_json().unwrap(), json);
    }
}

#[test]
fn floats_are_written_as_documented() {
    for (value, text) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (1.0, "1.0"),
        (-0.286_040_6, "-0.2860406"),
        (16_777_216.0, "16777216.0"),
        (1e-6, "0.000001"),
        (9.5e-7, "9.5e-7"),
        (1e-7, "1e-7"),
        (1e12, "1000000000000.0"),
        (1e13, "1e+13"),
        (f32::MAX, "3.4028235e+38"),
        (f32::MIN_POSITIVE, "1.1754944e-38"),
    ] {
        let mut graph = tiny_model().graph.clone();
        graph.normalization.mean[0] = value;
        let json = graph.to_json().unwrap();
        assert!(json.contains(&format!("\"mean\":[{text},0.5]")), "{text}: {json}");
    }
}
