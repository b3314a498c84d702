//! Adam with coupled weight decay.

use rayon::prelude::*;

use crate::simd::vectorized;

/// Elements that one thread updates at a time.
const CHUNK: usize = 1 << 14;

/// Running means of the gradients and of their squares.
pub(super) const SLOTS: [&str; 2] = ["m", "v"];

/// Constants of Adam (Kingma and Ba, 2015, algorithm 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
    /// Decay rates of the two moments.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub eps: f64,
}

impl Default for AdamConfig {
    /// The values of the paper, which Bi-Real Net and ReActNet keep.
    fn default() -> Self {
        AdamConfig { betas: [0.9, 0.999], eps: 1e-8 }
    }
}

/// A second moment may have overflowed: it then holds its weight still.
pub(super) fn fault(slots: &[Vec<f32>]) -> Option<&'static str> {
    let [m, v] = slots else { return Some("lacks a moment") };
    let good = m.iter().all(|m| m.is_finite()) && v.iter().all(|&v| v >= 0.0);
    (!good).then_some("holds no means of gradients and squares")
}

/// Adam's constants for one step of one tensor, with the bias corrections worked in.
#[derive(Clone, Copy)]
pub(super) struct AdamUpdate {
    beta1: f32,
    beta2: f32,
    rest1: f32,
    rest2: f32,
    rate: f32,
    root: f32,
    eps: f32,
    weight_decay: f32,
}

impl AdamUpdate {
    /// That of step number `steps`, counted from 1.
    pub(super) fn new(config: &AdamConfig, steps: u64, lr: f64, weight_decay: f64) -> Self {
        let [beta1, beta2] = config.betas;
        let correction = |beta: f64| 1.0 - beta.powf(steps as f64);
        AdamUpdate {
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            rest1: (1.0 - beta1) as f32,
            rest2: (1.0 - beta2) as f32,
            rate: (lr / correction(beta1)) as f32,
            root: (1.0 / correction(beta2).sqrt()) as f32,
            eps: config.eps as f32,
            weight_decay: weight_decay as f32,
        }
    }

    /// Updates a tensor and its moments in one pass over memory; whether the gradient was finite.
    pub(super) fn update(
        &self,
        value: &mut [f32],
        gradient: &[f32],
        slots: &mut [Vec<f32>],
    ) -> bool {
        let [m, v] = slots else { unreachable!("a slot for each name") };
        if value.len() <= CHUNK {
            return self.update_chunk(value, gradient, m, v);
        }
        let chunks = value
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(m.par_chunks_mut(CHUNK))
            .zip(v.par_chunks_mut(CHUNK));
        let finite = chunks.map(|(((x, g), m), v)| self.update_chunk(x, g, m, v));
        finite.reduce(|| true, |a, b| a & b)
    }

    fn update_chunk(&self, x: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) -> bool {
        vectorized(
            #[inline(always)]
            || {
                let mut finite = true;
                for (((x, g), m), v) in x.iter_mut().zip(g).zip(m).zip(v) {
                    finite &= g.is_finite();
                    let g = g + self.weight_decay * *x;
                    *m = self.beta1 * *m + self.rest1 * g;
                    *v = self.beta2 * *v + self.rest2 * g * g;
                    *x -= self.rate * *m / (v.sqrt() * self.root + self.eps);
                }
                finite
            },
        )
    }
}
