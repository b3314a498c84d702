//! The real convolutions at the image.

use alloc::format;

use super::block::Map;
use super::builder::Builder;
use super::{Options, Stem};
use crate::{Geometry, NodeId, Op, Shift, Slope};

/// The stem that `options` asks for. Its only or last pieces are `stem.conv`, `stem.bn` and `stem.pool`; stems of
/// several convolutions number them, `stem.0.conv`.
pub(super) fn stem(b: &mut Builder, options: &Options<'_>, image: NodeId, width: usize) -> Map {
    let conv = |kernel, stride| Geometry::same(width, kernel, stride, 1);
    let node = match options.stem {
        Stem::Full => {
            let y = b.conv_bn("stem", image, conv(7, 2));
            max_pool(b, y)
        }
        Stem::Strided => b.conv_bn("stem", image, conv(3, 2)),
        Stem::Small => b.conv_bn("stem", image, conv(3, 1)),
        Stem::Conv3x3 => {
            let y = b.conv_bn("stem", image, conv(3, 2));
            max_pool(b, y)
        }
        Stem::Grouped => {
            let half = (width / 2).max(1);
            let y = conv_bn_relu(b, 0, image, Geometry::same(half, 3, 2, 1));
            let y = conv_bn_relu(b, 1, y, Geometry::same(half, 3, 1, 4));
            let y = b.conv_bn("stem.2", y, Geometry::same(width, 3, 1, 8));
            max_pool(b, y)
        }
        Stem::Quick => {
            let quarter = (width / 4).max(1);
            let y = conv_bn_relu(b, 0, image, Geometry::same(quarter, 3, 2, 1));
            let y = b.conv_bn("stem.1", y, Geometry::same(quarter, 3, 2, quarter));
            b.conv_bn("stem.2", y, conv(1, 1))
        }
    };
    Map { node, channels: width }
}

fn conv_bn_relu(b: &mut Builder, index: usize, x: NodeId, geometry: Geometry) -> NodeId {
    let name = format!("stem.{index}");
    let y = b.conv_bn(&name, x, geometry);
    b.add(&format!("{name}.relu"), Op::Prelu { slope: Slope::Relu, shift: Shift::None }, &[y])
}

fn max_pool(b: &mut Builder, x: NodeId) -> NodeId {
    b.add("stem.pool", Op::MaxPool { kernel: 3, stride: 2, padding: 1 }, &[x])
}
