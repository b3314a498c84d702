//! Files with right checksums and wrong contents are refused.

use std::collections::BTreeMap;

use onebit_model::file::container::{self, Kind};
use onebit_model::file::{FileError, read_weights};
use onebit_model::{Data, Graph, GraphError, Model, ModelError, Tensor, Verified};

use super::common::{METHODS, build, hyper_model, random_seed, random_weights};
use super::forge::{forged, refusal, split, tiny_file};
use super::tiny::tiny_model;

/// A file with right checksums whose contents `change` made wrong.
fn invalid(change: impl Fn(&mut Model)) -> FileError {
    invalid_form(tiny_model(), change)
}

fn invalid_form(model: Verified<Model>, change: impl Fn(&mut Model)) -> FileError {
    let mut model = model.into_inner();
    change(&mut model);
    let metadata = BTreeMap::from([("graph".to_string(), model.graph.to_json().unwrap())]);
    refusal(&container::write(Kind::Model, 1, &metadata, &model.tensors).unwrap())
}

#[test]
fn right_checksums_do_not_excuse_wrong_contents() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = invalid(|model| set(model, "affine.shift", Data::F32(vec![0.0, value])));
        let name = "affine.shift".to_string();
        assert_eq!(error, FileError::Model(ModelError::NotFinite(name)));
    }
    let mut words = vec![0; 8];
    words[7] = 0b100;
    let error = invalid(|model| set(model, "conv.weight", Data::U64(words.clone())));
    assert_eq!(error, FileError::Model(ModelError::TailBits("conv.weight".to_string())));
    let error = invalid(|model| drop(model.tensors.remove("affine.scale")));
    assert_eq!(error, FileError::Model(ModelError::MissingTensor("affine.scale".to_string())));
    let error = invalid(|model| {
        let extra = model.tensors["affine.scale"].clone();
        model.tensors.insert("extra".to_string(), extra);
    });
    assert_eq!(error, FileError::Model(ModelError::ExtraTensor("extra".to_string())));
    let error = invalid(|model| model.graph.classes.truncate(1));
    assert!(matches!(error, FileError::Model(ModelError::Graph(_))), "{error}");
    let error =
        invalid(|model| model.graph.nodes[3].op = onebit_model::Op::BatchNorm { eps: 1e-5 });
    assert!(matches!(error, FileError::Model(ModelError::NotLowered { .. })), "{error}");
}

#[test]
fn integers_need_their_type_their_shape_and_a_finite_factor_for_each_row() {
    let invalid = |change: &dyn Fn(&mut Model)| invalid_form(hyper_model(), change);
    let scale = || "trunk.weight_scale".to_string();
    let error = invalid(&|model| drop(model.tensors.remove(&scale())));
    assert_eq!(error, FileError::Model(ModelError::MissingTensor(scale())));
    let error = invalid(&|model| {
        let [extra, scale] = ["fc.weight_scale", "trunk.weight_scale"].map(str::to_string);
        model.tensors.insert(extra, model.tensors[&scale].clone());
    });
    let extra = "fc.weight_scale".to_string();
    assert_eq!(error, FileError::Model(ModelError::ExtraTensor(extra)));
    let error = invalid(&|model| set(model, &scale(), Data::F32(vec![0.5, f32::NAN, 0.5])));
    assert_eq!(error, FileError::Model(ModelError::NotFinite(scale())));
    for (name, shape, data) in [
        ("trunk.weight_scale", vec![2], Data::F32(vec![0.5; 2])),
        ("trunk.weight_scale", vec![3], Data::I8(vec![1; 3])),
        ("trunk.weight", vec![3, 2], Data::F32(vec![0.5; 6])),
        ("trunk.weight", vec![2, 3], Data::I8(vec![1; 6])),
    ] {
        let tensor = Tensor { shape, data };
        let error = invalid(&|model| drop(model.tensors.insert(name.into(), tensor.clone())));
        assert!(matches!(error, FileError::Model(ModelError::WrongTensor { .. })), "{error}");
    }
    let weights = random_weights(build(METHODS[3]), random_seed());
    let metadata = BTreeMap::from([("graph".to_string(), weights.graph.to_json().unwrap())]);
    let mut tensors = weights.tensors.clone();
    let name = tensors.keys().find(|name| name.ends_with("_trunk.weight")).unwrap().clone();
    let trunk = tensors.get_mut(&name).unwrap();
    trunk.data = Data::I8(vec![1; trunk.data.len()]);
    let error = read_weights(&container::write(Kind::Weights, 1, &metadata, &tensors).unwrap());
    let error = error.unwrap_err();
    assert!(matches!(error, FileError::Model(ModelError::WrongTensor { .. })), "{error}");
}

#[test]
fn weights_are_checked_against_their_graph() {
    let weights = random_weights(build(METHODS[1]), random_seed());
    let metadata = BTreeMap::from([("graph".to_string(), weights.graph.to_json().unwrap())]);
    let refused = |change: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
        let mut tensors = weights.tensors.clone();
        change(&mut tensors);
        let bytes = container::write(Kind::Weights, 1, &metadata, &tensors).unwrap();
        read_weights(&bytes).unwrap_err()
    };
    let name = || "fc.bias".to_string();
    let error = refused(&|tensors| drop(tensors.remove("fc.bias")));
    assert_eq!(error, FileError::Model(ModelError::MissingTensor(name())));
    for data in [Data::U64(vec![0; 3]), Data::F32(vec![0.0; 4])] {
        let tensor = Tensor { shape: vec![data.len()], data };
        let error = refused(&|tensors| drop(tensors.insert(name(), tensor.clone())));
        assert!(matches!(error, FileError::Model(ModelError::WrongTensor { .. })), "{error}");
    }
    let nan = Tensor { shape: vec![3], data: Data::F32(vec![0.0, f32::NAN, 0.0]) };
    let error = refused(&|tensors| drop(tensors.insert(name(), nan.clone())));
    assert_eq!(error, FileError::Model(ModelError::NotFinite(name())));
    let error =
        refused(&|tensors| drop(tensors.insert("fc.more".to_string(), tensors["fc.bias"].clone())));
    assert_eq!(error, FileError::Model(ModelError::ExtraTensor("fc.more".to_string())));
}

#[test]
fn a_graph_that_does_not_hold_together_is_refused() {
    let (json, _) = split(&tiny_file());
    assert!(json.contains("\\\"inputs\\\":[\\\"sign\\\"]"), "{json}");
    let error =
        refusal(&forged("\\\"inputs\\\":[\\\"sign\\\"]", "\\\"inputs\\\":[\\\"affine\\\"]"));
    assert!(matches!(error, FileError::Graph(GraphError::UnknownInput { .. })), "{error}");
    let graph = Graph::from_json(&tiny_model().graph.to_json().unwrap()).unwrap();
    assert!(Verified::<Graph>::new(graph).is_ok());
}

fn set(model: &mut Model, name: &str, data: Data) {
    model.tensors.get_mut(name).unwrap().data = data;
}
