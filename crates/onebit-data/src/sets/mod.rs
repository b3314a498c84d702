//! The published data sets: one file each, and one word in [`SETS`].

mod cifar10;
mod fashion_mnist;
mod fashion_mnist_sample;
mod mnist;

use std::path::Path;

use crate::{Dataset, DownloadPlan, Error, Split};

/// Every published set, in the order in which they are listed.
pub(crate) const SETS: [&Set; 4] =
    [&fashion_mnist_sample::SET, &fashion_mnist::SET, &mnist::SET, &cifar10::SET];

/// A data set opened, or why not.
pub(crate) type Opened = Result<Box<dyn Dataset>, Error>;

/// A published data set.
pub(crate) struct Set {
    /// The name in a data spec, and of the folder in the data folder.
    pub(crate) name: &'static str,
    /// Opens a split; the folder is empty for a bundled set.
    pub(crate) open: fn(&Path, Split) -> Opened,
    /// The number of classes.
    pub(crate) classes: usize,
    /// The number of training images.
    pub(crate) train: usize,
    /// The number of test images.
    pub(crate) test: usize,
    /// Channels, height and width.
    pub(crate) shape: [usize; 3],
    /// The licence and the makers.
    pub(crate) licence: &'static str,
    /// How to fetch it; none for a set that is part of the program.
    pub(crate) download_plan: Option<DownloadPlan<'static>>,
}

impl Set {
    pub(crate) fn bundled(&self) -> bool {
        self.download_plan.is_none()
    }
}
