//! How an image becomes the input of a network.

use serde::{Deserialize, Serialize};

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
}
