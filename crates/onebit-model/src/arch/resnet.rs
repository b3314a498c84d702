//! Residual networks: a stem, stages of blocks, global average pooling, a classifier.
//!
//! The 18 and 34 layers are Bi-Real Net's and ReActNet's (their papers and official code): a 7x7 stem without
//! activation, one shortcut around every binary 3x3 convolution, resolution changed by a 2x2 average and a real 1x1
//! convolution. ResNet-20 is He et al. 2016, section 4.2, with the same shortcuts. The forms for small images change
//! only the stem. FTBNN and DyBNN have published no code: that they use these blocks with FPReLU, or with DySign and
//! DyPReLU at every place of RSign and RPReLU, is our reading of their abstracts; the compressed and grouped presets
//! are ours.
//!
//! Official checkpoints name the same parts `conv1`, `bn1` (here `stem.conv`, `stem.bn`), and in block B of layer L
//! `layerL.B.` `move0.bias` (here `stageL.B.sign.threshold`, negated), `binary_conv.weight` or, flat, `.weights`
//! (`stageL.B.conv.weight`, OIHW there), `bn1` (`stageL.B.bn`), `move1.bias`, `prelu.weight`, `move2.bias` (`stageL.B.prelu.`
//! `shift_x` negated, `slope_neg`, `shift_y`), `downsample.1`, `downsample.2` (`stageL.B.down.conv`,
//! `stageL.B.down.bn`), and `fc`.

use alloc::format;
use alloc::vec::Vec;

use super::block::{Block, Shortcut, Trunk};
use super::builder::Builder;
use super::stem::stem;
use super::{ArchError, Options, Task, bad_option};
use crate::{Geometry, Graph};

/// 16, 32 and 64 channels, 6 blocks each.
pub(super) fn resnet20(options: &Options<'_>, task: &Task) -> Result<Graph, ArchError> {
    stages(options, task, &[16, 32, 64], &[6, 6, 6])
}

/// For `widths` and `blocks` of one's own.
pub(super) fn resnet_small(options: &Options<'_>, task: &Task) -> Result<Graph, ArchError> {
    stages(options, task, &[32, 64, 128], &[2, 2, 2])
}

/// 64 to 512 channels, 4 blocks each: a block of the real ResNet-18 is two here.
pub(super) fn resnet18(options: &Options<'_>, task: &Task) -> Result<Graph, ArchError> {
    stages(options, task, &[64, 128, 256, 512], &[4, 4, 4, 4])
}

/// 64 to 512 channels, 6, 8, 12 and 6 blocks.
pub(super) fn resnet34(options: &Options<'_>, task: &Task) -> Result<Graph, ArchError> {
    stages(options, task, &[64, 128, 256, 512], &[6, 8, 12, 6])
}

fn stages(
    options: &Options<'_>,
    task: &Task,
    widths: &[usize],
    blocks: &[usize],
) -> Result<Graph, ArchError> {
    let config = options.config;
    let widths = config.widths.as_deref().unwrap_or(widths);
    let blocks = config.blocks.as_deref().unwrap_or(blocks);
    check(widths, blocks)?;
    let widths: Vec<usize> = widths.iter().map(|&w| options.widened(w)).collect();
    let (mut b, input) = Builder::new(&config.arch, task);
    let mut x = stem(&mut b, options, input, widths[0]);
    for (stage, (&width, &count)) in widths.iter().zip(blocks).enumerate() {
        for block in 0..count {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let geometry = Geometry::same(width, 3, stride, options.groups);
            let name = format!("stage{}.{}", stage + 1, block);
            let mut trunk = Trunk::new(&name, x);
            let block = Block::new(&mut b, options, &name, &mut trunk);
            x = block.residual(x, geometry, Shortcut::Projected)?;
        }
    }
    Ok(b.classifier(x.node))
}

fn check(widths: &[usize], blocks: &[usize]) -> Result<(), ArchError> {
    if widths.is_empty() || widths.len() > 8 || widths.iter().any(|w| !(1..=4096).contains(w)) {
        return Err(bad_option("widths", widths, "1 to 8 stages of 1 to 4096 channels"));
    }
    if blocks.len() != widths.len() || blocks.iter().any(|b| !(1..=64).contains(b)) {
        return Err(bad_option("blocks", blocks, "1 to 64 blocks for each of the widths"));
    }
    Ok(())
}
