//! Image files decoded within limits, and brought to the size of a network.

use std::path::Path;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{
    FilterType, ImageBufferError, PixelTrait, ResizeAlg, ResizeOptions, Resizer,
};

use onebit_model::Interpolation;

use crate::buffer::zeros;
use crate::image_file::ImageFile;
use crate::{Error, Window};

const RESIZE_NUMERATOR: usize = 256;
const RESIZE_DENOMINATOR: usize = 224;

/// What an image file may ask for; the header is checked before anything is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// The largest height or width, in pixels.
    pub side: u32,
    /// The largest height x width.
    pub pixels: u64,
    /// The most memory that decoding may take, in bytes.
    pub memory: u64,
    /// The largest file, in bytes.
    pub file: u64,
}

impl Default for DecodeLimits {
    /// 16,384 pixels a side, 64 million pixels, 768 MiB of memory, a file of 256 MiB.
    fn default() -> Self {
        Self { side: 16_384, pixels: 64_000_000, memory: 768 << 20, file: 256 << 20 }
    }
}

/// A decoded image: bytes in height x width x channels order, channels innermost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Image {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// height x width x channels bytes.
    pub pixels: Vec<u8>,
}

/// Decodes a JPEG, PNG, WebP or BMP file, recognised by its content.
///
/// Grey images keep one channel, all others become RGB; transparency is dropped, 16-bit values are scaled to 8, and of an
/// animation the first picture is taken. The image is turned as its Exif block says, as browsers do; a damaged block is
/// ignored. What follows the end of a JPEG, such as the film of a phone's motion photo, is ignored too.
///
/// # Errors
///
/// If the file is missing, is no regular file or a link to one, is not a whole image of these formats, or is beyond
/// `limits`.
pub fn decode_image(path: &Path, limits: &DecodeLimits) -> Result<Image, Error> {
    ImageFile::open(path, limits)?.decode()
}

/// Reads height and width, as seen, from the header of an image file, without decoding it.
#[cfg(feature = "datasets")]
pub(crate) fn image_size(path: &Path, limits: &DecodeLimits) -> Result<(usize, usize), Error> {
    Ok(ImageFile::open(path, limits)?.size())
}

impl Image {
    /// Reads and decodes an image file within the [`DecodeLimits`]; see [`decode_image`].
    ///
    /// # Errors
    ///
    /// As [`decode_image`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        decode_image(path.as_ref(), &DecodeLimits::default())
    }

    /// Decodes the content of an image file, which errors call `name`, within the [`DecodeLimits`]; see [`decode_image`].
    ///
    /// # Errors
    ///
    /// As [`decode_image`], but for what concerns the file.
    pub fn from_encoded(bytes: Vec<u8>, name: impl AsRef<Path>) -> Result<Self, Error> {
        ImageFile::of_bytes(bytes, name.as_ref(), &DecodeLimits::default())?.decode()
    }

    /// An image of `height` x `width` pixels with `channels` bytes each, channels innermost: a frame of a camera.
    ///
    /// # Errors
    ///
    /// If `channels` is neither 1 nor 3, a side is 0, or `pixels` has another length.
    pub fn from_pixels(
        height: usize,
        width: usize,
        channels: usize,
        pixels: Vec<u8>,
    ) -> Result<Self, Error> {
        if !matches!(channels, 1 | 3) {
            return Err(Error::setting("number of image channels", channels, "1 or 3"));
        }
        let expected = height.checked_mul(width).and_then(|area| area.checked_mul(channels));
        if expected != Some(pixels.len()) || pixels.is_empty() {
            return Err(Error::setting(
                "length of the pixels",
                pixels.len(),
                format!("{height} x {width} x {channels}, and at least one pixel"),
            ));
        }
        Ok(Self { height, width, channels, pixels })
    }

    /// Converts to 1 channel (luma of ITU-R BT.601, as PIL computes it) or to 3 (grey repeated).
    ///
    /// # Errors
    ///
    /// If `channels` is neither 1 nor 3.
    pub fn to_channels(self, channels: usize) -> Result<Self, Error> {
        let pixels = match (self.channels, channels) {
            (from, to) if from == to => self.pixels,
            (1, 3) => self.pixels.iter().flat_map(|&grey| [grey; 3]).collect(),
            (3, 1) => self.pixels.as_chunks().0.iter().map(luma).collect(),
            _ => {
                return Err(Error::setting("number of image channels", channels, "1 or 3"));
            }
        };
        Ok(Self { channels, pixels, ..self })
    }

    /// Brings the image to `height` x `width` as ImageNet's evaluation does.
    ///
    /// An image of that size is kept as it is. Any other is scaled with an antialiased bilinear
    /// filter until it covers 256/224 of the target (for a square target: the shorter side becomes
    /// `size * 256 / 224`, rounded), and the centre is cut out.
    ///
    /// # Errors
    ///
    /// If `height` or `width` is 0 or beyond 16,384.
    pub fn fit(self, height: usize, width: usize) -> Result<Self, Error> {
        check_size(height, width)?;
        if (self.height, self.width) == (height, width) {
            return Ok(self);
        }
        self.scaled_to(height, width)
    }

    /// [`Image::fit`] of an image of another size.
    pub(crate) fn scaled_to(&self, height: usize, width: usize) -> Result<Self, Error> {
        check_size(height, width)?;
        self.resize_and_crop(self.covering(height, width), (height, width), Interpolation::Bilinear)
    }

    /// Rows and columns of the image when it is scaled to cover 256/224 of the target.
    pub(crate) fn covering(&self, height: usize, width: usize) -> (usize, usize) {
        let (tall, wide) = (enlarged(height), enlarged(width));
        if self.width * tall <= self.height * wide {
            (self.height * wide / self.width.max(1), wide)
        } else {
            (tall, self.width * tall / self.height.max(1))
        }
    }

    /// Cuts `window` out and scales it to `height` x `width` with an antialiased bilinear filter.
    ///
    /// # Errors
    ///
    /// If the window is not inside the image, or `height` or `width` is 0 or beyond 16,384.
    pub fn resized_crop(&self, window: Window, height: usize, width: usize) -> Result<Self, Error> {
        check_size(height, width)?;
        self.cut(window)?.resample(
            (0.0, 0.0),
            (window.height as f64, window.width as f64),
            (height, width),
            Interpolation::Bilinear,
        )
    }

    /// The pixels of `window` alone, so that a filter reads none outside of it.
    fn cut(&self, window: Window) -> Result<Self, Error> {
        let Window { top, left, height, width } = window;
        let inside = |start: usize, size: usize, whole: usize| {
            size > 0 && start.checked_add(size).is_some_and(|end| end <= whole)
        };
        if !inside(top, height, self.height) || !inside(left, width, self.width) {
            return Err(Error::setting(
                "crop window",
                format!("{height} x {width} pixels at row {top}, column {left}"),
                format!("a part of {} x {} pixels", self.height, self.width),
            ));
        }
        let rows = self.pixels.chunks_exact(self.width * self.channels).skip(top).take(height);
        let columns = left * self.channels..(left + width) * self.channels;
        let pixels = rows.flat_map(|row| &row[columns.clone()]).copied().collect();
        Ok(Self { height, width, channels: self.channels, pixels })
    }

    /// Scales to `scaled` and cuts the centre `target` out, sampling only the source of the centre.
    pub(crate) fn resize_and_crop(
        &self,
        scaled: (usize, usize),
        target: (usize, usize),
        interpolation: Interpolation,
    ) -> Result<Self, Error> {
        if scaled.0 < target.0 || scaled.1 < target.1 {
            return Err(Error::setting(
                "size of the network's images",
                format!("{}x{}", target.0, target.1),
                format!("at most the {}x{} to which images are scaled", scaled.0, scaled.1),
            ));
        }
        let ratio = (self.height as f64 / scaled.0 as f64, self.width as f64 / scaled.1 as f64);
        let top = centre(scaled.0, target.0) as f64 * ratio.0;
        let left = centre(scaled.1, target.1) as f64 * ratio.1;
        let size = (target.0 as f64 * ratio.0, target.1 as f64 * ratio.1);
        self.resample((top, left), size, target, interpolation)
    }

    /// Scales the window at `corner` (row, column) of `size` to `target` (rows, columns).
    pub(crate) fn resample(
        &self,
        corner: (f64, f64),
        size: (f64, f64),
        target: (usize, usize),
        interpolation: Interpolation,
    ) -> Result<Self, Error> {
        let filter = match interpolation {
            Interpolation::Bilinear => FilterType::Bilinear,
            Interpolation::Bicubic => FilterType::CatmullRom,
        };
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(filter))
            .use_alpha(false)
            .crop(corner.1, corner.0, size.1, size.0);
        let mut pixels = zeros(target.0 * target.1 * self.channels, "an image of the size wanted")?;
        let resized = match self.channels {
            1 => self.resize::<U8>(target, &mut pixels, &options),
            _ => self.resize::<U8x3>(target, &mut pixels, &options),
        };
        resized
            .map_err(|reason| Error::setting("image", reason, "an image that can be resized"))?;
        Ok(Self { height: target.0, width: target.1, channels: self.channels, pixels })
    }

    /// One kind of pixel: the code of the others need not be compiled.
    fn resize<P: PixelTrait>(
        &self,
        target: (usize, usize),
        pixels: &mut [u8],
        options: &ResizeOptions,
    ) -> Result<(), String> {
        let said = |error: ImageBufferError| error.to_string();
        let (height, width) = (self.height as u32, self.width as u32);
        let source = TypedImageRef::<P>::from_buffer(width, height, &self.pixels).map_err(said)?;
        let (height, width) = (target.0 as u32, target.1 as u32);
        let mut resized = TypedImage::<P>::from_buffer(width, height, pixels).map_err(said)?;
        let done = Resizer::new().resize_typed(&source, &mut resized, options);
        done.map_err(|error| error.to_string())
    }
}

/// Refuses a height or width of 0 or beyond the default limit.
pub(crate) fn check_size(height: usize, width: usize) -> Result<(), Error> {
    let most = DecodeLimits::default().side as usize;
    for (field, side) in [("image height", height), ("image width", width)] {
        if side == 0 || side > most {
            return Err(Error::setting(field, side, format!("1 to {most}")));
        }
    }
    Ok(())
}

fn enlarged(side: usize) -> usize {
    (side * RESIZE_NUMERATOR + RESIZE_DENOMINATOR / 2) / RESIZE_DENOMINATOR
}

fn centre(scaled: usize, target: usize) -> usize {
    let space = scaled.saturating_sub(target);
    space / 2 + usize::from(space % 4 == 3)
}

fn luma(&[red, green, blue]: &[u8; 3]) -> u8 {
    let sum = u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471;
    ((sum + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern() -> Image {
        let pixels = (0..81usize)
            .flat_map(|y| (0..100usize).map(move |x| (x * 7 + y * 13 + x * y / 5) as u8))
            .collect();
        Image { height: 81, width: 100, channels: 1, pixels }
    }

    /// Values of Pillow 12: `resize((39, 32), BILINEAR)`, then rows 2.. and columns 6.. of 28 x 28.
    #[test]
    fn fit_equals_pillow_and_torchvision_within_one_step() {
        let fitted = pattern().fit(28, 28).unwrap();
        let rows: [(usize, [u8; 28]); 2] = [
            (
                0,
                [
                    206, 203, 145, 66, 50, 56, 78, 98, 120, 140, 162, 182, 199, 201, 150, 91, 59,
                    55, 72, 94, 114, 136, 157, 178, 190, 183, 167, 120,
                ],
            ),
            (
                13,
                [
                    193, 77, 50, 87, 125, 163, 198, 160, 76, 59, 96, 134, 172, 195, 153, 65, 69,
                    105, 142, 178, 183, 126, 75, 78, 114, 151, 180, 162,
                ],
            ),
        ];
        for (row, expected) in rows {
            let found = &fitted.pixels[row * 28..][..28];
            let close = found.iter().zip(expected).all(|(&a, b)| a.abs_diff(b) <= 1);
            assert!(close, "row {row}: {found:?}");
        }
        let sum: u32 = fitted.pixels.iter().copied().map(u32::from).sum();
        assert!(sum.abs_diff(99_965) < 200, "{sum}");
    }

    #[test]
    fn grey_is_computed_as_pillow_does() {
        let pixels = pattern()
            .pixels
            .iter()
            .flat_map(|&a| [a, 255 - a, (u32::from(a) * u32::from(a) / 256) as u8])
            .collect();
        let colour = Image { height: 81, width: 100, channels: 3, pixels };
        let grey = colour.to_channels(1).unwrap().pixels;
        assert_eq!(grey[..12], [150, 148, 146, 144, 142, 140, 138, 137, 135, 133, 132, 130]);
        assert_eq!(grey.iter().copied().map(u32::from).sum::<u32>(), 992_675);
    }

    #[test]
    fn sizes_follow_imagenet_evaluation() {
        assert_eq!([224, 28, 32, 1].map(enlarged), [256, 32, 37, 1]);
        let offsets = [(256, 224), (39, 28), (31, 28), (29, 28)].map(|(s, t)| centre(s, t));
        assert_eq!(offsets, [16, 6, 2, 0]);
    }
}
