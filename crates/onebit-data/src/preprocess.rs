//! From a photograph to a network's input: one way for everybody.

use std::borrow::Cow;
use std::path::Path;

use onebit_model::{ChannelOrder, Gray, Preprocessing as Steps, Resize};

use crate::buffer::zeros;
use crate::decode::{DecodeLimits, check_size, decode_image};
use crate::normalization::{Tables, normalize, tables};
use crate::{Error, Image, Normalization};

/// How photographs become the input of a network.
#[derive(Debug, Clone)]
pub struct Preprocessing {
    /// Channels, height and width of the input.
    shape: [usize; 3],
    /// What the network's file says of it.
    steps: Steps,
    tables: Tables,
}

impl Preprocessing {
    /// For a network that takes `[channels, height, width]`, normalised with `normalization` after the steps of its graph.
    ///
    /// # Errors
    ///
    /// If there are neither 1 nor 3 channels, a side is 0 or beyond 16,384, or the normalisation is for another number of
    /// channels or not usable.
    pub fn new(
        shape: [usize; 3],
        normalization: &Normalization,
        steps: Steps,
    ) -> Result<Self, Error> {
        let [channels, height, width] = shape;
        if !matches!(channels, 1 | 3) {
            return Err(Error::setting("number of image channels", channels, "1 or 3"));
        }
        check_size(height, width)?;
        Ok(Self { shape, steps, tables: tables(normalization, channels)? })
    }

    /// The input for an image: height x width x channels values, channels innermost.
    ///
    /// # Errors
    ///
    /// As [`Preprocessing::pixels`].
    pub fn apply(&self, image: &Image) -> Result<Vec<f32>, Error> {
        let [channels, ..] = self.shape;
        let fitted = self.pixels(image)?;
        let mut input = zeros(fitted.len(), "the image")?;
        normalize(fitted.chunks_exact(channels), &mut input, &self.tables);
        Ok(input)
    }

    /// The input for an image before it is normalised: height x width x channels bytes, channels innermost.
    ///
    /// # Errors
    ///
    /// If the image is too narrow to be scaled, the input is larger than what the steps make, or there is not enough memory.
    pub fn pixels<'a>(&self, image: &'a Image) -> Result<Cow<'a, [u8]>, Error> {
        fitted(image, self.shape, self.steps)
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
    Ok(fitted(&image, [channels, height, width], Steps::default())?.into_owned())
}

/// The bytes of an image with the channels and the size of a network's input.
fn fitted(image: &Image, shape: [usize; 3], steps: Steps) -> Result<Cow<'_, [u8]>, Error> {
    let [channels, height, width] = shape;
    check_size(height, width)?;
    let converted = match image.channels == channels {
        true => Cow::Borrowed(image),
        false => Cow::Owned(converted(image, channels, steps.gray)?),
    };
    let is_there = (image.height, image.width) == (height, width);
    let scaled = match scaled_size(image, steps.resize) {
        None if is_there => converted,
        scaled => {
            let scaled = scaled.unwrap_or_else(|| image.covering(height, width));
            Cow::Owned(converted.resize_and_crop(scaled, (height, width), steps.interpolation)?)
        }
    };
    let turns = channels == 3 && steps.channel_order == ChannelOrder::Bgr;
    Ok(match (scaled, turns) {
        (Cow::Borrowed(image), false) => Cow::Borrowed(&image.pixels),
        (scaled, _) => {
            let mut pixels = scaled.into_owned().pixels;
            if turns {
                pixels.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| pixel.reverse());
            }
            Cow::Owned(pixels)
        }
    })
}

fn converted(image: &Image, channels: usize, gray: Gray) -> Result<Image, Error> {
    match (image.channels, channels, gray) {
        (3, 1, Gray::Mean) => {
            let mean = |pixel: &[u8; 3]| {
                let sum: u16 = pixel.iter().map(|&value| u16::from(value)).sum();
                ((2 * sum + 3) / 6) as u8
            };
            let pixels = image.pixels.as_chunks().0.iter().map(mean).collect();
            Image::from_pixels(image.height, image.width, 1, pixels)
        }
        _ => image.clone().to_channels(channels),
    }
}

/// Rows and columns to which an image is scaled; `None` for those that ImageNet's evaluation gives.
fn scaled_size(image: &Image, resize: Resize) -> Option<(usize, usize)> {
    match resize {
        Resize::Imagenet => None,
        Resize::ShorterSide(side) => Some(shorter(image, side)),
        Resize::Exact([rows, columns]) => Some((rows, columns)),
    }
}

/// Rows and columns of an image whose shorter side is scaled to `side`.
fn shorter(image: &Image, side: usize) -> (usize, usize) {
    match image.width <= image.height {
        true => (image.height * side / image.width.max(1), side),
        false => (side, image.width * side / image.height.max(1)),
    }
}

#[cfg(test)]
mod tests {
    use onebit_model::Interpolation;

    use super::*;

    /// 9 x 12 pixels in colour.
    fn photograph() -> Image {
        let pixel = |y: usize, x: usize| {
            [(x * x * 7 + y * 31) as u8, (x * 37 + y * y * 11) as u8, (x * y * 19 + 5) as u8]
        };
        let pixels = (0..9).flat_map(|y| (0..12).flat_map(move |x| pixel(y, x)));
        Image::from_pixels(9, 12, 3, pixels.collect()).unwrap()
    }

    fn pixels(shape: [usize; 3], steps: Steps) -> Vec<u8> {
        fitted(&photograph(), shape, steps).unwrap().into_owned()
    }

    /// What Pillow's `resize` and a crop of the centre give.
    #[test]
    fn sizes_and_filters_are_those_of_pillow() {
        let bilinear = Interpolation::Bilinear;
        let bicubic = Interpolation::Bicubic;
        for (shape, resize, interpolation, first, sums) in [
            (
                [3, 5, 4],
                Resize::ShorterSide(6),
                bicubic,
                [85, 123, 23, 170, 190, 32, 147, 158, 45, 152, 19, 60],
                [2681, 2575, 2208],
            ),
            (
                [3, 6, 7],
                Resize::Exact([6, 7]),
                bilinear,
                [16, 22, 8, 45, 80, 20, 119, 147, 32, 167, 188, 44],
                [5471, 5298, 4368],
            ),
            (
                [3, 14, 20],
                Resize::Exact([14, 20]),
                bicubic,
                [0, 0, 5, 0, 10, 5, 5, 36, 4, 16, 58, 3],
                [36_343, 35_145, 28_876],
            ),
        ] {
            let found = pixels(shape, Steps { resize, interpolation, ..Steps::default() });
            let near = |a: u8, b: u8| a.abs_diff(b) <= 1;
            assert!(found.iter().zip(first).all(|(&a, b)| near(a, b)), "{resize:?}: {found:?}");
            let sum = |c| found.iter().skip(c).step_by(3).map(|&v| u32::from(v)).sum::<u32>();
            for (c, expected) in sums.into_iter().enumerate() {
                let most = (found.len() / 12) as u32;
                assert!(sum(c).abs_diff(expected) <= most, "{resize:?}: {} {expected}", sum(c));
            }
        }
    }

    #[test]
    fn channels_are_turned_and_averaged() {
        let same = Resize::Exact([9, 12]);
        let plain = pixels([3, 9, 12], Steps { resize: same, ..Steps::default() });
        assert_eq!(plain, photograph().pixels, "the same size is the same image");
        let channel_order = ChannelOrder::Bgr;
        let turned = pixels([3, 9, 12], Steps { resize: same, channel_order, ..Steps::default() });
        let mut back = turned.clone();
        back.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| pixel.reverse());
        assert!(turned != plain && back == plain);
        let mean = Steps { resize: same, gray: Gray::Mean, ..Steps::default() };
        let gray = pixels([1, 9, 12], mean);
        let exact = plain.as_chunks::<3>().0.iter().map(|p| p.map(f64::from).iter().sum::<f64>());
        assert!(gray.iter().zip(exact).all(|(&g, sum)| f64::from(g) == (sum / 3.0).round()));
        let luma = pixels([1, 9, 12], Steps { resize: same, ..Steps::default() });
        assert_ne!(luma, gray);
    }

    #[test]
    fn an_input_larger_than_the_scaled_image_is_refused() {
        let steps = Steps { resize: Resize::ShorterSide(8), ..Steps::default() };
        let error = fitted(&photograph(), [3, 9, 8], steps).unwrap_err().to_string();
        assert!(error.contains("9x8") && error.contains("8x10"), "{error}");
    }
}
