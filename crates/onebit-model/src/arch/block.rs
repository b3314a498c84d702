//! The residual block around one binary convolution; every method of the papers is an option of it.

use alloc::format;
use alloc::vec;

use super::builder::Builder;
use super::{ArchError, Downsample, NonlinearityPosition, Options, Sharing, bad_option};
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

/// What the hyper functions of a block share, if `hyper.sharing` says so: statistics of the block's input, a hidden
/// layer.
pub(super) struct Trunk<'a> {
    /// Name of the block.
    name: &'a str,
    /// Its input.
    x: Map,
    /// `name.trunk`, once a hyper function has asked for it.
    node: Option<NodeId>,
}

impl<'a> Trunk<'a> {
    /// That of the block `name` on `x`.
    pub(super) fn new(name: &'a str, x: Map) -> Self {
        Trunk { name, x, node: None }
    }
}

/// A block, or a half of one, while it is built.
pub(super) struct Block<'a, 'b> {
    b: &'a mut Builder,
    options: &'a Options<'b>,
    /// Prefix of the names of its nodes.
    name: &'a str,
    trunk: &'a mut Trunk<'b>,
}

impl<'a, 'b> Block<'a, 'b> {
    /// The block `name`, still empty.
    pub(super) fn new(
        b: &'a mut Builder,
        options: &'a Options<'b>,
        name: &'a str,
        trunk: &'a mut Trunk<'b>,
    ) -> Self {
        Block { b, options, name, trunk }
    }

    /// `act(BN(conv(sign(x))) + shortcut(x))`, with the module where `options` puts it: `name.sign`, `name.conv`,
    /// `name.bn`, `name.add`, `name.prelu`; the hyper functions `name.sign_hyper` and `name.prelu_hyper` with trunks
    /// `name.sign_trunk` and `name.prelu_trunk`, or that of the whole block; the shortcut's nodes `name.down.*`.
    pub(super) fn residual(
        mut self,
        x: Map,
        geometry: Geometry,
        shortcut: Shortcut,
    ) -> Result<Map, ArchError> {
        let name = self.name;
        let bits = self.sign(name, x);
        let conv = self.conv_bin(name, bits, geometry);
        let y = self.normalized(name, conv, geometry)?;
        let shortcut = match shortcut {
            Shortcut::Projected => self.projected(x, geometry)?,
            Shortcut::Pooled => self.pooled(x, geometry.stride),
        };
        let y = self.sum(name, y, shortcut);
        self.last_module(Map { node: y, channels: geometry.out_channels })
    }

    /// Adds the node `name.part` of the block itself.
    pub(super) fn add(&mut self, part: &str, op: Op, inputs: &[NodeId]) -> NodeId {
        self.b.add(&format!("{}.{part}", self.name), op, inputs)
    }

    /// `name.conv`, binary.
    pub(super) fn conv_bin(&mut self, name: &str, bits: NodeId, geometry: Geometry) -> NodeId {
        let config = self.options.config;
        self.b.conv_bin(name, bits, geometry, config.padding, config.weight_scale)
    }

    /// `name.conv`, real.
    pub(super) fn real_conv(&mut self, name: &str, x: NodeId, geometry: Geometry) -> NodeId {
        self.b.add(&format!("{name}.conv"), Op::Conv { geometry }, &[x])
    }

    /// `name.add`.
    pub(super) fn sum(&mut self, name: &str, y: NodeId, shortcut: NodeId) -> NodeId {
        self.b.add(&format!("{name}.add"), Op::Add, &[y, shortcut])
    }

    /// What stands between a convolution and the addition: BN, the module if it stands here, the shuffle of groups.
    pub(super) fn normalized(
        &mut self,
        name: &str,
        conv: NodeId,
        geometry: Geometry,
    ) -> Result<NodeId, ArchError> {
        let position = self.options.config.nonlinearity_position;
        let map = |node| Map { node, channels: geometry.out_channels };
        let mut y = conv;
        if position == NonlinearityPosition::BeforeBn {
            y = self.nonlinearity(name, map(y))?;
        }
        y = self.b.batch_norm(name, y);
        if position == NonlinearityPosition::BeforeAdd {
            y = self.nonlinearity(name, map(y))?;
        }
        if geometry.groups > 1 {
            let shuffle = Op::ChannelShuffle { groups: geometry.groups };
            y = self.b.add(&format!("{name}.shuffle"), shuffle, &[y]);
        }
        Ok(y)
    }

    /// The module, if it stands at the end of the block.
    pub(super) fn last_module(&mut self, x: Map) -> Result<Map, ArchError> {
        if self.options.config.nonlinearity_position != NonlinearityPosition::AfterAdd {
            return Ok(x);
        }
        Ok(Map { node: self.nonlinearity(self.name, x)?, ..x })
    }

    /// `name.sign`, with its hyper function if it is dynamic.
    pub(super) fn sign(&mut self, name: &str, x: Map) -> NodeId {
        let threshold = self.options.threshold();
        let mut inputs = vec![x.node];
        if threshold == Threshold::Dynamic {
            let lambda = self.options.config.hyper.sign_lambda;
            inputs.push(self.offsets(&format!("{name}.sign"), x, x.channels, lambda));
        }
        self.b.add(&format!("{name}.sign"), Op::Sign { threshold }, &inputs)
    }

    fn nonlinearity(&mut self, name: &str, x: Map) -> Result<NodeId, ArchError> {
        let Some((slope, shift)) = self.options.prelu()? else {
            return Ok(x.node);
        };
        let mut inputs = vec![x.node];
        if shift == Shift::Dynamic {
            let lambda = self.options.config.hyper.prelu_lambda;
            inputs.push(self.offsets(&format!("{name}.prelu"), x, 2 * x.channels, lambda));
        }
        Ok(self.b.add(&format!("{name}.prelu"), Op::Prelu { slope, shift }, &inputs))
    }

    /// The hyper function `site_hyper` of the map `x` at `site`, or with a shared trunk of the block's input.
    fn offsets(&mut self, site: &str, x: Map, outputs: usize, lambda: f32) -> NodeId {
        let hyper = &self.options.config.hyper;
        let trunk = match (hyper.sharing, self.trunk.node) {
            (Sharing::Block, Some(trunk)) => trunk,
            (Sharing::Block, None) => {
                let trunk = self.hidden(&format!("{}.trunk", self.trunk.name), self.trunk.x);
                self.trunk.node = Some(trunk);
                trunk
            }
            (Sharing::None, _) => self.hidden(&format!("{site}_trunk"), x),
        };
        let head =
            Op::HyperHead { outputs, range: hyper.range(lambda), precision: hyper.precision };
        self.b.add(&format!("{site}_hyper"), head, &[trunk])
    }

    fn hidden(&mut self, name: &str, x: Map) -> NodeId {
        let hyper = &self.options.config.hyper;
        let op = Op::HyperTrunk {
            statistics: hyper.statistics,
            hidden: hyper.hidden(x.channels),
            precision: hyper.precision,
        };
        self.b.add(name, op, &[x.node])
    }

    fn projected(&mut self, x: Map, geometry: Geometry) -> Result<NodeId, ArchError> {
        let Geometry { out_channels, stride, .. } = geometry;
        if stride == 1 && x.channels == out_channels {
            return Ok(x.node);
        }
        let name = format!("{}.down", self.name);
        let pooled = self.pooled(x, stride);
        let pointwise = Geometry::same(out_channels, 1, 1, 1);
        match self.options.downsample {
            Downsample::Float => Ok(self.b.conv_bn(&name, pooled, pointwise)),
            Downsample::FloatGrouped => {
                Ok(self.b.conv_bn(&name, pooled, Geometry { groups: 4, ..pointwise }))
            }
            Downsample::Binary => {
                let bits = self.sign(&name, Map { node: pooled, channels: x.channels });
                let y = self.conv_bin(&name, bits, pointwise);
                Ok(self.b.batch_norm(&name, y))
            }
            Downsample::Duplicate if out_channels == 2 * x.channels => {
                Ok(self.b.add(&format!("{name}.concat"), Op::Concat, &[pooled, pooled]))
            }
            Downsample::Duplicate => {
                Err(bad_option("downsample", "duplicate", "widths that double from stage to stage"))
            }
        }
    }

    fn pooled(&mut self, x: Map, stride: usize) -> NodeId {
        if stride == 1 {
            return x.node;
        }
        self.add("down.pool", Op::AvgPool { kernel: 2, stride }, &[x.node])
    }
}
