//! How an image becomes the input of a network.

use alloc::format;
use alloc::string::ToString;

use serde::{Deserialize, Serialize};

use crate::{GraphError, limits};

/// What is done to an image, upright as its EXIF orientation says, before [`Normalization`](crate::Normalization): it is
/// converted to the channels of the input, scaled, and its centre is cut out. The default is what a file of version 1 means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Preprocessing {
    /// The size to which it is scaled.
    pub resize: Resize,
    /// The filter that scales it.
    pub interpolation: Interpolation,
    /// The order of the channels of an input that has three.
    pub channel_order: ChannelOrder,
    /// What a coloured image is for an input of one channel.
    pub gray: Gray,
}

/// The size to which an image is scaled, before its centre is cut out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Both sides cover 256/224 of the input's, rounded to the nearest pixel: ImageNet's evaluation. An image of the
    /// input's size is left as it is.
    #[default]
    Imagenet,
    /// The shorter side has so many pixels, at least as many as the longer side of the input.
    ShorterSide(usize),
    /// So many rows and columns whatever the image's form, at least as many as the input has.
    Exact([usize; 2]),
}

/// A filter that scales images. It is as wide as the step where an image becomes smaller (antialiased).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// A triangle of two pixels.
    #[default]
    Bilinear,
    /// The cubic of four pixels with a = -1/2 (Catmull-Rom), as in Pillow.
    Bicubic,
}

/// The order of the channels of a coloured image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChannelOrder {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red: networks whose training read images with OpenCV.
    Bgr,
}

/// What a coloured image is for an input of one channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Gray {
    /// The luma of ITU-R BT.601, as in Pillow.
    #[default]
    Luma,
    /// The mean of the three channels, halves rounded up.
    Mean,
}

impl Preprocessing {
    /// Whether it is the default, which a file leaves out.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
    /// Checks that it gives what an input of `[channels, height, width]` takes, and that nothing of it is without effect.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self, [channels, height, width]: [usize; 3]) -> Result<(), GraphError> {
        // What has no effect would give one network several files.
        let unused = |field, value: &str, channels: usize| GraphError::Preprocessing {
            field,
            value: value.to_string(),
            expected: format!(
                "that only with {channels} channel{}",
                if channels == 1 { "" } else { "s" }
            ),
        };
        if channels != 3 && self.channel_order != ChannelOrder::Rgb {
            return Err(unused("channel_order", "bgr", 3));
        }
        if channels != 1 && self.gray != Gray::Luma {
            return Err(unused("gray", "mean", 1));
        }
        let side = |value: usize, least: usize| (least..=limits::MAX_IMAGE_SIDE).contains(&value);
        let (valid, field, value) = match self.resize {
            Resize::Imagenet => return Ok(()),
            Resize::ShorterSide(n) => {
                (side(n, height.max(width)), "resize.shorter_side", n.to_string())
            }
            Resize::Exact([rows, columns]) => {
                let valid = side(rows, height) && side(columns, width);
                (valid, "resize.exact", format!("{rows}x{columns}"))
            }
        };
        if valid {
            return Ok(());
        }
        let most = limits::MAX_IMAGE_SIDE;
        let expected = format!("at least the input's {height}x{width}, and no side above {most}");
        Err(GraphError::Preprocessing { field, value, expected })
    }
}
