//! The residual block around one binary convolution; every method of the papers is an option of it.

use alloc::format;

use super::builder::Builder;
use super::{ArchError, Downsample, NonlinearityPosition, Options, bad_option};
use crate::{Geometry, NodeId, Op, Shift, Threshold};

/// A map under construction: the node and its channels.
#[derive(Clone, Copy)]
pub(super) struct Map {
    pub(super) node: NodeId,
    pub(super) channels: usize,
}

/// What is added to the output of a block that changes the resolution.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shortcut {
    /// The input at the output's resolution and channels, as `options.downsample` says (Bi-Real Net).
    Projected,
    /// The input at the output's resolution (ReActNet-A, whose channels change elsewhere).
    Pooled,
}

/// `act(BN(conv(sign(x))) + shortcut(x))`, with the module where `options` puts it: `name.sign`, `name.conv`,
/// `name.bn`, `name.add`, `name.prelu`; the hyper functions `name.sign_hyper` and `name.prelu_hyper`; the shortcut's
/// nodes `name.down.*`.
pub(super) fn residual(
    b: &mut Builder,
    options: &Options<'_>,
    name: &str,
    x: Map,
    geometry: Geometry,
    shortcut: Shortcut,
) -> Result<Map, ArchError> {
    let bits = sign(b, options, name, x);
    let conv = conv_bin(b, options, name, bits, geometry);
    let y = normalized(b, options, name, conv, geometry)?;
    let shortcut = match shortcut {
        Shortcut::Projected => projected(b, options, name, x, geometry)?,
        Shortcut::Pooled => pooled(b, &format!("{name}.down"), x, geometry.stride),
    };
    let y = b.add(&format!("{name}.add"), Op::Add, &[y, shortcut]);
    last_module(b, options, name, Map { node: y, channels: geometry.out_channels })
}

/// `name.conv`, binary.
pub(super) fn conv_bin(
    b: &mut Builder,
    options: &Options<'_>,
    name: &str,
    bits: NodeId,
    geometry: Geometry,
) -> NodeId {
    b.conv_bin(name, bits, geometry, options.config.padding, options.config.weight_scale)
}

/// What stands between a convolution and the addition: BN, the module if it stands here, the shuffle of groups.
pub(super) fn normalized(
    b: &mut Builder,
    options: &Options<'_>,
    name: &str,
    conv: NodeId,
    geometry: Geometry,
) -> Result<NodeId, ArchError> {
    let position = options.config.nonlinearity_position;
    let map = |node| Map { node, channels: geometry.out_channels };
    let mut y = conv;
    if position == NonlinearityPosition::BeforeBn {
        y = nonlinearity(b, options, name, map(y))?;
    }
    y = b.batch_norm(name, y);
    if position == NonlinearityPosition::BeforeAdd {
        y = nonlinearity(b, options, name, map(y))?;
    }
    if geometry.groups > 1 {
        let shuffle = Op::ChannelShuffle { groups: geometry.groups };
        y = b.add(&format!("{name}.shuffle"), shuffle, &[y]);
    }
    Ok(y)
}

/// The module, if it stands at the end of the block.
pub(super) fn last_module(
    b: &mut Builder,
    options: &Options<'_>,
    name: &str,
    x: Map,
) -> Result<Map, ArchError> {
    if options.config.nonlinearity_position != NonlinearityPosition::AfterAdd {
        return Ok(x);
    }
    Ok(Map { node: nonlinearity(b, options, name, x)?, ..x })
}

/// `name.sign`, with its hyper function if it is dynamic.
pub(super) fn sign(b: &mut Builder, options: &Options<'_>, name: &str, x: Map) -> NodeId {
    let threshold = options.threshold();
    let sign = format!("{name}.sign");
    if threshold != Threshold::Dynamic {
        return b.add(&sign, Op::Sign { threshold }, &[x.node]);
    }
    let hyper = &options.config.hyper;
    let op = Op::Hyper {
        statistics: hyper.statistics,
        hidden: hyper.hidden(x.channels),
        outputs: x.channels,
        range: hyper.range(hyper.sign_lambda),
    };
    let offsets = b.add(&format!("{name}.sign_hyper"), op, &[x.node]);
    b.add(&sign, Op::Sign { threshold }, &[x.node, offsets])
}

fn nonlinearity(
    b: &mut Builder,
    options: &Options<'_>,
    name: &str,
    x: Map,
) -> Result<NodeId, ArchError> {
    let Some((slope, shift)) = options.prelu()? else {
        return Ok(x.node);
    };
    let prelu = format!("{name}.prelu");
    if shift != Shift::Dynamic {
        return Ok(b.add(&prelu, Op::Prelu { slope, shift }, &[x.node]));
    }
    let hyper = &options.config.hyper;
    let op = Op::Hyper {
        statistics: hyper.statistics,
        hidden: hyper.hidden(x.channels),
        outputs: 2 * x.channels,
        range: hyper.range(hyper.prelu_lambda),
    };
    let offsets = b.add(&format!("{name}.prelu_hyper"), op, &[x.node]);
    Ok(b.add(&prelu, Op::Prelu { slope, shift }, &[x.node, offsets]))
}

fn projected(
    b: &mut Builder,
    options: &Options<'_>,
    name: &str,
    x: Map,
    geometry: Geometry,
) -> Result<NodeId, ArchError> {
    let Geometry { out_channels, stride, .. } = geometry;
    if stride == 1 && x.channels == out_channels {
        return Ok(x.node);
    }
    let name = format!("{name}.down");
    let pooled = pooled(b, &name, x, stride);
    let pointwise = Geometry::same(out_channels, 1, 1, 1);
    match options.downsample {
        Downsample::Float => Ok(b.conv_bn(&name, pooled, pointwise)),
        Downsample::FloatGrouped => {
            Ok(b.conv_bn(&name, pooled, Geometry { groups: 4, ..pointwise }))
        }
        Downsample::Binary => {
            let bits = sign(b, options, &name, Map { node: pooled, channels: x.channels });
            let y = conv_bin(b, options, &name, bits, pointwise);
            Ok(b.batch_norm(&name, y))
        }
        Downsample::Duplicate if out_channels == 2 * x.channels => {
            Ok(b.add(&format!("{name}.concat"), Op::Concat, &[pooled, pooled]))
        }
        Downsample::Duplicate => {
            Err(bad_option("downsample", "duplicate", "widths that double from stage to stage"))
        }
    }
}

fn pooled(b: &mut Builder, name: &str, x: Map, stride: usize) -> NodeId {
    if stride == 1 {
        return x.node;
    }
    b.add(&format!("{name}.pool"), Op::AvgPool { kernel: 2, stride }, &[x.node])
}
