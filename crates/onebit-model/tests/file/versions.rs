//! Versions: what each holds, that the first is read for ever, and that a file says the one that its contents need.

use std::collections::BTreeMap;

use onebit_model::file::container::{self, Kind};
use onebit_model::file::{
    FileError, read_model, read_weights, version_of, write_model, write_weights,
};
use onebit_model::{
    ChannelOrder, Data, Geometry, Graph, GraphError, Gray, Interpolation, Model, ModelError, Node,
    NodeId, Op, Origin, PadValue, Preprocessing, Resize, Tensor, Verified, WeightScale, bits,
};

use super::common::{METHODS, Random, build, hyper_model, random_seed, random_weights};
use super::forge::{TINY_1, forge, refusal, split};
use super::tiny::tiny_model;

fn changed(change: impl FnOnce(&mut Model)) -> Result<Verified<Model>, ModelError> {
    let mut model = hyper_model().into_inner();
    change(&mut model);
    Verified::<Model>::new(model)
}

/// The model in a file, and the version that the file says.
fn through_a_file(model: &Verified<Model>) -> (Verified<Model>, u32) {
    let bytes = write_model(model).unwrap();
    let read = read_model(&bytes).unwrap();
    assert_eq!(write_model(&read).unwrap(), bytes);
    let version = container::read(Kind::Model, &bytes).unwrap().version;
    assert_eq!(version_of(model).unwrap(), version);
    (read, version)
}

#[test]
fn a_file_of_version_1_is_the_same_model() {
    assert_eq!(read_model(TINY_1).unwrap(), tiny_model());
    let (_, version) = through_a_file(&tiny_model());
    assert_eq!(version, 2, "its bits fill fewer words without gaps");
    let (_, version) = through_a_file(&hyper_model());
    assert_eq!(version, 1, "nothing needs version 2");
}

#[test]
fn bits_lie_one_behind_the_other_in_version_2() {
    let bytes = write_model(&tiny_model()).unwrap();
    let stored = container::read(Kind::Model, &bytes).unwrap().tensors;
    let tensor = Tensor { shape: vec![2, 1], data: Data::U64(vec![0b00_11_10_01, 0b10_00_01_11]) };
    assert_eq!(stored["conv.weight"], tensor);
}

#[test]
fn filters_of_any_form_survive() {
    let mut random = Random(random_seed());
    for _ in 0..300 {
        let mut pick = |options: &[usize]| options[random.next() as usize % options.len()];
        let (groups, kernel) = (pick(&[1, 2, 3]), pick(&[1, 2, 3, 5]));
        let inputs = pick(&[1, 5, 16, 21, 32, 48, 63, 64, 65, 96, 128, 130]);
        let out_channels = groups * pick(&[1, 2, 7]);
        let geometry = Geometry { out_channels, kernel, stride: 1, padding: 0, groups };
        let channels = groups * inputs;
        let conv = Op::ConvBin { geometry, pad: PadValue::Zero, scale: WeightScale::None };
        let ops = [
            ("input", Op::Input { channels, height: kernel, width: kernel }),
            ("sign", Op::Sign { threshold: onebit_model::Threshold::Zero }),
            ("conv", conv),
        ];
        let nodes = ops.into_iter().enumerate().map(|(i, (name, op))| {
            let inputs = i.checked_sub(1).map(NodeId).into_iter().collect();
            Node { name: name.to_string(), op, inputs }
        });
        let mut graph = Graph { nodes: nodes.collect(), ..tiny_model().graph.clone() };
        graph.normalization.mean = vec![0.0; channels];
        graph.normalization.std = vec![1.0; channels];
        graph.classes = (0..out_channels).map(|i| i.to_string()).collect();
        let words = bits::words(inputs);
        let data = (0..out_channels * kernel * kernel * words).map(|i| {
            let last = i % words + 1 == words;
            random.next() & if last { bits::tail_mask(inputs) } else { u64::MAX }
        });
        let tensor = Tensor {
            shape: vec![out_channels, kernel, kernel, words],
            data: Data::U64(data.collect()),
        };
        let tensors = BTreeMap::from([("conv.weight".to_string(), tensor)]);
        let model = Model { graph, tensors, origin: Origin::default() };
        let model = Verified::<Model>::new(model).unwrap();
        let (read, version) = through_a_file(&model);
        assert_eq!(read, model);
        let dense = out_channels * bits::words(kernel * kernel * inputs);
        let saves = dense < out_channels * kernel * kernel * words;
        assert_eq!(version == 2, saves, "{geometry:?} {inputs}");
    }
}

#[test]
fn bits_behind_the_last_are_refused() {
    let bytes = write_model(&tiny_model()).unwrap();
    let mut stored = container::read(Kind::Model, &bytes).unwrap();
    let mut refused = |tensor: Tensor| {
        stored.tensors.insert("conv.weight".to_string(), tensor);
        let bytes = container::write(Kind::Model, 2, &stored.metadata, &stored.tensors).unwrap();
        refusal(&bytes)
    };
    let error = refused(Tensor { shape: vec![2, 1], data: Data::U64(vec![1, 1 << 8]) });
    assert_eq!(error, FileError::Model(ModelError::TailBits("conv.weight".to_string())));
    let error = refused(Tensor { shape: vec![2, 2, 2, 1], data: Data::U64(vec![1; 8]) });
    assert!(matches!(error, FileError::Model(ModelError::WrongTensor { .. })), "{error}");
}

#[test]
fn what_version_1_cannot_say_is_version_2() {
    let origin = Origin { licence: Some("MIT\n\tfor all".to_string()), ..Origin::default() };
    let preprocessing = Preprocessing {
        resize: Resize::Exact([40, 50]),
        interpolation: Interpolation::Bicubic,
        ..Preprocessing::default()
    };
    let long = "c".repeat(1024);
    for model in [
        changed(|model| model.origin = origin.clone()),
        changed(|model| model.graph.preprocessing = preprocessing),
        changed(|model| model.graph.classes[1].clone_from(&long)),
    ] {
        let model = model.unwrap();
        let (read, version) = through_a_file(&model);
        assert_eq!((&read, version), (&model, 2));
        let metadata = BTreeMap::from([("graph".to_string(), model.graph.to_json().unwrap())]);
        let first = container::write(Kind::Model, 1, &metadata, &model.tensors).unwrap();
        match model.origin.is_empty() {
            true => {
                assert_eq!(refusal(&first), FileError::OtherVersion { found: 1, expected: 2 });
            }
            false => assert!(read_model(&first).unwrap().origin.is_empty()),
        }
    }
    let plain = changed(|_| ()).unwrap();
    let metadata = BTreeMap::from([("graph".to_string(), plain.graph.to_json().unwrap())]);
    let second = container::write(Kind::Model, 2, &metadata, &plain.tensors).unwrap();
    assert_eq!(refusal(&second), FileError::OtherVersion { found: 2, expected: 1 });
}

#[test]
fn an_origin_has_its_place_and_its_limits() {
    let with = |licence: &str| {
        changed(|model| model.origin.licence = Some(licence.to_string())).map(|_| ())
    };
    assert_eq!(with(&"x".repeat(1 << 16)), Ok(()));
    for licence in ["", &"x".repeat((1 << 16) + 1), "a\x1b[31mb"] {
        assert_eq!(with(licence), Err(ModelError::Origin("licence")));
    }
    let model = changed(|model| model.origin.source = Some("a paper".to_string())).unwrap();
    let (header, data) = split(&write_model(&model).unwrap());
    let said = r#"\"source\":\"a paper\""#;
    for (other, part) in [("", "origin"), (r#"\"source\": \"a paper\""#, "origin")] {
        let error = refusal(&forge(&header.replacen(said, other, 1), &data));
        assert!(matches!(&error, FileError::NotCanonical { part: p, .. } if *p == part), "{error}");
    }
    let error = refusal(&forge(&header.replacen("source", "sauce", 1), &data));
    assert!(matches!(error, FileError::Header(_)), "{error}");
}

#[test]
fn a_preprocessing_gives_at_least_what_the_input_takes() {
    let with = |resize| changed(|model| model.graph.preprocessing.resize = resize).map(|_| ());
    for resize in [Resize::ShorterSide(2), Resize::Exact([2, 16_384])] {
        assert_eq!(with(resize), Ok(()));
    }
    for resize in [
        Resize::ShorterSide(1),
        Resize::ShorterSide(16_385),
        Resize::Exact([1, 2]),
        Resize::Exact([2, usize::MAX]),
    ] {
        let error = with(resize).unwrap_err();
        let refused = matches!(error, ModelError::Graph(GraphError::Preprocessing { .. }));
        assert!(refused, "{error}");
    }
}

#[test]
fn a_preprocessing_without_effect_is_refused() {
    // The input has two channels.
    let order = changed(|model| model.graph.preprocessing.channel_order = ChannelOrder::Bgr);
    let gray = changed(|model| model.graph.preprocessing.gray = Gray::Mean);
    let error = order.unwrap_err().to_string();
    assert!(error.contains("channel_order is bgr, expected that only with 3 channels"), "{error}");
    let error = gray.unwrap_err().to_string();
    assert!(error.contains("gray is mean, expected that only with 1 channel"), "{error}");
}

#[test]
fn weights_say_their_version_too() {
    let mut weights = random_weights(build(METHODS[0]), random_seed()).into_inner();
    weights.graph.preprocessing.interpolation = Interpolation::Bicubic;
    let weights = Verified::<onebit_model::file::Weights>::new(weights).unwrap();
    let bytes = write_weights(&weights).unwrap();
    assert_eq!(read_weights(&bytes).unwrap(), weights);
    let stored = container::read(Kind::Weights, &bytes).unwrap();
    assert_eq!(stored.version, 2);
    let first = container::write(Kind::Weights, 1, &stored.metadata, &stored.tensors).unwrap();
    let error = read_weights(&first).unwrap_err();
    assert_eq!(error, FileError::OtherVersion { found: 1, expected: 2 });
    let none = BTreeMap::new();
    assert!(container::write(Kind::Optimizer, 2, &none, &BTreeMap::new()).is_err());
}

#[test]
fn a_last_node_that_gives_bits_is_refused() {
    let mut graph = tiny_model().graph.clone();
    graph.nodes.truncate(2);
    graph.classes = (0..8).map(|i| i.to_string()).collect();
    let error = Verified::<Graph>::new(graph).unwrap_err();
    assert_eq!(error, GraphError::BitLogits("sign".to_string()));
}

#[test]
fn other_sizes_must_give_a_logit_for_each_class() {
    let graph = &tiny_model().graph;
    let error = onebit_model::infer::shapes_for(graph, [2, 3, 2]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "images of 2x3x2 give 4 logits for 2 classes: this network takes images of its own size"
    );
}

#[test]
fn operations_of_version_2() {
    let mut weights = random_weights(build(METHODS[0]), random_seed()).into_inner();
    let norm = weights.graph.nodes.iter().position(|node| node.op.name() == "batch_norm").unwrap();
    let usual = weights.graph.to_json().unwrap();
    assert!(usual.contains(r#""op":"batch_norm""#));
    weights.graph.nodes[norm].op = Op::BatchNorm { eps: 1e-3 };
    let weights = Verified::<onebit_model::file::Weights>::new(weights).unwrap();
    let json = weights.graph.to_json().unwrap();
    assert!(json.contains(r#""op":{"batch_norm":{"eps":0.001}}"#));
    let bytes = write_weights(&weights).unwrap();
    assert_eq!(read_weights(&bytes).unwrap(), weights);
    let spelled = usual.replacen(r#""batch_norm""#, r#"{"batch_norm":{"eps":0.00001}}"#, 1);
    assert_eq!(Graph::from_json(&spelled).unwrap().to_json().unwrap(), usual);

    let model = tiny_model().into_inner();
    let mut graph = model.graph;
    graph.nodes[2].op = Op::LinearBin { out_features: 2, scale: WeightScale::None };
    let mut tensors = model.tensors;
    let weight = Tensor { shape: vec![2, 1], data: Data::U64(vec![0b00_11_10_01, 0b10_00_01_11]) };
    tensors.insert("conv.weight".to_string(), weight.clone());
    let model = Model { graph, tensors, origin: Origin::default() };
    let model = Verified::<Model>::new(model).unwrap();
    let (read, version) = through_a_file(&model);
    assert_eq!((&read, version), (&model, 2));
    let mut wrong = model.into_inner();
    wrong.graph.nodes[2].op = Op::LinearBin { out_features: 2, scale: WeightScale::Learned };
    wrong.tensors.insert("conv.weight".to_string(), weight);
    let error = Verified::<Model>::new(wrong).unwrap_err();
    assert!(matches!(error, ModelError::NotLowered { .. }), "{error}");
}
