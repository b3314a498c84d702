//! Augmentation: the random crop and mirror of a training image.

use crate::normalization::{Tables, normalize};
use crate::random::{Key, Stream};
use crate::{Error, Window, crop};

/// Random changes to a training image: a crop of one kind, then a mirror.
///
/// The padded crop pads the raw bytes with 0 (black) on every side before normalisation and takes a
/// window of the original size, as `RandomCrop(size, padding)` followed by `RandomHorizontalFlip`
/// of torchvision does. The resized crop takes a window of the image as it was before it was brought
/// to the size of the set ([`crate::Dataset::original`]) and scales it to that size, as
/// `RandomResizedCrop(size, scale)` does.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Augment {
    /// Rows and columns of padding on each side; 0 for no padded crop.
    pub crop_padding: usize,
    /// Least and greatest share of the image's area that a resized crop takes, 0 < least <= greatest <= 1; `None` for
    /// no resized crop.
    pub random_resized_crop: Option<[f64; 2]>,
    /// Mirror half of the images left to right.
    pub horizontal_flip: bool,
}

/// Where a window is taken from an image, and whether it is mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Placement {
    /// The row of the image that becomes row 0; outside of the image is black.
    pub top: i32,
    /// The column of the image that becomes column 0 (before mirroring).
    pub left: i32,
    /// Mirror left to right.
    pub mirrored: bool,
}

impl Augment {
    pub(crate) fn check(&self, height: usize, width: usize) -> Result<(), Error> {
        let most = height.min(width);
        if self.crop_padding > most {
            return Err(Error::setting(
                "crop padding",
                self.crop_padding,
                format!("at most {most}, the shorter side of the images"),
            ));
        }
        let Some([least, greatest]) = self.random_resized_crop else { return Ok(()) };
        if !(least > 0.0 && least <= greatest && greatest <= 1.0) {
            return Err(Error::setting(
                "random resized crop",
                format!("[{least}, {greatest}]"),
                "two shares of the area above 0 and up to 1, the smaller one first",
            ));
        }
        if self.crop_padding > 0 {
            return Err(Error::setting(
                "crop padding",
                self.crop_padding,
                "0 where random resized crops are taken",
            ));
        }
        Ok(())
    }

    /// The window that image `index`, of `height` x `width`, is cut to in `epoch`; all of it without resized crops.
    ///
    /// Ten times, a share of the area is drawn evenly and a width-to-height ratio from 3/4 to 4/3 evenly on a
    /// logarithmic scale, and the first window that fits is taken at an even place; if none fits, the largest window in
    /// the centre whose ratio is within these bounds. Try `k`, counted from 0, uses the values `4k + 4` to `4k + 7` of
    /// [`Stream::AUGMENT`] for area, ratio, row and column.
    #[must_use]
    pub fn window(
        &self,
        seed: u64,
        epoch: u64,
        index: u64,
        (height, width): (usize, usize),
    ) -> Window {
        let key = Key { seed, epoch, index, stream: Stream::AUGMENT };
        match self.random_resized_crop {
            Some(scale) => crop::window(scale, key, height, width),
            None => Window { top: 0, left: 0, height, width },
        }
    }

    /// The placement of image `index` in `epoch`: values 0, 1 and 2 of [`Stream::AUGMENT`] give
    /// the row, the column and the mirroring.
    #[must_use]
    pub fn draw(&self, seed: u64, epoch: u64, index: u64) -> Placement {
        let mut values = Key { seed, epoch, index, stream: Stream::AUGMENT }.values();
        let mut below =
            |bound: u64| values.next().map_or(0, |value| crate::random::scale(value, bound));
        let padding = self.crop_padding as u64;
        let row = below(2 * padding + 1) as i32;
        let column = below(2 * padding + 1) as i32;
        let coin = below(2);
        Placement {
            top: row - padding as i32,
            left: column - padding as i32,
            mirrored: self.horizontal_flip && coin == 1,
        }
    }
}

/// Writes `image` (height x width x channels bytes) to `out` through `tables`, placed.
pub(crate) fn place(
    image: &[u8],
    [channels, _, width]: [usize; 3],
    placement: Placement,
    tables: &Tables,
    out: &mut [f32],
) {
    let row_len = width * channels;
    let black: Vec<f32> = tables.iter().map(|table| table[0]).collect();
    let fill = |pixels: &mut [f32]| {
        for pixel in pixels.chunks_exact_mut(channels) {
            pixel.copy_from_slice(&black);
        }
    };
    let shift = placement.left.unsigned_abs() as usize;
    let skip = shift.min(width) * channels;
    for (y, out_row) in out.chunks_exact_mut(row_len).enumerate() {
        let source = i64::try_from(y).ok().map(|y| y + i64::from(placement.top));
        let source = source.and_then(|y| usize::try_from(y).ok());
        let Some(row) = source.and_then(|y| image.chunks_exact(row_len).nth(y)) else {
            fill(out_row);
            continue;
        };
        let black_first = (placement.left < 0) != placement.mirrored;
        let (inside, outside) = if black_first {
            let (outside, inside) = out_row.split_at_mut(skip);
            (inside, outside)
        } else {
            out_row.split_at_mut(row_len - skip)
        };
        fill(outside);
        let row = if placement.left < 0 { &row[..row_len - skip] } else { &row[skip..] };
        if placement.mirrored {
            normalize(row.chunks_exact(channels).rev(), inside, tables);
        } else {
            normalize(row.chunks_exact(channels), inside, tables);
        }
    }
}
