//! First and last layers of 8 bits.
//!
//! The convolutions that read the image and the classifier are the largest real layers of most networks. [`quantize`]
//! makes them sums of 8-bit integers. Pixels have 8 bits from the start, so that only the weights of a convolution of
//! the image are rounded. What the classifier reads is rounded to steps that cover its [`Ranges`], which the caller
//! measures by running the network up to [`features`]. [`Comparison`] then says what the rounding changed.

#![deny(clippy::wildcard_enum_match_arm)]

mod compare;
mod filters;
mod ranges;

use serde::Serialize;

use onebit_model::op::{INPUT_OFFSET, INPUT_SCALE};
use onebit_model::{
    Data, Model, Node, NodeId, Normalization, Op, Shape, Tensor, Verified, infer, limits,
    quantization, row_scale,
};

use crate::PackError;

pub use compare::{Bounds, Changes, Comparison, MAX_LOST_SHARE};
pub use ranges::Ranges;

/// Why a layer stays as it is.
const TOO_MANY_PRODUCTS: &str = "it adds up more than 65,536 products for each output";
const ZERO_OUTSIDE: &str = "0 is no value of a pixel, since a channel's mean lies outside of 0 to 1: 8 bits could not hold what is padded";

/// Largest 8-bit integer of an input.
const MAX_INTEGER: f64 = 255.0;

/// A network with layers of 8 bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    /// The network.
    pub model: Verified<Model>,
    /// Names of the nodes that became 8-bit ones.
    pub nodes: Vec<String>,
    /// Nodes that were asked for and stay as they are.
    pub left: Vec<Left>,
}

/// A layer that stays as it is, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Name of the node.
    pub node: String,
    /// Why.
    pub reason: &'static str,
}

/// Which layers are to have 8 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layers {
    /// Convolutions of the image, and the classifier.
    All,
    /// Convolutions of the image.
    First,
    /// The classifier.
    Last,
}

/// How the input of a layer is rounded, for each channel.
#[derive(Clone, Debug, PartialEq)]
struct Steps {
    scale: Vec<f32>,
    offset: Vec<f32>,
}

/// The node whose value, `height x width x channels` as one vector, the classifier reads; `None` where the last node is not a
/// linear layer of 32-bit floats behind other nodes.
#[must_use]
pub fn features(model: &Model) -> Option<NodeId> {
    let input = *classifier(model)?.inputs.first()?;
    (input != NodeId(0)).then_some(input)
}

/// Makes 8-bit layers, of `layers`: of the convolutions without groups that read the image and, where `features` says what it reads,
/// of the classifier. A layer with more than 65,536 products for each output stays as it is, and so do the
/// convolutions of an image whose normalization puts 0 outside of the pixels' range.
///
/// # Errors
/// Nothing that could become an 8-bit layer, or a factor that 32 bits do not hold.
pub fn quantize(
    model: &Verified<Model>,
    layers: Layers,
    features: Option<&Ranges>,
) -> Result<Quantized, PackError> {
    let shapes = infer::shapes(&model.graph)?;
    let pixels = of_pixels(&model.graph.normalization);
    let mut quantized = Model::clone(model);
    let (mut nodes, mut left) = (Vec::new(), Vec::new());
    for (id, node) in model.graph.nodes.iter().enumerate() {
        let Some(&input) = node.inputs.first() else { continue };
        let of_image = (input == NodeId(0)).then_some(pixels.as_ref()).flatten().cloned();
        let (op, steps) = match node.op {
            Op::Conv { geometry } if geometry.groups == 1 && layers != Layers::Last => {
                (Op::ConvI8 { geometry }, of_image)
            }
            Op::Linear { out_features }
                if id + 1 == model.graph.nodes.len() && layers != Layers::First =>
            {
                let measured = || features.map(covering);
                (Op::LinearI8 { out_features }, of_image.or_else(measured))
            }
            Op::Input { .. }
            | Op::Conv { .. }
            | Op::ConvBin { .. }
            | Op::ConvI8 { .. }
            | Op::LinearBin { .. }
            | Op::BatchNorm { .. }
            | Op::Affine
            | Op::Sign { .. }
            | Op::Prelu { .. }
            | Op::Add
            | Op::Concat
            | Op::ChannelShuffle { .. }
            | Op::AvgPool { .. }
            | Op::MaxPool { .. }
            | Op::GlobalAvgPool
            | Op::Linear { .. }
            | Op::LinearI8 { .. }
            | Op::HyperTrunk { .. }
            | Op::HyperHead { .. } => continue,
        };
        let name = node.name.clone();
        let reason = match steps {
            Some(steps) if replace(&mut quantized, node, shapes[input.0], &steps)? => {
                quantized.graph.nodes[id].op = op;
                nodes.push(name);
                continue;
            }
            Some(_) => TOO_MANY_PRODUCTS,
            None if input == NodeId(0) => ZERO_OUTSIDE,
            None => continue,
        };
        left.push(Left { node: name, reason });
    }
    if nodes.is_empty() {
        return Err(PackError::NothingToQuantize);
    }
    Ok(Quantized { model: Verified::<Model>::new(quantized)?, nodes, left })
}

fn classifier(model: &Model) -> Option<&Node> {
    model.graph.nodes.last().filter(|node| matches!(node.op, Op::Linear { .. }))
}

/// Steps of one grey level, which hold every pixel value; `None` where 0 is none of them.
fn of_pixels(normalization: &Normalization) -> Option<Steps> {
    let inside = normalization.mean.iter().all(|mean| (0.0..=1.0).contains(mean));
    let scale = |&std: &f32| (1.0 / (MAX_INTEGER * f64::from(std))) as f32;
    let offset = |&mean: &f32| (MAX_INTEGER * f64::from(mean)) as f32;
    inside.then(|| Steps {
        scale: normalization.std.iter().map(scale).collect(),
        offset: normalization.mean.iter().map(offset).collect(),
    })
}

/// Steps that cover ranges.
fn covering(ranges: &Ranges) -> Steps {
    let steps = ranges.widths().into_iter().zip(ranges.lowest()).map(|(width, &low)| {
        let scale = (width / MAX_INTEGER) as f32;
        let offset = (-f64::from(low) / f64::from(scale)).clamp(0.0, MAX_INTEGER) as f32;
        (scale, offset)
    });
    let (scale, offset) = steps.unzip();
    Steps { scale, offset }
}

/// Puts integers in the place of the weights of `node`, which reads `x`, and says whether that can be done.
fn replace(model: &mut Model, node: &Node, x: Shape, steps: &Steps) -> Result<bool, PackError> {
    let name = node.param_name("weight");
    let Some(Tensor { shape, data: Data::F32(weight) }) = model.tensors.get(&name) else {
        return Ok(false);
    };
    let products: usize = shape[1..].iter().product();
    if products > limits::MAX_I8_PRODUCTS || steps.scale.len() != x.channels {
        return Ok(false);
    }
    let scales = steps.scale.iter().cycle();
    let folded: Vec<f32> = weight
        .chunks(products)
        .flat_map(|row| row.iter().zip(scales.clone()))
        .map(|(&w, &scale)| (f64::from(w) * f64::from(scale)) as f32)
        .collect();
    let rows = if matches!(node.op, Op::Conv { .. }) {
        filters::round(&folded, products, x.channels)
    } else {
        quantization::quantize(&folded, products)
    };
    let integers = Tensor { shape: shape.clone(), data: Data::I8(rows.integers) };
    let vector = |values: Vec<f32>| Tensor { shape: vec![values.len()], data: Data::F32(values) };
    model.tensors.insert(row_scale(&name), vector(rows.scale));
    model.tensors.insert(name, integers);
    model.tensors.insert(node.param_name(INPUT_SCALE), vector(steps.scale.clone()));
    model.tensors.insert(node.param_name(INPUT_OFFSET), vector(steps.offset.clone()));
    Ok(true)
}

#[cfg(test)]
mod tests;
