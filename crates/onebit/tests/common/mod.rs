//! A small network, and photographs.

#![allow(dead_code, reason = "each test uses a part")]

use std::path::Path;

use onebit::Model;
use onebit_model::Normalization;
use onebit_model::arch::{Config, Method, Task, build};
use onebit_pack::lower;
use onebit_testing::{Random, balance_signs, balanced_weights};

pub(crate) const INPUT: [usize; 3] = [3, 16, 20];

/// A network of four classes for images of 20x16 pixels.
pub(crate) fn model() -> Model {
    let mut config = Config::new("resnet-small", Method::Dybnn);
    (config.widths, config.blocks) = (Some(vec![16, 24]), Some(vec![1, 1]));
    let (mean, std) = (vec![0.5, 0.4, 0.3], vec![0.2, 0.25, 0.3]);
    let classes = ["ant", "bee", "cat", "dog"].map(str::to_owned).to_vec();
    let task =
        Task { normalization: Normalization { mean, std }, classes, ..Task::unnamed(INPUT, 4) };
    let mut random = Random(3);
    let weights = balanced_weights(build(&config, &task).unwrap(), &mut random);
    let image: Vec<f64> =
        random.floats(INPUT.iter().product(), -2.0, 2.0).into_iter().map(f64::from).collect();
    balance_signs(lower(&weights).unwrap(), INPUT, &image).into()
}

/// Red, green and blue bytes of a made-up photograph.
pub(crate) fn pixels(seed: u64, width: usize, height: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..3 * width * height).map(|_| random.next() as u8).collect()
}

/// Writes a PNG file.
pub(crate) fn write_png(path: &Path, pixels: &[u8], width: usize, height: usize) {
    let (width, height) = (width as u32, height as u32);
    image::save_buffer(path, pixels, width, height, image::ColorType::Rgb8).unwrap();
}
