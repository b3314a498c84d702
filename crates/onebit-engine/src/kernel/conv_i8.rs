//! Convolution of 8-bit integers, for every instruction set; inlined into functions that enable it.

use core::ops::Range;

use bytemuck::Pod;

use super::epilogue::Epilogue;
use super::vector::{Token, Vector};
use super::{ConvI8Task, Ring};
use crate::map::FloatMap;
use crate::packed::ConvI8;
use crate::packed::conv_i8::MOVED;

/// Rounds a float between 0 and 255 to the nearest integer, of two the even one: the sum's last bits.
const TO_NEAREST: f32 = 12_582_912.0;

/// A register of sums, one for each output channel.
pub(super) trait Dot: Copy {
    /// Proof that the CPU has the instructions.
    type Token: Token;

    /// A rounded input as it lies in memory.
    type Input: Pod + From<u8>;

    /// Inputs whose products are added at once.
    type Group: Pod;

    /// Weights of a register of outputs for a group.
    type Weights: Copy;

    /// Sums in a register.
    const LANES: usize;

    /// What sums are turned into, of as many lanes.
    type Vector: Vector<Token = Self::Token>;

    /// The first [`Dot::LANES`] sums.
    fn load(token: Self::Token, from: &[i32]) -> Self;

    /// The weights of the first [`Dot::LANES`] outputs, those of a group side by side.
    fn weights(token: Self::Token, from: &[i8]) -> Self::Weights;

    /// Adds the products of a group, the same for all outputs.
    fn add_products(self, inputs: Self::Group, weights: Self::Weights) -> Self;

    /// The sums as floats, rounded to the nearest.
    fn floats(self, token: Self::Token) -> Self::Vector;

    /// [`block`], compiled apart where the registers would otherwise hold what the loop around it reads.
    #[inline(always)]
    fn block<const L: usize, const N: usize, const P: usize>(
        row: &Row<'_, Self>,
        x: usize,
        first: usize,
        out: &mut Epilogue<'_>,
    ) {
        block::<Self, L, N, P>(row, x, first, out);
    }
}

/// Inputs of a group.
const fn together<D: Dot>() -> usize {
    size_of::<D::Group>() / size_of::<D::Input>()
}

/// A row tile: blocks of `L` output channels in `N` registers, tiles of at most `W` pixels.
#[inline(always)]
pub(super) fn conv_i8<D: Dot, const L: usize, const N: usize, const W: usize>(
    token: D::Token,
    ConvI8Task { conv, x, ring, mut row_tile }: ConvI8Task<'_>,
) {
    const { assert!(L == N * D::LANES) };
    debug_assert_eq!(conv.layout.lanes, L, "the weights are packed for this kernel");
    debug_assert_eq!(conv.layout.together, together::<D>());
    let row = conv.row(x.width);
    let Ring { memory, next_row } = ring;
    let inputs = bytemuck::cast_slice_mut::<u64, D::Input>(memory);
    let (ring, collected) = inputs.split_at_mut(conv.window.kernel * row);
    let step = conv.window.stride;
    let mut out = Epilogue::new(&mut row_tile);
    let width = out.width();
    for y in out.rows() {
        *next_row = (*next_row).max(y * step);
        while *next_row < y * step + conv.window.kernel {
            let slot = *next_row % conv.window.kernel;
            round_row::<D>(conv, x, *next_row, &mut ring[slot * row..][..row]);
            *next_row += 1;
        }
        let most = match conv.collected(width) {
            0 => width,
            most => most,
        };
        for start in (0..width).step_by(most) {
            let columns = start..width.min(start + most);
            let (inputs, step) = if conv.window.kernel == 1 {
                let step = step * conv.inputs;
                (&ring[start * step..], step)
            } else {
                collect::<D>(conv, ring, row, y, columns.clone(), collected);
                (&*collected, conv.collected_step())
            };
            let row = Row::<D> { token, conv, inputs, step, y, start };
            row.tiles::<L, N, W>(columns, &mut out);
        }
    }
}

/// Rounds a row of the padded input.
#[inline(always)]
fn round_row<D: Dot>(conv: &ConvI8, x: FloatMap<'_>, row: usize, out: &mut [D::Input]) {
    let padding = conv.window.padding;
    let inside = row.checked_sub(padding).filter(|&y| y < x.height);
    let (left, rest) = out.split_at_mut(padding * conv.inputs);
    let (middle, rest) = rest.split_at_mut(x.width * conv.inputs);
    let (right, _) = rest.split_at_mut(padding * conv.inputs);
    zero::<D>(conv, left);
    zero::<D>(conv, right);
    let Some(y) = inside else { return zero::<D>(conv, middle) };
    let values = &x.values[y * x.width * x.stride..][..x.width * x.stride];
    if x.stride == conv.inputs {
        return round::<D>(conv, values, middle);
    }
    let pixels = middle.chunks_exact_mut(conv.inputs).zip(values.chunks_exact(x.stride));
    for (out, pixel) in pixels {
        round::<D>(conv, &pixel[..conv.inputs], out);
    }
}

/// Pixels of zeros.
#[inline(always)]
fn zero<D: Dot>(conv: &ConvI8, out: &mut [D::Input]) {
    for (out, &zero) in out.iter_mut().zip(conv.zeros.iter().cycle()) {
        *out = zero.into();
    }
}

/// Rounds values of whole pixels.
#[inline(always)]
fn round<D: Dot>(conv: &ConvI8, values: &[f32], out: &mut [D::Input]) {
    let (inverse, offset) = (&conv.inverse[..], &conv.offset[..]);
    for (out, values) in out.chunks_mut(inverse.len()).zip(values.chunks(inverse.len())) {
        let steps = inverse.iter().zip(offset);
        for ((out, &value), (&inverse, &offset)) in out.iter_mut().zip(values).zip(steps) {
            *out = rounded(value, inverse, offset).into();
        }
    }
}

/// The integer of a value; that of a NaN is 0.
#[inline(always)]
fn rounded(value: f32, inverse: f32, offset: f32) -> u8 {
    let position = value * inverse + offset;
    let position = if position > 0.0 { position } else { 0.0 };
    let position = if position < 255.0 { position } else { 255.0 };
    (position + TO_NEAREST).to_bits() as u8
}

/// Puts the windows of the outputs `columns` of row `y` one after the other.
#[inline(always)]
fn collect<D: Dot>(
    conv: &ConvI8,
    ring: &[D::Input],
    row: usize,
    y: usize,
    columns: Range<usize>,
    out: &mut [D::Input],
) {
    let (kernel, step) = (conv.window.kernel, conv.window.stride * conv.inputs);
    let len = kernel * conv.inputs;
    for ky in 0..kernel {
        let slot = (y * conv.window.stride + ky) % kernel;
        let inputs = &ring[slot * row..][..row];
        for part in (0..len).step_by(MOVED) {
            let inputs = inputs[columns.start * step + part..].windows(MOVED).step_by(step);
            let windows = out.chunks_exact_mut(conv.collected_step()).take(columns.len());
            for (window, inputs) in windows.zip(inputs) {
                window[ky * len + part..][..MOVED].copy_from_slice(inputs);
            }
        }
    }
}

/// Outputs of a row from the column `start` on, whose windows lie `step` inputs apart.
pub(super) struct Row<'a, D: Dot> {
    token: D::Token,
    conv: &'a ConvI8,
    inputs: &'a [D::Input],
    step: usize,
    y: usize,
    start: usize,
}

impl<D: Dot> Row<'_, D> {
    #[inline(always)]
    fn tiles<const L: usize, const N: usize, const W: usize>(
        &self,
        columns: Range<usize>,
        out: &mut Epilogue<'_>,
    ) {
        let mut x = columns.start;
        while x < columns.end {
            x += match columns.end - x {
                8.. if W >= 8 => self.tile::<L, N, 8>(x, out),
                6.. if W >= 6 => self.tile::<L, N, 6>(x, out),
                4.. if W >= 4 => self.tile::<L, N, 4>(x, out),
                2.. => self.tile::<L, N, 2>(x, out),
                _ => self.tile::<L, N, 1>(x, out),
            };
        }
    }

    /// Computes all channels of `P` pixels from column `x` on; returns `P`.
    #[inline(always)]
    fn tile<const L: usize, const N: usize, const P: usize>(
        &self,
        x: usize,
        out: &mut Epilogue<'_>,
    ) -> usize {
        for first in (0..self.conv.outputs).step_by(L) {
            D::block::<L, N, P>(self, x, first, out);
        }
        P
    }
}

/// Computes the block of channels from `first` on, of `P` pixels from column `x` on.
#[inline(always)]
pub(super) fn block<D: Dot, const L: usize, const N: usize, const P: usize>(
    row: &Row<'_, D>,
    x: usize,
    first: usize,
    out: &mut Epilogue<'_>,
) {
    let (token, conv) = (row.token, row.conv);
    let groups = conv.groups();
    let len = groups * L * together::<D>();
    let weights = &conv.weights[first / L * len..][..len];
    let inputs: [&[D::Group]; P] = core::array::from_fn(|p| {
        let window = &row.inputs[(x - row.start + p) * row.step..];
        &bytemuck::cast_slice(&window[..groups * together::<D>()])[..groups]
    });
    let mut sums = [[D::load(token, &conv.first[first..]); N]; P];
    for n in 1..N {
        let start = D::load(token, &conv.first[first + n * D::LANES..]);
        for p in 0..P {
            sums[p][n] = start;
        }
    }
    let width = D::LANES * together::<D>();
    for (i, weights) in weights.chunks_exact(L * together::<D>()).enumerate() {
        let mut filters = [D::weights(token, weights); N];
        for n in 1..N {
            filters[n] = D::weights(token, &weights[n * width..]);
        }
        for p in 0..P {
            let group = inputs[p][i];
            for n in 0..N {
                sums[p][n] = sums[p][n].add_products(group, filters[n]);
            }
        }
    }
    let mut values = [[D::Vector::splat(token, 0.0); P]; N];
    for n in 0..N {
        let channel = first + n * D::LANES;
        let (scale, shift) = (
            D::Vector::load(token, &conv.scale[channel..]),
            D::Vector::load(token, &conv.shift[channel..]),
        );
        for p in 0..P {
            values[n][p] = sums[p][n].floats(token).mul(scale).add(shift);
        }
    }
    for (n, values) in values.into_iter().enumerate() {
        let channel = first + n * D::LANES;
        if channel < conv.outputs {
            out.take(token, [row.y, x, channel], values);
        }
    }
}
