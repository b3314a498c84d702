//! Random networks whose activations and signs are balanced like those of trained ones.

use std::collections::BTreeMap;

use onebit_model::file::Weights;
use onebit_model::op::Param;
use onebit_model::{
    Data, Graph, Model, Node, Op, Shape, Statistics, Tensor, Verified, WeightScale, infer,
};

use crate::{Random, forward, packed_params};

/// Square of the golden section.
const GOLDEN: f64 = 0.381_966;

/// Random weights that keep every activation near unit size, as trained ones do.
#[must_use]
pub fn balanced_weights(graph: Verified<Graph>, random: &mut Random) -> Verified<Weights> {
    let shapes = infer::shapes(&graph).unwrap();
    let mut tensors = BTreeMap::new();
    for (id, node) in graph.ids().zip(&graph.nodes) {
        for param in graph.params(id, &shapes) {
            let values = (0..param.len()).map(|_| draw(&graph, &shapes, node, &param, random));
            let data = Data::F32(values.collect());
            tensors.insert(node.param_name(param.suffix), Tensor { shape: param.shape, data });
        }
    }
    Verified::<Weights>::new(Weights { graph: graph.into_inner(), tensors }).unwrap()
}

/// Latent binary weights are uniform in -1 to 1, so that their mean size is a half. Third moments are large numbers.
fn draw(graph: &Graph, shapes: &[Shape], node: &Node, param: &Param, random: &mut Random) -> f32 {
    match (&node.op, param.suffix) {
        (Op::HyperTrunk { statistics: Statistics::MeanThird, .. }, "weight") => {
            0.02 * random.float()
        }
        (Op::ConvBin { .. } | Op::LinearBin { .. }, "weight") => random.float(),
        (Op::BatchNorm { .. }, "weight") => {
            random.choose(&[1.0, 1.0, 1.0, -1.0]) * random.uniform(0.6, 1.4)
        }
        (Op::ConvBin { .. } | Op::LinearBin { .. }, "scale") => random.uniform(0.4, 0.6),
        (_, "weight") => (3.0 / per_output(&param.shape)).sqrt() * random.float(),
        (Op::BatchNorm { .. }, "running_var") => {
            convolution_variance(graph, shapes, node) * random.uniform(0.8, 1.2)
        }
        (_, "slope_pos") => random.uniform(0.6, 1.4),
        (_, "slope_neg") => random.uniform(0.0, 0.4),
        (_, "shift_y") => random.uniform(-0.5, 0.0),
        _ => random.uniform(-0.3, 0.3),
    }
}

/// Variance of the map that the convolution in front of `node` gives for inputs of unit size.
fn convolution_variance(graph: &Graph, shapes: &[Shape], node: &Node) -> f32 {
    let source = node.inputs[0];
    let found = &graph.nodes[source.0];
    match found.op {
        Op::ConvBin { scale, .. } | Op::LinearBin { scale, .. } => {
            let products = per_output(&graph.params(source, shapes)[0].shape);
            if scale == WeightScale::None { products } else { 0.25 * products }
        }
        Op::MaxPool { .. } | Op::Prelu { .. } => convolution_variance(graph, shapes, found),
        _ => 1.0,
    }
}

fn per_output(shape: &[usize]) -> f32 {
    shape[1..].iter().product::<usize>() as f32
}

/// Moves the thresholds so that in each channel 3 to 7 of 10 signs are +1 for this NHWC image of the size `input`
/// (channels, height, width): signs that never change would hide what is in front of them.
#[must_use]
pub fn balance_signs(model: Verified<Model>, input: [usize; 3], image: &[f64]) -> Verified<Model> {
    let mut moved = BTreeMap::new();
    let params = |node: &Node, suffix: &str| packed_params(&model, node, suffix);
    forward(&model.graph, input, &params, image, &mut |node, channels, margins| {
        let by = match node.op.params(Shape::float(channels, 1, 1)).is_empty() {
            true => vec![0.0; channels],
            false => (0..channels).map(|c| middle(margins, c, channels)).collect(),
        };
        let signs = margins.iter().enumerate().map(|(i, &m)| m > by[i % channels]).collect();
        moved.insert(node.param_name("threshold"), by);
        signs
    });
    let mut model = model.into_inner();
    for (name, by) in moved {
        if let Some(Tensor { data: Data::F32(values), .. }) = model.tensors.get_mut(&name) {
            values.iter_mut().zip(by).for_each(|(value, by)| *value += by as f32);
        }
    }
    Verified::<Model>::new(model).unwrap()
}

/// A number inside the widest gap between neighbours near the median of a channel. Sums of +-1 take few values, and
/// none may lie on the threshold, so that the gap is cut at no simple fraction. A channel of one pixel stays as it is.
fn middle(values: &[f64], channel: usize, channels: usize) -> f64 {
    let mut sorted: Vec<f64> = values.iter().skip(channel).step_by(channels).copied().collect();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len() - 1;
    let pairs = sorted[last * 3 / 10..=(last * 7).div_ceil(10)].windows(2);
    let widest = pairs.max_by(|a, b| (a[1] - a[0]).total_cmp(&(b[1] - b[0])));
    widest.map_or(0.0, |pair| pair[0] + GOLDEN * (pair[1] - pair[0]))
}
