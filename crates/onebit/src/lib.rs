#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "pack")]
pub mod calibration;
#[cfg(feature = "pack")]
mod checkpoint;
mod classification;
#[cfg(feature = "decode")]
mod classify;
#[cfg(feature = "data")]
mod data;
mod error;
#[cfg(feature = "data")]
mod evaluate;
#[cfg(feature = "pack")]
pub mod expectation;
#[cfg(feature = "data")]
mod labels;
mod layout;
mod memory;
mod model;
#[cfg(feature = "pack")]
mod onnx;
#[cfg(feature = "pack")]
mod pack;
#[cfg(feature = "data")]
mod preprocessed;
#[cfg(feature = "pack")]
mod proof;
mod session;
mod summary;
mod threads;
#[cfg(feature = "train")]
pub mod trained;
mod verification;

#[cfg(feature = "pack")]
pub use checkpoint::{CheckpointOptions, import_checkpoint};
pub use classification::{Classification, Guess, not_finite, softmax};
#[cfg(feature = "data")]
pub use data::{Labelled, Unlabelled, check_logits, loader};
pub use error::Error;
#[cfg(feature = "data")]
pub use evaluate::{Accuracy, Evaluation, evaluate};
#[cfg(feature = "data")]
pub use labels::quoted_names;
pub use layout::channels_last;
pub use model::Model;
#[cfg(feature = "decode")]
pub use onebit_data::{Image, ImageList, Preprocessing, list_images};
pub use onebit_engine::Isa;
#[cfg(feature = "pack")]
pub use onebit_pack::import::OnnxOptions;
#[cfg(feature = "pack")]
pub use onnx::{OnnxReport, import_onnx};
#[cfg(feature = "pack")]
pub use pack::{load_weights, pack};
#[cfg(feature = "pack")]
pub use proof::Proof;
pub use session::{Planned, Session, SessionBuilder};
pub use summary::{Parts, SummarizedLayer, Summary};
pub use threads::{check_thread, hardware_threads, start_shared_pool, thread_pool};
pub use verification::{Verification, verify};
