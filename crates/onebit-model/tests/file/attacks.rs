//! Files that are damaged, wrong, or made to mislead are refused, each for its own reason.

use std::collections::BTreeMap;

use onebit_model::file::container::{self, Kind};
use onebit_model::file::{FileError, read_model, read_weights, write_model, write_weights};
use onebit_model::{Data, Graph, GraphError, Model, ModelError, Tensor, Verified};
use sha2::{Digest, Sha256};

use super::common::{METHODS, Random, build, hyper_model, random_seed, random_weights};
use super::tiny::tiny_model;

fn tiny_file() -> Vec<u8> {
    write_model(&tiny_model()).unwrap()
}

fn refusal(bytes: &[u8]) -> FileError {
    read_model(bytes).expect_err("this file must be refused")
}

/// Header and data of a file.
fn split(bytes: &[u8]) -> (String, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
    (header.trim_end().to_string(), bytes[8 + length..].to_vec())
}

/// A file with that header, padded, and a digest that is right: as an attacker would write it.
fn forge(header: &str, data: &[u8]) -> Vec<u8> {
    let mut header = header.to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let place = header.find("\"sha256\":\"").map(|at| at + 10).unwrap();
    header.replace_range(place..place + 64, &"0".repeat(64));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    let digest: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    bytes[8 + place..8 + place + 64].copy_from_slice(digest.as_bytes());
    bytes
}

/// The tiny file with `from` replaced once by `to` in its header.
fn forged(from: &str, to: &str) -> Vec<u8> {
    let (header, data) = split(&tiny_file());
    assert!(header.contains(from), "{from} is not in {header}");
    forge(&header.replacen(from, to, 1), &data)
}

fn not_canonical(error: &FileError, part: &str) -> bool {
    matches!(error, FileError::NotCanonical { part: p, .. } if *p == part)
}

#[test]
fn forging_nothing_gives_the_file_itself() {
    let (header, data) = split(&tiny_file());
    assert_eq!(forge(&header, &data), tiny_file());
}

#[test]
fn every_truncation_is_refused() {
    let bytes = tiny_file();
    for length in 0..bytes.len() {
        let error = refusal(&bytes[..length]);
        match length {
            0 => assert_eq!(error, FileError::Empty),
            1..8 => assert_eq!(error, FileError::NotOnebit),
            _ => assert!(matches!(error, FileError::Truncated { .. }), "{length}: {error}"),
        }
    }
}

#[test]
fn every_changed_byte_is_refused() {
    let good = tiny_file();
    for position in 0..good.len() {
        for change in 1..=255 {
            let mut bytes = good.clone();
            bytes[position] ^= change;
            assert!(read_model(&bytes).is_err(), "byte {position} xor {change}");
        }
    }
}

#[test]
fn every_flipped_bit_of_weights_and_optimizer_is_refused() {
    let weights = random_weights(build(METHODS[0]), random_seed());
    let metadata = BTreeMap::from([("step".to_string(), "17".to_string())]);
    let tensor = Tensor { shape: vec![2, 4], data: Data::F32(vec![1.0; 8]) };
    let tensors = BTreeMap::from([("a".to_string(), tensor.clone()), ("b".to_string(), tensor)]);
    let optimizer = container::write(Kind::Optimizer, &metadata, &tensors).unwrap();
    let weights = write_weights(&weights).unwrap();
    for (position, bit) in (0..weights.len()).map(|p| (p, p % 8)) {
        let mut bytes = weights.clone();
        bytes[position] ^= 1 << bit;
        assert!(read_weights(&bytes).is_err(), "weights, byte {position} bit {bit}");
    }
    for (position, bit) in (0..optimizer.len()).flat_map(|p| (0..8).map(move |b| (p, b))) {
        let mut bytes = optimizer.clone();
        bytes[position] ^= 1 << bit;
        let read = container::read(Kind::Optimizer, &bytes);
        assert!(read.is_err(), "optimizer, byte {position} bit {bit}");
    }
}

#[test]
fn random_mutations_never_panic_and_are_never_accepted() {
    let mut random = Random(random_seed());
    let good = tiny_file();
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..1 + random.next() % 4 {
            mutate(&mut bytes, &mut random);
        }
        assert!(bytes == good || read_model(&bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn random_mutations_behind_a_right_digest_never_panic() {
    let mut random = Random(random_seed());
    let (header, data) = split(&tiny_file());
    for _ in 0..20_000 {
        let mut text = header.clone().into_bytes();
        mutate(&mut text, &mut random);
        let Ok(text) = String::from_utf8(text) else { continue };
        if text.find("\"sha256\":\"").is_none_or(|at| !text.is_char_boundary(at + 74)) {
            continue;
        }
        let bytes = forge(&text, &data);
        if let Ok(model) = read_model(&bytes) {
            assert!(write_model(&model).unwrap() == bytes, "{text}");
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.next() as usize % bytes.len();
    let other = random.next() as usize % bytes.len();
    match random.next() % 5 {
        0 => bytes[at] = random.next() as u8,
        1 => bytes.insert(at, b"0123456789\",:{}[] -e."[random.next() as usize % 21]),
        2 if bytes.len() > 80 => drop(bytes.remove(at)),
        3 => bytes.swap(at, other),
        _ => {
            let copy = bytes[at.min(other)..at.max(other)].to_vec();
            bytes.splice(other..other, copy);
        }
    }
}

#[test]
fn other_files_get_one_clear_sentence() {
    let plain = safetensors::serialize::<&str, safetensors::tensor::TensorView<'_>, _>([], None);
    let other = b"\x2a\0\0\0\0\0\0\0{\"__metadata__\":{\"format\":\"pt\"},\"x\":[]}    ";
    for bytes in [
        &b"this is a text file\n"[..],
        b"{\"a\": 1, \"b\": [1, 2, 3], \"c\": \"json\"}",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        &[0; 100],
        &plain.unwrap(),
        other,
    ] {
        assert_eq!(refusal(bytes), FileError::NotOnebit);
    }
}

#[test]
fn a_huge_header_is_refused_before_it_is_read() {
    for length in [1 << 20 | 8, 1 << 32, u64::MAX - 7, u64::MAX] {
        let mut bytes = tiny_file();
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        assert_eq!(refusal(&bytes), FileError::HeaderTooLong(length));
    }
}

#[test]
fn a_newer_version_is_named() {
    let error = refusal(&forged("\"version\":\"1\"", "\"version\":\"2\""));
    assert_eq!(error, FileError::NewerVersion(2));
    assert_eq!(
        error.to_string(),
        "the file has version 2 of the onebit format, this program reads version 1: update onebit"
    );
    let newer = forged("\"dtype\":\"F32\"", "\"dtype\":\"F4\",\"new\":{}");
    let (header, data) = split(&newer);
    let newer = forge(&header.replacen("\"version\":\"1\"", "\"version\":\"17\"", 1), &data);
    assert_eq!(refusal(&newer), FileError::NewerVersion(17));
    for version in ["0", "01", "-1", "one", ""] {
        let error = refusal(&forged("\"version\":\"1\"", &format!("\"version\":\"{version}\"")));
        assert_eq!(error, FileError::BadVersion(version.to_string()));
    }
}

#[test]
fn files_of_another_kind_are_named() {
    let weights = random_weights(build(METHODS[0]), random_seed());
    let error = refusal(&write_weights(&weights).unwrap());
    let found = "onebit-weights".to_string();
    assert_eq!(error, FileError::WrongKind { found, expected: "onebit" });
    let error = read_weights(&tiny_file()).unwrap_err();
    let found = "onebit".to_string();
    assert_eq!(error, FileError::WrongKind { found, expected: "onebit-weights" });
}

#[test]
fn nothing_may_follow_the_tensors() {
    let mut bytes = tiny_file();
    bytes.extend_from_slice(b"PK\x03\x04");
    assert!(matches!(refusal(&bytes), FileError::Trailing { .. }));
    let (header, mut data) = split(&tiny_file());
    data.extend_from_slice(b"PK\x03\x04");
    assert!(matches!(refusal(&forge(&header, &data)), FileError::Trailing { .. }));
}

#[test]
fn overlaps_gaps_and_another_order_are_refused() {
    for (from, to) in [("[64,72]", "[60,68]"), ("[64,72]", "[68,76]"), ("[0,64]", "[0,72]")] {
        assert!(not_canonical(&refusal(&forged(from, to)), "header"), "{to}");
    }
    let (header, data) = split(&tiny_file());
    let scale = "\"affine.scale\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[64,72]}";
    let shift = "\"affine.shift\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[72,80]}";
    let (pair, swapped) = (format!("{scale},{shift}"), format!("{shift},{scale}"));
    assert!(header.contains(&pair), "{header}");
    let error = refusal(&forge(&header.replace(&pair, &swapped), &data));
    assert!(not_canonical(&error, "header"), "{error}");
}

#[test]
fn duplicate_keys_are_refused() {
    let entry = "\"affine.scale\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[64,72]},";
    let error = refusal(&forged(entry, &format!("{entry}{entry}")));
    assert_eq!(error, FileError::DuplicateTensor("affine.scale".to_string()));
    let error = refusal(&forged("\"dtype\":\"U64\"", "\"dtype\":\"U64\",\"dtype\":\"U64\""));
    assert!(matches!(error, FileError::Header(_)), "{error}");
    let error = refusal(&forged("\"version\":\"1\"", "\"version\":\"1\",\"version\":\"1\""));
    assert!(not_canonical(&error, "header"), "{error}");
    let error = refusal(&forged("\"__metadata__\":{", "\"__metadata__\":{},\"__metadata__\":{"));
    assert_eq!(error, FileError::NotOnebit);
    let error = refusal(&forged("\\\"arch\\\":", "\\\"arch\\\":\\\"x\\\",\\\"arch\\\":"));
    assert!(matches!(error, FileError::Graph(GraphError::Json(_))), "{error}");
}

#[test]
fn unknown_fields_are_refused() {
    let error = refusal(&forged("\"crc32c\":", "\"author\":\"me\",\"crc32c\":"));
    assert!(matches!(error, FileError::UnknownMetadata(ref key) if key == "author"), "{error}");
    let error = refusal(&forged("\"dtype\":\"U64\"", "\"dtype\":\"U64\",\"note\":\"x\""));
    assert!(matches!(error, FileError::Header(_)), "{error}");
    let error = refusal(&forged("\\\"inputs\\\":[]", "\\\"inputs\\\":[],\\\"note\\\":1"));
    assert!(matches!(error, FileError::Graph(GraphError::Json(_))), "{error}");
}

#[test]
fn missing_metadata_is_named() {
    let (header, data) = split(&tiny_file());
    for key in ["crc32c", "graph", "version"] {
        let from = format!("\"{key}\":\"");
        let start = header.find(&from).unwrap();
        let rest = header[start + from.len()..].replace("\\\"", "__");
        let end = start + from.len() + rest.find('"').unwrap() + 1;
        let tail = header[end..].strip_prefix(',').unwrap_or(&header[end..]);
        let head = header[..start].to_string();
        let head = if tail.starts_with('}') { head.trim_end_matches(',') } else { &head };
        let error = refusal(&forge(&format!("{head}{tail}"), &data));
        assert!(matches!(error, FileError::MissingMetadata(k) if k == key), "{error}");
    }
    let without = header.replace("\"sha256\"", "\"sha257\"");
    let mut bytes = tiny_file();
    bytes[8..8 + without.len()].copy_from_slice(without.as_bytes());
    assert_eq!(refusal(&bytes), FileError::MissingMetadata("sha256"));
}

#[test]
fn other_spellings_of_the_same_json_are_refused() {
    for (from, to) in [
        ("\"dtype\":\"U64\"", "\"dtype\": \"U64\""),
        ("\"dtype\":\"U64\"", "\"dtype\":\"U\\u0036\\u0034\""),
        ("affine.scale", "affine\\u002escale"),
        ("{\"dtype\":\"U64\",\"shape\":[2,2,2,1]", "{\"shape\":[2,2,2,1],\"dtype\":\"U64\""),
    ] {
        assert!(not_canonical(&refusal(&forged(from, to)), "header"), "{to}");
    }
    for (from, to) in [
        ("\\\"mean\\\":[0.5,0.5]", "\\\"mean\\\":[0.50,0.5]"),
        ("\\\"mean\\\":[0.5,0.5]", "\\\"mean\\\":[5e-1,0.5]"),
        ("\\\"inputs\\\":[]", "\\\"inputs\\\":[ ]"),
        ("\\\"op\\\":\\\"affine\\\"", "\\\"op\\\":{\\\"affine\\\":null}"),
    ] {
        let error = refusal(&forged(from, to));
        assert!(not_canonical(&error, "graph"), "{to}: {error}");
    }
    let (header, data) = split(&tiny_file());
    let error = refusal(&forge(&format!("{header}        "), &data));
    assert!(not_canonical(&error, "header"), "{error}");
}

#[test]
fn deep_nesting_is_refused() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [10, 130, 100_000] {
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let error = refusal(&forged("\"U64\"", &nested));
            let refused = matches!(error, FileError::Header(_) | FileError::NotOnebit);
            assert!(refused, "{depth}: {error}");
        }
    }
    let error =
        refusal(&forged("\\\"inputs\\\":[]", &format!("\\\"inputs\\\":{}", "[".repeat(9000))));
    assert!(matches!(error, FileError::Graph(GraphError::Json(_))), "{error}");
}

#[test]
fn wrong_types_and_shapes_are_refused() {
    for dtype in ["I32", "F64", "BOOL", "u64", ""] {
        let error = refusal(&forged("\"dtype\":\"U64\"", &format!("\"dtype\":\"{dtype}\"")));
        assert!(matches!(error, FileError::Header(_)), "{error}");
    }
    let half = 1usize << (usize::BITS / 2);
    for [a, b] in [[0, 2], [half, half], [usize::MAX, 2]] {
        let error = refusal(&forged("[2,2,2,1]", &format!("[{a},{b},2,1]")));
        assert!(matches!(error, FileError::BadShape { .. }), "{error}");
    }
    for shape in ["[-1,2,2,1]", "[2.0,2,2,1]", "[18446744073709551616,1,1,1]", "2"] {
        let error = refusal(&forged("[2,2,2,1]", shape));
        assert!(matches!(error, FileError::Header(_)), "{error}");
    }
    for shape in ["[8]", "[1,2,4,1]", "[2,2,2,1,1]"] {
        let error = refusal(&forged("[2,2,2,1]", shape));
        assert!(matches!(error, FileError::Model(ModelError::WrongTensor { .. })), "{error}");
    }
}

#[test]
fn a_tensor_that_is_announced_but_not_there_is_not_allocated() {
    let elements = 1usize << (usize::BITS - 4);
    let error = refusal(&forged(
        "\"shape\":[2],\"data_offsets\":[80,88]",
        &format!("\"shape\":[{elements}],\"data_offsets\":[80,{}]", 80 + 4 * elements),
    ));
    assert!(matches!(error, FileError::Truncated { .. }), "{error}");
}

#[test]
fn too_many_tensors_are_refused() {
    let (header, data) = split(&tiny_file());
    let entry = |i| format!(",\"t{i}\":{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}");
    let entries: String = (0..4096).map(entry).collect();
    let header = format!("{}{entries}}}", header.strip_suffix('}').unwrap());
    assert_eq!(refusal(&forge(&header, &data)), FileError::TooManyTensors(4100));
}

#[test]
fn names_of_tensors_are_plain() {
    for name in ["", "a b", "../etc/passwd", "\\u0000", "\u{e9}"] {
        let error = refusal(&forged("affine.scale", name));
        assert!(matches!(error, FileError::BadTensorName(_)), "{name}: {error}");
    }
}

#[test]
fn a_checksum_names_the_damaged_tensor() {
    let mut bytes = tiny_file();
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(refusal(&bytes), FileError::Checksum("sign.threshold".to_string()));
    let (header, _) = split(&tiny_file());
    let at = 8 + header.find("\"sha256\":\"").unwrap() + 10;
    let mut bytes = tiny_file();
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    assert_eq!(refusal(&bytes), FileError::Digest);
    let error = refusal(&forged("\"crc32c\":\"", "\"crc32c\":\"00000000,"));
    assert!(matches!(error, FileError::Checksum(_)), "{error}");
    let (header, data) = split(&tiny_file());
    for more in [",00000000", ","] {
        let more = header.replacen("\",\"format\"", &format!("{more}\",\"format\""), 1);
        assert!(not_canonical(&refusal(&forge(&more, &data)), "crc32c"));
    }
}

/// A file with right checksums whose contents `change` made wrong.
fn invalid(change: impl Fn(&mut Model)) -> FileError {
    invalid_form(tiny_model(), change)
}

fn invalid_form(model: Verified<Model>, change: impl Fn(&mut Model)) -> FileError {
    let mut model = model.into_inner();
    change(&mut model);
    let metadata = BTreeMap::from([("graph".to_string(), model.graph.to_json().unwrap())]);
    refusal(&container::write(Kind::Model, &metadata, &model.tensors).unwrap())
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
    let error = invalid(|model| model.graph.nodes[3].op = onebit_model::Op::BatchNorm);
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
    let error = read_weights(&container::write(Kind::Weights, &metadata, &tensors).unwrap());
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
        let bytes = container::write(Kind::Weights, &metadata, &tensors).unwrap();
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

/// What an error quotes of a file is short, and does not act on a terminal.
#[test]
fn errors_quote_little_and_visibly() {
    let escape = "\u{1b}]0;title\u{7}\u{202e}\u{200b}\u{9b}";
    let json = "\\u001b]0;title\\u0007\\u202e\\u200b\\u009b";
    let long = "x".repeat(200_000);
    let (header, data) = split(&tiny_file());
    let places =
        ["\"format\":\"onebit", "\"version\":\"1", "\"arch\\\":\\\"tiny", "\\\"name\\\":\\\"sign"];
    let names = [
        "\"__metadata__\":{\"",
        "\"affine.scale\":",
        "\"dtype\":\"F32",
        "\\\"inputs\\\":[\\\"sign",
        "\\\"op\\\":\\\"affine",
        "\\\"classes\\\":[\\\"cat",
    ];
    for place in places.iter().chain(&names) {
        assert!(header.contains(place), "{place} is not in {header}");
        for text in [json, &long] {
            let inside_json = place.contains('\\');
            let text = if inside_json { text.replace('\\', "\\\\") } else { text.to_owned() };
            let inserted = match place.strip_suffix("\":") {
                Some(name) => format!("{name}{text}\":"),
                None => format!("{place}{text}"),
            };
            let forged = forge(&header.replacen(place, &inserted, 1), &data);
            let Err(error) = read_model(&forged) else {
                assert!(place.contains("classes"), "{place}: accepted");
                continue;
            };
            let shown = error.to_string();
            assert!(shown.chars().count() < 1000, "{place}: {} characters", shown.len());
            assert!(
                !shown.chars().any(|c| escape.contains(c) && !c.is_ascii_graphic()),
                "{shown:?}"
            );
        }
    }
}
