//! Residual networks for small images: a 3x3 stem, stages of blocks, global average pooling, a classifier.
//!
//! ResNet-20 (He et al. 2016, section 4.2) with one shortcut around every binary convolution (Bi-Real Net).

use alloc::format;
use alloc::vec::Vec;

use super::block::{Map, residual};
use super::builder::Builder;
use super::{ArchError, Config, Task, bad_option};
use crate::{Geometry, Graph};

pub(super) fn resnet20(config: &Config, task: &Task) -> Result<Graph, ArchError> {
    let widths = config.widths.as_deref().unwrap_or(&[16, 32, 64]);
    let blocks = config.blocks.as_deref().unwrap_or(&[6, 6, 6]);
    stages(config, task, widths, blocks)
}

pub(super) fn resnet_small(config: &Config, task: &Task) -> Result<Graph, ArchError> {
    let widths = config.widths.as_deref().unwrap_or(&[32, 64, 128]);
    let blocks = config.blocks.as_deref().unwrap_or(&[2, 2, 2]);
    stages(config, task, widths, blocks)
}

fn stages(
    config: &Config,
    task: &Task,
    widths: &[usize],
    blocks: &[usize],
) -> Result<Graph, ArchError> {
    check(config, widths, blocks)?;
    let widths: Vec<usize> = widths.iter().map(|&w| widened(w, config.width_multiplier)).collect();
    let (mut b, input) = Builder::new(&config.arch, task);
    let stem = Geometry { out_channels: widths[0], kernel: 3, stride: 1, padding: 1, groups: 1 };
    let mut x = Map { node: b.conv_bn("stem", input, stem), channels: widths[0] };
    for (stage, (&width, &count)) in widths.iter().zip(blocks).enumerate() {
        for block in 0..count {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let name = format!("stage{}.{}", stage + 1, block);
            x = residual(&mut b, config, &name, x, width, stride)?;
        }
    }
    Ok(b.classifier(x.node))
}

fn check(config: &Config, widths: &[usize], blocks: &[usize]) -> Result<(), ArchError> {
    if widths.is_empty() || widths.len() > 8 || widths.iter().any(|w| !(1..=4096).contains(w)) {
        return Err(bad_option("widths", widths, "1 to 8 stages of 1 to 4096 channels"));
    }
    if blocks.len() != widths.len() || blocks.iter().any(|b| !(1..=64).contains(b)) {
        return Err(bad_option("blocks", blocks, "1 to 64 blocks for each of the widths"));
    }
    if !(0.05..=64.0).contains(&config.width_multiplier) {
        return Err(bad_option("width_multiplier", config.width_multiplier, "0.05 to 64"));
    }
    if config.hyper.reduction == 0 {
        return Err(bad_option("hyper.reduction", 0, "1 or more"));
    }
    Ok(())
}

fn widened(width: usize, multiplier: f32) -> usize {
    ((width as f32 * multiplier + 0.5) as usize).max(1)
}
