//! PReLU, RPReLU and FPReLU with static or dynamic shifts.

use onebit_model::{Shape, Shift, Slope};

use super::{Backward, Forward, Layer, offsets};
use crate::params::Params;
use crate::simd::vectorized;

pub(crate) struct Prelu {
    slope: Slope,
    shift: Shift,
    x: Shape,
    /// Index of the first parameter; their order is that of `Op::params`.
    param: usize,
}

/// Per-channel parameters of one image, or sums of their gradients, each `[C]`.
struct Vectors<'a> {
    slope_pos: &'a mut [f32],
    slope_neg: &'a mut [f32],
    shift_x: &'a mut [f32],
    shift_y: &'a mut [f32],
}

impl Prelu {
    pub(crate) fn new(slope: Slope, shift: Shift, x: Shape, param: usize) -> Self {
        Prelu { slope, shift, x, param }
    }

    /// Index of the first shift parameter.
    fn shift_param(&self) -> usize {
        self.param
            + match self.slope {
                Slope::Relu => 0,
                Slope::Negative => 1,
                Slope::Both => 2,
            }
    }

    fn fill(&self, params: &Params, offsets: &[f32], v: &mut Vectors<'_>) {
        match self.slope {
            Slope::Relu => {
                v.slope_pos.fill(1.0);
                v.slope_neg.fill(0.0);
            }
            Slope::Negative => {
                v.slope_pos.fill(1.0);
                v.slope_neg.copy_from_slice(params.value(self.param));
            }
            Slope::Both => {
                v.slope_pos.copy_from_slice(params.value(self.param));
                v.slope_neg.copy_from_slice(params.value(self.param + 1));
            }
        }
        if self.shift == Shift::None {
            v.shift_x.fill(0.0);
            v.shift_y.fill(0.0);
            return;
        }
        v.shift_x.copy_from_slice(params.value(self.shift_param()));
        v.shift_y.copy_from_slice(params.value(self.shift_param() + 1));
        if !offsets.is_empty() {
            let (dx, dy) = offsets.split_at(self.x.channels);
            v.shift_x.iter_mut().zip(dx).for_each(|(s, d)| *s += d);
            v.shift_y.iter_mut().zip(dy).for_each(|(s, d)| *s += d);
        }
    }

    fn add_sums(&self, sums: &Vectors<'_>, grads: &mut [Vec<f32>], g_offsets: Option<&mut [f32]>) {
        let mut add = |index: usize, sum: &[f32]| {
            grads[index].iter_mut().zip(sum).for_each(|(g, s)| *g += s);
        };
        match self.slope {
            Slope::Relu => {}
            Slope::Negative => add(self.param, sums.slope_neg),
            Slope::Both => {
                add(self.param, sums.slope_pos);
                add(self.param + 1, sums.slope_neg);
            }
        }
        if self.shift != Shift::None {
            add(self.shift_param(), sums.shift_x);
            add(self.shift_param() + 1, sums.shift_y);
        }
        if let Some(g) = g_offsets {
            let (gx, gy) = g.split_at_mut(self.x.channels);
            gx.iter_mut().zip(&*sums.shift_x).for_each(|(g, s)| *g += s);
            gy.iter_mut().zip(&*sums.shift_y).for_each(|(g, s)| *g += s);
        }
    }
}

impl Layer for Prelu {
    fn forward(&self, io: Forward<'_>) {
        let (c, len) = (self.x.channels, self.x.len());
        io.workspace.vectors.resize(4 * c, 0.0);
        for image in 0..io.images {
            let mut v = vectors(&mut io.workspace.vectors, c);
            self.fill(io.params, offsets(io.x2, image, 2 * c), &mut v);
            let x = &io.x[image * len..][..len];
            let y = &mut io.y[image * len..][..len];
            vectorized(
                #[inline(always)]
                || rectify(x, &v, y),
            );
        }
    }

    fn backward(&self, io: Backward<'_>) {
        let (c, len) = (self.x.channels, self.x.len());
        io.workspace.vectors.resize(8 * c, 0.0);
        let (gx, first) = (io.gx.data, io.gx.first);
        let mut g_offsets = io.gx2.into_buffer();
        for image in 0..io.images {
            let (values, sums) = io.workspace.vectors.split_at_mut(4 * c);
            let mut v = vectors(values, c);
            self.fill(io.params, offsets(io.x2, image, 2 * c), &mut v);
            sums.fill(0.0);
            let mut sums = vectors(sums, c);
            let x = &io.x[image * len..][..len];
            let gy = &io.gy[image * len..][..len];
            let gx = &mut gx[image * len..][..len];
            vectorized(
                #[inline(always)]
                || rectify_back(x, &v, gy, gx, first, &mut sums),
            );
            let g = g_offsets.as_mut().map(|g| &mut g[image * 2 * c..][..2 * c]);
            self.add_sums(&sums, io.grads, g);
        }
    }
}

fn vectors(buffer: &mut [f32], c: usize) -> Vectors<'_> {
    let (slope_pos, rest) = buffer.split_at_mut(c);
    let (slope_neg, rest) = rest.split_at_mut(c);
    let (shift_x, rest) = rest.split_at_mut(c);
    Vectors { slope_pos, slope_neg, shift_x, shift_y: &mut rest[..c] }
}

#[inline(always)]
fn rectify(x: &[f32], v: &Vectors<'_>, y: &mut [f32]) {
    let c = v.slope_pos.len();
    let (p, q) = (&v.slope_pos[..c], &v.slope_neg[..c]);
    let (sx, sy) = (&v.shift_x[..c], &v.shift_y[..c]);
    for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
        for i in 0..c {
            let u = x[i] - sx[i];
            y[i] = u * if u > 0.0 { p[i] } else { q[i] } + sy[i];
        }
    }
}

#[inline(always)]
fn rectify_back(
    x: &[f32],
    v: &Vectors<'_>,
    gy: &[f32],
    gx: &mut [f32],
    first: bool,
    sums: &mut Vectors<'_>,
) {
    let c = v.slope_pos.len();
    let (p, q, sx) = (&v.slope_pos[..c], &v.slope_neg[..c], &v.shift_x[..c]);
    let (sum_p, sum_q) = (&mut sums.slope_pos[..c], &mut sums.slope_neg[..c]);
    let (sum_x, sum_y) = (&mut sums.shift_x[..c], &mut sums.shift_y[..c]);
    let pixels = x.chunks_exact(c).zip(gy.chunks_exact(c)).zip(gx.chunks_exact_mut(c));
    for ((x, gy), gx) in pixels {
        for i in 0..c {
            let (u, g) = (x[i] - sx[i], gy[i]);
            let (slope, above, below) =
                if u > 0.0 { (p[i], g * u, 0.0) } else { (q[i], 0.0, g * u) };
            let gu = g * slope;
            gx[i] = if first { gu } else { gx[i] + gu };
            sum_p[i] += above;
            sum_q[i] += below;
            sum_x[i] -= gu;
            sum_y[i] += g;
        }
    }
}
