//! Time and memory that it takes to make a packed file a network that is ready to run, as one JSON object.
//!
//! `load FILE.onebit`: `load_ms` from opening the file to an engine with its working memory; `file_bytes`;
//! `peak_bytes`, the largest resident memory of the process up to the end of the first image (Linux tells it,
//! elsewhere it is null).

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::Instant;

use onebit_engine::{Engine, Options, Scratch};
use onebit_files::read_model;

fn main() {
    let path = std::env::args().nth(1).expect("expected FILE.onebit");
    let started = Instant::now();
    let (engine, mut scratch) = load(Path::new(&path));
    let load_ms = started.elapsed().as_secs_f64() * 1e3;
    let image = vec![0.5; engine.input_shape().iter().product()];
    let mut logits = vec![0.0; engine.classes()];
    engine.run(&image, &mut logits, &mut scratch).unwrap();
    let file_bytes = fs::metadata(&path).unwrap().len();
    let peak_bytes = peak_bytes().map_or("null".to_owned(), |bytes| bytes.to_string());
    println!("{{\"load_ms\":{load_ms},\"file_bytes\":{file_bytes},\"peak_bytes\":{peak_bytes}}}");
}

fn load(path: &Path) -> (Engine, Scratch) {
    let model = read_model(path).unwrap();
    let engine = Engine::new(&model, Options::default()).unwrap();
    let scratch = engine.scratch().unwrap();
    (engine, scratch)
}

/// The line `VmHWM` of Linux.
fn peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.split_whitespace().next()?.parse::<u64>().ok()?)
}
