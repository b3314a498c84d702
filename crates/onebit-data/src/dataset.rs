//! What a data set is: labelled images of one size, read by index.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::buffer::zeros;
use crate::{Error, Image, Normalization};
use onebit_files::shown;

/// A set of labelled images of one size, read by index.
///
/// An implementor is one file in `sets/` (a published set) or one module (a file format).
pub trait Dataset: Send + Sync {
    /// The name that was used to open the set.
    fn name(&self) -> &str;

    /// The number of images, at least 1.
    fn len(&self) -> usize;

    /// Whether the set holds no images; never true for a set from [`crate::open`].
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channels, height and width of every image.
    fn shape(&self) -> [usize; 3];

    /// The names of the classes; a label is an index into it.
    fn classes(&self) -> &[String];

    /// The class of image `i`, or 0 where `i` is not below [`Dataset::len`].
    fn label(&self, i: usize) -> usize;

    /// What image `i` is called in a message: its file, or its number in the set.
    fn image_name(&self, i: usize) -> String {
        format!("image {i} (counted from 0) of {}", self.name())
    }

    /// Writes image `i` into `out` as height x width x channels bytes, channels innermost.
    ///
    /// # Errors
    ///
    /// If `i` or the length of `out` does not fit the set, or the image's file cannot be read.
    fn read(&self, i: usize, out: &mut [u8]) -> Result<(), Error>;

    /// Image `i` as it was before it was brought to the set's size, with the set's channels: what a random resized crop
    /// is taken of. In a set whose images have one size, the image itself.
    ///
    /// # Errors
    ///
    /// As [`Dataset::read`].
    fn original(&self, i: usize) -> Result<Image, Error> {
        let [channels, height, width] = self.shape();
        let mut pixels = zeros(channels * height * width, "an image")?;
        self.read(i, &mut pixels)?;
        Ok(Image { height, width, channels, pixels })
    }

    /// The mean and standard deviation to normalise images with.
    fn normalization(&self) -> Normalization;

    /// What whoever opened the set should be told: what was passed over or left out. One sentence each.
    fn warnings(&self) -> &[String] {
        &[]
    }

    /// The folder that holds the images of this split, of a set of image files.
    fn root(&self) -> Option<&Path> {
        None
    }

    /// What [`Dataset::read`] costs, which decides how a [`crate::Loader`] spreads the work.
    fn read_cost(&self) -> ReadCost {
        ReadCost::Copy
    }
}

/// What it costs to read one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadCost {
    /// A copy from memory.
    Copy,
    /// A file is read and decoded; worth several threads.
    Decode,
}

/// The part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// The images to learn from.
    Train,
    /// The images to measure with; `val` is another word for it, and one of two where a folder holds both.
    Test,
}

impl Split {
    /// The word used in a spec: `train` or `test`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

impl FromStr for Split {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        match word {
            "train" => Ok(Self::Train),
            "test" | "val" => Ok(Self::Test),
            _ => Err(Error::setting("split", format!("`{}`", shown(word)), "train, test or val")),
        }
    }
}

/// How to open a data set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Height and width that the images of a folder are brought to; needed unless all its images
    /// have one size. Other sets have a size of their own.
    pub image_size: Option<(usize, usize)>,
    /// Keep only this many images, spread evenly over the set so that all classes stay in it.
    pub limit: Option<usize>,
    /// Decode all images of a folder once when it is opened, and leave out those that cannot be, instead of failing when
    /// one is reached. This takes about as long as reading the set once; other sets have no such images.
    pub skip_bad: bool,
    /// The folder that holds fetched sets, instead of [`crate::data_dir`].
    pub data_dir: Option<PathBuf>,
}

/// Some images of a set, spread evenly over it.
pub struct Subset<D> {
    whole: D,
    len: usize,
}

impl<D: std::ops::Deref<Target = dyn Dataset> + Send + Sync> Subset<D> {
    /// Keeps `len` images of `whole`: image `i` is image `i * whole.len() / len` of the whole.
    ///
    /// # Errors
    ///
    /// If `len` is 0. A `len` beyond the set keeps all of it.
    pub fn new(whole: D, len: usize) -> Result<Self, Error> {
        if len == 0 {
            return Err(Error::setting("limit", 0, "at least 1 image"));
        }
        let len = len.min(whole.len());
        Ok(Self { whole, len })
    }

    fn index(&self, i: usize) -> usize {
        (i as u128 * self.whole.len() as u128 / self.len.max(1) as u128) as usize
    }
}

impl<D: std::ops::Deref<Target = dyn Dataset> + Send + Sync> Dataset for Subset<D> {
    fn name(&self) -> &str {
        self.whole.name()
    }

    fn len(&self) -> usize {
        self.len
    }

    fn shape(&self) -> [usize; 3] {
        self.whole.shape()
    }

    fn classes(&self) -> &[String] {
        self.whole.classes()
    }

    fn label(&self, i: usize) -> usize {
        self.whole.label(self.index(i))
    }

    fn image_name(&self, i: usize) -> String {
        self.whole.image_name(self.index(i))
    }

    fn read(&self, i: usize, out: &mut [u8]) -> Result<(), Error> {
        self.whole.read(self.index(i), out)
    }

    fn original(&self, i: usize) -> Result<Image, Error> {
        self.whole.original(self.index(i))
    }

    fn normalization(&self) -> Normalization {
        self.whole.normalization()
    }

    fn warnings(&self) -> &[String] {
        self.whole.warnings()
    }

    fn root(&self) -> Option<&Path> {
        self.whole.root()
    }

    fn read_cost(&self) -> ReadCost {
        self.whole.read_cost()
    }
}
