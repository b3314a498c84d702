#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "datasets")]
mod augment;
mod buffer;
#[cfg(feature = "datasets")]
mod check;
#[cfg(feature = "datasets")]
mod cifar;
#[cfg(feature = "datasets")]
mod crop;
#[cfg(feature = "datasets")]
mod data_dir;
#[cfg(feature = "datasets")]
mod dataset;
mod decode;
#[cfg(feature = "datasets")]
mod download_plan;
mod error;
#[cfg(feature = "datasets")]
mod fetch;
mod files;
#[cfg(feature = "datasets")]
mod folder;
#[cfg(feature = "datasets")]
mod gzip;
#[cfg(feature = "datasets")]
mod idx;
mod image_file;
mod images;
mod jpeg;
#[cfg(feature = "datasets")]
mod list;
#[cfg(feature = "datasets")]
mod loader;
#[cfg(feature = "datasets")]
mod memory;
mod normalization;
#[cfg(feature = "datasets")]
mod npy;
mod orientation;
mod preprocess;
pub mod random;
#[cfg(feature = "datasets")]
mod registry;
#[cfg(feature = "datasets")]
mod sample;
#[cfg(feature = "datasets")]
mod sets;
#[cfg(feature = "datasets")]
mod staging;
mod window;

pub use decode::{DecodeLimits, Image, decode_image};
pub use error::Error;
pub use images::{ImageList, list_images};
pub use onebit_files::ErrorKind;
pub use onebit_model::Normalization;
pub use preprocess::{Preprocessing, load_for_network};
pub use window::Window;

#[cfg(feature = "datasets")]
pub use self::{
    augment::{Augment, Placement},
    check::{BadImage, Checked, check},
    cifar::read_cifar10,
    data_dir::data_dir,
    dataset::{Dataset, OpenOptions, ReadCost, Split, Subset},
    download_plan::{Content, Download, DownloadPlan, Packing},
    fetch::{Progress, Source, fetch},
    folder::{Folder, same_images},
    idx::{IdxImages, read_idx, read_idx_images, read_idx_labels},
    list::{Listing, SetState, list},
    loader::{Batch, Batches, Loader, LoaderConfig, Share},
    memory::InMemory,
    normalization::measure_normalization,
    npy::{read_npy_f32, write_npy_f32},
    registry::{open, path},
    sample::sample_idx,
};
