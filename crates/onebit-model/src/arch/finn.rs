//! The plain 1-bit networks of FINN: LFC, a perceptron, and CNV, convolutions without padding and 1-bit layers behind them.
//!
//! Layouts of Umuroglu et al., "FINN: A Framework for Fast, Scalable Binarized Neural Network Inference", 2017, as their
//! published networks in the QONNX model zoo have them: normalization behind every 1-bit layer, the last one included, no
//! shortcuts. The method decides the signs, and what else stands behind a normalization; Bi-Real Net's has plain signs alone.

use alloc::format;

use super::block::{Block, Map, Trunk};
use super::builder::Builder;
use super::{ArchError, Options, Task, bad_option};
use crate::{Geometry, Graph, NodeId, Op};

/// Units of LFC's hidden layers.
const LFC: &[usize] = &[1024, 1024, 1024];
/// Channels of CNV's convolutions, the first of which is real; a 2x2 maximum stands behind the second and the fourth.
const CNV: &[usize] = &[64, 64, 128, 128, 256, 256];
/// Units of CNV's hidden layers.
const CNV_LAYERS: &[usize] = &[512, 512];

/// The image's own signs, then 1-bit layers: layer I is `layer.I`.
pub(super) fn lfc(options: &Options<'_>, task: &Task) -> Result<Graph, ArchError> {
    let widths = options.config.widths.as_deref().unwrap_or(LFC);
    check(options, widths, 1)?;
    let (mut b, input) = Builder::new(&options.config.arch, task);
    let x = Map { node: input, channels: task.input[0] };
    let last = layers(&mut b, options, x, widths, task.classes.len())?;
    Ok(b.logits(last))
}

/// A real 3x3 convolution `stem`, 1-bit ones `feature.I`, then 1-bit layers `layer.I`.
pub(super) fn cnv(options: &Options<'_>, task: &Task) -> Result<Graph, ArchError> {
    let widths = options.config.widths.as_deref().unwrap_or(CNV);
    check(options, widths, 2)?;
    let (mut b, input) = Builder::new(&options.config.arch, task);
    let window = |width: usize| Geometry {
        out_channels: options.widened(width),
        kernel: 3,
        stride: 1,
        padding: 0,
        groups: 1,
    };
    let mut x = Map { node: b.conv_bn("stem", input, window(widths[0])), channels: 0 };
    x.channels = window(widths[0]).out_channels;
    for (index, &width) in widths.iter().enumerate().skip(1) {
        let name = format!("feature.{index}");
        let mut trunk = Trunk::new(&name, x);
        let mut block = Block::new(&mut b, options, &name, &mut trunk);
        let bits = block.sign(&name, x);
        let geometry = window(width);
        let mut y = block.conv_bin(&name, bits, geometry);
        if index == 1 || index == 3 {
            y = block.add("pool", Op::MaxPool { kernel: 2, stride: 2, padding: 0 }, &[y]);
        }
        let node = block.normalized(&name, y, geometry)?;
        x = block.last_module(Map { node, channels: geometry.out_channels })?;
    }
    let last = layers(&mut b, options, x, CNV_LAYERS, task.classes.len())?;
    Ok(b.logits(last))
}

/// 1-bit layers of so many units, and one of so many classes, each behind a sign and in front of a normalization.
fn layers(
    b: &mut Builder,
    options: &Options<'_>,
    mut x: Map,
    widths: &[usize],
    classes: usize,
) -> Result<NodeId, ArchError> {
    let hidden = widths.iter().map(|&width| options.widened(width));
    for (index, out_features) in hidden.chain([classes]).enumerate() {
        let name = format!("layer.{}", index + 1);
        let mut trunk = Trunk::new(&name, x);
        let mut block = Block::new(b, options, &name, &mut trunk);
        let bits = block.sign(&name, x);
        let scale = options.config.weight_scale;
        let y = block.add("linear", Op::LinearBin { out_features, scale }, &[bits]);
        if index == widths.len() {
            return Ok(b.batch_norm(&name, y));
        }
        let node = block.normalized(&name, y, Geometry::same(out_features, 1, 1, 1))?;
        x = block.last_module(Map { node, channels: out_features })?;
    }
    Ok(x.node)
}

fn check(options: &Options<'_>, widths: &[usize], least: usize) -> Result<(), ArchError> {
    if !(least..=16).contains(&widths.len()) || widths.iter().any(|w| !(1..=4096).contains(w)) {
        return Err(bad_option("widths", widths, "1 to 16 layers (cnv: 2 or more) of 1 to 4096"));
    }
    if let Some(blocks) = &options.config.blocks {
        let expected = "no value here, where `widths` has one entry a layer";
        return Err(bad_option("blocks", blocks, expected));
    }
    if let Some(downsample) = options.config.downsample {
        return Err(bad_option("downsample", downsample, "no value here, without shortcuts"));
    }
    if let Some(stem) = options.config.stem {
        return Err(bad_option("stem", stem, "no value here, where there is one kind"));
    }
    match options.groups {
        1 => Ok(()),
        groups => Err(bad_option("groups", groups, "1 here")),
    }
}
