//! Balanced samples of a set kept as IDX files.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use onebit_files::write_atomic;

use crate::idx::{IMAGES_MAGIC, LABELS_MAGIC, file_name, find};
use crate::{Error, Split, read_idx_images, read_idx_labels};

/// Writes a balanced sample of a set kept as IDX files, as two `.idx?-ubyte.gz` files in `output`.
///
/// The sample is the first `per_class` images of each class, in the order of the whole set. The
/// same input gives the same bytes.
///
/// # Errors
///
/// If the set in `folder` cannot be read, a class has fewer images than `per_class`, or the output
/// cannot be written.
pub fn sample_idx(
    folder: &Path,
    output: &Path,
    split: Split,
    per_class: usize,
) -> Result<(), Error> {
    let labels_path = find(folder, split, "labels-idx1")?;
    let labels = read_idx_labels(&labels_path)?;
    let images = read_idx_images(&find(folder, split, "images-idx3")?)?;
    let size = images.height * images.width;

    let mut taken = [0usize; 256];
    let (mut kept_labels, mut kept_pixels) = (Vec::new(), Vec::new());
    for (&label, image) in labels.iter().zip(images.pixels.chunks_exact(size)) {
        let taken = &mut taken[usize::from(label)];
        if *taken < per_class {
            *taken += 1;
            kept_labels.push(label);
            kept_pixels.extend_from_slice(image);
        }
    }
    let classes = labels.iter().max().map_or(0, |&label| usize::from(label) + 1);
    let short = taken.iter().take(classes).position(|&taken| taken < per_class);
    if let Some(class) = short {
        return Err(Error::format(
            &labels_path,
            format!("number of images of class {class}"),
            taken[class],
            format!("at least {per_class}"),
        ));
    }

    let count = kept_labels.len() as u32;
    let (height, width) = (images.height as u32, images.width as u32);
    write_gz(
        &output.join(file_name(split, "images-idx3") + ".gz"),
        &[IMAGES_MAGIC, count, height, width],
        &kept_pixels,
    )?;
    write_gz(
        &output.join(file_name(split, "labels-idx1") + ".gz"),
        &[LABELS_MAGIC, count],
        &kept_labels,
    )
}

fn write_gz(path: &Path, header: &[u32], data: &[u8]) -> Result<(), Error> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let header: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
    let bytes = encoder
        .write_all(&header)
        .and_then(|()| encoder.write_all(data))
        .and_then(|()| encoder.finish())
        .map_err(|source| Error::write(path, source))?;
    Ok(write_atomic(path, &bytes)?)
}
