//! Rectifiers with slopes and shifts for each channel, some of which depend on the image.

use super::{Offsets, Read};
use crate::aligned::Aligned;
use crate::map::PreluVectors;

/// `y = f(x - shift_x) + shift_y`, `f(v) = slope_pos * v` above zero and `slope_neg * v` below, per channel.
#[derive(Debug)]
pub(crate) struct Prelu {
    pub(crate) channels: usize,
    pub(crate) slope_pos: Aligned<f32>,
    pub(crate) slope_neg: Aligned<f32>,
    pub(crate) shift_x: Aligned<f32>,
    pub(crate) shift_y: Aligned<f32>,
    /// What is added to both shifts for each image, those of `shift_x` first.
    pub(crate) offsets: Option<Offsets>,
}

impl Prelu {
    /// Writes this image's shifts into `vectors`.
    pub(crate) fn prepare(&self, read: &Read<'_>, vectors: &mut [f32]) {
        let Some(Offsets { values, at }) = self.offsets else { return };
        let offsets = read.floats(values).chunks_exact(self.channels);
        let shifts = [&self.shift_x, &self.shift_y];
        let out = vectors[at..].chunks_exact_mut(self.shift_x.len());
        for ((out, shift), offsets) in out.zip(shifts).zip(offsets) {
            for ((out, shift), offset) in out.iter_mut().zip(shift.iter()).zip(offsets) {
                *out = shift + offset;
            }
        }
    }

    /// The vectors for this image, after [`Prelu::prepare`].
    pub(crate) fn vectors<'a>(&'a self, vectors: &'a [f32]) -> PreluVectors<'a> {
        let (shift_x, shift_y) = match self.offsets {
            Some(Offsets { at, .. }) => {
                let len = self.shift_x.len();
                vectors[at..at + 2 * len].split_at(len)
            }
            None => (&self.shift_x[..], &self.shift_y[..]),
        };
        PreluVectors { slope_pos: &self.slope_pos, slope_neg: &self.slope_neg, shift_x, shift_y }
    }
}
