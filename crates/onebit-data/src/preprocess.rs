//! From a photograph to a network's input: one way for everybody.

use std::borrow::Cow;
use std::path::Path;

use crate::buffer::zeros;
use crate::decode::{DecodeLimits, check_size, decode_image};
use crate::normalization::{Tables, normalize, tables};
use crate::{Error, Image, Normalization};

/// How photographs become the input of a network.
#[derive(Debug, Clone)]
pub struct Preprocessing {
    /// Channels, height and width of the input.
    shape: [usize; 3],
    tables: Tables,
}

impl Preprocessing {
    /// For a network that takes `[channels, height, width]`, normalised with `normalization`.
    ///
    /// # Errors
    ///
    /// If there are neither 1 nor 3 channels, a side is 0 or beyond 16,384, or the normalisation is for another number of
    /// channels or not usable.
    pub fn new(shape: [usize; 3], normalization: &Normalization) -> Result<Self, Error> {
        let [channels, height, width] = shape;
        if !matches!(channels, 1 | 3) {
            return Err(Error::setting("number of image channels", channels, "1 or 3"));
        }
        check_size(height, width)?;
        Ok(Self { shape, tables: tables(normalization, channels)? })
    }

    /// The input for an image: height x width x channels values, channels innermost.
    ///
    /// # Errors
    ///
    /// If the image is too narrow to be scaled, or there is not enough memory.
    pub fn apply(&self, image: &Image) -> Result<Vec<f32>, Error> {
        let [channels, ..] = self.shape;
        let fitted = fitted(image, self.shape)?;
        let mut input = zeros(fitted.len(), "the image")?;
        normalize(fitted.chunks_exact(channels), &mut input, &self.tables);
        Ok(input)
    }
}

/// Reads an image file for a network that takes `channels` x `height` x `width`.
///
/// This is the transform of evaluation: conversion to the channels ([`Image::to_channels`]), then
/// [`Image::fit`]. Returns height x width x channels bytes.
///
/// # Errors
///
/// As [`decode_image`], or if `channels` is neither 1 nor 3, or `height` or `width` is 0 or beyond
/// 16,384.
pub fn load_for_network(
    path: &Path,
    channels: usize,
    height: usize,
    width: usize,
) -> Result<Vec<u8>, Error> {
    let image = decode_image(path, &DecodeLimits::default())?;
    Ok(fitted(&image, [channels, height, width])?.into_owned())
}

/// The bytes of an image with the channels and the size of a network's input.
fn fitted(image: &Image, [channels, height, width]: [usize; 3]) -> Result<Cow<'_, [u8]>, Error> {
    if (image.channels, image.height, image.width) == (channels, height, width) {
        return Ok(Cow::Borrowed(&image.pixels));
    }
    let image = match image.channels == channels {
        true => image.scaled_to(height, width)?,
        false => image.clone().to_channels(channels)?.fit(height, width)?,
    };
    Ok(Cow::Owned(image.pixels))
}
