//! Layers with 8-bit weights, for every instruction set; inlined into functions that enable it.

use super::LinearI8Task;
use super::vector::Vector;
use crate::packed::LinearI8;

/// Inputs whose nonzero ones are collected at once.
const CHUNK: usize = 256;

/// A nonzero input.
#[derive(Clone, Copy)]
struct Input {
    value: f32,
    index: usize,
}

/// `out = W x + b`.
#[inline(always)]
pub(super) fn linear_i8<V: Vector>(
    token: V::Token,
    LinearI8Task { layer, x, out }: LinearI8Task<'_>,
) {
    let out = &mut out[..layer.bias.len()];
    out.fill(0.0);
    for (chunk, x) in x.chunks(CHUNK).enumerate() {
        let mut inputs = [Input { value: 0.0, index: 0 }; CHUNK];
        let mut nonzero = 0;
        for (i, &value) in x.iter().enumerate() {
            inputs[nonzero] = Input { value, index: chunk * CHUNK + i };
            nonzero += usize::from(value != 0.0);
        }
        let inputs = &inputs[..nonzero];
        match layer.lanes / V::LANES {
            8 => add_products::<V, 8>(token, layer, inputs, out),
            4 => add_products::<V, 4>(token, layer, inputs, out),
            2 => add_products::<V, 2>(token, layer, inputs, out),
            _ => add_products::<V, 1>(token, layer, inputs, out),
        }
    }
    for (out, bias) in out.iter_mut().zip(layer.bias.iter()) {
        *out += bias;
    }
}

/// Adds products to the sums, those of a block in `N` registers.
#[inline(always)]
fn add_products<V: Vector, const N: usize>(
    token: V::Token,
    layer: &LinearI8,
    inputs: &[Input],
    out: &mut [f32],
) {
    let lanes = N * V::LANES;
    let blocks = out.chunks_exact_mut(lanes).zip(layer.scale.chunks_exact(lanes));
    for ((out, scale), weights) in blocks.zip(layer.weights.chunks_exact(layer.inputs * lanes)) {
        let (mut sums, mut scales) = ([V::splat(token, 0.0); N], [V::splat(token, 0.0); N]);
        for n in 0..N {
            sums[n] = V::load(token, &out[n * V::LANES..]);
            scales[n] = V::load(token, &scale[n * V::LANES..]);
        }
        for input in inputs {
            let value = V::splat(token, input.value);
            let integers = &weights[input.index * lanes..][..lanes];
            for n in 0..N {
                let weight = V::from_i8(token, &integers[n * V::LANES..]).mul(scales[n]);
                sums[n] = value.mul_add(weight, sums[n]);
            }
        }
        for n in 0..N {
            sums[n].store(&mut out[n * V::LANES..]);
        }
    }
}
