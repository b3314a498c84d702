//! The losses equal PyTorch's, and the worked example of the distributional loss.

#![allow(clippy::unwrap_used)]

mod common;

use common::Fixture;
use onebit_train::loss::{cross_entropy, distillation};

const TOLERANCE: f64 = 1e-6;

#[test]
fn cross_entropy_equals_pytorch() {
    for name in ["cross_entropy", "cross_entropy_smooth"] {
        let fixture = Fixture::read(&format!("ops/{name}"));
        let logits = fixture.tensor("logits");
        let labels: Vec<u32> = fixture.tensor("labels").iter().map(|&l| l as u32).collect();
        let classes = logits.len() / labels.len();
        let mut gradient = vec![0.0; logits.len()];
        let smoothing = fixture.number("label_smoothing") as f32;
        let loss = cross_entropy(&logits, &labels, classes, smoothing, &mut gradient);
        close(&[loss.value as f32], &fixture.tensor("loss"));
        close(&gradient, &fixture.tensor("g_logits"));
    }
}

#[test]
fn distillation_equals_pytorch() {
    let fixture = Fixture::read("ops/distillation");
    let (logits, teacher) = (fixture.tensor("logits"), fixture.tensor("teacher"));
    let mut gradient = vec![0.0; logits.len()];
    let loss = distillation(&logits, &teacher, &[0; 6], 10, &mut gradient);
    close(&[loss.value as f32], &fixture.tensor("loss"));
    close(&gradient, &fixture.tensor("g_logits"));
}

#[test]
fn distillation_of_the_worked_example() {
    let student = [1.0, 2.0, 0.5, 0.0, -1.0, 1.0];
    let teacher = [2.0, 1.0, 0.0, 0.5, 0.5, -1.0];
    let mut gradient = [0.0; 6];
    let loss = distillation(&student, &teacher, &[1, 0], 3, &mut gradient);
    assert!((loss.value - 1.5108551085287703).abs() < 1e-12, "{}", loss.value);
    assert_eq!(loss.correct, 1);
    let expected =
        [-0.217_008_53, 0.191_901_62, 0.025_106_905, -0.102_543_87, -0.179_892_82, 0.282_436_7];
    close(&gradient, &expected);
}

fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!((f64::from(*f) - f64::from(*e)).abs() <= TOLERANCE, "{f} is not {e}");
    }
}
