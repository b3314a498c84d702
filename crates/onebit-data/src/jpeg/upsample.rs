//! Components of fewer samples than pixels, as libjpeg-turbo's `jdsample.c` spreads them with `do_fancy_upsampling`.

use super::frame::Component;

/// Up to this many columns libjpeg repeats samples instead of filtering them.
const NARROW: usize = 2;

/// How the rows of a component become rows of pixels.
#[derive(Clone, Copy)]
pub(super) enum Upsampling {
    /// A sample for each pixel.
    Full,
    /// Each sample is repeated this many times, vertically and horizontally.
    Repeat(usize, usize),
    /// Halved columns: 3/4 of the nearer sample and 1/4 of the further one.
    Columns,
    /// Halved rows, likewise.
    Rows,
    /// Both halved.
    Both,
}

impl Upsampling {
    pub(super) fn of(component: &Component, most: (usize, usize)) -> Self {
        let (v, h) = (most.0 / component.sampling.0, most.1 / component.sampling.1);
        let wide = component.size.1 > NARROW;
        match (v, h) {
            (1, 1) => Self::Full,
            (1, 2) if wide => Self::Columns,
            (2, 1) => Self::Rows,
            (2, 2) if wide => Self::Both,
            _ => Self::Repeat(v, h),
        }
    }

    /// Writes row `y` of pixels to `out`, which is at least as long as the row and may get a few values more.
    pub(super) fn row(self, component: &Component, y: usize, sums: &mut [u16], out: &mut [u8]) {
        match self {
            Self::Full => {
                let row = component.row(y);
                out[..row.len()].copy_from_slice(row);
            }
            Self::Repeat(v, h) => {
                for (out, &sample) in out.chunks_mut(h).zip(component.row(y / v)) {
                    out.fill(sample);
                }
            }
            Self::Columns => {
                let row = component.row(y);
                for (sum, &sample) in sums.iter_mut().zip(row) {
                    *sum = u16::from(sample);
                }
                spread::<2>(&sums[..row.len()], [1, 2], out);
            }
            Self::Rows => {
                let (near, far) = near_and_far(component, y);
                let bias = 1 + (y % 2) as u16;
                for ((out, &near), &far) in out.iter_mut().zip(near).zip(far) {
                    *out = ((u16::from(near) * 3 + u16::from(far) + bias) >> 2) as u8;
                }
            }
            Self::Both => {
                let (near, far) = near_and_far(component, y);
                for ((sum, &near), &far) in sums.iter_mut().zip(near).zip(far) {
                    *sum = u16::from(near) * 3 + u16::from(far);
                }
                spread::<4>(&sums[..near.len()], [8, 7], out);
            }
        }
    }
}

/// The rows of samples that lie nearest to row `y` of pixels and next to nearest, where rows are halved.
fn near_and_far(component: &Component, y: usize) -> (&[u8], &[u8]) {
    let near = y / 2;
    let far = if y.is_multiple_of(2) { near.saturating_sub(1) } else { near + 1 };
    (component.row(near), component.row(far))
}

/// Two values of each, 3/4 of it and 1/4 of its neighbour, scaled down by `SHIFT` bits after a bias is added: the first of
/// `biases` to the left one. At the ends the value is its own neighbour.
fn spread<const SHIFT: u32>(values: &[u16], biases: [u16; 2], out: &mut [u8]) {
    let mix = |near: u16, far: u16, bias: u16| ((near * 3 + far + bias) >> SHIFT) as u8;
    let (Some(&first), Some(&last)) = (values.first(), values.last()) else { return };
    let pairs = out.as_chunks_mut::<2>().0;
    for (pair, window) in pairs.iter_mut().skip(1).zip(values.windows(3)) {
        let &[left, here, right] = window else { continue };
        *pair = [mix(here, left, biases[0]), mix(here, right, biases[1])];
    }
    let neighbour = |i: usize| values.get(i).copied().unwrap_or(first);
    let end = values.len() - 1;
    if let Some(pair) = pairs.first_mut() {
        *pair = [mix(first, first, biases[0]), mix(first, neighbour(1), biases[1])];
    }
    if let Some(pair) = pairs.get_mut(end).filter(|_| end > 0) {
        *pair = [mix(last, neighbour(end - 1), biases[0]), mix(last, last, biases[1])];
    }
}
