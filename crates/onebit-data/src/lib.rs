//! Image data sets: reading, decoding, augmentation and batches.
//!
//! The walk of a training image:
//!
//! 1. [`open`] turns a spec such as `fashion-mnist-sample:train` or `folder:PATH` into a [`Dataset`].
//! 2. [`Dataset::read`] gives one image as bytes in HWC order.
//! 3. [`Loader`] shuffles, augments, normalises and batches the images on a background thread.
//!
//! Every random decision is a pure function of (seed, epoch, image, purpose), see [`random`], so a
//! run resumes exactly without saving any generator state.

#![forbid(unsafe_code)]

mod augment;
mod buffer;
mod check;
mod cifar;
mod crop;
mod dataset;
mod decode;
mod error;
mod fetch;
mod files;
mod folder;
mod idx;
mod image_file;
mod images;
mod jpeg;
mod list;
mod loader;
mod memory;
mod npy;
mod orientation;
pub mod random;
mod recipe;
mod registry;
mod sample;
mod sets;
mod staging;

pub use augment::{Augment, Placement};
pub use check::{BadImage, Checked, check};
pub use cifar::read_cifar10;
pub use crop::Window;
pub use dataset::{Dataset, Normalization, OpenOptions, ReadCost, Split, Subset};
pub use decode::{DecodeLimits, Image, decode_image, load_for_network};
pub use error::{Error, ErrorKind};
pub use fetch::{Progress, Source, fetch};
pub use files::data_dir;
pub use folder::{Folder, same_images};
pub use idx::{IdxImages, read_idx, read_idx_images, read_idx_labels};
pub use images::{ImageList, list_images};
pub use list::{Listing, SetState, list};
pub use loader::{Batch, Batches, Loader, LoaderConfig};
pub use memory::InMemory;
pub use npy::{read_npy_f32, write_npy_f32};
pub use recipe::{Content, Download, Packing, Recipe};
pub use registry::{open, path};
pub use sample::sample_idx;
