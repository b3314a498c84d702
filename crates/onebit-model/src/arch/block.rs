//! The residual block around one 3x3 binary convolution; every method of the papers is an option of it.

use alloc::format;

use super::builder::Builder;
use super::{ArchError, Config, Downsample, NonlinearityPosition, bad_option};
use crate::{Geometry, NodeId, Op, Shift, Threshold};

/// A map under construction: the node and its channels.
#[derive(Clone, Copy)]
pub(super) struct Map {
    pub(super) node: NodeId,
    pub(super) channels: usize,
}

/// `act(BN(conv(sign(x))) + shortcut(x))`, with the module where `config` puts it.
pub(super) fn residual(
    b: &mut Builder,
    config: &Config,
    name: &str,
    x: Map,
    out_channels: usize,
    stride: usize,
) -> Result<Map, ArchError> {
    let position = config.nonlinearity_position;
    let bits = sign(b, config, name, x);
    let geometry = Geometry { out_channels, kernel: 3, stride, padding: 1, groups: config.groups };
    let mut y = b.conv_bin(name, bits, geometry, config.padding, config.weight_scale);
    if position == NonlinearityPosition::BeforeBn {
        y = nonlinearity(b, config, name, Map { node: y, channels: out_channels })?;
    }
    y = b.batch_norm(name, y);
    if position == NonlinearityPosition::BeforeAdd {
        y = nonlinearity(b, config, name, Map { node: y, channels: out_channels })?;
    }
    if config.groups > 1 {
        let shuffle = Op::ChannelShuffle { groups: config.groups };
        y = b.add(&format!("{name}.shuffle"), shuffle, &[y]);
    }
    let shortcut = shortcut(b, config, name, x, out_channels, stride)?;
    y = b.add(&format!("{name}.add"), Op::Add, &[y, shortcut]);
    if position == NonlinearityPosition::AfterAdd {
        y = nonlinearity(b, config, name, Map { node: y, channels: out_channels })?;
    }
    Ok(Map { node: y, channels: out_channels })
}

fn sign(b: &mut Builder, config: &Config, name: &str, x: Map) -> NodeId {
    let threshold = config.threshold();
    let sign = format!("{name}.sign");
    if threshold != Threshold::Dynamic {
        return b.add(&sign, Op::Sign { threshold }, &[x.node]);
    }
    let hyper = &config.hyper;
    let op = Op::Hyper {
        statistics: hyper.statistics,
        hidden: hyper.hidden(x.channels),
        outputs: x.channels,
        range: hyper.range(hyper.sign_lambda),
    };
    let offsets = b.add(&format!("{name}.sign_hyper"), op, &[x.node]);
    b.add(&sign, Op::Sign { threshold }, &[x.node, offsets])
}

fn nonlinearity(b: &mut Builder, config: &Config, name: &str, x: Map) -> Result<NodeId, ArchError> {
    let Some((slope, shift)) = config.prelu()? else {
        return Ok(x.node);
    };
    let prelu = format!("{name}.prelu");
    if shift != Shift::Dynamic {
        return Ok(b.add(&prelu, Op::Prelu { slope, shift }, &[x.node]));
    }
    let hyper = &config.hyper;
    let op = Op::Hyper {
        statistics: hyper.statistics,
        hidden: hyper.hidden(x.channels),
        outputs: 2 * x.channels,
        range: hyper.range(hyper.prelu_lambda),
    };
    let offsets = b.add(&format!("{name}.prelu_hyper"), op, &[x.node]);
    Ok(b.add(&prelu, Op::Prelu { slope, shift }, &[x.node, offsets]))
}

fn shortcut(
    b: &mut Builder,
    config: &Config,
    name: &str,
    x: Map,
    out_channels: usize,
    stride: usize,
) -> Result<NodeId, ArchError> {
    if stride == 1 && x.channels == out_channels {
        return Ok(x.node);
    }
    let name = format!("{name}.down");
    let pooled = if stride == 1 {
        x.node
    } else {
        b.add(&format!("{name}.pool"), Op::AvgPool { kernel: 2, stride }, &[x.node])
    };
    let geometry = Geometry { out_channels, kernel: 1, stride: 1, padding: 0, groups: 1 };
    match config.downsample {
        Downsample::Float => Ok(b.conv_bn(&name, pooled, geometry)),
        Downsample::Binary => {
            let pooled = Map { node: pooled, channels: x.channels };
            let bits = sign(b, config, &name, pooled);
            let y = b.conv_bin(&name, bits, geometry, config.padding, config.weight_scale);
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
