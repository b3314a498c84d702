//! An engine's signs and logits against the graph evaluated in f64.

use std::collections::BTreeMap;

use onebit_model::{Model, Node, Verified, bits};
use onebit_testing::{forward, packed_params};

/// What an interpreted network says about an engine's signs and logits.
pub(crate) struct Report {
    pub(crate) logits: Vec<f64>,
    /// Signs that differ although their value is further than the margin from its threshold.
    pub(crate) wrong_signs: Vec<String>,
    /// Signs compared.
    pub(crate) compared: usize,
    /// Signs closer to their threshold than the margin, but not exactly on it (as after a ReLU).
    pub(crate) close: usize,
}

/// Interprets a model for an image. The bits that the engine gave are checked, then used, so that a sign on
/// its threshold does not hide what follows.
pub(crate) fn interpret(
    model: &Verified<Model>,
    input: [usize; 3],
    image: &[f32],
    signs: &BTreeMap<String, Vec<u64>>,
    margin: f64,
) -> Report {
    let image: Vec<f64> = image.iter().map(|&v| f64::from(v)).collect();
    let mut report = Report { logits: Vec::new(), wrong_signs: Vec::new(), compared: 0, close: 0 };
    let logits = forward(
        &model.graph,
        input,
        &|node, suffix| packed_params(model, node, suffix),
        &image,
        &mut |node, channels, margins| {
            compare(node, channels, margins, &signs[&node.name], margin, &mut report)
        },
    );
    Report { logits, ..report }
}

/// Compares an engine's bits with how far each value is above its threshold; returns the bits.
fn compare(
    node: &Node,
    channels: usize,
    margins: &[f64],
    words: &[u64],
    margin: f64,
    report: &mut Report,
) -> Vec<bool> {
    let pixel_words = bits::words(channels);
    assert_eq!(words.len(), margins.len() / channels * pixel_words, "{}", node.name);
    let mut signs = Vec::with_capacity(margins.len());
    for (pixel, words) in margins.chunks(channels).zip(words.chunks(pixel_words)) {
        assert_eq!(words[pixel_words - 1] & !bits::tail_mask(channels), 0, "tail bits");
        for (c, &above) in pixel.iter().enumerate() {
            let engine = bits::value(words, c) > 0.0;
            report.compared += 1;
            if above.abs() <= margin {
                report.close += usize::from(above != 0.0);
            } else if (above > 0.0) != engine {
                report.wrong_signs.push(format!("{} channel {c}: {above}", node.name));
            }
            signs.push(engine);
        }
    }
    signs
}
