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

#[test]
fn logits_equal_pytorchs_in_both_layouts() {
    let (pixels, expected) = (tensor("pixels"), tensor("logits"));
    let normalize = |(i, x): (usize, &f32)| {
        let (mean, std) = [(0.5, 0.25), (0.4, 0.2)][i % 2];
        ((f64::from(*x) - mean) / std) as f32
    };
    let images: Vec<f32> = pixels.iter().enumerate().map(normalize).collect();
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
            "names 1 outputs, expected 2",
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
        (section("none.onnx"), task(7), "cannot be read"),
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
