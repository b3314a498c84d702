//! Containers that are damaged, wrong, or made to mislead are refused, each for its own reason.

use std::collections::BTreeMap;

use onebit_model::file::container::{self, Kind};
use onebit_model::file::{FileError, read_model, read_weights, write_model, write_weights};
use onebit_model::{Data, GraphError, ModelError, Tensor};

use super::common::{METHODS, Random, build, random_seed, random_weights};
use super::forge::{forge, forged, not_canonical, refusal, split, tiny_file};
use super::tiny::tiny_model;

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
    let optimizer = container::write(Kind::Optimizer, 1, &metadata, &tensors).unwrap();
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
    let files = [tiny_file(), write_model(&tiny_model()).unwrap()].map(|file| split(&file));
    for i in 0..40_000 {
        let (header, data) = &files[i % 2];
        let mut text = header.clone().into_bytes();
        mutate(&mut text, &mut random);
        let Ok(text) = String::from_utf8(text) else { continue };
        if text.find("\"sha256\":\"").is_none_or(|at| !text.is_char_boundary(at + 74)) {
            continue;
        }
        let bytes = forge(&text, data);
        if let Ok(model) = read_model(&bytes) {
            let written = write_model(&model).unwrap();
            assert!(written == bytes || text.contains("\"version\":\"1\""), "{text}");
            assert_eq!(read_model(&written).unwrap(), model, "{text}");
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
    let error = refusal(&forged("\"version\":\"1\"", "\"version\":\"3\""));
    assert_eq!(error, FileError::NewerVersion(3));
    assert_eq!(
        error.to_string(),
        "the file has version 3 of the onebit format, this program reads version 2: update onebit"
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
