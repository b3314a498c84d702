//! Convolutions through copies of their windows (im2col), tile by tile.

use core::ops::Range;

use onebit_model::Geometry;

use super::window::{Window, Workspace, sized};
use crate::gemm::{Mat, Write, product};

/// Most floats of the column buffer of the `Columns` path.
const COLUMN_FLOATS: usize = 1 << 16;

/// A run of output rows, counted over all images, of one group of channels.
struct Tile {
    lines: Range<usize>,
    group: usize,
    /// Output pixels.
    pixels: usize,
    /// Where the group's channels of the first pixel stand in the output.
    start: usize,
}

impl Window {
    pub(super) fn forward_columns(
        &self,
        x: &[f32],
        weight: &[f32],
        y: &mut [f32],
        workspace: &mut Workspace,
    ) {
        let columns = self.columns();
        self.for_each_tile(y.len() / self.y.len(), workspace, |tile, buffer| {
            self.gather(x, tile, buffer);
            let lhs = Mat::rows(buffer, tile.pixels, columns, columns);
            let rhs = self.filters(weight, tile).transposed();
            let y = &mut y[tile.start..];
            product(y, self.geometry.out_channels, lhs, rhs, Write::Overwrite);
        });
    }

    pub(super) fn backward_weight_columns(
        &self,
        x: &[f32],
        gy: &[f32],
        gw: &mut [f32],
        workspace: &mut Workspace,
    ) {
        let columns = self.columns();
        self.for_each_tile(gy.len() / self.y.len(), workspace, |tile, buffer| {
            self.gather(x, tile, buffer);
            let lhs = self.gradients(gy, tile).transposed();
            let rhs = Mat::rows(buffer, tile.pixels, columns, columns);
            let gw = &mut gw[tile.group * self.group_outputs() * columns..];
            product(gw, columns, lhs, rhs, Write::Add);
        });
    }

    pub(super) fn backward_input_columns(
        &self,
        gy: &[f32],
        weight: &[f32],
        gx: &mut [f32],
        workspace: &mut Workspace,
    ) {
        self.for_each_tile(gy.len() / self.y.len(), workspace, |tile, buffer| {
            let (lhs, rhs) = (self.gradients(gy, tile), self.filters(weight, tile));
            product(buffer, self.columns(), lhs, rhs, Write::Overwrite);
            self.scatter(buffer, tile, gx);
        });
    }

    /// Values under one window of one group.
    fn columns(&self) -> usize {
        self.geometry.kernel * self.geometry.kernel * self.group_channels()
    }

    /// Output channels of a group.
    fn group_outputs(&self) -> usize {
        self.geometry.out_channels / self.geometry.groups
    }

    /// The group's filters, one in each row.
    fn filters<'a>(&self, weight: &'a [f32], tile: &Tile) -> Mat<'a> {
        let (outputs, columns) = (self.group_outputs(), self.columns());
        Mat::rows(&weight[tile.group * outputs * columns..], outputs, columns, columns)
    }

    /// The group's channels of the output's gradient, one pixel in each row.
    fn gradients<'a>(&self, gy: &'a [f32], tile: &Tile) -> Mat<'a> {
        let outputs = self.group_outputs();
        Mat::rows(&gy[tile.start..], tile.pixels, outputs, self.geometry.out_channels)
    }

    /// Calls `f` with every tile and a buffer for its windows.
    fn for_each_tile(
        &self,
        images: usize,
        workspace: &mut Workspace,
        mut f: impl FnMut(&Tile, &mut [f32]),
    ) {
        let (lines, columns) = (images * self.y.height, self.columns());
        let step = (COLUMN_FLOATS / (columns * self.y.width)).max(1);
        for first in (0..lines).step_by(step) {
            let lines = first..(first + step).min(lines);
            let pixels = lines.len() * self.y.width;
            let buffer = sized(&mut workspace.columns, pixels * columns);
            for group in 0..self.geometry.groups {
                let start = first * self.y.width * self.geometry.out_channels
                    + group * self.group_outputs();
                f(&Tile { lines: lines.clone(), group, pixels, start }, buffer);
            }
        }
    }

    /// Copies the windows of the output rows of `tile` into `[row, k, k, channels]`.
    fn gather(&self, x: &[f32], tile: &Tile, out: &mut [f32]) {
        let channels = self.group_channels();
        let pad = self.pad;
        let mut taps = out.chunks_exact_mut(channels);
        self.for_each_tap(tile, |start| {
            let Some(tap) = taps.next() else { return };
            match start {
                Some(start) => tap.copy_from_slice(&x[start..start + channels]),
                None => tap.fill(pad),
            }
        });
    }

    /// Adds `[row, k, k, channels]` back to where [`Window::gather`] read; padded taps are dropped.
    fn scatter(&self, columns: &[f32], tile: &Tile, gx: &mut [f32]) {
        let channels = self.group_channels();
        let mut taps = columns.chunks_exact(channels);
        self.for_each_tap(tile, |start| {
            if let (Some(tap), Some(start)) = (taps.next(), start) {
                let target = &mut gx[start..start + channels];
                target.iter_mut().zip(tap).for_each(|(t, v)| *t += v);
            }
        });
    }

    /// Calls `f` with the offset of each tap's first channel in `x`, `None` for padding.
    #[inline(always)]
    fn for_each_tap(&self, tile: &Tile, mut f: impl FnMut(Option<usize>)) {
        let Geometry { kernel, stride, padding, .. } = self.geometry;
        let offset = tile.group * self.group_channels();
        let inside =
            |position: usize, extent: usize| position.checked_sub(padding).filter(|&p| p < extent);
        for row in tile.lines.clone() {
            let (image, oy) = (row / self.y.height, row % self.y.height);
            for ox in 0..self.y.width {
                for kh in 0..kernel {
                    let y = inside(oy * stride + kh, self.x.height);
                    for kw in 0..kernel {
                        let x = inside(ox * stride + kw, self.x.width);
                        f(y.zip(x).map(|(y, x)| {
                            let pixel = (image * self.x.height + y) * self.x.width + x;
                            pixel * self.x.channels + offset
                        }));
                    }
                }
            }
        }
    }
}
