//! How much of a block an affine map of its input explains, pixel by pixel.

use onebit_model::{Graph, NodeId, Shape};

use super::Linearity;
use super::blocks::Block;
use super::fit::Fit;
use crate::net::Net;
use crate::op::{AvgPool, Forward, Layer, Workspace};
use crate::params::Params;

/// Most sums of products that are kept for a block, 1 GiB of them.
const MAX_PRODUCTS: usize = 1 << 27;

/// Sums over all images of one block.
pub(super) struct LinearityProbe {
    block: Block,
    /// What the modules read.
    module_inputs: Vec<NodeId>,
    /// Averages the block's input to the extents of its output.
    pool: Pool,
    /// The maps that are explained, with their channels.
    targets: Vec<(NodeId, usize)>,
    fit: Fit,
}

impl LinearityProbe {
    /// `None` if its input cannot be brought to the extents of its output, or there are too many channels.
    pub(super) fn new(graph: &Graph, shapes: &[Shape], block: Block) -> Option<Self> {
        let (x, y) = (shapes[block.input.0], shapes[block.output.0]);
        let module_inputs: Vec<NodeId> =
            block.modules.iter().map(|module| graph.nodes[module.0].inputs[0]).collect();
        let mut targets = vec![block.output];
        targets.extend(block.modules.iter().chain(&module_inputs));
        targets.sort_unstable();
        targets.dedup();
        targets.retain(|id| extents(shapes[id.0]) == extents(y));
        let targets: Vec<(NodeId, usize)> =
            targets.into_iter().map(|id| (id, shapes[id.0].channels)).collect();
        let columns: usize = targets.iter().map(|(_, channels)| channels).sum();
        if x.channels.saturating_mul(x.channels + columns) > MAX_PRODUCTS {
            return None;
        }
        let (pool, fit) = (Pool::new(x, y)?, Fit::new(x.channels, columns));
        Some(LinearityProbe { block, module_inputs, pool, targets, fit })
    }

    /// The nodes whose maps it reads.
    pub(super) fn observed(&self) -> Vec<NodeId> {
        let targets = self.targets.iter().map(|(id, _)| *id);
        [self.block.input].into_iter().chain(targets).collect()
    }

    /// Adds the images of the last pass.
    pub(super) fn add(&mut self, net: &Net) {
        let mut targets: Vec<_> =
            self.targets.iter().map(|(id, channels)| (net.maps(*id), *channels)).collect();
        for x in net.maps(self.block.input) {
            let mut maps = vec![self.pool.average(x)];
            maps.extend(targets.iter_mut().filter_map(|(maps, c)| Some((maps.next()?, *c))));
            self.fit.add(&maps);
        }
    }

    pub(super) fn measured(&self) -> Linearity {
        let explained = self.fit.explained().unwrap_or_default();
        let share = |nodes: &[NodeId]| {
            let mut first = 0;
            let (mut sum, mut total) = (0.0, 0.0);
            for (id, channels) in &self.targets {
                if nodes.contains(id) {
                    let of_target = explained.iter().skip(first).take(*channels);
                    of_target.for_each(|(part, whole)| {
                        sum += part;
                        total += whole;
                    });
                }
                first += channels;
            }
            (total > 0.0).then(|| (sum / total).clamp(0.0, 1.0))
        };
        Linearity {
            features: self.fit.features(),
            pixels: self.fit.pixels(),
            before_module: share(&self.module_inputs),
            after_module: share(&self.block.modules),
            block: share(&[self.block.output]),
        }
    }
}

/// Average pooling of maps with `channels`, if they are to be pooled at all.
#[derive(Default)]
struct Pool {
    channels: usize,
    /// With the lengths of an image before and after.
    layer: Option<(AvgPool, usize, usize)>,
    pooled: Vec<f32>,
    workspace: Workspace,
}

impl Pool {
    /// From the extents of `x` to those of `y`; `None` if no whole number divides them so.
    fn new(x: Shape, y: Shape) -> Option<Self> {
        let mut pool = Pool { channels: x.channels, ..Pool::default() };
        if extents(x) == extents(y) {
            return Some(pool);
        }
        let factor = x.height / y.height;
        let pooled = Shape {
            height: x.height.checked_div(factor)?,
            width: x.width.checked_div(factor)?,
            ..x
        };
        let layer = (AvgPool::new(factor, factor, x, pooled), x.len(), pooled.len());
        pool.layer = Some(layer);
        (extents(pooled) == extents(y)).then_some(pool)
    }

    /// The map as features for a [`Fit`].
    fn average<'a>(&'a mut self, x: &'a [f32]) -> (&'a [f32], usize) {
        let Some((layer, before, after)) = &self.layer else { return (x, self.channels) };
        let images = x.len() / before;
        self.pooled.resize(images * after, 0.0);
        layer.forward(Forward {
            images,
            params: &Params::default(),
            x,
            x_bits: &[],
            x2: &[],
            y: &mut self.pooled,
            y_bits: &mut [],
            workspace: &mut self.workspace,
        });
        (&self.pooled, self.channels)
    }
}

fn extents(shape: Shape) -> (usize, usize) {
    (shape.height, shape.width)
}
