//! The optimizer: Adam.

use std::collections::BTreeMap;

use onebit_model::file::{Container, FileError, Kind, container};
use onebit_model::{Data, Tensor};
use rayon::prelude::*;

use crate::simd::vectorized;
use crate::{Parameter, Params};

/// Elements that one thread updates at a time.
const CHUNK: usize = 1 << 14;
const STEPS_KEY: &str = "steps";

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

/// Adam with coupled weight decay, which is added to the gradient as in PyTorch's `Adam`.
#[derive(Clone, Debug, PartialEq)]
pub struct Adam {
    config: AdamConfig,
    steps: u64,
    moments: Vec<Moments>,
}

/// Running means of a tensor's gradients and of their squares; empty for running statistics.
#[derive(Clone, Debug, PartialEq)]
struct Moments {
    m: Vec<f32>,
    v: Vec<f32>,
}

impl Adam {
    /// An optimizer that has made no step.
    #[must_use]
    pub fn new(config: AdamConfig, params: &Params) -> Self {
        let zeros = |p: &Parameter| vec![0.0; p.grad.len()];
        let moments = params.entries.iter().map(|p| Moments { m: zeros(p), v: zeros(p) });
        Adam { config, steps: 0, moments: moments.collect() }
    }

    /// Moves all parameters against their gradients; `weight_decay` gives the penalty of each.
    ///
    /// Every element is computed on its own, so the result does not depend on the number of threads.
    ///
    /// # Errors
    /// The name of the first parameter whose gradient is not finite; the parameters are then spoilt.
    ///
    /// # Panics
    /// If `params` are not those that the optimizer was made for.
    pub fn step(
        &mut self,
        params: &mut Params,
        lr: f64,
        weight_decay: impl Fn(&Parameter) -> f64,
    ) -> Result<(), String> {
        assert_eq!(self.moments.len(), params.entries.len(), "moments for each parameter");
        self.steps += 1;
        let mut bad = None;
        for (parameter, moments) in params.entries.iter_mut().zip(&mut self.moments) {
            if parameter.grad.is_empty() {
                continue;
            }
            let step = Step::new(&self.config, self.steps, lr, weight_decay(parameter));
            let finite = step.update(&mut parameter.value, &parameter.grad, moments);
            if !finite && bad.is_none() {
                bad = Some(parameter.name.clone());
            }
        }
        bad.map_or(Ok(()), Err)
    }

    /// Steps made.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The state as the bytes of a checkpoint's `optimizer.safetensors`: `<parameter>.m`, `<parameter>.v`.
    ///
    /// # Errors
    /// More parameters than the file's limits allow.
    pub fn to_bytes(&self, params: &Params) -> Result<Vec<u8>, FileError> {
        let mut tensors = BTreeMap::new();
        for (parameter, moments) in params.entries.iter().zip(&self.moments) {
            for (suffix, values) in [("m", &moments.m), ("v", &moments.v)] {
                if !values.is_empty() {
                    let data = Data::F32(values.clone());
                    let tensor = Tensor { shape: parameter.shape.clone(), data };
                    tensors.insert(format!("{}.{suffix}", parameter.name), tensor);
                }
            }
        }
        let metadata = BTreeMap::from([(STEPS_KEY.to_owned(), self.steps.to_string())]);
        container::write(Kind::Optimizer, &metadata, &tensors)
    }

    /// Reads the bytes of [`Adam::to_bytes`] for the same parameters.
    ///
    /// # Errors
    /// What is wrong with the file, in words: not such a file, damaged, or of another network.
    pub fn from_bytes(config: AdamConfig, params: &Params, bytes: &[u8]) -> Result<Self, String> {
        let Container { mut metadata, mut tensors } =
            container::read(Kind::Optimizer, bytes).map_err(|e| e.to_string())?;
        let steps = metadata.remove(STEPS_KEY).and_then(|steps| steps.parse().ok());
        let steps = steps.ok_or("metadata `steps` is missing or no number")?;
        let mut adam = Adam::new(config, params);
        adam.steps = steps;
        for (parameter, moments) in params.entries.iter().zip(&mut adam.moments) {
            for (suffix, values) in [("m", &mut moments.m), ("v", &mut moments.v)] {
                if values.is_empty() {
                    continue;
                }
                let name = format!("{}.{suffix}", parameter.name);
                match tensors.remove(&name) {
                    Some(Tensor { shape, data: Data::F32(data) }) if shape == parameter.shape => {
                        *values = data;
                    }
                    _ => return Err(format!("tensor `{name}` is missing or of another shape")),
                }
            }
        }
        for (parameter, Moments { m, v }) in params.entries.iter().zip(&adam.moments) {
            // A second moment may have overflowed: it then holds its weight still.
            if !m.iter().all(|m| m.is_finite()) || !v.iter().all(|&v| v >= 0.0) {
                let name = &parameter.name;
                return Err(format!(
                    "the moments of `{name}` are no means of gradients and squares"
                ));
            }
        }
        match tensors.keys().next() {
            Some(name) => Err(format!("tensor `{name}` belongs to no parameter of the network")),
            None => Ok(adam),
        }
    }
}

/// Adam's constants for one step of one tensor, with the bias corrections worked in.
#[derive(Clone, Copy)]
struct Step {
    beta1: f32,
    beta2: f32,
    rest1: f32,
    rest2: f32,
    rate: f32,
    root: f32,
    eps: f32,
    weight_decay: f32,
}

impl Step {
    /// Step number `steps`, counted from 1.
    fn new(config: &AdamConfig, steps: u64, lr: f64, weight_decay: f64) -> Self {
        let [beta1, beta2] = config.betas;
        let correction = |beta: f64| 1.0 - beta.powf(steps as f64);
        Step {
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
    fn update(&self, value: &mut [f32], gradient: &[f32], moments: &mut Moments) -> bool {
        let Moments { m, v } = moments;
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
