//! Runs single layers in tests.

use onebit_model::{Shape, bits};

use super::batch_norm::{BatchNorm, BatchStatistics, GradSums};
use super::{Backward, Forward, Gradient, Layer, Pass, Workspace};
use crate::params::Params;

/// What one layer gave.
pub(super) struct Outcome {
    pub(super) y: Vec<f32>,
    pub(super) gx: Vec<f32>,
    pub(super) gx2: Vec<f32>,
    /// With their gradients.
    pub(super) params: Params,
}

/// What one layer is given.
pub(super) struct Inputs<'a> {
    pub(super) images: usize,
    pub(super) x: &'a [f32],
    pub(super) x_bits: &'a [u64],
    pub(super) x2: &'a [f32],
    pub(super) gy: &'a [f32],
    pub(super) gx_len: usize,
    /// Channels of the output where it is a bit map.
    pub(super) bit_channels: Option<usize>,
}

/// Forward and backward pass of one layer; backward twice, to check that a second contribution adds.
pub(super) fn run(mut layer: impl Layer, mut params: Params, inputs: &Inputs<'_>) -> Outcome {
    let predicted = forward(&mut layer, &params, inputs, Pass::Predict);
    let y = forward(&mut layer, &params, inputs, Pass::Train);
    assert_eq!(y, predicted, "the two forward passes differ");
    let mut workspace = Workspace::default();
    let mut gx = vec![f32::NAN; inputs.gx_len];
    let mut gx2 = vec![f32::NAN; inputs.x2.len()];
    let mut once = Vec::new();
    for first in [true, false] {
        let mut grads: Vec<Vec<f32>> =
            params.entries.iter().map(|p| vec![0.0; p.value.len()]).collect();
        layer.backward(Backward {
            images: inputs.images,
            params: &params,
            x: inputs.x,
            x_bits: inputs.x_bits,
            x2: inputs.x2,
            gy: inputs.gy,
            gx: Gradient { data: &mut gx, first },
            gx2: Gradient { data: &mut gx2, first },
            grads: &mut grads,
            workspace: &mut workspace,
        });
        once = grads;
    }
    gx.iter_mut().chain(&mut gx2).for_each(|g| *g /= 2.0);
    for (entry, grad) in params.entries.iter_mut().zip(once) {
        entry.grad = grad;
    }
    layer.finish(&mut params);
    Outcome { y, gx, gx2, params }
}

/// As [`run`], of two layers in a row; the first gives `middle` values for each image.
pub(super) fn run_both(
    layers: (impl Layer, impl Layer),
    params: &Params,
    inputs: &Inputs<'_>,
    middle: usize,
) -> Outcome {
    let (mut first, second) = layers;
    let nothing = vec![0.0; inputs.images * middle];
    let x = forward(&mut first, params, &Inputs { gy: &nothing, ..*inputs }, Pass::Train);
    let behind = run(second, params.clone(), &Inputs { x: &x, gx_len: x.len(), ..*inputs });
    let mut outcome = run(first, params.clone(), &Inputs { gy: &behind.gx, ..*inputs });
    for (entry, other) in outcome.params.entries.iter_mut().zip(&behind.params.entries) {
        entry.grad.iter_mut().zip(&other.grad).for_each(|(g, other)| *g += other);
    }
    Outcome { y: behind.y, ..outcome }
}

/// A training pass of a batch normalization, each image a microbatch of its own.
pub(super) fn normalize(
    mut norm: BatchNorm,
    mut params: Params,
    inputs: &Inputs<'_>,
    shape: Shape,
) -> Outcome {
    let (x, gy) = (inputs.x, inputs.gy);
    let mut total = BatchStatistics::default();
    total.clear(shape.channels);
    for image in x.chunks(shape.len()) {
        let mut statistics = BatchStatistics::default();
        statistics.clear(shape.channels);
        statistics.add(image);
        total.merge(&statistics);
    }
    norm.use_batch(&total, &mut params);
    let mut y = vec![f32::NAN; x.len()];
    norm.forward(&params, x, None, &mut y, &mut Vec::new());
    let mut sums = vec![GradSums::default(); inputs.images];
    for (sums, (x, gy)) in sums.iter_mut().zip(x.chunks(shape.len()).zip(gy.chunks(shape.len()))) {
        sums.clear(shape.channels);
        norm.sum_gradient(x, gy, sums);
    }
    norm.finish_sums(sums.iter(), inputs.images * shape.pixels(), &mut params);
    let mut gx = vec![f32::NAN; x.len()];
    norm.backward(&params, x, gy, &mut gx, true, &mut Vec::new());
    Outcome { y, gx, gx2: Vec::new(), params }
}

/// Forward pass of one layer; bits come back as +-1.
fn forward(layer: &mut impl Layer, params: &Params, inputs: &Inputs<'_>, pass: Pass) -> Vec<f32> {
    let mut workspace = Workspace::default();
    layer.prepare(params, pass);
    let len = inputs.gy.len();
    let (floats, words) = match inputs.bit_channels {
        None => (len, 0),
        Some(channels) => (0, len / channels * bits::words(channels)),
    };
    let (mut y, mut y_bits) = (vec![f32::NAN; floats], vec![u64::MAX; words]);
    layer.forward(Forward {
        images: inputs.images,
        params,
        x: inputs.x,
        x_bits: inputs.x_bits,
        x2: inputs.x2,
        y: &mut y,
        y_bits: &mut y_bits,
        workspace: &mut workspace,
    });
    match inputs.bit_channels {
        None => y,
        Some(channels) => {
            let pixels = y_bits.chunks(bits::words(channels));
            pixels.flat_map(|p| (0..channels).map(move |c| bits::value(p, c))).collect()
        }
    }
}

/// Packs `x > 0`, every pixel in words of its own.
pub(super) fn pack(x: &[f32], channels: usize) -> Vec<u64> {
    let mut words = vec![0; x.len() / channels * bits::words(channels)];
    for (pixel, words) in x.chunks(channels).zip(words.chunks_mut(bits::words(channels))) {
        bits::pack(pixel, words);
    }
    words
}
