//! The learning curve of a run: loss and accuracy by epoch.

use std::path::Path;

use onebit_train::metrics::Row;
use plotters::prelude::*;

use super::plot::{
    Area, Drawn, LINES, Plot, Scale, TEXT, font, label, write_plot_png, write_plot_svg,
};

const TRAIN: RGBColor = RGBColor(0xd9, 0x77, 0x06);
const TEST: RGBColor = RGBColor(0x1d, 0x4e, 0xd8);

/// Writes loss and accuracy over the epochs as an SVG file.
pub(crate) fn curve_svg(path: &Path, title: &str, rows: &[Row]) -> anyhow::Result<()> {
    write_plot_svg(path, &Curve { title, rows })
}

/// Writes loss and accuracy over the epochs as a PNG file.
pub(crate) fn curve_png(path: &Path, title: &str, rows: &[Row]) -> anyhow::Result<()> {
    write_plot_png(path, &Curve { title, rows })
}

struct Curve<'a> {
    title: &'a str,
    rows: &'a [Row],
}

impl Plot for Curve<'_> {
    const SIZE: (u32, u32) = (1000, 420);

    fn draw<B: DrawingBackend>(&self, area: &Area<B>, scale: Scale) -> Drawn<B> {
        area.fill(&WHITE)?;
        let area = area.margin(8 * scale.lines, 8 * scale.lines, 8 * scale.lines, 16 * scale.lines);
        let area = area.titled(self.title, font(16.0 * scale.text))?;
        let (left, right) = area.split_horizontally((50).percent_width());
        panel(&left, scale, ("loss", "cross-entropy, nats"), self.rows, |row| {
            (row.train_loss, row.test_loss)
        })?;
        let percent = |row: &Row| (100.0 * row.train_top1, 100.0 * row.test_top1);
        panel(
            &right,
            scale,
            ("top-1 accuracy", "images classified correctly, %"),
            self.rows,
            percent,
        )
    }
}

fn panel<B: DrawingBackend>(
    area: &Area<B>,
    scale: Scale,
    (caption, unit): (&str, &str),
    rows: &[Row],
    values: impl Fn(&Row) -> (f64, f64),
) -> Drawn<B> {
    let all = rows.iter().flat_map(|row| <[f64; 2]>::from(values(row)));
    let all = all.filter(|value| value.is_finite());
    let range = all.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    let (low, high) = if range.0 <= range.1 { range } else { (0.0, 1.0) };
    let room = ((high - low) * 0.06).max(0.01);
    let epochs = 1..rows.last().map_or(2, |row| row.epoch.max(2));
    let mut chart = ChartBuilder::on(area)
        .caption(caption, font(14.0 * scale.text))
        .margin(6 * scale.lines)
        .x_label_area_size(40 * scale.lines)
        .y_label_area_size(58 * scale.lines)
        .build_cartesian_2d(epochs, low - room..high + room)?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .y_desc(unit)
        .bold_line_style(LINES)
        .light_line_style(TRANSPARENT)
        .axis_style(TEXT.stroke_width(scale.lines))
        .label_style(font(12.0 * scale.text))
        .axis_desc_style(font(12.0 * scale.text))
        .y_label_formatter(&|v| label(*v, high - low))
        .draw()?;
    for (name, color, which) in [("train", TRAIN, 0), ("test", TEST, 1)] {
        let point = |row: &Row| (row.epoch, <[f64; 2]>::from(values(row))[which]);
        let points = || rows.iter().map(point).filter(|(_, value)| value.is_finite());
        let style = color.stroke_width(2 * scale.lines);
        chart.draw_series(LineSeries::new(points(), style))?.label(name).legend(move |(x, y)| {
            PathElement::new([(x, y), (x + 16 * scale.lines as i32, y)], style)
        });
        let dots = points().map(|point| Circle::new(point, 3 * scale.lines, color.filled()));
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

fn values_fall(rows: &[Row], values: &impl Fn(&Row) -> (f64, f64)) -> bool {
    let sum = |row: &Row| values(row).0 + values(row).1;
    matches!((rows.first(), rows.last()), (Some(first), Some(last)) if sum(first) > sum(last))
}
