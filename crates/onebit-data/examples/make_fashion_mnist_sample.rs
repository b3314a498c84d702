//! Makes the bundled sample of Fashion-MNIST out of the full set.
//!
//! ```text
//! cargo run --release -p onebit-data --example make_fashion_mnist_sample -- FULL_SET_FOLDER OUTPUT_FOLDER
//! ```
//!
//! The sample is the first 1,000 training and the first 200 test images of each class, in the
//! order of the full set.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use onebit_data::{Split, sample_idx};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(full), Some(output), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: make_fashion_mnist_sample FULL_SET_FOLDER OUTPUT_FOLDER");
        return ExitCode::from(64);
    };
    for (split, per_class) in [(Split::Train, 1_000), (Split::Test, 200)] {
        if let Err(error) = sample_idx(&full, &output, split, per_class) {
            eprintln!("{error}");
            return ExitCode::from(65);
        }
    }
    ExitCode::SUCCESS
}
