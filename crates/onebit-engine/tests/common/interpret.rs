//! An engine's signs and logits against the graph evaluated in f64.

use std::collections::BTreeMap;

use onebit_model::{Model, Node, Verified, bits};
use onebit_testing::{Bounded, forward, forward_bounded, packed_params};

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

/// The last value of a network, evaluated in f64 with the bits that an engine gave.
pub(crate) fn values(
    model: &Model,
    input: [usize; 3],
    image: &[f32],
    signs: &BTreeMap<String, Vec<u64>>,
) -> Vec<f64> {
    let image: Vec<f64> = image.iter().map(|&v| f64::from(v)).collect();
    let params = |node: &Node, suffix: &str| packed_params(model, node, suffix);
    forward(&model.graph, input, &params, &image, &mut |node, channels, margins| {
        let pixel_words = bits::words(channels);
        let pixels = signs[&node.name].chunks(pixel_words).take(margins.len() / channels);
        pixels.flat_map(|words| (0..channels).map(|c| bits::value(words, c) > 0.0)).collect()
    })
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

/// How many times the bound a result may be off: the bound is to first order, and some constants are rounded twice.
const BOUND: f64 = 8.0;

/// Compares the logits of an image of the model's own size, and each sign, with the graph evaluated in f64, within
/// what roundings may make of them; says what is wrong.
pub(crate) fn compare_bounded(
    model: &Verified<Model>,
    image: &[f32],
    logits: &[f32],
    signs: &BTreeMap<String, Vec<u64>>,
) -> Result<(), String> {
    let mut wrong = None;
    let expected = forward_bounded(
        &model.graph,
        model.graph.input_shape(),
        &|node, suffix| packed_params(model, node, suffix),
        image,
        &mut |node, channels, margins: &[Bounded]| {
            let words = &signs[&node.name];
            let pixels = margins.chunks(channels).zip(words.chunks(bits::words(channels)));
            let mut used = Vec::with_capacity(margins.len());
            for (pixel, words) in pixels {
                assert_eq!(words[words.len() - 1] & !bits::tail_mask(channels), 0, "tail bits");
                for (c, margin) in pixel.iter().enumerate() {
                    let positive = bits::value(words, c) > 0.0;
                    let near =
                        margin.error == f64::INFINITY || margin.value.abs() <= BOUND * margin.error;
                    if !near && positive != (margin.value > 0.0) {
                        wrong.get_or_insert(format!("{} channel {c}: {margin:?}", node.name));
                    }
                    used.push(positive);
                }
            }
            assert_eq!(used.len(), margins.len(), "{}", node.name);
            used
        },
    );
    assert_eq!(expected.len(), logits.len());
    let allowed = |(expected, &logit): (&Bounded, &f32)| expected.allows(logit, BOUND);
    match expected.iter().zip(logits).position(|pair| !allowed(pair)) {
        Some(i) if wrong.is_none() => Err(format!("logit {i} is {}: {:?}", logits[i], expected[i])),
        _ => wrong.map_or(Ok(()), Err),
    }
}
