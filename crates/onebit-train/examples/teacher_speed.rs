//! What one image costs in an ONNX classifier, and whether the number of threads changes its logits:
//! `cargo run --release -p onebit-train --example teacher_speed -- teacher.onnx`.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use rten::{Model, RunOptions, ThreadPool};
use rten_tensor::{AsView, NdTensorView, Tensor};

const SHAPE: [usize; 4] = [1, 3, 224, 224];
const RUNS: usize = 30;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("name an ONNX file of 3 x 224 x 224 images")?;
    let model = Model::load_file(path)?;
    let image: Vec<f32> = (0..3 * 224 * 224u32).map(|i| (i % 255) as f32 / 127.5 - 1.0).collect();
    let mut one_thread = Vec::new();
    for threads in [1, 2, 4] {
        let pool = Arc::new(ThreadPool::with_num_threads(threads));
        let mut times = Vec::new();
        let mut logits = Vec::new();
        for _ in 0..RUNS {
            let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&pool)));
            let start = Instant::now();
            let input = NdTensorView::from_data(SHAPE, image.as_slice());
            let output: Tensor<f32> = model.run_one(input.into(), Some(options))?.try_into()?;
            times.push(start.elapsed());
            logits = output.to_vec();
        }
        times.sort_unstable();
        if threads == 1 {
            one_thread.clone_from(&logits);
        }
        println!(
            "{threads} threads: {:.1} ms for an image, the same logits as one thread: {}",
            times[RUNS / 2].as_secs_f64() * 1e3,
            logits == one_thread
        );
    }
    Ok(())
}
