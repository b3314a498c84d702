//! Teachers on their own; `tests/teacher.rs` has whole runs.

use std::fs;

use safetensors::SafeTensors;

use super::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/teacher");
/// Relative to the largest logit.
const TOLERANCE: f32 = 1e-5;

fn section(file: &str) -> recipe::Teacher {
    recipe::Teacher {
        path: Path::new(FOLDER).join(file),
        columns: None,
        mean: Some(vec![0.25, 0.5]),
        std: Some(vec![0.5, 2.0]),
        layout: None,
        outputs: None,
    }
}

fn task(classes: usize) -> Task {
    let normalization = Normalization { mean: vec![0.5, 0.4], std: vec![0.25, 0.2] };
    Task { normalization, ..Task::unnamed([2, 9, 8], classes) }
}

fn tensor(name: &str) -> Vec<f32> {
    let bytes = fs::read(Path::new(FOLDER).join("teacher.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let bytes = file.tensor(name).unwrap().data();
    bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect()
}

fn assert_close(found: &[f32], expected: &[f32]) {
    let largest = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let close = (found - expected).abs() <= TOLERANCE * largest;
        assert!(close, "logit {i} is {found}, expected {expected}");
    }
}

/// Images of the fixtures' run.
fn images() -> Vec<f32> {
    let normalize = |(i, x): (usize, &f32)| {
        let (mean, std) = [(0.5, 0.25), (0.4, 0.2)][i % 2];
        ((f64::from(*x) - mean) / std) as f32
    };
    tensor("pixels").iter().enumerate().map(normalize).collect()
}

fn nchw() -> Vec<u8> {
    fs::read(Path::new(FOLDER).join("nchw.onnx")).unwrap()
}

fn open(section: &recipe::Teacher, classes: usize) -> Result<Teacher, TrainError> {
    Teacher::open(section, &task(classes), 4)
}

fn error(section: &recipe::Teacher) -> TrainError {
    let Err(error) = open(section, 7) else { panic!("{section:?}") };
    error
}

#[test]
fn logits_equal_pytorchs_in_both_layouts() {
    let (images, expected) = (images(), tensor("logits"));
    for (file, layout) in [("nchw.onnx", Layout::Nchw), ("nhwc.onnx", Layout::Nhwc)] {
        let section = recipe::Teacher { layout: Some(layout), ..section(file) };
        let mut teacher = Teacher::open(&section, &task(7), 4).unwrap();
        assert_close(&teacher.logits(&images).unwrap(), &expected);
        let section = recipe::Teacher { columns: Some(vec![6, 0, 2]), ..section };
        let mut teacher = Teacher::open(&section, &task(3), 4).unwrap();
        let chosen: Vec<f32> =
            expected.chunks(7).flat_map(|row| [row[6], row[0], row[2]]).collect();
        assert_close(&teacher.logits(&images).unwrap(), &chosen);
    }
}

#[test]
fn a_teacher_that_does_not_fit_is_refused_in_one_sentence() {
    let refused = |section: &recipe::Teacher, task: &Task| {
        let Err(error) = Teacher::open(section, task, 4) else { panic!("{section:?}") };
        error.to_string()
    };
    let nchw = section("nchw.onnx");
    let cases = [
        (nchw.clone(), task(5), "has 7 outputs, but the data has 5 classes; name the output"),
        (
            recipe::Teacher { columns: Some(vec![0, 7]), ..nchw.clone() },
            task(2),
            "names output 7, but the network has 7",
        ),
        (
            recipe::Teacher { columns: Some(vec![0]), ..nchw.clone() },
            task(2),
            "names 1 output, expected 2",
        ),
        (
            recipe::Teacher { mean: None, ..nchw.clone() },
            task(7),
            "train.teacher.mean has 3 values, expected 2",
        ),
        (
            recipe::Teacher { layout: Some(Layout::Nhwc), ..nchw.clone() },
            task(7),
            "input is [1 or more, 2, 9, 8], expected [1, 9, 8, 2]",
        ),
        (section("teacher.safetensors"), task(7), "train.teacher.path: "),
        (section("none.onnx"), task(7), "not found; expected an ONNX classifier"),
    ];
    for (section, task, part) in cases {
        let text = refused(&section, &task);
        assert!(text.contains(part), "{text}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("teacher.onnx");
    fs::write(&path, b"no model").unwrap();
    let text = refused(&recipe::Teacher { path, ..nchw }, &task(7));
    assert!(text.contains("is no ONNX model that can be run"), "{text}");
}

#[test]
fn probabilities_are_not_taken_for_logits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("softmax.onnx");
    fs::write(&path, altered::with_softmax(&nchw())).unwrap();
    let softmax = |outputs, columns| {
        open(&recipe::Teacher { path: path.clone(), outputs, columns, ..section("") }, 7).unwrap()
    };
    let logits = |outputs| open(&recipe::Teacher { outputs, ..section("nchw.onnx") }, 7).unwrap();
    let said = |mut teacher: Teacher| teacher.check_outputs(&images()).unwrap_err().to_string();
    let text = said(softmax(None, None));
    assert!(text.contains("softmax.onnx: the network ends in a softmax"), "{text}");
    assert!(text.contains("train.teacher.outputs = \"probabilities\""), "{text}");
    // The whole rows count, not the chosen columns.
    said(softmax(None, Some(vec![6, 0, 2, 1, 1, 1, 1])));
    let text = said(logits(Some(Outputs::Probabilities)));
    assert!(text.contains("train.teacher.outputs is `probabilities`"), "{text}");
    for mut teacher in [
        softmax(Some(Outputs::Probabilities), None),
        softmax(Some(Outputs::Logits), None),
        logits(None),
        logits(Some(Outputs::Logits)),
    ] {
        teacher.check_outputs(&images()).unwrap();
    }
}

#[test]
fn probabilities_are_learned_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("softmax.onnx");
    fs::write(&path, altered::with_softmax(&nchw())).unwrap();
    let outputs = Some(Outputs::Probabilities);
    let softmax = |row: &[f32]| {
        let sum: f32 = row.iter().map(|x| x.exp()).sum();
        row.iter().map(|x| x.exp() / sum).collect::<Vec<_>>()
    };
    for columns in [None, Some(vec![6, 0, 2])] {
        let classes = columns.as_ref().map_or(7, Vec::len);
        let section = |path, outputs| recipe::Teacher {
            path,
            outputs,
            columns: columns.clone(),
            ..section("")
        };
        let of = |section| open(&section, classes).unwrap().logits(&images()).unwrap();
        let found = of(section(path.clone(), outputs));
        let expected = of(section(Path::new(FOLDER).join("nchw.onnx"), None));
        for (found, expected) in found.chunks(classes).zip(expected.chunks(classes)) {
            assert_close(&softmax(found), &softmax(expected));
        }
    }
}

#[test]
fn only_onnx_files_give_probabilities() {
    let folder = tempfile::tempdir().unwrap();
    let input = crate::recipe::Recipe::from_toml(OWN, "test").unwrap();
    let network = onebit_model::arch::build(&input.network, &task(7)).unwrap();
    let net = Net::new(network, NetConfig::new(4), 1).unwrap();
    let weights =
        onebit_model::Verified::<onebit_model::file::Weights>::new(net.weights()).unwrap();
    let path = folder.path().join("weights.safetensors");
    fs::write(&path, write_weights(&weights).unwrap()).unwrap();
    let own = |outputs| recipe::Teacher {
        path: path.clone(),
        mean: None,
        std: None,
        outputs,
        ..section("")
    };
    open(&own(None), 7).unwrap();
    open(&own(Some(Outputs::Logits)), 7).unwrap();
    let text = error(&own(Some(Outputs::Probabilities))).to_string();
    assert!(text.contains("these weights give logits"), "{text}");
}

const OWN: &str = r#"
    [data]
    train = "a"
    test = "a"
    [network]
    arch = "resnet-small"
    method = "bireal"
    widths = [8]
    blocks = [1]
    [train]
    epochs = 1
    batch = 4
    lr = 0.1
"#;

/// What `torch.onnx.export` of torch 2.15 writes unless told otherwise: opset 20, weights in `dyn.onnx.data`.
#[test]
fn a_network_as_pytorch_exports_it_is_read() {
    let section = recipe::Teacher {
        mean: Some(vec![0.0; 3]),
        std: Some(vec![1.0; 3]),
        ..section("dyn.onnx")
    };
    let normalization = Normalization { mean: vec![0.0; 3], std: vec![1.0; 3] };
    let task = Task { normalization, ..Task::unnamed([3, 32, 32], 3) };
    let image: Vec<f32> = (0..32 * 32 * 3).map(|i| (i * 37 % 64 - 32) as f32 / 32.0).collect();
    let logits = Teacher::open(&section, &task, 4).unwrap().logits(&image).unwrap();
    // Computed by PyTorch 1.13 in float64 from the same weights.
    assert_close(&logits, &[-0.149_899_7, -0.043_099_35, -0.198_935]);
}

#[test]
fn weights_in_other_files_are_those_of_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("teacher.onnx");
    let section = recipe::Teacher { path: path.clone(), ..section("") };
    let inside = open(&self::section("nchw.onnx"), 7).unwrap().logits(&images()).unwrap();
    // In one file, with offsets and lengths.
    let (model, data) = altered::external(&nchw(), |_, offset, length| {
        let (offset, length) = (offset.to_string(), length.to_string());
        vec![("location", "w.data".into()), ("offset", offset), ("length", length)]
    });
    fs::write(&path, &model).unwrap();
    fs::write(folder.path().join("w.data"), &data).unwrap();
    let mut teacher = open(&section, 7).unwrap();
    assert_eq!(teacher.logits(&images()).unwrap(), inside);
    let mut changed = data.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(folder.path().join("w.data"), changed).unwrap();
    let sha256 = open(&section, 7).unwrap().sha256;
    assert_ne!(sha256, teacher.sha256, "the weights belong to the teacher");
    // A file for each tensor, named as PyTorch's older exporter did, in a folder, without offset and length.
    fs::create_dir(folder.path().join("more")).unwrap();
    let places = std::cell::RefCell::new(vec![]);
    let (model, data) = altered::external(&nchw(), |tensor, offset, length| {
        places.borrow_mut().push((tensor, offset, length));
        vec![("location", format!("more/onnx__Conv_{tensor}")), ("checksum", "none".into())]
    });
    for (tensor, offset, length) in places.into_inner() {
        let path = folder.path().join(format!("more/onnx__Conv_{tensor}"));
        fs::write(path, &data[offset..offset + length]).unwrap();
    }
    fs::write(&path, &model).unwrap();
    let mut second = open(&section, 7).unwrap();
    assert_eq!(second.logits(&images()).unwrap(), inside);
    assert_eq!(second.sha256, teacher.sha256, "where the weights are does not matter");
}

#[test]
fn weights_in_files_that_are_not_allowed_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("teacher.onnx");
    let section = recipe::Teacher { path: path.clone(), ..section("") };
    fs::write(folder.path().join("w.data"), [0; 64]).unwrap();
    let outside = folder.path().join("w.data").display().to_string();
    let refused = |place: &[(&'static str, &str)]| {
        let place: Vec<_> = place.iter().map(|&(key, value)| (key, value.to_owned())).collect();
        let (model, _) = altered::external(&nchw(), |_, _, _| place.clone());
        fs::write(&path, model).unwrap();
        error(&section)
    };
    let cases: [(&[(&'static str, &str)], &str); 11] = [
        (&[], "but names none"),
        (&[("location", "")], "expected one in the folder"),
        (&[("location", "..")], "expected one in the folder"),
        (&[("location", "../w.data")], "expected one in the folder"),
        (&[("location", "more/../../w.data")], "expected one in the folder"),
        (&[("location", &outside)], "expected one in the folder"),
        (&[("location", "w\u{1b}[2J")], "`w\\u{1b}[2J`, expected one in the folder"),
        (&[("location", "w.data"), ("offset", "-1")], "offset of one of its tensors is `-1`"),
        (&[("location", "w.data"), ("offset", "65")], "byte 65 of `w.data`, which has 64 bytes"),
        (
            &[("location", "w.data"), ("offset", "1"), ("length", "64")],
            "needs 64 bytes from byte 1 of `w.data`, which has 64 bytes",
        ),
        (
            &[("location", "w.data"), ("offset", "2"), ("length", "18446744073709551615")],
            "which has 64 bytes",
        ),
    ];
    for (place, words) in cases {
        let error = refused(place);
        assert!(error.to_string().contains(words), "expected {words}: {error}");
        assert_eq!(error.kind(), onebit_data::ErrorKind::BadData, "{error}");
        assert!(error.to_string().lines().count() == 1, "{error}");
    }
    let missing = refused(&[("location", "gone.data")]);
    assert_eq!(missing.kind(), onebit_data::ErrorKind::MissingInput, "{missing}");
    let text = missing.to_string();
    assert!(text.contains("teacher.onnx: keeps its weights in another file"), "{text}");
    assert!(text.contains("gone.data: cannot be read"), "{text}");
    fs::create_dir(folder.path().join("folder")).unwrap();
    let text = refused(&[("location", "folder")]).to_string();
    assert!(text.contains("it is no file"), "{text}");
}

#[cfg(unix)]
#[test]
fn a_device_holds_no_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("teacher.onnx");
    let (model, _) = altered::external(&nchw(), |_, _, _| vec![("location", "w".into())]);
    fs::write(&path, model).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("w")).unwrap();
    let text = error(&recipe::Teacher { path, ..section("") }).to_string();
    assert!(text.contains("it is no file"), "{text}");
}

#[test]
fn messages_that_are_damaged_or_nested_too_deep_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("teacher.onnx");
    let section = recipe::Teacher { path: path.clone(), ..section("") };
    let mut graph = Vec::new();
    for _ in 0..1000 {
        // A graph in an attribute of a node.
        graph = altered::part(1, &altered::part(5, &altered::part(6, &graph)));
    }
    fs::write(&path, altered::part(7, &graph)).unwrap();
    let text = error(&section).to_string();
    assert!(text.contains("its graphs are nested"), "{text}");
    // A name of a kind that no reader knows, as a message of rten's quotes it.
    let kind = format!("\x1b[2J{}", "k".repeat(500_000));
    let node =
        [altered::part(1, b"images"), altered::part(2, b"y"), altered::part(4, kind.as_bytes())];
    let graph = [altered::part(1, &node.concat()), altered::part(12, &altered::part(1, b"y"))];
    fs::write(&path, altered::part(7, &graph.concat())).unwrap();
    let text = error(&section).to_string();
    assert!(text.len() < 1000 && !text.contains(char::is_control), "{text:?}");
    let whole = nchw();
    for len in (1..whole.len()).step_by(97) {
        fs::write(&path, &whole[..len]).unwrap();
        assert_eq!(error(&section).kind(), onebit_data::ErrorKind::BadData, "{len} bytes");
    }
}
