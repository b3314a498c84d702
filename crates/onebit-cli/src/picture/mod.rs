//! Pictures: learning curves, the plots of a probe, and contact sheets.

mod curve;
mod plot;
mod probe;
mod sheet;

use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use plotters::style::{FontStyle, register_font};

use crate::failure::{Code, Failure};

pub(crate) use curve::{curve_png, curve_svg};
pub(crate) use probe::{probe_png, probe_svg};
pub(crate) use sheet::{Picture, contact_sheet};

const FONT: &[u8] = include_bytes!("../../assets/fonts/DejaVuSans.ttf");
const FAMILY: &str = "sans-serif";

/// Makes the shipped font the one that text is measured and drawn with.
fn use_font() -> anyhow::Result<()> {
    register_font(FAMILY, FontStyle::Normal, FONT).map_err(|_| bug("the shipped font is damaged"))
}

/// Writes RGB pixels as a PNG file, in full or not at all.
pub(crate) fn write_png(
    path: &Path,
    pixels: &[u8],
    (width, height): (u32, u32),
) -> anyhow::Result<()> {
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(pixels, width, height, ExtendedColorType::Rgb8)
        .map_err(bug)?;
    Ok(onebit_pack::write_atomic(path, &png)?)
}

fn bug(error: impl std::fmt::Display) -> anyhow::Error {
    Failure::with(Code::Software, format!("a picture could not be drawn: {error}"))
}
