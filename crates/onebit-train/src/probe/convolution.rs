//! A binary convolution beside the real one that it stands for.

use onebit_model::file::Weights;
use onebit_model::{NodeId, Op, PadValue, Shape, Threshold, Verified};

use super::blocks::Site;
use crate::net::Net;
use crate::op::{ConvInput, Window, Workspace, offsets, thresholds};
use crate::simd::vectorized;

/// Variance, relative to the square of the value, below which a channel is the same everywhere.
const CONSTANT: f64 = 1e-12;

/// Sums over all images of one binary convolution.
pub(super) struct ConvolutionProbe {
    x: NodeId,
    z: NodeId,
    threshold: Threshold,
    /// The threshold's parameter, if it has one.
    own_threshold: Vec<f32>,
    offsets: Option<NodeId>,
    window: Window,
    weight: Vec<f32>,
    activations: Magnitudes,
    pairs: Pairs,
    u: Vec<f32>,
    r: Vec<f32>,
    workspace: Workspace,
}

impl ConvolutionProbe {
    pub(super) fn new(weights: &Verified<Weights>, shapes: &[Shape], site: &Site) -> Self {
        let NodeId(z) = site.convolution;
        let node = &weights.graph.nodes[z];
        let NodeId(sign) = node.inputs[0];
        let sign = &weights.graph.nodes[sign];
        let (Op::ConvBin { geometry, pad, .. }, Op::Sign { threshold }) = (&node.op, &sign.op)
        else {
            unreachable!("a binary convolution reads bits, and only signs give bits");
        };
        let pad = match pad {
            PadValue::Zero => 0.0,
            PadValue::One => 1.0,
        };
        let x = sign.inputs[0];
        ConvolutionProbe {
            x,
            z: site.convolution,
            threshold: *threshold,
            own_threshold: weights.floats(sign, "threshold").to_vec(),
            offsets: sign.inputs.get(1).copied(),
            window: Window { geometry: *geometry, x: shapes[x.0], y: shapes[z], pad },
            weight: weights.floats(node, "weight").to_vec(),
            activations: Magnitudes::default(),
            pairs: Pairs::new(geometry.out_channels),
            u: Vec::new(),
            r: Vec::new(),
            workspace: Workspace::default(),
        }
    }

    /// The nodes whose maps it reads.
    pub(super) fn observed(&self) -> Vec<NodeId> {
        [self.x, self.z].into_iter().chain(self.offsets).collect()
    }

    pub(super) fn channels(&self) -> usize {
        self.window.geometry.out_channels
    }

    /// Adds the images of the last pass.
    pub(super) fn add(&mut self, net: &Net) {
        let mut all_offsets = self.offsets.into_iter().flat_map(|id| net.maps(id));
        for (x, z) in net.maps(self.x).zip(net.maps(self.z)) {
            self.subtract_thresholds(x, all_offsets.next().unwrap_or(&[]));
            self.activations.add(&self.u);
            self.r.resize(z.len(), 0.0);
            let input = ConvInput::Floats(&self.u);
            self.window.forward(input, &self.weight, None, &mut self.r, &mut self.workspace);
            self.pairs.add(z, &self.r);
        }
    }

    /// `u = x - threshold`, whose sign is the bit.
    fn subtract_thresholds(&mut self, x: &[f32], all_offsets: &[f32]) {
        let channels = self.window.x.channels;
        let mut of_image = vec![0.0; channels];
        self.u.clear();
        for (image, x) in x.chunks_exact(self.window.x.len()).enumerate() {
            let offsets = offsets(all_offsets, image, channels);
            thresholds(self.threshold, &self.own_threshold, offsets, &mut of_image);
            for pixel in x.chunks_exact(channels) {
                self.u.extend(pixel.iter().zip(&of_image).map(|(x, t)| x - t));
            }
        }
    }

    /// Quantization error of the latent weights, each output channel with the scale that suits it best, the mean of
    /// |W|, whatever scale the network uses.
    pub(super) fn qe_weights(&self) -> Option<f64> {
        let filter = self.weight.len() / self.channels();
        let filters = self.weight.chunks_exact(filter).map(Magnitudes::of);
        let (kept, total) =
            filters.fold((0.0, 0.0), |(kept, total), f| (kept + f.kept(), total + f.squares));
        (total > 0.0).then(|| (1.0 - kept / total).clamp(0.0, 1.0))
    }

    /// Quantization error of what the sign binarizes, with one scale for the layer.
    pub(super) fn qe_activations(&self) -> Option<f64> {
        let (kept, total) = (self.activations.kept(), self.activations.squares);
        (total > 0.0).then(|| (1.0 - kept / total).clamp(0.0, 1.0))
    }

    /// Mean over the output channels of the coefficient of determination of `z` by `r`, and the channels left out.
    pub(super) fn r2(&self) -> (Option<f64>, usize) {
        let channels: Vec<f64> =
            (0..self.channels()).filter_map(|c| self.pairs.determination(c)).collect();
        let mean = channels.iter().sum::<f64>() / channels.len() as f64;
        ((!channels.is_empty()).then_some(mean), self.channels() - channels.len())
    }
}

/// Sums of absolute values and squares.
#[derive(Clone, Copy, Default)]
struct Magnitudes {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Magnitudes {
    fn of(values: &[f32]) -> Self {
        let mut magnitudes = Magnitudes::default();
        magnitudes.add(values);
        magnitudes
    }

    fn add(&mut self, values: &[f32]) {
        self.count += values.len() as f64;
        for value in values.iter().map(|&v| f64::from(v.abs())) {
            self.sum += value;
            self.squares += value * value;
        }
    }

    /// The sum of squares of `mean |v| sign v`, which is what it takes away from that of `v` as an approximation.
    fn kept(&self) -> f64 {
        if self.count > 0.0 { self.sum * self.sum / self.count } else { 0.0 }
    }
}

/// For each channel the sums that a regression of one map on another needs, of values less those of the first pixel, so
/// that a large mean does not hide a small variance.
struct Pairs {
    channels: usize,
    count: f64,
    /// Of both maps.
    first: [Vec<f64>; 2],
    sums: [Vec<f64>; 2],
    squares: [Vec<f64>; 2],
    products: Vec<f64>,
}

impl Pairs {
    fn new(channels: usize) -> Self {
        let zeros = || vec![0.0; channels];
        Pairs {
            channels,
            count: 0.0,
            first: [zeros(), zeros()],
            sums: [zeros(), zeros()],
            squares: [zeros(), zeros()],
            products: zeros(),
        }
    }

    fn add(&mut self, z: &[f32], r: &[f32]) {
        let n = self.channels;
        if self.count == 0.0 {
            for (first, map) in self.first.iter_mut().zip([z, r]) {
                first.iter_mut().zip(map).for_each(|(first, value)| *first = f64::from(*value));
            }
        }
        self.count += (z.len() / n) as f64;
        let [first_z, first_r] = self.first.each_ref().map(|values| &values[..n]);
        let [sums_z, sums_r] = self.sums.each_mut().map(|values| &mut values[..n]);
        let [squares_z, squares_r] = self.squares.each_mut().map(|values| &mut values[..n]);
        let products = &mut self.products[..n];
        vectorized(
            #[inline(always)]
            || {
                for (z, r) in z.chunks_exact(n).zip(r.chunks_exact(n)) {
                    for c in 0..n {
                        let (z, r) = (f64::from(z[c]) - first_z[c], f64::from(r[c]) - first_r[c]);
                        sums_z[c] += z;
                        sums_r[c] += r;
                        squares_z[c] += z * z;
                        squares_r[c] += r * r;
                        products[c] += z * r;
                    }
                }
            },
        );
    }

    /// Coefficient of determination of a channel; `None` if one of the maps is constant.
    fn determination(&self, c: usize) -> Option<f64> {
        let variance = |map: usize| {
            let squares = self.squares[map][c] - self.sums[map][c].powi(2) / self.count;
            let least = CONSTANT * self.count * self.first[map][c].powi(2);
            (squares > least).then_some(squares)
        };
        let product = self.products[c] - self.sums[0][c] * self.sums[1][c] / self.count;
        Some((product * product / (variance(0)? * variance(1)?)).clamp(0.0, 1.0))
    }
}
