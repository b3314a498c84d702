//! Layers with real weights, for every instruction set; inlined into functions that enable it.

use super::LinearTask;
use super::vector::Vector;

/// Partial sums of an output, which its products are added to in turn.
pub(super) const PARTS: usize = 8;

/// `out = W x + b`, in blocks of outputs in `N` registers.
#[inline(always)]
pub(super) fn linear<V: Vector, const N: usize>(
    token: V::Token,
    LinearTask { weight, bias, x, out }: LinearTask<'_>,
) {
    let lanes = N * V::LANES;
    debug_assert_eq!(weight.lanes, lanes, "the weights are packed for this kernel");
    let blocks = out.chunks_mut(lanes).zip(bias.chunks(lanes));
    for ((out, bias), weights) in blocks.zip(weight.weights.chunks_exact(x.len() * lanes)) {
        let sums = sums::<V, N>(token, x, weights);
        let registers = out.chunks_exact_mut(V::LANES).zip(bias.chunks_exact(V::LANES));
        for (sum, (out, bias)) in sums.into_iter().zip(registers) {
            sum.add(V::load(token, bias)).store(out);
        }
    }
}

/// Sums of the products of a block of outputs.
#[inline(always)]
fn sums<V: Vector, const N: usize>(token: V::Token, x: &[f32], weights: &[f32]) -> [V; N] {
    let lanes = N * V::LANES;
    let mut parts = [[V::splat(token, 0.0); N]; PARTS];
    let (groups, rest) = x.as_chunks::<PARTS>();
    let (weights, last) = weights.split_at(groups.len() * PARTS * lanes);
    for (group, weights) in groups.iter().zip(weights.chunks_exact(PARTS * lanes)) {
        for part in 0..PARTS {
            let input = V::splat(token, group[part]);
            for n in 0..N {
                let weight = V::load(token, &weights[part * lanes + n * V::LANES..]);
                parts[part][n] = input.mul_add(weight, parts[part][n]);
            }
        }
    }
    for part in 0..PARTS {
        if part < rest.len() {
            let input = V::splat(token, rest[part]);
            for n in 0..N {
                let weight = V::load(token, &last[part * lanes + n * V::LANES..]);
                parts[part][n] = input.mul_add(weight, parts[part][n]);
            }
        }
    }
    let mut len = PARTS / 2;
    while len > 0 {
        for part in 0..len {
            for n in 0..N {
                parts[part][n] = parts[part][n].add(parts[part + len][n]);
            }
        }
        len /= 2;
    }
    parts[0]
}
