//! The 7x7 convolution of stride 2 by minimal filtering: filters at their points, in the kernels' order.

use onebit_model::Geometry;

use super::Window;
use crate::EngineError;
use crate::aligned::{Aligned, BumpAllocator, product};
use crate::map::stride;

/// Taps of a row of the window.
const KERNEL: usize = 7;
/// Neighbouring outputs that are computed together.
pub(crate) const OUTPUTS: usize = 4;
/// Points at which the polynomials of an input row and of a filter row are multiplied: 0, 1, -1, 1/2, -1/2, 2, infinity.
pub(crate) const POINTS: usize = 7;
/// The point 2, which only the even taps need.
pub(crate) const EVEN_ONLY: usize = 5;

/// Values at the points of the inputs below the even taps (columns 0, 2, ... 12 of four outputs) and of those below
/// the odd taps (columns 1, 3, ... 11).
pub(crate) const INPUT: [[[f32; POINTS]; POINTS]; 2] = [
    [
        [2.0, -1.0, -10.0, 5.0, 8.0, -4.0, 0.0],
        [0.0, -2.0, -1.0, 9.0, 4.0, -4.0, 0.0],
        [0.0, 1.0, -1.5, -3.5, 6.0, -2.0, 0.0],
        [0.0, 1.0, 1.5, -2.0, -1.5, 1.0, 0.0],
        [0.0, -1.0, 2.5, 0.0, -2.5, 1.0, 0.0],
        [0.0, 1.0, 0.0, -5.0, 0.0, 4.0, 0.0],
        [0.0, -2.0, 1.0, 10.0, -5.0, -8.0, 4.0],
    ],
    [
        [1.0, 0.0, -5.0, 0.0, 4.0, 0.0, 0.0],
        [0.0, -1.0, -1.0, 4.0, 4.0, 0.0, 0.0],
        [0.0, 1.0, -1.0, -4.0, 4.0, 0.0, 0.0],
        [0.0, 1.0, 2.0, -1.0, -2.0, 0.0, 0.0],
        [0.0, -1.0, 2.0, 1.0, -2.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 1.0, 0.0, -5.0, 0.0, 4.0, 0.0],
    ],
];

/// Values at the points of the even taps (0, 2, 4, 6) and of the odd taps (1, 3, 5) of a filter row.
const FILTER: [[[f64; 4]; POINTS]; 2] = [
    [
        [1.0 / 2.0, 0.0, 0.0, 0.0],
        [1.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0],
        [1.0 / 9.0, -1.0 / 9.0, 1.0 / 9.0, -1.0 / 9.0],
        [16.0 / 9.0, 8.0 / 9.0, 4.0 / 9.0, 2.0 / 9.0],
        [16.0 / 15.0, -8.0 / 15.0, 4.0 / 15.0, -2.0 / 15.0],
        [1.0 / 90.0, 2.0 / 90.0, 4.0 / 90.0, 8.0 / 90.0],
        [0.0, 0.0, 0.0, 1.0 / 4.0],
    ],
    [
        [1.0, 0.0, 0.0, 0.0],
        [1.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0, 0.0],
        [1.0 / 6.0, -1.0 / 6.0, 1.0 / 6.0, 0.0],
        [4.0 / 3.0, 2.0 / 3.0, 1.0 / 3.0, 0.0],
        [4.0 / 3.0, -2.0 / 3.0, 1.0 / 3.0, 0.0],
        [0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 1.0 / 4.0, 0.0],
    ],
];

/// A real convolution of 7x7 taps and stride 2 by Winograd's minimal filtering along the rows (Winograd, Arithmetic
/// complexity of computations, 1980; Lavin and Gray 2016): the even and the odd columns are two convolutions of
/// stride 1 with 4 and 3 taps, of which four outputs take 7 and 6 products in place of 16 and 12. Products at the
/// same point add up in one sum, over the rows of taps, the input channels, even before odd columns.
#[derive(Debug)]
pub(crate) struct Winograd {
    /// `[block of output channels][point][row of taps][input channel][even, odd][lane]`.
    pub(crate) weights: Aligned<f32>,
    pub(crate) lanes: usize,
    pub(crate) window: Window,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

impl Winograd {
    /// Whether a convolution can be computed so.
    pub(crate) fn suits(geometry: &Geometry) -> bool {
        geometry.kernel == KERNEL && geometry.stride == 2 && geometry.groups == 1
    }

    /// Transforms `weight` `[O, 7, 7, I]` into `memory`; missing lanes of the last block are zero.
    #[allow(clippy::needless_range_loop, reason = "a point is the index of several tables")]
    pub(crate) fn new(
        weight: &[f32],
        geometry: Geometry,
        channels: usize,
        lanes: usize,
        memory: &BumpAllocator,
    ) -> Result<Self, EngineError> {
        let Geometry { out_channels, kernel, stride, padding, .. } = geometry;
        let mut winograd = Winograd {
            weights: Aligned::default(),
            lanes,
            window: Window { kernel, stride, padding },
            inputs: channels,
            outputs: out_channels,
        };
        let block = winograd.block();
        winograd.weights = memory.take(product(&[out_channels.div_ceil(lanes), block]))?;
        for (o, filter) in weight.chunks_exact(KERNEL * KERNEL * channels).enumerate() {
            let lane = o / lanes * block + o % lanes;
            for (ky, row) in filter.chunks_exact(KERNEL * channels).enumerate() {
                for point in 0..POINTS {
                    for (c, phase) in
                        (0..channels).flat_map(|c| (0..phases(point)).map(move |p| (c, p)))
                    {
                        let taps = row[phase * channels + c..].iter().step_by(2 * channels);
                        let products = FILTER[phase][point].iter().zip(taps);
                        let value: f64 = products.map(|(f, &w)| f * f64::from(w)).sum();
                        let k = (ky * channels + c) * phases(point) + phase;
                        let at = lane + (winograd.point(point) + k) * lanes;
                        winograd.weights[at] = value as f32;
                    }
                }
            }
        }
        Ok(winograd)
    }

    /// First product of a point in a block.
    pub(crate) fn point(&self, point: usize) -> usize {
        (0..point).map(phases).sum::<usize>() * KERNEL * self.inputs
    }

    /// Weights of a block.
    pub(crate) fn block(&self) -> usize {
        self.point(POINTS) * self.lanes
    }

    /// Groups of [`OUTPUTS`] in a row of `width` outputs, in whole registers.
    pub(crate) fn tiles(width: usize) -> usize {
        stride(width.div_ceil(OUTPUTS))
    }

    /// Floats of one transformed input row: `[input channel][even, odd][point][tile]`.
    pub(crate) fn row(&self, width: usize) -> usize {
        self.inputs * 2 * POINTS * Self::tiles(width)
    }

    /// Floats of an input row by columns modulo 8: `[input channel][column % 8][column / 8]`.
    pub(crate) fn columns(&self, width: usize) -> usize {
        self.inputs * 8 * stride(Self::tiles(width) + 1)
    }

    /// Floats of working memory for rows of `width` outputs: eight transformed rows, and one by columns.
    pub(crate) fn workspace(&self, width: usize) -> usize {
        8 * self.row(width) + self.columns(width)
    }

    /// Products of an output, on average.
    #[cfg(feature = "std")]
    pub(crate) fn products(&self) -> usize {
        self.point(POINTS) / OUTPUTS
    }

    pub(crate) fn bytes(&self) -> usize {
        4 * self.weights.len()
    }
}

/// Sets of taps that have a product at a point.
pub(crate) fn phases(point: usize) -> usize {
    if point == EVEN_ONLY { 1 } else { 2 }
}
