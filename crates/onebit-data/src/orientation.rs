//! The orientation of an image as its Exif block gives it.

use crate::Image;

const TAG: u16 = 0x0112;
const SHORT: u16 = 3;
const ENTRY: usize = 12;

/// How an image is turned for showing: the values 1 to 8 of Exif's tag `Orientation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Orientation(u16);

impl Orientation {
    /// As stored.
    pub(crate) const UPRIGHT: Self = Self(1);

    /// The orientation that a block of Exif names in its first directory; upright where it is damaged or names none.
    pub(crate) fn of_exif(block: &[u8]) -> Self {
        let block = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
        find(block).filter(|value| (1..=8).contains(value)).map_or(Self::UPRIGHT, Self)
    }

    /// Whether rows become columns.
    pub(crate) fn swaps_sides(self) -> bool {
        self.0 >= 5
    }

    /// The image as it is to be seen.
    pub(crate) fn apply(self, image: Image) -> Image {
        if self == Self::UPRIGHT {
            return image;
        }
        let (from_below, from_right) =
            (matches!(self.0, 3 | 4 | 6 | 7), matches!(self.0, 2 | 3 | 7 | 8));
        let Image { height, width, channels, pixels } = image;
        let row = |i: usize| if from_below { height - 1 - i } else { i };
        let column = |i: usize| if from_right { width - 1 - i } else { i };
        let (rows, columns) = if self.swaps_sides() { (width, height) } else { (height, width) };
        let mut turned = Vec::with_capacity(pixels.len());
        for y in 0..rows {
            for x in 0..columns {
                let (row, column) =
                    if self.swaps_sides() { (row(x), column(y)) } else { (row(y), column(x)) };
                let at = (row * width + column) * channels;
                turned.extend_from_slice(&pixels[at..at + channels]);
            }
        }
        Image { height: rows, width: columns, channels, pixels: turned }
    }
}

/// The tag's value: the header of TIFF gives the order of bytes and the place of the first directory.
fn find(block: &[u8]) -> Option<u16> {
    let little = match block.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = *block.get(at..)?.first_chunk()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let bytes = *block.get(4..)?.first_chunk()?;
    let offset = if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
    let directory = usize::try_from(offset).ok()?;
    let entries = usize::from(short(directory)?);
    let first = directory.checked_add(2)?;
    let mut places = (0..entries).map_while(|i| first.checked_add(i * ENTRY));
    let at = places.find(|&at| short(at) == Some(TAG))?;
    if short(at + 2)? != SHORT {
        return None;
    }
    short(at + 8)
}
