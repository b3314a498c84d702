//! `signs FILE.onebit IMAGES.npy OUTPUT.npy`: the signs that the engine computes, float32 `[N, signs]`, +1 and -1,
//! node after node as in the graph, each `[channels, height, width]`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::env;
use std::path::Path;

use onebit_data::{read_npy_f32, write_npy_f32};
use onebit_engine::{Engine, Options};
use onebit_files::read_model;
use onebit_model::{Op, bits, infer};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file, images, output] = arguments.as_slice() else {
        panic!("expected FILE.onebit IMAGES.npy OUTPUT.npy");
    };
    let model = read_model(Path::new(file)).unwrap();
    let (shape, values) = read_npy_f32(Path::new(images)).unwrap();
    let &[n, channels, height, width] = shape.as_slice() else { panic!("{shape:?}") };
    let options = Options { input: Some([height, width]), ..Options::default() };
    let engine = Engine::new(&model, options).unwrap();
    let shapes = infer::shapes_for(&model.graph, [channels, height, width]).unwrap();
    let mut scratch = engine.scratch().unwrap();
    let mut logits = vec![0.0; engine.classes()];
    let mut signs = Vec::new();
    for image in values.chunks(channels * height * width) {
        let pixel = |p| (0..channels).map(move |c| c * height * width + p);
        let nhwc: Vec<f32> = (0..height * width).flat_map(pixel).map(|at| image[at]).collect();
        let mut maps = BTreeMap::new();
        let mut observer = |node: &str, words: &[u64]| {
            maps.insert(node.to_owned(), words.to_vec());
        };
        engine.run_observed(&nhwc, &mut logits, &mut scratch, &mut observer).unwrap();
        for (node, shape) in model.graph.nodes.iter().zip(&shapes) {
            if matches!(node.op, Op::Sign { .. }) {
                let words = bits::words(shape.channels);
                for channel in 0..shape.channels {
                    let pixels = maps[&node.name].chunks(words);
                    signs.extend(pixels.map(|pixel| bits::value(pixel, channel)));
                }
            }
        }
    }
    write_npy_f32(Path::new(output), &[n, signs.len() / n], &signs).unwrap();
}
