//! Average, maximum and global average pooling.

use onebit_model::Shape;

use super::{Backward, Forward, Layer};
use crate::simd::vectorized;

pub(crate) struct AvgPool {
    kernel: usize,
    stride: usize,
    x: Shape,
    y: Shape,
}

impl AvgPool {
    pub(crate) fn new(kernel: usize, stride: usize, x: Shape, y: Shape) -> Self {
        AvgPool { kernel, stride, x, y }
    }

    /// Calls `f` with each output pixel's index and the index of each input pixel under it.
    #[inline(always)]
    fn for_each(&self, images: usize, mut f: impl FnMut(usize, usize)) {
        for image in 0..images {
            for (oy, ox) in (0..self.y.height).flat_map(|y| (0..self.y.width).map(move |x| (y, x)))
            {
                let target = (image * self.y.height + oy) * self.y.width + ox;
                for dy in 0..self.kernel {
                    let row = image * self.x.height + oy * self.stride + dy;
                    let start = row * self.x.width + ox * self.stride;
                    (start..start + self.kernel).for_each(|source| f(target, source));
                }
            }
        }
    }
}

impl Layer for AvgPool {
    fn forward(&self, io: Forward<'_>) {
        let c = self.x.channels;
        let factor = 1.0 / (self.kernel * self.kernel) as f32;
        let (x, y) = (io.x, io.y);
        vectorized(
            #[inline(always)]
            || {
                y.fill(0.0);
                self.for_each(io.images, |target, source| {
                    let y = &mut y[target * c..][..c];
                    y.iter_mut().zip(&x[source * c..][..c]).for_each(|(y, x)| *y += x);
                });
                y.iter_mut().for_each(|y| *y *= factor);
            },
        );
    }

    fn backward(&self, io: Backward<'_>) {
        let c = self.x.channels;
        let factor = 1.0 / (self.kernel * self.kernel) as f32;
        let Some(gx) = io.gx.into_buffer() else { return };
        let gy = io.gy;
        vectorized(
            #[inline(always)]
            || {
                self.for_each(io.images, |target, source| {
                    let gx = &mut gx[source * c..][..c];
                    gx.iter_mut().zip(&gy[target * c..][..c]).for_each(|(g, gy)| *g += gy * factor);
                });
            },
        );
    }
}

pub(crate) struct MaxPool {
    kernel: usize,
    stride: usize,
    padding: usize,
    x: Shape,
    y: Shape,
}

impl MaxPool {
    pub(crate) fn new(kernel: usize, stride: usize, padding: usize, x: Shape, y: Shape) -> Self {
        MaxPool { kernel, stride, padding, x, y }
    }

    /// Input pixels under the window of an output pixel, row by row, padding left out.
    fn window(&self, image: usize, oy: usize, ox: usize) -> impl Iterator<Item = usize> + use<> {
        let range = |o: usize, extent: usize| {
            let start = o * self.stride;
            start.saturating_sub(self.padding)..(start + self.kernel - self.padding).min(extent)
        };
        let (rows, columns) = (range(oy, self.x.height), range(ox, self.x.width));
        let (height, width) = (self.x.height, self.x.width);
        rows.flat_map(move |y| columns.clone().map(move |x| (image * height + y) * width + x))
    }

    fn for_each_output(&self, images: usize, mut f: impl FnMut(usize, usize, usize, usize)) {
        for image in 0..images {
            for oy in 0..self.y.height {
                for ox in 0..self.y.width {
                    f((image * self.y.height + oy) * self.y.width + ox, image, oy, ox);
                }
            }
        }
    }
}

impl Layer for MaxPool {
    fn forward(&self, io: Forward<'_>) {
        let c = self.x.channels;
        self.for_each_output(io.images, |target, image, oy, ox| {
            let y = &mut io.y[target * c..][..c];
            y.fill(f32::NEG_INFINITY);
            for source in self.window(image, oy, ox) {
                let x = &io.x[source * c..][..c];
                // A NaN must survive to be seen by the loss, as in PyTorch.
                y.iter_mut().zip(x).for_each(|(y, &x)| {
                    if x > *y || x.is_nan() {
                        *y = x;
                    }
                });
            }
        });
    }

    /// The first of equal maxima gets the gradient.
    fn backward(&self, io: Backward<'_>) {
        let c = self.x.channels;
        let Some(gx) = io.gx.into_buffer() else { return };
        self.for_each_output(io.images, |target, image, oy, ox| {
            for channel in 0..c {
                let value = |pixel: usize| io.x[pixel * c + channel];
                let best = self
                    .window(image, oy, ox)
                    .reduce(|best, pixel| if value(pixel) > value(best) { pixel } else { best });
                if let Some(best) = best {
                    gx[best * c + channel] += io.gy[target * c + channel];
                }
            }
        });
    }
}

pub(crate) struct GlobalAvgPool {
    x: Shape,
}

impl GlobalAvgPool {
    pub(crate) fn new(x: Shape) -> Self {
        GlobalAvgPool { x }
    }
}

impl Layer for GlobalAvgPool {
    fn forward(&self, io: Forward<'_>) {
        let (c, factor) = (self.x.channels, 1.0 / self.x.pixels() as f32);
        for (x, y) in io.x.chunks_exact(self.x.len()).zip(io.y.chunks_exact_mut(c)) {
            y.fill(0.0);
            for pixel in x.chunks_exact(c) {
                y.iter_mut().zip(pixel).for_each(|(y, x)| *y += x);
            }
            y.iter_mut().for_each(|y| *y *= factor);
        }
    }

    fn backward(&self, io: Backward<'_>) {
        let (c, factor) = (self.x.channels, 1.0 / self.x.pixels() as f32);
        let Some(gx) = io.gx.into_buffer() else { return };
        for (gx, gy) in gx.chunks_exact_mut(self.x.len()).zip(io.gy.chunks_exact(c)) {
            for pixel in gx.chunks_exact_mut(c) {
                pixel.iter_mut().zip(gy).for_each(|(g, gy)| *g += gy * factor);
            }
        }
    }
}
