//! Convolutions of real maps as matrix products, forward and both gradients.
//!
//! Two paths. `Same` is for stride 1, one group and an output as large as the input: the images of a
//! group are laid into one padded array, so that the k*C values under one row of the window lie
//! side by side and a product over that array needs no copy of the windows (im2col); neighbouring
//! rows and images share their padding. `Columns` copies windows and takes every other case.

use onebit_model::{Geometry, Shape, bits};

use super::Gradient;
use crate::gemm::{Mat, Write, product};
use crate::simd::vectorized;

/// Most floats of the column buffer of the `Columns` path.
const COLUMN_FLOATS: usize = 1 << 16;

/// Below this many values under one row of the window, windows are copied: products would be too narrow.
const NARROW_ROW: usize = 24;

/// Buffers that the layers of one chunk share; each layer takes what it needs.
#[derive(Default)]
pub(crate) struct Workspace {
    padded: Vec<f32>,
    padded_grad: Vec<f32>,
    wide: Vec<f32>,
    columns: Vec<f32>,
    /// Activations of a binary convolution as floats.
    expanded: Vec<f32>,
    /// Bits of one image, regrouped for the popcount kernel.
    pub(crate) words: Vec<u64>,
    /// Small per-channel vectors.
    pub(crate) vectors: Vec<f32>,
}

/// The first `len` elements of `buffer`, which grows if needed and keeps old content.
pub(crate) fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}

/// The input of a convolution.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// A real map.
    Floats(&'a [f32]),
    /// A bit map, read as +1 and -1.
    Bits(&'a [u64]),
}

/// A convolution's extents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) geometry: Geometry,
    pub(crate) x: Shape,
    pub(crate) y: Shape,
    /// Value of padded taps.
    pub(crate) pad: f32,
}

impl Window {
    /// `y = (x conv weight) * scale`, `weight` OHWI, `scale` per output channel.
    pub(crate) fn forward(
        &self,
        x: Source<'_>,
        weight: &[f32],
        scale: Option<&[f32]>,
        y: &mut [f32],
        workspace: &mut Workspace,
    ) {
        if self.is_same() {
            self.forward_same(x, weight, scale, y, workspace);
            return;
        }
        self.with_floats(x, workspace, |x, workspace| self.forward_columns(x, weight, y, workspace));
        if let Some(scale) = scale {
            scale_channels(y, scale);
        }
    }

    /// Adds the gradient of the weights (OHWI) to `gw`; sends that of `x` to `gx`, unless it is
    /// empty, through the weights that [`Window::turned`] prepared.
    pub(crate) fn backward(
        &self,
        x: Source<'_>,
        gy: &[f32],
        turned: &[f32],
        gw: &mut [f32],
        gx: Gradient<'_>,
        workspace: &mut Workspace,
    ) {
        if self.is_same() {
            return self.backward_same(x, gy, turned, gw, gx, workspace);
        }
        self.with_floats(x, workspace, |x, workspace| {
            self.backward_weight_columns(x, gy, gw, workspace);
        });
        if let Some(gx) = gx.into_buffer() {
            self.backward_input_columns(gy, turned, gx, workspace);
        }
    }

    /// Calls `f` with the input as floats.
    fn with_floats(
        &self,
        x: Source<'_>,
        workspace: &mut Workspace,
        f: impl FnOnce(&[f32], &mut Workspace),
    ) {
        match x {
            Source::Floats(x) => f(x, workspace),
            Source::Bits(words) => {
                let channels = self.x.channels;
                let mut expanded = core::mem::take(&mut workspace.expanded);
                let out = sized(&mut expanded, words.len() / bits::words(channels) * channels);
                vectorized(
                    #[inline(always)]
                    || expand(words, channels, out),
                );
                f(out, workspace);
                workspace.expanded = expanded;
            }
        }
    }

    /// The weights as [`Window::backward`] reads them, each output channel times its scale:
    /// turned by 180 degrees in `[k, k, O, I]` order for the `Same` path, OHWI otherwise.
    pub(crate) fn turned(&self, weight: &[f32], scale: Option<&[f32]>, out: &mut [f32]) {
        let Geometry { out_channels, kernel, .. } = self.geometry;
        let (taps, channels) = (kernel * kernel, self.group_channels());
        let same = self.is_same();
        for (o, filter) in weight.chunks_exact(taps * channels).enumerate() {
            let factor = scale.map_or(1.0, |s| s[o]);
            for (t, tap) in filter.chunks_exact(channels).enumerate() {
                let position = if same { (taps - 1 - t) * out_channels + o } else { o * taps + t };
                let target = &mut out[position * channels..][..channels];
                target.iter_mut().zip(tap).for_each(|(t, w)| *t = w * factor);
            }
        }
    }

    fn group_channels(&self) -> usize {
        self.x.channels / self.geometry.groups
    }

    fn is_same(&self) -> bool {
        let Geometry { kernel, stride, padding, groups, .. } = self.geometry;
        stride == 1
            && groups == 1
            && 2 * padding + 1 == kernel
            && kernel * self.x.channels >= NARROW_ROW
    }

    fn forward_same(
        &self,
        x: Source<'_>,
        weight: &[f32],
        scale: Option<&[f32]>,
        y: &mut [f32],
        workspace: &mut Workspace,
    ) {
        let (k, c, o) = (self.geometry.kernel, self.x.channels, self.geometry.out_channels);
        let layout = Padded::new(self, y.len() / self.y.len());
        let rows = layout.rows();
        let padded = sized(&mut workspace.padded, layout.pixels() * c);
        layout.fill(x, c, self.pad, padded);
        let wide = sized(&mut workspace.wide, rows * o);
        for kh in 0..k {
            let lhs = Mat::rows(&padded[kh * layout.width * c..], rows, k * c, c);
            let rhs = Mat::rows(&weight[kh * k * c..], o, k * c, k * k * c).transposed();
            product(wide, o, lhs, rhs, if kh == 0 { Write::Overwrite } else { Write::Add });
        }
        layout.extract(wide, o, scale, y, Write::Overwrite);
    }

    fn backward_same(
        &self,
        x: Source<'_>,
        gy: &[f32],
        turned: &[f32],
        gw: &mut [f32],
        gx: Gradient<'_>,
        workspace: &mut Workspace,
    ) {
        let (k, c, o) = (self.geometry.kernel, self.x.channels, self.geometry.out_channels);
        let layout = Padded::new(self, gy.len() / self.y.len());
        let rows = layout.rows();
        let padded = sized(&mut workspace.padded, layout.pixels() * c);
        layout.fill(x, c, self.pad, padded);
        let padded_grad = sized(&mut workspace.padded_grad, layout.pixels() * o);
        layout.fill(Source::Floats(gy), o, 0.0, padded_grad);
        let lhs = Mat::rows(&padded_grad[layout.lead() * o..], rows, o, o).transposed();
        for kh in 0..k {
            let rhs = Mat::rows(&padded[kh * layout.width * c..], rows, k * c, c);
            product(&mut gw[kh * k * c..], k * k * c, lhs, rhs, Write::Add);
        }
        if gx.data.is_empty() {
            return;
        }
        let wide = sized(&mut workspace.wide, rows * c);
        for kh in 0..k {
            let lhs = Mat::rows(&padded_grad[kh * layout.width * o..], rows, k * o, o);
            let rhs = Mat::rows(&turned[kh * k * o * c..], k * o, c, c);
            product(wide, c, lhs, rhs, if kh == 0 { Write::Overwrite } else { Write::Add });
        }
        let write = if gx.first { Write::Overwrite } else { Write::Add };
        layout.extract(wide, c, None, gx.data, write);
    }

    fn forward_columns(&self, x: &[f32], weight: &[f32], y: &mut [f32], workspace: &mut Workspace) {
        let o = self.geometry.out_channels;
        let (group_out, columns) = (o / self.geometry.groups, self.columns());
        for tile in self.tiles(y.len() / self.y.len()) {
            let rows = tile.len() * self.y.width;
            let buffer = sized(&mut workspace.columns, rows * columns);
            for group in 0..self.geometry.groups {
                self.gather(x, &tile, group, buffer);
                let lhs = Mat::rows(buffer, rows, columns, columns);
                let filters = &weight[group * group_out * columns..];
                let rhs = Mat::rows(filters, group_out, columns, columns).transposed();
                let start = tile.start * self.y.width * o + group * group_out;
                product(&mut y[start..], o, lhs, rhs, Write::Overwrite);
            }
        }
    }

    fn backward_weight_columns(
        &self,
        x: &[f32],
        gy: &[f32],
        gw: &mut [f32],
        workspace: &mut Workspace,
    ) {
        let o = self.geometry.out_channels;
        let (group_out, columns) = (o / self.geometry.groups, self.columns());
        for tile in self.tiles(gy.len() / self.y.len()) {
            let rows = tile.len() * self.y.width;
            let buffer = sized(&mut workspace.columns, rows * columns);
            for group in 0..self.geometry.groups {
                self.gather(x, &tile, group, buffer);
                let start = tile.start * self.y.width * o + group * group_out;
                let lhs = Mat::rows(&gy[start..], rows, group_out, o).transposed();
                let rhs = Mat::rows(buffer, rows, columns, columns);
                product(&mut gw[group * group_out * columns..], columns, lhs, rhs, Write::Add);
            }
        }
    }

    fn backward_input_columns(
        &self,
        gy: &[f32],
        weight: &[f32],
        gx: &mut [f32],
        workspace: &mut Workspace,
    ) {
        let o = self.geometry.out_channels;
        let (group_out, columns) = (o / self.geometry.groups, self.columns());
        for tile in self.tiles(gy.len() / self.y.len()) {
            let rows = tile.len() * self.y.width;
            let buffer = sized(&mut workspace.columns, rows * columns);
            for group in 0..self.geometry.groups {
                let start = tile.start * self.y.width * o + group * group_out;
                let lhs = Mat::rows(&gy[start..], rows, group_out, o);
                let filters = &weight[group * group_out * columns..];
                let rhs = Mat::rows(filters, group_out, columns, columns);
                product(buffer, columns, lhs, rhs, Write::Overwrite);
                self.scatter(buffer, &tile, group, gx);
            }
        }
    }

    /// Values under one window of one group.
    fn columns(&self) -> usize {
        self.geometry.kernel * self.geometry.kernel * self.group_channels()
    }

    /// Runs of output rows, counted over all images, whose windows fit the column buffer.
    fn tiles(&self, images: usize) -> impl Iterator<Item = core::ops::Range<usize>> + use<> {
        let rows = images * self.y.height;
        let step = (COLUMN_FLOATS / (self.columns() * self.y.width)).max(1);
        (0..rows).step_by(step).map(move |start| start..(start + step).min(rows))
    }

    /// Copies the windows of the output rows `tile` of `group` into `[row, k, k, channels]`.
    fn gather(&self, x: &[f32], tile: &core::ops::Range<usize>, group: usize, out: &mut [f32]) {
        let channels = self.group_channels();
        let pad = self.pad;
        let mut taps = out.chunks_exact_mut(channels);
        self.for_each_tap(tile, group, |start| {
            let Some(tap) = taps.next() else { return };
            match start {
                Some(start) => tap.copy_from_slice(&x[start..start + channels]),
                None => tap.fill(pad),
            }
        });
    }

    /// Adds `[row, k, k, channels]` back to where [`Window::gather`] read; padded taps are dropped.
    fn scatter(
        &self,
        columns: &[f32],
        tile: &core::ops::Range<usize>,
        group: usize,
        gx: &mut [f32],
    ) {
        let channels = self.group_channels();
        let mut taps = columns.chunks_exact(channels);
        self.for_each_tap(tile, group, |start| {
            if let (Some(tap), Some(start)) = (taps.next(), start) {
                let target = &mut gx[start..start + channels];
                target.iter_mut().zip(tap).for_each(|(t, v)| *t += v);
            }
        });
    }

    /// Calls `f` with the offset of each tap's first channel in `x`, `None` for padding.
    #[inline(always)]
    fn for_each_tap(
        &self,
        tile: &core::ops::Range<usize>,
        group: usize,
        mut f: impl FnMut(Option<usize>),
    ) {
        let Geometry { kernel, stride, padding, .. } = self.geometry;
        let offset = group * self.group_channels();
        let inside =
            |position: usize, extent: usize| position.checked_sub(padding).filter(|&p| p < extent);
        for row in tile.clone() {
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

/// Pixels of a group of images with shared padding: `padding` pixels behind every row and rows
/// behind every image, and as much before the first and after the last.
struct Padded {
    images: usize,
    height: usize,
    inner_width: usize,
    padding: usize,
    /// Pixels from one row to the next.
    width: usize,
}

impl Padded {
    fn new(window: &Window, images: usize) -> Self {
        let (padding, inner_width) = (window.geometry.padding, window.x.width);
        let width = inner_width + padding;
        Padded { images, height: window.x.height, inner_width, padding, width }
    }

    /// Pixels before the first one of the first image.
    fn lead(&self) -> usize {
        self.padding * (self.width + 1)
    }

    /// Positions of the window: real pixels and, between them, padding whose results are dropped.
    fn rows(&self) -> usize {
        self.images * (self.height + self.padding) * self.width
    }

    fn pixels(&self) -> usize {
        self.rows() + 2 * self.lead()
    }

    /// Position of the first pixel of row `y` of `image`, counted from the first pixel.
    fn row(&self, image: usize, y: usize) -> usize {
        (image * (self.height + self.padding) + y) * self.width
    }

    fn fill(&self, x: Source<'_>, channels: usize, pad: f32, out: &mut [f32]) {
        let row = self.inner_width * channels;
        let row_words = self.inner_width * bits::words(channels);
        let mut written = 0;
        vectorized(
            #[inline(always)]
            || {
                for index in 0..self.images * self.height {
                    let at = self.lead() + self.row(index / self.height, index % self.height);
                    let start = at * channels;
                    out[written..start].fill(pad);
                    let target = &mut out[start..start + row];
                    match x {
                        Source::Floats(x) => target.copy_from_slice(&x[index * row..][..row]),
                        Source::Bits(words) => {
                            expand(&words[index * row_words..][..row_words], channels, target);
                        }
                    }
                    written = start + row;
                }
            },
        );
        out[written..].fill(pad);
    }

    fn extract(
        &self,
        wide: &[f32],
        channels: usize,
        scale: Option<&[f32]>,
        y: &mut [f32],
        write: Write,
    ) {
        let row = self.inner_width * channels;
        vectorized(
            #[inline(always)]
            || {
                for (index, target) in y.chunks_exact_mut(row).enumerate() {
                    let at = self.row(index / self.height, index % self.height);
                    let source = &wide[at * channels..][..row];
                    match (scale, write) {
                        (None, Write::Overwrite) => target.copy_from_slice(source),
                        (None, Write::Add) => add(target, source),
                        (Some(scale), _) => scaled(target, source, scale),
                    }
                }
            },
        );
    }
}

/// Writes +1 and -1 for the bits of each pixel.
#[inline(always)]
fn expand(words: &[u64], channels: usize, out: &mut [f32]) {
    let per_pixel = bits::words(channels);
    for (pixel, target) in words.chunks_exact(per_pixel).zip(out.chunks_exact_mut(channels)) {
        for (&word, values) in pixel.iter().zip(target.chunks_mut(bits::WORD_BITS)) {
            for (i, value) in values.iter_mut().enumerate() {
                *value = if word >> i & 1 == 1 { 1.0 } else { -1.0 };
            }
        }
    }
}

#[inline(always)]
fn add(target: &mut [f32], source: &[f32]) {
    target.iter_mut().zip(source).for_each(|(t, s)| *t += s);
}

#[inline(always)]
fn scaled(target: &mut [f32], source: &[f32], scale: &[f32]) {
    let pixels = target.chunks_exact_mut(scale.len()).zip(source.chunks_exact(scale.len()));
    for (target, source) in pixels {
        for ((t, s), a) in target.iter_mut().zip(source).zip(scale) {
            *t = s * a;
        }
    }
}

/// `y = y * scale` for every pixel.
pub(crate) fn scale_channels(y: &mut [f32], scale: &[f32]) {
    vectorized(
        #[inline(always)]
        || {
            for pixel in y.chunks_exact_mut(scale.len()) {
                pixel.iter_mut().zip(scale).for_each(|(y, s)| *y *= s);
            }
        },
    );
}
