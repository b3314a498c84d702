//! VGG-small, the plain network of the CIFAR-10 tables of binary networks: six 3x3 convolutions, the first real,
//! a 2x2 maximum behind every second, a classifier on all values of the last map.
//!
//! The layout and the order convolution, maximum, BN follow the public code of IR-Net and ReCU as we recall it, and give
//! the operations and parameters that the tables state. Neither Bi-Real Net, ReActNet, FTBNN nor DyBNN reports it: their signs
//! and modules stand here behind BN by our choice. Without shortcuts, Bi-Real Net's block is a plain binary layer.

use alloc::format;

use super::block::{Block, Map, Trunk};
use super::builder::Builder;
use super::stem::stem;
use super::{ArchError, Downsample, Options, Task, bad_option};
use crate::{Geometry, Graph, Op};

/// Channels of the convolutions, the first of which is the stem.
const WIDTHS: &[usize] = &[128, 128, 256, 256, 512, 512];

/// Convolution I is `feature.I`, the stem `stem`.
pub(super) fn vgg_small(options: &Options<'_>, task: &Task) -> Result<Graph, ArchError> {
    let widths = options.config.widths.as_deref().unwrap_or(WIDTHS);
    check(options, widths)?;
    let (mut b, input) = Builder::new(&options.config.arch, task);
    let mut x = stem(&mut b, options, input, options.widened(widths[0]));
    for (index, &width) in widths.iter().enumerate().skip(1) {
        let name = format!("feature.{index}");
        let mut trunk = Trunk::new(&name, x);
        let mut block = Block::new(&mut b, options, &name, &mut trunk);
        let bits = block.sign(&name, x);
        let geometry = Geometry::same(options.widened(width), 3, 1, options.groups);
        let mut y = block.conv_bin(&name, bits, geometry);
        if index % 2 == 1 {
            let pool = Op::MaxPool { kernel: 2, stride: 2, padding: 0 };
            y = block.add("pool", pool, &[y]);
        }
        let node = block.normalized(&name, y, geometry)?;
        x = block.last_module(Map { node, channels: geometry.out_channels })?;
    }
    Ok(b.flat_classifier(x.node))
}

fn check(options: &Options<'_>, widths: &[usize]) -> Result<(), ArchError> {
    if !(2..=16).contains(&widths.len()) || widths.iter().any(|w| !(1..=4096).contains(w)) {
        return Err(bad_option("widths", widths, "2 to 16 convolutions of 1 to 4096 channels"));
    }
    if let Some(blocks) = &options.config.blocks {
        let expected = "no value here, where `widths` has one entry a convolution";
        return Err(bad_option("blocks", blocks, expected));
    }
    if let Some(downsample) = options.config.downsample {
        let value = match downsample {
            Downsample::Float => "float",
            Downsample::FloatGrouped => "float_grouped",
            Downsample::Binary => "binary",
            Downsample::Duplicate => "duplicate",
        };
        return Err(bad_option("downsample", value, "no value here, without shortcuts"));
    }
    Ok(())
}
