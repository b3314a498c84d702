//! Layers with 8-bit weights, for every instruction set; inlined into functions that enable it.

use super::vector::Vector;
use crate::op::{BLOCK, LinearI8};

/// Inputs whose nonzero ones are collected at once.
const CHUNK: usize = 256;

/// A nonzero input.
#[derive(Clone, Copy)]
struct Input {
    value: f32,
    index: usize,
}

/// `out = W x + b`, blocks of outputs in `R` registers each.
#[inline(always)]
pub(super) fn linear_i8<V: Vector, const R: usize>(layer: &LinearI8, x: &[f32], out: &mut [f32]) {
    const { assert!(BLOCK == R * V::LANES) };
    let blocks = layer.scale.len() / BLOCK;
    let most = V::REGISTERS / (4 * R);
    out.fill(0.0);
    for (chunk, x) in x.chunks(CHUNK).enumerate() {
        let mut inputs = [Input { value: 0.0, index: 0 }; CHUNK];
        let mut nonzero = 0;
        for (i, &value) in x.iter().enumerate() {
            inputs[nonzero] = Input { value, index: chunk * CHUNK + i };
            nonzero += usize::from(value != 0.0);
        }
        let inputs = &inputs[..nonzero];
        let mut block = 0;
        while block < blocks {
            block += match most.min(blocks - block) {
                8.. => add_products::<V, R, 8>(layer, inputs, block, out),
                4..8 => add_products::<V, R, 4>(layer, inputs, block, out),
                2..4 => add_products::<V, R, 2>(layer, inputs, block, out),
                _ => add_products::<V, R, 1>(layer, inputs, block, out),
            };
        }
    }
    for (out, bias) in out.iter_mut().zip(layer.bias.iter()) {
        *out += bias;
    }
}

/// Adds products to the sums of `B` blocks from `first` on; returns `B`.
#[inline(always)]
fn add_products<V: Vector, const R: usize, const B: usize>(
    layer: &LinearI8,
    inputs: &[Input],
    first: usize,
    out: &mut [f32],
) -> usize {
    let len = layer.inputs;
    let weights = layer.weights.as_chunks::<BLOCK>().0;
    let weights: [&[[i8; BLOCK]]; B] =
        core::array::from_fn(|b| &weights[(first + b) * len..][..len]);
    let lane = |b: usize, r: usize| (first + b) * BLOCK + r * V::LANES;
    let (mut sums, mut scales) = ([[V::splat(0.0); R]; B], [[V::splat(0.0); R]; B]);
    for b in 0..B {
        for r in 0..R {
            sums[b][r] = V::load(&out[lane(b, r)..]);
            scales[b][r] = V::load(&layer.scale[lane(b, r)..]);
        }
    }
    for input in inputs {
        let value = V::splat(input.value);
        for b in 0..B {
            let integers = &weights[b][input.index];
            for r in 0..R {
                let weight = V::from_i8(&integers[r * V::LANES..]).mul(scales[b][r]);
                sums[b][r] = value.mul_add(weight, sums[b][r]);
            }
        }
    }
    for b in 0..B {
        for r in 0..R {
            sums[b][r].store(&mut out[lane(b, r)..]);
        }
    }
    B
}
