//! Writes the bits of all signs that the engine computes, for `scripts/check_import.py`.
//!
//! `signs MODEL HEIGHT WIDTH IMAGES OUT`: IMAGES holds 32-bit floats, NHWC; OUT gets, for each image and each sign in
//! order, eight bits to a byte, the channels innermost, every pixel starting a byte.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use onebit_engine::{Engine, Options};
use onebit_model::infer;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, height, width, images, out] = arguments.as_slice() else {
        panic!("expected MODEL HEIGHT WIDTH IMAGES OUT");
    };
    let model = onebit_pack::read_model_file(Path::new(model)).unwrap();
    let [height, width] = [height, width].map(|side| side.parse::<usize>().unwrap());
    let options = Options { input: Some([height, width]), ..Options::default() };
    let engine = Engine::new(&model, options).unwrap();
    let shapes = infer::shapes(&model.graph).unwrap();
    let nodes = model.graph.nodes.iter().zip(&shapes);
    let bytes: BTreeMap<&str, usize> =
        nodes.map(|(node, shape)| (node.name.as_str(), shape.channels.div_ceil(8))).collect();
    let images = fs::read(images).unwrap();
    let images: Vec<f32> =
        images.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect();
    let (mut scratch, mut logits) = (engine.scratch(), vec![0.0; engine.classes()]);
    let mut signs = Vec::new();
    for image in images.chunks(engine.input_shape().iter().product()) {
        let mut observer = |node: &str, words: &[u64]| {
            let per_pixel = bytes[node].div_ceil(8);
            for pixel in words.chunks(per_pixel) {
                let in_order = pixel.iter().flat_map(|word| word.to_le_bytes());
                signs.extend(in_order.take(bytes[node]));
            }
        };
        engine.run_observed(image, &mut logits, &mut scratch, &mut observer).unwrap();
    }
    fs::write(out, signs).unwrap();
}
