use std::path::Path;

use onebit_train::metrics::Row;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::{FAMILY, bug, use_font, write_png};

/// Size in points; the PNG has two pixels for each.
const SIZE: (u32, u32) = (1000, 420);
const PNG_SCALE: u32 = 2;
/// The SVG backend writes smaller font sizes than it is asked for, by this factor.
const SVG_TEXT: f64 = 1.24;
const TRAIN: RGBColor = RGBColor(0xd9, 0x77, 0x06);
const TEST: RGBColor = RGBColor(0x1d, 0x4e, 0xd8);
const TEXT: RGBColor = RGBColor(0x33, 0x33, 0x33);
const LINES: RGBColor = RGBColor(0xe5, 0xe5, 0xe5);

/// Writes loss and accuracy over the epochs as an SVG file.
pub(crate) fn curve_svg(path: &Path, title: &str, rows: &[Row]) -> anyhow::Result<()> {
    use_font()?;
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    draw(&area, Scale { lines: 1, text: SVG_TEXT }, title, rows)?;
    drop(area);
    Ok(onebit_pack::write_atomic(path, svg.as_bytes())?)
}

/// Writes loss and accuracy over the epochs as a PNG file.
pub(crate) fn curve_png(path: &Path, title: &str, rows: &[Row]) -> anyhow::Result<()> {
    use_font()?;
    let size = (PNG_SCALE * SIZE.0, PNG_SCALE * SIZE.1);
    let mut pixels = vec![0; 3 * (size.0 * size.1) as usize];
    let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
    let text = f64::from(PNG_SCALE);
    draw(&area, Scale { lines: PNG_SCALE, text }, title, rows)?;
    drop(area);
    write_png(path, &pixels, size)
}

/// Factors from points to the units of a picture.
#[derive(Clone, Copy)]
struct Scale {
    lines: u32,
    text: f64,
}

type Area<B> = DrawingArea<B, Shift>;

fn draw<B: DrawingBackend>(
    area: &Area<B>,
    scale: Scale,
    title: &str,
    rows: &[Row],
) -> anyhow::Result<()> {
    let error = |e: DrawingAreaErrorKind<B::ErrorType>| bug(e);
    area.fill(&WHITE).map_err(error)?;
    let area = area.margin(8 * scale.lines, 8 * scale.lines, 8 * scale.lines, 16 * scale.lines);
    let area = area.titled(title, font(16.0 * scale.text)).map_err(error)?;
    let (left, right) = area.split_horizontally((50).percent_width());
    panel(&left, scale, "loss", rows, |row| (row.train_loss, row.test_loss)).map_err(error)?;
    let percent = |row: &Row| (100.0 * row.train_top1, 100.0 * row.test_top1);
    panel(&right, scale, "top-1 accuracy, %", rows, percent).map_err(error)?;
    area.present().map_err(error)
}

fn panel<B: DrawingBackend>(
    area: &Area<B>,
    scale: Scale,
    caption: &str,
    rows: &[Row],
    values: impl Fn(&Row) -> (f64, f64),
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let all = rows.iter().flat_map(|row| <[f64; 2]>::from(values(row)));
    let (low, high) = all.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    let room = ((high - low) * 0.06).max(0.01);
    let epochs = 1..rows.last().map_or(2, |row| row.epoch.max(2));
    let mut chart = ChartBuilder::on(area)
        .caption(caption, font(13.0 * scale.text))
        .margin(6 * scale.lines)
        .x_label_area_size(34 * scale.lines)
        .y_label_area_size(44 * scale.lines)
        .build_cartesian_2d(epochs, low - room..high + room)?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .bold_line_style(LINES)
        .light_line_style(TRANSPARENT)
        .axis_style(TEXT.stroke_width(scale.lines))
        .label_style(font(11.0 * scale.text))
        .axis_desc_style(font(11.0 * scale.text))
        .y_label_formatter(&|v| label(*v, high - low))
        .draw()?;
    for (name, color, which) in [("train", TRAIN, 0), ("test", TEST, 1)] {
        let point = |row: &Row| (row.epoch, <[f64; 2]>::from(values(row))[which]);
        let style = color.stroke_width(2 * scale.lines);
        chart.draw_series(LineSeries::new(rows.iter().map(point), style))?.label(name).legend(
            move |(x, y)| PathElement::new([(x, y), (x + 16 * scale.lines as i32, y)], style),
        );
        let dots = rows.iter().map(|row| Circle::new(point(row), 3 * scale.lines, color.filled()));
        chart.draw_series(dots)?;
    }
    let position = if values_fall(rows, &values) {
        SeriesLabelPosition::UpperRight
    } else {
        SeriesLabelPosition::LowerRight
    };
    chart
        .configure_series_labels()
        .position(position)
        .margin(8 * scale.lines)
        .legend_area_size(22 * scale.lines)
        .background_style(WHITE.mix(0.9))
        .border_style(LINES)
        .label_font(font(12.0 * scale.text))
        .draw()
}

fn font(size: f64) -> TextStyle<'static> {
    (FAMILY, size).into_font().color(&TEXT)
}

fn label(value: f64, range: f64) -> String {
    match range {
        10.0.. => format!("{value:.0}"),
        1.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn values_fall(rows: &[Row], values: &impl Fn(&Row) -> (f64, f64)) -> bool {
    let sum = |row: &Row| values(row).0 + values(row).1;
    matches!((rows.first(), rows.last()), (Some(first), Some(last)) if sum(first) > sum(last))
}
