//! Convolutions of stride 1 without copies of windows (im2col): the images of a tile are laid into one
//! padded array, so that the k*C values under one row of the window lie side by side and k products
//! over that array make the convolution. Neighbouring rows and images share their padding.

use onebit_model::bits;

use super::Gradient;
use super::window::{ConvInput, Window, Workspace, expand, sized};
use crate::gemm::{Mat, Write, product};
use crate::simd::vectorized;

impl Window {
    pub(super) fn forward_same(
        &self,
        x: ConvInput<'_>,
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

    pub(super) fn backward_same(
        &self,
        x: ConvInput<'_>,
        gy: &[f32],
        rotated: &[f32],
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
        layout.fill(ConvInput::Floats(gy), o, 0.0, padded_grad);
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
            let rhs = Mat::rows(&rotated[kh * k * o * c..], k * o, c, c);
            product(wide, c, lhs, rhs, if kh == 0 { Write::Overwrite } else { Write::Add });
        }
        let write = if gx.first { Write::Overwrite } else { Write::Add };
        layout.extract(wide, c, None, gx.data, write);
    }
}

/// Pixels of a tile of images with shared padding: `padding` pixels behind every row and rows
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

    fn fill(&self, x: ConvInput<'_>, channels: usize, pad: f32, out: &mut [f32]) {
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
                        ConvInput::Floats(x) => target.copy_from_slice(&x[index * row..][..row]),
                        ConvInput::Bits(words) => {
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
