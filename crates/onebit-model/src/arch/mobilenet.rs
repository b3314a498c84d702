//! ReActNet-A, B and C: MobileNetV1's layout with binary convolutions, two residual halves to a block.
//!
//! ReActNet-A follows its official code: a 3x3 stem without activation, then blocks of a 3x3 half and a 1x1 half, each
//! with its own shortcut. A shortcut that changes resolution is a 2x2 average. A block that doubles its channels has
//! two 1x1 convolutions on the same bits, adds the block's map to each, and concatenates them. That B and C make
//! these ten convolutions real, in 4 groups and in 1, is how we remember the paper, and gives the FLOPs and BOPs that
//! it prints; that both shortcuts stay and the sign in front goes is ours. The form for small images, with a stem of
//! stride 1, is ours. FTBNN and DyBNN have published no code: FPReLU, or DySign and DyPReLU, at every place of RSign
//! and RPReLU is our reading of their abstracts. Hyper functions that share do so over both halves of a block.
//!
//! Official checkpoints name the same parts `feature.0.conv1`, `feature.0.bn1` (here `stem.conv`, `stem.bn`), and in
//! block I `feature.I.` `move11.bias` (here `feature.I.3x3.sign.threshold`, negated), `binary_3x3` (`3x3.conv`),
//! `bn1` (`3x3.bn`), `move12`, `prelu1`, `move13` (`3x3.prelu.` `shift_x` negated, `slope_neg`, `shift_y`), `move21`
//! (`pw.sign`), `binary_pw`, `bn2` (`pw.conv`, `pw.bn`) or `binary_pw_down1`, `bn2_1`, `binary_pw_down2`, `bn2_2`
//! (`pw_down1.conv`, `pw_down1.bn`, `pw_down2.conv`, `pw_down2.bn`), `move22`, `prelu2`, `move23` (`pw.prelu`); `fc`.

use alloc::format;

use super::block::{Block, Map, Shortcut, Trunk};
use super::builder::Builder;
use super::stem::stem;
use super::{ArchError, Downsample, Options, Task, bad_option};
use crate::{Geometry, Graph, Op};

/// Channels of the stem and of each block.
const WIDTHS: &[usize] = &[32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024];

/// ReActNet-A; `options.downsample` makes it B or C.
pub(super) fn reactnet_a(options: &Options<'_>, task: &Task) -> Result<Graph, ArchError> {
    let widths = options.config.widths.as_deref().unwrap_or(WIDTHS);
    check(options, widths)?;
    let (mut b, input) = Builder::new(&options.config.arch, task);
    let mut x = stem(&mut b, options, input, options.widened(widths[0]));
    for (index, pair) in widths.windows(2).enumerate() {
        let doubles = pair[0] != pair[1];
        let name = format!("feature.{}", index + 1);
        let stride = if doubles && index > 0 { 2 } else { 1 };
        let geometry = Geometry::same(x.channels, 3, stride, options.groups);
        let [spatial, pointwise] = ["3x3", "pw"].map(|half| format!("{name}.{half}"));
        let mut trunk = Trunk::new(&name, x);
        let half = Block::new(&mut b, options, &spatial, &mut trunk);
        x = half.residual(x, geometry, Shortcut::Pooled)?;
        let half = Block::new(&mut b, options, &pointwise, &mut trunk);
        x = if doubles {
            doubled(half, options, &pointwise, x)?
        } else {
            half.residual(x, Geometry::same(x.channels, 1, 1, 1), Shortcut::Pooled)?
        };
    }
    Ok(b.classifier(x.node))
}

/// The 1x1 half of a block that doubles its channels.
fn doubled(
    mut block: Block<'_, '_>,
    options: &Options<'_>,
    name: &str,
    x: Map,
) -> Result<Map, ArchError> {
    let binary = options.downsample == Downsample::Binary;
    let read = if binary { block.sign(name, x) } else { x.node };
    let groups = if options.downsample == Downsample::FloatGrouped { 4 } else { 1 };
    let geometry = Geometry::same(x.channels, 1, 1, groups);
    let mut half = |half: &str| {
        let name = format!("{name}_{half}");
        let conv = if binary {
            block.conv_bin(&name, read, geometry)
        } else {
            block.real_conv(&name, read, geometry)
        };
        let y = block.normalized(&name, conv, geometry)?;
        Ok(block.sum(&name, y, x.node))
    };
    let halves = [half("down1")?, half("down2")?];
    let node = block.add("concat", Op::Concat, &halves);
    block.last_module(Map { node, channels: 2 * x.channels })
}

fn check(options: &Options<'_>, widths: &[usize]) -> Result<(), ArchError> {
    let channels = widths.iter().all(|w| (1..=4096).contains(w));
    let steps = widths.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == 2 * pair[0]);
    if !(2..=64).contains(&widths.len()) || !channels || !steps {
        let expected = "those of the stem and of 1 to 63 blocks, 1 to 4096, each equal to or twice the one before";
        return Err(bad_option("widths", widths, expected));
    }
    if let Some(blocks) = &options.config.blocks {
        return Err(bad_option(
            "blocks",
            blocks,
            "no value here, where `widths` has one entry a block",
        ));
    }
    if options.downsample == Downsample::Duplicate {
        let expected = "binary, float or float_grouped: shortcuts of this network duplicate anyway";
        return Err(bad_option("downsample", "duplicate", expected));
    }
    Ok(())
}
