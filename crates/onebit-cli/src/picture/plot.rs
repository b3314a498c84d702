//! Plots as SVG and PNG files.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::{FAMILY, use_font, write_png};

/// Pixels of a PNG for each point.
const PNG_SCALE: u32 = 2;
/// The SVG backend writes smaller font sizes than it is asked for, by this factor.
const SVG_TEXT: f64 = 1.24;
pub(super) const TEXT: RGBColor = RGBColor(0x33, 0x33, 0x33);
pub(super) const LINES: RGBColor = RGBColor(0xe5, 0xe5, 0xe5);

/// Factors from points to the units of a picture.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    pub(super) lines: u32,
    pub(super) text: f64,
}

pub(super) type Area<B> = DrawingArea<B, Shift>;
pub(super) type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// Something that can be drawn on both.
pub(super) trait Plot {
    /// Width and height in points.
    const SIZE: (u32, u32);

    fn draw<B: DrawingBackend>(&self, area: &Area<B>, scale: Scale) -> Drawn<B>;
}

/// Writes `plot` as an SVG file.
pub(super) fn write_plot_svg<P: Plot>(path: &Path, plot: &P) -> anyhow::Result<()> {
    use_font()?;
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, P::SIZE).into_drawing_area();
    let drawn = plot.draw(&area, Scale { lines: 1, text: SVG_TEXT });
    drawn.and_then(|()| area.present()).map_err(super::bug)?;
    drop(area);
    Ok(onebit_pack::write_atomic(path, svg.as_bytes())?)
}

/// Writes `plot` as a PNG file.
pub(super) fn write_plot_png<P: Plot>(path: &Path, plot: &P) -> anyhow::Result<()> {
    use_font()?;
    let size = (PNG_SCALE * P::SIZE.0, PNG_SCALE * P::SIZE.1);
    let mut pixels = vec![0; 3 * (size.0 * size.1) as usize];
    let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
    let drawn = plot.draw(&area, Scale { lines: PNG_SCALE, text: f64::from(PNG_SCALE) });
    drawn.and_then(|()| area.present()).map_err(super::bug)?;
    drop(area);
    write_png(path, &pixels, size)
}

pub(super) fn font(size: f64) -> TextStyle<'static> {
    (FAMILY, size).into_font().color(&TEXT)
}

/// The number with as many places as a scale of `range` needs.
pub(super) fn label(value: f64, range: f64) -> String {
    match range {
        10.0.. => format!("{value:.0}"),
        1.0.. => format!("{value:.1}"),
        0.05.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
