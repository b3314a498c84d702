//! Measures how fast batches of the bundled sample are made, with crops and flips.
//!
//! ```text
//! cargo run --release -p onebit-data --example loader_speed [-- SPEC]
//! ```

#![forbid(unsafe_code)]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use onebit_data::{Augment, Dataset, Loader, LoaderConfig, OpenOptions, Share, Split, open};

fn main() -> Result<(), Box<dyn Error>> {
    let spec = std::env::args().nth(1).unwrap_or_else(|| "fashion-mnist-sample".to_owned());
    let dataset: Arc<dyn Dataset> = open(&spec, Split::Train, &OpenOptions::default())?.into();
    let config = LoaderConfig {
        batch: 128,
        normalization: dataset.normalization(),
        augment: Some(Augment {
            crop_padding: 2,
            random_resized_crop: None,
            horizontal_flip: true,
        }),
        seed: 1,
        shuffle: true,
        drop_last: true,
        share: Share::WHOLE,
    };
    let loader = Loader::new(dataset, config)?;
    for epoch in 0..5 {
        let start = Instant::now();
        let mut images = 0;
        for batch in loader.epoch(epoch, 0) {
            images += batch?.labels.len();
        }
        let seconds = start.elapsed().as_secs_f64();
        eprintln!("epoch {epoch}: {images} images, {:.0} images/s", images as f64 / seconds);
    }
    Ok(())
}
