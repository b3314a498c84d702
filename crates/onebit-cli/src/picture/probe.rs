//! The picture of a probe: each measure of the binary convolutions, layer by layer, and its means by epoch.

use std::path::Path;

use onebit_train::probe::ProbedLayer;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::plot::{
    Area, Drawn, LINES, Plot, Scale, TEXT, font, label, write_plot_png, write_plot_svg,
};
use crate::probed::{MEASURES, Measure, Probed};

const FIRST: RGBColor = RGBColor(0x93, 0xc5, 0xfd);
const MIDDLE: RGBColor = RGBColor(0x3b, 0x82, 0xf6);
const LAST: RGBColor = RGBColor(0x1e, 0x3a, 0x8a);
const MEANS: [RGBColor; MEASURES.len()] = [
    RGBColor(0xf5, 0x9e, 0x0b),
    RGBColor(0xb4, 0x53, 0x09),
    RGBColor(0x1d, 0x4e, 0xd8),
    RGBColor(0x86, 0xef, 0xac),
    RGBColor(0x16, 0xa3, 0x4a),
    RGBColor(0x14, 0x53, 0x2d),
];
/// Points of the line that names the checkpoints.
const KEY_HEIGHT: u32 = 26;
/// Points of a checkpoint's name in that line.
const KEY_WIDTH: u32 = 140;
/// Points beside the means for the names of their lines.
const NAMES_WIDTH: u32 = 158;
/// Points between the names of two lines.
const NAMES_STEP: u32 = 24;
/// Most numbers along the x axis.
const MAX_LABELS: usize = 10;

/// Writes the measures over the layers, and their means over the epochs, as an SVG file.
pub(crate) fn probe_svg(path: &Path, title: &str, checkpoints: &[Probed]) -> anyhow::Result<()> {
    write_plot_svg(path, &Panels { title, checkpoints })
}

/// Writes the measures over the layers, and their means over the epochs, as a PNG file.
pub(crate) fn probe_png(path: &Path, title: &str, checkpoints: &[Probed]) -> anyhow::Result<()> {
    write_plot_png(path, &Panels { title, checkpoints })
}

struct Panels<'a> {
    title: &'a str,
    checkpoints: &'a [Probed],
}

/// Points that are joined, under one name.
struct Series<'a> {
    name: &'a str,
    color: RGBColor,
    points: Vec<(usize, f64)>,
}

impl Plot for Panels<'_> {
    const SIZE: (u32, u32) = (1400, 760);

    fn draw<B: DrawingBackend>(&self, area: &Area<B>, scale: Scale) -> Drawn<B> {
        area.fill(&WHITE)?;
        let edge = 8 * scale.lines;
        let area = area.margin(edge, edge, edge, 2 * edge);
        let area = area.titled(self.title, font(18.0 * scale.text))?;
        let (key, panels) = area.split_vertically(KEY_HEIGHT * scale.lines);
        let chosen = self.chosen();
        draw_key(&key, scale, &chosen)?;
        let measures = self.measures();
        let means = self.means(&measures);
        let count = measures.len() + usize::from(!means.is_empty());
        let panels = panels.split_evenly((2, count.div_ceil(2)));
        let x = self.layers();
        for (area, position) in panels.iter().zip(&measures) {
            let measure = &MEASURES[*position];
            let series: Vec<Series<'_>> =
                chosen.iter().map(|&(probed, color)| over_layers(probed, color, measure)).collect();
            let names = Names { caption: measure.caption, x: &x, y: measure.unit };
            panel(area, scale, &names, &series)?;
        }
        if let (false, Some(area)) = (means.is_empty(), panels.get(measures.len())) {
            let (width, _) = area.dim_in_pixel();
            let (chart, names) =
                area.split_horizontally(width.saturating_sub(NAMES_WIDTH * scale.lines));
            let caption = "means over the binary convolutions";
            panel(&chart, scale, &Names { caption, x: "epoch", y: "share" }, &means)?;
            draw_names(&names, scale, &means)?;
        }
        Ok(())
    }
}

impl<'a> Panels<'a> {
    /// First, middle and last checkpoint with their colours.
    fn chosen(&self) -> Vec<(&'a Probed, RGBColor)> {
        let last = self.checkpoints.len() - 1;
        let mut positions = vec![(last, LAST), (last / 2, MIDDLE), (0, FIRST)];
        positions.dedup_by_key(|(position, _)| *position);
        positions.reverse();
        positions
            .into_iter()
            .map(|(position, color)| (&self.checkpoints[position], color))
            .collect()
    }

    /// Positions of the measures that were made and are not, in every layer, that before them: behind the last module
    /// of a block lies its output.
    fn measures(&self) -> Vec<usize> {
        let layers: Vec<&ProbedLayer> =
            self.checkpoints.iter().flat_map(|probed| &probed.layers).collect();
        let values =
            |position: usize| layers.iter().map(move |layer| (MEASURES[position].of)(layer));
        let is_made = |position: &usize| values(*position).any(|value| value.is_some());
        let is_new =
            |position: &usize| *position == 0 || !values(*position).eq(values(position - 1));
        (0..MEASURES.len()).filter(|position| is_made(position) && is_new(position)).collect()
    }

    /// What the numbers of the x axis are.
    fn layers(&self) -> String {
        let layers = self.checkpoints.last().map_or(&[][..], |probed| &probed.layers);
        match layers {
            [] => "binary convolution".to_owned(),
            [only] => format!("binary convolution: {}", only.name),
            [first, .., last] => {
                let (n, first, last) = (layers.len(), &first.name, &last.name);
                format!("binary convolution, from 1 = {first} to {n} = {last}")
            }
        }
    }

    /// Means over the epochs; none for a single checkpoint.
    fn means(&self, measures: &[usize]) -> Vec<Series<'a>> {
        if self.checkpoints.len() < 2 {
            return Vec::new();
        }
        let series = |&position: &usize| Series {
            name: MEASURES[position].name,
            color: MEANS[position],
            points: self
                .checkpoints
                .iter()
                .filter_map(|probed| Some((probed.epoch?, probed.mean.0[position]?)))
                .collect(),
        };
        measures.iter().map(series).collect()
    }
}

fn over_layers<'a>(probed: &'a Probed, color: RGBColor, measure: &Measure) -> Series<'a> {
    let layers = (1..).zip(&probed.layers);
    let points = layers.filter_map(|(number, layer)| Some((number, (measure.of)(layer)?)));
    Series { name: measure.name, color, points: points.collect() }
}

/// The line under the title that says which checkpoint has which colour.
fn draw_key<B: DrawingBackend>(
    area: &Area<B>,
    scale: Scale,
    chosen: &[(&Probed, RGBColor)],
) -> Drawn<B> {
    let unit = scale.lines as i32;
    let (width, height) = area.dim_in_pixel();
    let (step, middle) = (KEY_WIDTH as i32 * unit, height as i32 / 2);
    let mut x = (width as i32 - chosen.len() as i32 * step) / 2;
    for (probed, color) in chosen {
        let style = color.stroke_width(2 * scale.lines);
        area.draw(&PathElement::new([(x, middle), (x + 20 * unit, middle)], style))?;
        let text = font(14.0 * scale.text).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(probed.label(), (x + 26 * unit, middle), text))?;
        x += step;
    }
    Ok(())
}

/// The names of the lines, one below the other.
fn draw_names<B: DrawingBackend>(area: &Area<B>, scale: Scale, series: &[Series<'_>]) -> Drawn<B> {
    let unit = scale.lines as i32;
    let mut y = 60 * unit;
    for Series { name, color, .. } in series {
        let style = color.stroke_width(2 * scale.lines);
        area.draw(&PathElement::new([(0, y), (18 * unit, y)], style))?;
        let text = font(12.0 * scale.text).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(*name, (24 * unit, y), text))?;
        y += NAMES_STEP as i32 * unit;
    }
    Ok(())
}

/// What stands around a chart.
struct Names<'a> {
    caption: &'a str,
    x: &'a str,
    y: &'a str,
}

/// A chart of shares.
fn panel<B: DrawingBackend>(
    area: &Area<B>,
    scale: Scale,
    names: &Names<'_>,
    series: &[Series<'_>],
) -> Drawn<B> {
    let points = || series.iter().flat_map(|series| &series.points);
    let numbers = points().map(|(number, _)| *number);
    let first = numbers.clone().min().unwrap_or(0);
    let last = numbers.max().unwrap_or(0).max(first);
    let values = points().map(|(_, value)| *value);
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    let room = ((high - low) * 0.06).max(0.002);
    let beside = 0.04 * ((last - first) as f64).max(10.0);
    let labels = (last - first + 1).min(MAX_LABELS);
    let mut chart = ChartBuilder::on(area)
        .caption(names.caption, font(14.0 * scale.text))
        .margin(8 * scale.lines)
        .x_label_area_size(42 * scale.lines)
        .y_label_area_size(58 * scale.lines)
        .build_cartesian_2d(first as f64 - beside..last as f64 + beside, low - room..high + room)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_desc(names.x)
        .y_desc(names.y)
        .x_labels(labels)
        .bold_line_style(LINES)
        .light_line_style(TRANSPARENT)
        .axis_style(TEXT.stroke_width(scale.lines))
        .label_style(font(12.0 * scale.text))
        .axis_desc_style(font(12.0 * scale.text))
        .x_label_formatter(&|&x| if x.fract() == 0.0 { format!("{x}") } else { String::new() })
        .y_label_formatter(&|&v| label(v, high - low))
        .draw()?;
    for Series { color, points, .. } in series {
        let points = || points.iter().map(|&(number, value)| (number as f64, value));
        let style = color.stroke_width(2 * scale.lines);
        chart.draw_series(LineSeries::new(points(), style))?;
        let dot = |point: (f64, f64)| Circle::new(point, 3 * scale.lines, color.filled());
        chart.draw_series(points().map(dot))?;
    }
    Ok(())
}
