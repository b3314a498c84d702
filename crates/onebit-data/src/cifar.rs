//! CIFAR-10 in its binary version.

use std::path::Path;

use onebit_files::{count, shown};

use crate::files::read_limited;
use crate::{Error, InMemory, Normalization, Split};

const SIDE: usize = 32;
const CHANNELS: usize = 3;
const PLANE: usize = SIDE * SIDE;
const RECORD: usize = 1 + CHANNELS * PLANE;
const MAX_FILE_BYTES: u64 = 1 << 30;
const MAX_META_BYTES: u64 = 1 << 16;

/// Opens a folder of CIFAR-10 in its binary version: `data_batch_1.bin` to `data_batch_5.bin`,
/// `test_batch.bin` and `batches.meta.txt`, in `folder` or in `folder/cifar-10-batches-bin`.
///
/// Format: <https://www.cs.toronto.edu/~kriz/cifar.html>: records of 3,073 bytes, a label and then
/// 32 x 32 red, green and blue bytes.
///
/// # Errors
///
/// If a file of the split is missing, is not a whole number of records, or holds a label that
/// `batches.meta.txt` does not name.
pub fn read_cifar10(folder: &Path, split: Split) -> Result<InMemory, Error> {
    read_named(folder, split, format!("cifar:{}", folder.display()))
}

/// Opens a folder of CIFAR-10 under another name.
pub(crate) fn read_named(folder: &Path, split: Split, name: String) -> Result<InMemory, Error> {
    let inner = folder.join("cifar-10-batches-bin");
    let folder = if inner.is_dir() { &inner } else { folder };
    let classes = read_classes(&folder.join("batches.meta.txt"))?;
    let files: &[&str] = match split {
        Split::Train => &[
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
        ],
        Split::Test => &["test_batch.bin"],
    };
    let (mut labels, mut pixels) = (Vec::new(), Vec::new());
    for file in files {
        read_batch(&folder.join(file), classes.len(), &mut labels, &mut pixels)?;
    }
    InMemory::new(
        name,
        [CHANNELS, SIDE, SIDE],
        classes,
        labels,
        pixels,
        Some(Normalization {
            mean: vec![0.4914, 0.4822, 0.4465],
            std: vec![0.2470, 0.2435, 0.2616],
        }),
    )
}

fn read_classes(path: &Path) -> Result<Vec<String>, Error> {
    let bytes = read_limited(path, MAX_META_BYTES, "the names of the classes, one a line")?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Error::format(path, "text", "not UTF-8", "the names of the classes, one a line")
    })?;
    let classes: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    if classes.is_empty() || classes.len() > 256 {
        return Err(Error::format(path, "number of classes", classes.len(), "1 to 256"));
    }
    let same = |(i, name): (usize, &String)| {
        Some((i, classes[..i].iter().position(|earlier| earlier == name)?))
    };
    if let Some((second, first)) = classes.iter().enumerate().find_map(same) {
        let found = format!("`{}`, as class {first} is", shown(&classes[second]));
        return Err(Error::format(path, format!("class {second}"), found, "a name of its own"));
    }
    Ok(classes)
}

fn read_batch(
    path: &Path,
    classes: usize,
    labels: &mut Vec<u32>,
    pixels: &mut Vec<u8>,
) -> Result<(), Error> {
    let bytes = read_limited(path, MAX_FILE_BYTES, "a batch of CIFAR-10 in its binary version")?;
    let (records, rest) = bytes.as_chunks::<RECORD>();
    if records.is_empty() || !rest.is_empty() {
        return Err(Error::format(
            path,
            "length",
            count(bytes.len(), "byte"),
            format!("a multiple of {RECORD} bytes (a label and 3 x 32 x 32 pixels)"),
        ));
    }
    let (len, what) = (records.len() * CHANNELS * PLANE, "the images of CIFAR-10");
    let reserved = pixels.try_reserve(len);
    reserved.map_err(|_| Error::Memory { what: what.to_owned(), bytes: len as u64 })?;
    for (i, [label, planes @ ..]) in records.iter().enumerate() {
        if usize::from(*label) >= classes {
            return Err(Error::format(
                path,
                format!("label {i}"),
                label,
                format!("less than {classes}, the number of classes in batches.meta.txt"),
            ));
        }
        labels.push(u32::from(*label));
        let (red, rest) = planes.split_at(PLANE);
        let (green, blue) = rest.split_at(PLANE);
        for ((&r, &g), &b) in red.iter().zip(green).zip(blue) {
            pixels.extend_from_slice(&[r, g, b]);
        }
    }
    Ok(())
}
