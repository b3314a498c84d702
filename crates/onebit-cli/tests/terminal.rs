//! What files and arguments say reaches the terminal as text: nothing that it obeys, nothing invisible, nothing endless.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{Outcome, colour, linear, onebit, pack, png};
use onebit_model::file::container::{self, Kind};
use onebit_model::{Data, Tensor};

/// A window title, a cleared screen, an eight-bit CSI, an override of direction, and characters that are not seen.
const HOSTILE: &str =
    "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}gpj\u{2066}\u{200b}\u{feff}\u{2028}\u{7f}\u{8}";

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn is_hidden(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{61c}')
}

fn check(outcome: &Outcome) {
    let Outcome { stdout, stderr, .. } = outcome;
    for shown in [stdout, stderr] {
        assert!(!shown.contains(is_hidden), "{shown:?}");
    }
    let longest = stderr.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(2000), "a line of {longest:?} characters");
}

/// The sentence of a command that must fail with this code.
fn refused(outcome: &Outcome, code: i32) -> String {
    check(outcome);
    outcome.failed(code).to_owned()
}

/// A file with the right checksums, but whatever else its author likes.
fn forged(path: &Path, metadata: &[(&str, &str)], tensors: &[&str]) {
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let tensor = Tensor { shape: vec![1], data: Data::F32(vec![1.0]) };
    let tensors: BTreeMap<String, Tensor> =
        tensors.iter().map(|name| ((*name).to_owned(), tensor.clone())).collect();
    let bytes = container::write(Kind::Model, 1, &metadata.collect(), &tensors).expect("a file");
    fs::write(path, bytes).expect("written");
}

fn graph(arch: &str, class: &str, extra: &str) -> String {
    let json = |text: &str| serde_json::to_string(text).expect("JSON");
    format!(
        r#"{{"arch":{},"normalization":{{"mean":[0.5],"std":[0.5]}},"classes":[{},"b"],"nodes":[{}]}}"#,
        json(arch),
        json(class),
        extra
    )
}

#[test]
fn packed_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.onebit");
    let node = r#"{"name":"input","op":"input","channels":1,"height":2,"width":2,"inputs":[]}"#;
    let hostile_json = serde_json::to_string(HOSTILE).expect("JSON");
    let long = "x".repeat(300_000);
    let bad_node =
        format!(r#"{{"name":{hostile_json},"op":{hostile_json},"inputs":[{hostile_json}]}}"#);
    let graphs = [
        format!(r#"{{{hostile_json}:1}}"#),
        format!(r#"{{"{long}":1}}"#),
        HOSTILE.to_owned(),
        graph(HOSTILE, "a", node),
        graph("x", HOSTILE, node),
        graph("x", "a", &bad_node),
        graph(&long, "a", node),
        graph("x", &long, node),
        graph("x", "a", &format!(r#"{{"name":"{long}","op":"{long}","inputs":["{long}"]}}"#)),
    ];
    for graph in graphs {
        forged(&path, &[("graph", &graph)], &[]);
        for verb in ["verify", "inspect", "summary", "bench"] {
            let sentence = refused(&onebit(&[verb, text(&path)]), 65);
            assert!(sentence.contains("a.onebit"), "{sentence}");
        }
    }
    forged(&path, &[("graph", "{}"), (HOSTILE, HOSTILE)], &[]);
    refused(&onebit(&["verify", text(&path)]), 65);
    forged(&path, &[("graph", "{}"), (&long, "")], &[]);
    refused(&onebit(&["verify", text(&path)]), 65);
    let header = |entry: &str| {
        let json = format!(r#"{{"__metadata__":{{"format":"onebit","version":"1"}},{entry}}}"#);
        let bytes = [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &[0; 4]].concat();
        fs::write(&path, bytes).expect("written");
        refused(&onebit(&["verify", text(&path)]), 65);
    };
    header(&format!(r#""w":{{"dtype":{hostile_json},"shape":[1],"data_offsets":[0,4]}}"#));
    header(&format!(r#"{hostile_json}:{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#));
    header(&format!(r#""w":{{"dtype":"{long}","shape":[1],"data_offsets":[0,4]}}"#));
    header(&format!(r#""{long}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#));
    header(&format!(r#""w":{{{hostile_json}:1}}"#));
}

/// Names of classes may hold what is invisible; it is shown as its escape, and JSON has the same name.
#[test]
fn names_of_classes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, image) = (folder.path().join("a.onebit"), folder.path().join("a.png"));
    png(&image, 4, 4);
    let name = "\u{202e}elppa\u{200b}\u{2069}";
    pack(&model, &linear(&[name, "berry"], [3, 4, 4], |_, _| 0.0));
    let predict = ["predict", text(&model), text(&image)];
    for arguments in [&predict[..], &["inspect", text(&model)]] {
        let outcome = onebit(arguments);
        check(&outcome);
        assert!(outcome.succeeded().contains("\\u{202e}elppa\\u{200b}\\u{2069}"));
        let outcome = onebit(&[arguments, &["--json"]].concat());
        check(&outcome);
        let json = outcome.json();
        let found = if json.is_array() { &json[0]["top"][0]["label"] } else { &json["classes"][0] };
        assert_eq!(found, name);
    }
    let data = folder.path().join("data");
    colour(&data.join("fig\u{202e}").join("a.png"), 4, [0; 3]);
    let spec = format!("folder:{}", text(&data));
    refused(&onebit(&["eval", text(&model), "--data", &spec]), 65);
}

#[test]
fn arrays() {
    let folder = tempfile::tempdir().expect("a folder");
    let [model, x, y] = ["a.onebit", "x.npy", "y.npy"].map(|name| folder.path().join(name));
    pack(&model, &linear(&["a", "b"], [3, 4, 4], |_, _| 0.0));
    let long = "x".repeat(60_000);
    for (descr, order, shape) in [
        (HOSTILE, "False", "(1,)"),
        ("<f4", HOSTILE, "(1,)"),
        ("<f4", "False", HOSTILE),
        (&long, "False", "(1,)"),
        ("<f4", &long, "(1,)"),
    ] {
        let dict =
            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((dict.len() as u16).to_le_bytes());
        bytes.extend(dict.bytes());
        fs::write(&x, bytes).expect("written");
        let arguments = ["run", text(&model), "--input", text(&x), "--output", text(&y)];
        refused(&onebit(&arguments), 65);
    }
}

#[test]
fn arguments() {
    let long = "x".repeat(100_000);
    for hostile in [HOSTILE, &long] {
        refused(&onebit(&[hostile]), 64);
        refused(&onebit(&["summary", hostile]), 64);
        refused(&onebit(&["bench", "a.onebit", "--isa", hostile]), 64);
        refused(&onebit(&["summary", "resnet20", "--set", hostile]), 64);
        refused(&onebit(&["summary", "resnet20", "--set", &format!("method={hostile}")]), 64);
        refused(&onebit(&["data", "fetch", hostile]), 64);
    }
    refused(&onebit(&["verify", HOSTILE]), 66);
}

#[cfg(unix)]
#[test]
fn names_of_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let hostile = folder.path().join(HOSTILE.replace('/', "-"));
    fs::create_dir(&hostile).expect("a folder");
    let (model, image) = (hostile.join("a\n.onebit"), hostile.join("a\u{1b}.png"));
    pack(&model, &linear(&["a", "b"], [3, 4, 4], |_, _| 0.0));
    png(&image, 4, 4);
    fs::write(hostile.join("b.png"), "no image").expect("written");
    fs::write(hostile.join("c.\u{1b}[2J"), "no image").expect("written");
    for arguments in [
        &["verify", text(&model)][..],
        &["inspect", text(&model)],
        &["predict", text(&model), text(&image)],
        &["predict", text(&model), text(&hostile)],
        &["predict", text(&model), text(&hostile), "--json"],
        &["verify", text(&hostile)],
        &["verify", text(&image)],
    ] {
        let outcome = onebit(arguments);
        check(&outcome);
        let shown = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(shown.contains("\\u{1b}") || shown.contains("\\u001b"), "{shown}");
    }
}

#[cfg(feature = "train")]
#[test]
fn recipes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (recipe, out) = (folder.path().join("r.toml"), folder.path().join("run"));
    let quoted = serde_json::to_string(HOSTILE).expect("JSON").replace('\u{7f}', "");
    let long = "x".repeat(100_000);
    for content in [
        format!("{quoted} = 1\n"),
        format!(
            "[data]\ntrain = {quoted}\ntest = {quoted}\n[network]\narch = {quoted}\n[train]\nepochs = 1\n"
        ),
        format!("[data]\ntrain = \"a\"\n[network]\narch = \"{long}\"\n"),
        format!("{long} = 1\n"),
        "[data]\nx = \"\u{202e}\u{1b}\"\n".to_owned(),
    ] {
        fs::write(&recipe, content).expect("written");
        let outcome = onebit(&["train", text(&recipe), "--out", text(&out)]);
        check(&outcome);
        assert!(outcome.code.is_some_and(|code| code != 0 && code != 70), "{}", outcome.stderr);
    }
    assert!(!out.exists());
}
