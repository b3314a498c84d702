//! IDX files, the format of MNIST.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::gzip::{content_error, find_plain_or_gz, open_plain_or_gz, read_exactly};
use crate::{Error, InMemory, Normalization, Split};

pub(crate) const IMAGES_MAGIC: u32 = 0x0000_0803;
pub(crate) const LABELS_MAGIC: u32 = 0x0000_0801;
const MAX_SIDE: u32 = 16_384;
const MAX_BYTES: u64 = 8 << 30;

/// The content of an IDX file of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdxImages {
    /// The number of images.
    pub count: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// count x height x width bytes.
    pub pixels: Vec<u8>,
}

/// Reads an IDX file of images (`idx3-ubyte`, plain or gzip).
///
/// Format: <http://yann.lecun.com/exdb/mnist/>: big-endian u32 magic 0x803, count, rows, columns,
/// then one byte per pixel.
///
/// # Errors
///
/// If the file is missing, its magic or sizes are wrong, its length is not exactly what the header
/// says, or it is beyond 16,384 pixels a side or 8 GiB.
pub fn read_idx_images(path: &Path) -> Result<IdxImages, Error> {
    let mut reader = open_plain_or_gz(path, "an IDX file of images")?;
    parse_images(path, &mut reader)
}

/// Reads an IDX file of labels (`idx1-ubyte`, plain or gzip): one byte per label.
///
/// # Errors
///
/// If the file is missing, its magic is wrong, or its length is not exactly what the header says.
pub fn read_idx_labels(path: &Path) -> Result<Vec<u8>, Error> {
    let mut reader = open_plain_or_gz(path, "an IDX file of labels")?;
    parse_labels(path, &mut reader)
}

/// Opens the folder of a set kept as the four IDX files of MNIST, each plain or `.gz`:
/// `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`,
/// `t10k-labels-idx1-ubyte`.
///
/// The classes are named by their numbers, from 0 to the highest label of either split. The
/// normalisation is measured from the images of the opened split.
///
/// # Errors
///
/// If a file of the split is missing or damaged, or images and labels differ in number.
pub fn read_idx(folder: &Path, split: Split) -> Result<InMemory, Error> {
    let other = match split {
        Split::Train => Split::Test,
        Split::Test => Split::Train,
    };
    let labels = read_idx_labels(&find(folder, split, "labels-idx1")?)?;
    let mut highest = labels.iter().copied().max();
    if let Ok(path) = find(folder, other, "labels-idx1") {
        highest = highest.max(read_idx_labels(&path)?.iter().copied().max());
    }
    let classes = (0..=highest.unwrap_or(0)).map(|class| class.to_string()).collect();
    let name = format!("idx:{}", folder.display());
    read_named(folder, split, name, classes, None)
}

/// Opens a published set with known classes and normalisation.
pub(crate) fn read_named(
    folder: &Path,
    split: Split,
    name: String,
    classes: Vec<String>,
    normalization: Option<Normalization>,
) -> Result<InMemory, Error> {
    let images_path = find(folder, split, "images-idx3")?;
    let labels_path = find(folder, split, "labels-idx1")?;
    let images = read_idx_images(&images_path)?;
    let labels = read_idx_labels(&labels_path)?;
    assemble(&labels_path, images, &labels, name, classes, normalization)
}

/// Joins images and labels, `labels_path` being named in errors.
pub(crate) fn assemble(
    labels_path: &Path,
    images: IdxImages,
    labels: &[u8],
    name: String,
    classes: Vec<String>,
    normalization: Option<Normalization>,
) -> Result<InMemory, Error> {
    if labels.len() != images.count {
        return Err(Error::format(
            labels_path,
            "number of labels",
            labels.len(),
            format!("{}, the number of images", images.count),
        ));
    }
    let wrong = labels.iter().position(|&label| usize::from(label) >= classes.len());
    if let Some((i, label)) = wrong.and_then(|i| Some((i, labels.get(i)?))) {
        return Err(Error::format(
            labels_path,
            format!("label {i}"),
            label,
            format!("less than {}, the number of classes", classes.len()),
        ));
    }
    InMemory::new(
        name,
        [1, images.height, images.width],
        classes,
        labels.iter().copied().map(u32::from).collect(),
        images.pixels,
        normalization,
    )
}

pub(crate) fn parse_images(path: &Path, reader: &mut dyn Read) -> Result<IdxImages, Error> {
    let [count, height, width] = read_header(path, reader, IMAGES_MAGIC)?;
    for (field, side) in [("rows", height), ("columns", width)] {
        if side == 0 {
            return Err(Error::format(path, field, side, "at least 1"));
        }
        if side > MAX_SIDE {
            return Err(Error::limit(path, field, side, MAX_SIDE));
        }
    }
    let bytes = u64::from(count) * u64::from(height) * u64::from(width);
    if bytes > MAX_BYTES {
        return Err(Error::limit(
            path,
            "image data",
            format!("{bytes} bytes"),
            format!("{MAX_BYTES} bytes"),
        ));
    }
    Ok(IdxImages {
        count: count as usize,
        height: height as usize,
        width: width as usize,
        pixels: read_exactly(path, reader, bytes, "image data")?,
    })
}

pub(crate) fn parse_labels(path: &Path, reader: &mut dyn Read) -> Result<Vec<u8>, Error> {
    let [count] = read_header(path, reader, LABELS_MAGIC)?;
    read_exactly(path, reader, u64::from(count), "label data")
}

fn read_header<const N: usize>(
    path: &Path,
    reader: &mut dyn Read,
    magic: u32,
) -> Result<[u32; N], Error> {
    let mut words = Vec::with_capacity(N + 1);
    for _ in 0..=N {
        let mut word = [0; 4];
        reader.read_exact(&mut word).map_err(|source| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                Error::format(path, "IDX header", "cut off", format!("{} bytes", 4 * (N + 1)))
            }
            _ => content_error(path, source),
        })?;
        words.push(u32::from_be_bytes(word));
        if words[0] != magic {
            return Err(Error::format(
                path,
                "IDX magic",
                format!("{:#010x}", words[0]),
                format!("{magic:#010x}"),
            ));
        }
    }
    if words[1] == 0 {
        return Err(Error::format(path, "count", 0, "at least 1"));
    }
    let mut sizes = [0; N];
    sizes.copy_from_slice(&words[1..]);
    Ok(sizes)
}

/// The plain name of a file of the set: `part` is `images-idx3` or `labels-idx1`.
pub(crate) fn file_name(split: Split, part: &str) -> String {
    match split {
        Split::Train => format!("train-{part}-ubyte"),
        Split::Test => format!("t10k-{part}-ubyte"),
    }
}

/// The file of the set in `folder`, plain or gzip.
pub(crate) fn find(folder: &Path, split: Split, part: &str) -> Result<PathBuf, Error> {
    let name = file_name(split, part);
    find_plain_or_gz(folder, &name, "this IDX file, plain or with .gz at the end")
}
