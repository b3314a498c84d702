//! Means and other moments of the channels of a map.

use super::{Location, Read};
use crate::arena::Span;
use crate::kernel::{Kernels, Moment, MomentTask};
use crate::map::stride;

/// A map whose channels are averaged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channels {
    pub(crate) x: Location,
    /// The sums of its rows, where the step that made the map has left them.
    pub(crate) sums: Option<Span>,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Channels {
    /// Means of the channels into the first [`stride`] of `out`. Pixels are added up row by row, then the rows, then
    /// comes one product with `1 / pixels`. `row` is working memory of at least a stride.
    pub(crate) fn means(
        &self,
        kernels: &Kernels,
        read: &Read<'_>,
        row: &mut [f32],
        out: &mut [f32],
    ) {
        let Some(sums) = self.sums else {
            return self.moments(kernels, read, Moment::First, &[], row, out);
        };
        let stride = stride(self.channels);
        let out = &mut out[..stride];
        out.fill(0.0);
        let x = read.floats.get(sums);
        let moment = Moment::First;
        (kernels.moment)(MomentTask { moment, x, stride, mean: &[], sums: out });
        self.divide(out);
    }

    /// Means of a moment of the channels, in the same order; `center` are their means.
    pub(crate) fn moments(
        &self,
        kernels: &Kernels,
        read: &Read<'_>,
        moment: Moment,
        center: &[f32],
        row: &mut [f32],
        out: &mut [f32],
    ) {
        let stride = stride(self.channels);
        let (row, out) = (&mut row[..stride], &mut out[..stride]);
        out.fill(0.0);
        for x in read.floats(self.x).chunks_exact(self.width * stride) {
            row.fill(0.0);
            (kernels.moment)(MomentTask { moment, x, stride, mean: center, sums: row });
            add(row, out);
        }
        self.divide(out);
    }

    fn divide(&self, sums: &mut [f32]) {
        let factor = 1.0 / (self.height * self.width) as f32;
        for sum in sums {
            *sum *= factor;
        }
    }
}

fn add(row: &[f32], sums: &mut [f32]) {
    for (sum, value) in sums.iter_mut().zip(row) {
        *sum += value;
    }
}
