//! An image file whose header is checked before it is decoded.

use std::error::Error as StdError;
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
        Self::of_bytes(bytes, path, limits)
    }

    /// The content of a file that errors call `path`.
    pub(crate) fn of_bytes(
        bytes: Vec<u8>,
        path: &'a Path,
        limits: &'a DecodeLimits,
    ) -> Result<Self, Error> {
        let format = match image::guess_format(&bytes) {
            Ok(
                format @ (ImageFormat::Jpeg
                | ImageFormat::Png
                | ImageFormat::WebP
                | ImageFormat::Bmp),
            ) => format,
            Ok(other) => {
                return Err(Error::format(path, "file type", format_name(other), EXPECTED));
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
    #[cfg(feature = "datasets")]
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
            error => Error::Image { path: self.path.to_owned(), reason: reason(&error) },
        }
    }

    fn too_much_memory(&self) -> Error {
        let limit = format!("{} bytes", self.limits.memory);
        Error::limit(self.path, "memory to decode the image", "too much", limit)
    }
}

/// The usual name of a format.
fn format_name(format: ImageFormat) -> String {
    match format {
        ImageFormat::OpenExr => "OpenEXR".to_owned(),
        ImageFormat::Farbfeld => "farbfeld".to_owned(),
        ImageFormat::Pnm => "PNM".to_owned(),
        format => {
            format.extensions_str().first().map_or("unknown".to_owned(), |e| e.to_uppercase())
        }
    }
}

/// Why a file cannot be decoded, in words: the libraries that decode print values of Rust.
fn reason(error: &ImageError) -> String {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    let mut said = Vec::new();
    while let Some(error) = cause {
        said.push(error.to_string());
        cause = error.source();
    }
    let ends_early = ["fill whole buffer", "nexpected end of file", "nexpected EOF"];
    if said.iter().any(|text| ends_early.iter().any(|words| text.contains(words))) {
        return "it is cut short".to_owned();
    }
    // The first is the format, as Rust prints it, and then the second.
    let own = said.get(1).or(said.first()).map_or("", String::as_str);
    let plain: Vec<String> = without_fields(own).split_whitespace().map(without_capitals).collect();
    shown_within(plain.join(" ").trim_end_matches('.'), LONGEST_REASON)
}

/// A message in which a value such as `ChunkType { type: PLTE, critical: true }` is its first field.
fn without_fields(message: &str) -> String {
    let mut plain = message.to_owned();
    while let Some((before, (inside, after))) =
        plain.split_once(" { ").and_then(|(before, rest)| Some((before, rest.split_once(" }")?)))
    {
        let start = before.rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |at| at + 1);
        let field = inside.split(", ").next().unwrap_or_default();
        let value = field.split_once(": ").map_or(field, |(_, value)| value);
        plain = format!("{}{value}{after}", &before[..start]);
    }
    plain
}

/// `DistanceTooFarBack` as words.
fn without_capitals(word: &str) -> String {
    let is_inner = |pair: &[u8]| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase();
    let inner = word.as_bytes().windows(2).filter(|pair| is_inner(pair)).count();
    if inner == 0 || !word.starts_with(|c: char| c.is_ascii_uppercase()) {
        return word.to_owned();
    }
    let mut words = String::new();
    for c in word.chars() {
        if c.is_ascii_uppercase() && words.ends_with(|c: char| c.is_ascii_lowercase()) {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_libraries_say_has_no_types() {
        let chunk = "ChunkType { type: PLTE, critical: true, private: false }";
        let said = without_fields(&format!("Chunk {chunk} is invalid after {chunk}."));
        assert_eq!(said, "Chunk PLTE is invalid after PLTE.");
        assert_eq!(without_fields("a { b"), "a { b");
        let words =
            ["DistanceTooFarBack", "RGB", "Rgb/Sixteen", "IHDR", "fcTL"].map(without_capitals);
        assert_eq!(words, ["distance too far back", "RGB", "Rgb/Sixteen", "IHDR", "fcTL"]);
    }

    #[test]
    fn formats_have_their_usual_names() {
        let names = [ImageFormat::Gif, ImageFormat::Tiff, ImageFormat::Qoi, ImageFormat::Hdr]
            .map(format_name);
        assert_eq!(names, ["GIF", "TIFF", "QOI", "HDR"]);
    }
}
