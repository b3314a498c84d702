//! The contact sheet: test images with what the network says of them, right or wrong.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{FAMILY, bug, use_font, write_png};

const COLUMNS: usize = 8;
const CELL: (u32, u32) = (168, 214);
const PICTURE: u32 = 140;
const MARGIN: u32 = 28;
const TITLE: u32 = 64;
const RIGHT: RGBColor = RGBColor(0x16, 0x65, 0x34);
const WRONG: RGBColor = RGBColor(0xc8, 0x1e, 0x1e);
const TEXT: RGBColor = RGBColor(0x33, 0x33, 0x33);

/// An image with what it shows and what the network says.
pub(crate) struct Picture {
    /// Height x width x channels bytes, 1 or 3 channels.
    pub(crate) pixels: Vec<u8>,
    /// Its channels, height and width.
    pub(crate) shape: [usize; 3],
    /// Name of its class.
    pub(crate) label: String,
    /// Name of the class that the network chose.
    pub(crate) predicted: String,
    /// Probability that the network gives it.
    pub(crate) probability: f64,
}

/// Writes a PNG file of the pictures, eight in a row, each with the network's answer: wrong ones in red, with the
/// right answer below.
pub(crate) fn contact_sheet(path: &Path, title: &str, pictures: &[Picture]) -> anyhow::Result<()> {
    use_font()?;
    let rows = pictures.len().div_ceil(COLUMNS) as u32;
    let size = (COLUMNS as u32 * CELL.0 + 2 * MARGIN, rows * CELL.1 + TITLE + 2 * MARGIN);
    let mut buffer = vec![0; 3 * (size.0 * size.1) as usize];
    let area = BitMapBackend::with_buffer(&mut buffer, size).into_drawing_area();
    area.fill(&WHITE).map_err(bug)?;
    let style = (FAMILY, 30).into_font().color(&TEXT);
    area.draw(&Text::new(title, (MARGIN as i32 + 14, MARGIN as i32), style)).map_err(bug)?;
    for (i, picture) in pictures.iter().enumerate() {
        let x = MARGIN + (i % COLUMNS) as u32 * CELL.0 + (CELL.0 - PICTURE) / 2;
        let y = MARGIN + TITLE + (i / COLUMNS) as u32 * CELL.1;
        draw(&area, (x as i32, y as i32), picture).map_err(bug)?;
    }
    area.present().map_err(bug)?;
    drop(area);
    write_png(path, &buffer, size)
}

type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    (x, y): (i32, i32),
    picture: &Picture,
) -> Drawn<B> {
    let side = PICTURE as i32;
    for row in 0..side {
        for column in 0..side {
            area.draw_pixel((x + column, y + row), &color(picture, row, column))?;
        }
    }
    let right = picture.label == picture.predicted;
    let color = if right { RIGHT } else { WRONG };
    let frame = [(x - 3, y - 3), (x + side + 2, y + side + 2)];
    area.draw(&Rectangle::new(frame, color.stroke_width(if right { 1 } else { 4 })))?;
    let style = |size: i32, color: &RGBColor| {
        let style = (FAMILY, size).into_font().color(color);
        style.pos(Pos::new(HPos::Center, VPos::Top))
    };
    let answer = format!("{} {:.0}%", picture.predicted, 100.0 * picture.probability);
    let centre = x + side / 2;
    area.draw(&Text::new(answer, (centre, y + side + 10), style(19, &color)))?;
    if !right {
        let truth = format!("is {}", picture.label);
        area.draw(&Text::new(truth, (centre, y + side + 34), style(19, &TEXT)))?;
    }
    Ok(())
}

/// Colour of a point of the scaled picture; the nearest pixel, so that it stays what the network sees.
fn color(picture: &Picture, row: i32, column: i32) -> RGBColor {
    let [channels, height, width] = picture.shape;
    let scaled = |position: i32, extent: usize| position as usize * extent / PICTURE as usize;
    let start = (scaled(row, height) * width + scaled(column, width)) * channels;
    match picture.pixels[start..start + channels] {
        [red, green, blue] => RGBColor(red, green, blue),
        [grey, ..] => RGBColor(grey, grey, grey),
        [] => BLACK,
    }
}
