use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::buffer::check_room;
use crate::files::read_limited;
use crate::jpeg::{self, Failure};
use crate::orientation::Orientation;
use crate::{DecodeLimits, Error, Image};
use onebit_files::shown_within;

const EXPECTED: &str = "JPEG, PNG, WebP or BMP content";
const PNG_SIGNATURE: usize = 8;
/// Of all copies of an image that are there at once while it is decoded, in the largest case: 16 bits, converted, turned.
const BYTES_PER_PIXEL: usize = 4 * 2 + 3 + 3;
const LONGEST_REASON: usize = 200;

/// An image file whose header has been read and is within the limits.
pub(crate) struct ImageFile<'a> {
    path: &'a Path,
    limits: &'a DecodeLimits,
    bytes: Vec<u8>,
    format: ImageFormat,
    /// Height and width as stored.
    stored: (usize, usize),
    orientation: Orientation,
}

impl<'a> ImageFile<'a> {
    /// Reads a file, whose format is recognised by its content, and its header.
    pub(crate) fn open(path: &'a Path, limits: &'a DecodeLimits) -> Result<Self, Error> {
        let bytes = read_limited(path, limits.file, "a JPEG, PNG, WebP or BMP image")?;
        let format = match image::guess_format(&bytes) {
            Ok(
                format @ (ImageFormat::Jpeg
                | ImageFormat::Png
                | ImageFormat::WebP
                | ImageFormat::Bmp),
            ) => format,
            Ok(other) => {
                return Err(Error::format(path, "file type", format!("{other:?}"), EXPECTED));
            }
            Err(_) => return Err(Error::format(path, "file type", "unknown", EXPECTED)),
        };
        let mut file =
            Self { path, limits, bytes, format, stored: (0, 0), orientation: Orientation::UPRIGHT };
        (file.stored, file.orientation) = file.header()?;
        file.check_size()?;
        Ok(file)
    }

    /// Height and width as seen.
    pub(crate) fn size(&self) -> (usize, usize) {
        let (height, width) = self.stored;
        if self.orientation.swaps_sides() { (width, height) } else { (height, width) }
    }

    /// Decodes the file and turns the image as its Exif block says.
    pub(crate) fn decode(self) -> Result<Image, Error> {
        self.check_memory()?;
        let image = match self.format {
            ImageFormat::Jpeg => {
                let decoded = jpeg::decode(&self.bytes, self.limits.memory);
                decoded.map_err(|failure| self.jpeg_error(failure))?
            }
            _ => {
                let decoded = DynamicImage::from_decoder(self.decoder()?);
                from_dynamic(decoded.map_err(|error| self.error(error))?)
            }
        };
        Ok(self.orientation.apply(image))
    }

    /// Height and width as stored, and how the image is to be turned.
    fn header(&self) -> Result<((usize, usize), Orientation), Error> {
        if self.format == ImageFormat::Jpeg {
            let header = jpeg::header(&self.bytes).map_err(|failure| self.jpeg_error(failure))?;
            let orientation = header.exif.map_or(Orientation::UPRIGHT, Orientation::of_exif);
            return Ok(((header.height, header.width), orientation));
        }
        let mut decoder = self.decoder()?;
        let (width, height) = decoder.dimensions();
        let exif = match self.format {
            ImageFormat::Png => png_exif(&self.bytes).map(<[u8]>::to_vec),
            // A block that cannot be read is as good as none.
            _ => decoder.exif_metadata().ok().flatten(),
        };
        let orientation = exif.map_or(Orientation::UPRIGHT, |block| Orientation::of_exif(&block));
        Ok(((height as usize, width as usize), orientation))
    }

    fn check_size(&self) -> Result<(), Error> {
        let (height, width) = self.stored;
        let beyond = |limit: String| {
            Err(Error::limit(self.path, "image size", format!("{width} x {height} pixels"), limit))
        };
        if height.max(width) > self.limits.side as usize {
            return beyond(format!("{} pixels a side", self.limits.side));
        }
        if height as u64 * width as u64 > self.limits.pixels {
            return beyond(format!("{} pixels in all", self.limits.pixels));
        }
        Ok(())
    }

    /// Refuses what the system has no memory for: the libraries that decode, and turning the image, end the program
    /// then.
    fn check_memory(&self) -> Result<(), Error> {
        let bytes = self.stored.0 * self.stored.1 * BYTES_PER_PIXEL;
        check_room(bytes, "the image").map_err(|_| Error::Image {
            path: self.path.to_owned(),
            reason: format!("there is not enough memory to decode it: {bytes} bytes are needed"),
        })
    }

    fn decoder(&self) -> Result<impl ImageDecoder + '_, Error> {
        let mut reader = ImageReader::new(Cursor::new(self.bytes.as_slice()));
        reader.set_format(self.format);
        let mut memory = Limits::no_limits();
        memory.max_alloc = Some(self.limits.memory);
        reader.limits(memory);
        reader.into_decoder().map_err(|error| self.error(error))
    }

    fn jpeg_error(&self, failure: Failure) -> Error {
        match failure {
            Failure::Memory => self.too_much_memory(),
            Failure::Refused(reason) => Error::Image { path: self.path.to_owned(), reason },
        }
    }

    fn error(&self, error: ImageError) -> Error {
        match error {
            ImageError::Limits(_) => self.too_much_memory(),
            error => Error::Image {
                path: self.path.to_owned(),
                reason: shown_within(&error.to_string(), LONGEST_REASON),
            },
        }
    }

    fn too_much_memory(&self) -> Error {
        let limit = format!("{} bytes", self.limits.memory);
        Error::limit(self.path, "memory to decode the image", "too much", limit)
    }
}

fn from_dynamic(image: DynamicImage) -> Image {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (channels, pixels) = if image.color().has_color() {
        (3, image.into_rgb8().into_raw())
    } else {
        (1, image.into_luma8().into_raw())
    };
    Image { height, width, channels, pixels }
}

/// The first Exif chunk of a PNG file, which may stand behind the pixels.
fn png_exif(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(PNG_SIGNATURE..)?;
    loop {
        let (length, after) = rest.split_first_chunk()?;
        let (kind, after) = after.split_first_chunk::<4>()?;
        let (data, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        if kind == b"eXIf" {
            return Some(data);
        }
        rest = after.get(4..)?;
    }
}
