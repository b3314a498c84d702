//! A data set whose images are all in memory.

use crate::normalization::{check, measure_normalization};
use crate::{Dataset, Error, Normalization};

/// A data set whose images are all in memory, as bytes.
#[derive(Debug, Clone)]
pub struct InMemory {
    name: String,
    shape: [usize; 3],
    classes: Vec<String>,
    labels: Vec<u32>,
    pixels: Vec<u8>,
    normalization: Normalization,
}

impl InMemory {
    /// Makes a set of `labels.len()` images of `shape` = [channels, height, width].
    ///
    /// `pixels` holds the images one after another, each height x width x channels, channels
    /// innermost. With no `normalization` given, it is measured from the images.
    ///
    /// # Errors
    ///
    /// If there are no images, `pixels` has another length, a label is not below the number of
    /// classes, or `normalization` has another number of channels or a standard deviation that is
    /// not positive.
    pub fn new(
        name: impl Into<String>,
        shape: [usize; 3],
        classes: Vec<String>,
        labels: Vec<u32>,
        pixels: Vec<u8>,
        normalization: Option<Normalization>,
    ) -> Result<Self, Error> {
        let name = name.into();
        let size = shape.iter().try_fold(labels.len(), |product, &side| product.checked_mul(side));
        if size != Some(pixels.len()) || pixels.is_empty() {
            return Err(Error::setting(
                format!("number of pixel bytes of data set `{name}`"),
                pixels.len(),
                format!("{} images x {shape:?}, and not 0", labels.len()),
            ));
        }
        if let Some(label) = labels.iter().find(|&&label| label as usize >= classes.len()) {
            return Err(Error::setting(
                format!("a label of data set `{name}`"),
                label,
                format!("less than the number of classes, {}", classes.len()),
            ));
        }
        let normalization =
            normalization.unwrap_or_else(|| measure_normalization(&pixels, shape[0]));
        check(&normalization, shape[0])?;
        Ok(Self { name, shape, classes, labels, pixels, normalization })
    }
}

impl Dataset for InMemory {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, i: usize) -> usize {
        self.labels.get(i).map_or(0, |&label| label as usize)
    }

    fn read(&self, i: usize, out: &mut [u8]) -> Result<(), Error> {
        let size: usize = self.shape.iter().product();
        check_read(&self.name, self.len(), size, i, out.len())?;
        if let Some(image) = self.pixels.chunks_exact(size).nth(i) {
            out.copy_from_slice(image);
        }
        Ok(())
    }

    fn normalization(&self) -> Normalization {
        self.normalization.clone()
    }
}

pub(crate) fn check_read(
    name: &str,
    len: usize,
    size: usize,
    i: usize,
    out: usize,
) -> Result<(), Error> {
    if i >= len {
        return Err(out_of_range(name, len, i));
    }
    if out != size {
        return Err(Error::setting(
            format!("buffer length for an image of data set `{name}`"),
            out,
            format!("{size} bytes"),
        ));
    }
    Ok(())
}

/// The error for image `i` of a set of `len` images.
pub(crate) fn out_of_range(name: &str, len: usize, i: usize) -> Error {
    Error::setting(
        format!("image index of data set `{name}`"),
        i,
        format!("less than the number of images, {len}"),
    )
}
