//! What binarization does to the convolutions of a network, measured on images that it has not learned from.
//!
//! FTBNN's abstract says that the binary convolution grows more linear as its quantization error is brought down, and
//! that this hampers the network. How the paper measures linearity is not public; these measures are ours:
//!
//! ```text
//! qe_weights      ||W - alpha sign W||^2 / ||W||^2    alpha: mean |W| of each output channel
//! qe_activations  ||u - beta sign u||^2 / ||u||^2     beta: mean |u| of the layer
//! r2              share of the variance of z that the best affine map of r explains, mean of the output channels
//! linearity       share of the variance of a map of the block that the best affine map of the block's input
//!                 explains, from all channels of a pixel to all channels of the same pixel
//! ```
//!
//! `W` are the latent weights; `u` is what the sign binarizes, its input less its threshold; `z` is the output of the
//! binary convolution and `r` that of the real one of `u` with `W`.

mod blocks;
mod convolution;
mod fit;
mod linearity;

use onebit_model::file::Weights;
use onebit_model::{Graph, NodeId, Verified, infer};
use rayon::prelude::*;
use serde::Serialize;

use crate::TrainError;
use crate::checkpoint::TrainingStage;
use crate::{Net, NetConfig};
use blocks::sites;
use convolution::ConvolutionProbe;
use linearity::LinearityProbe;

/// Pixels of a batch, so that the maps of large images do not fill the memory.
const BATCH_PIXELS: usize = 1 << 16;

/// Measures a network over any number of images, of which it keeps sums only.
pub struct Probe {
    net: Net,
    batch: usize,
    layers: Vec<LayerProbe>,
    logits: Vec<f32>,
}

struct LayerProbe {
    name: String,
    convolution: ConvolutionProbe,
    block: Option<LinearityProbe>,
}

/// What was measured at one binary convolution; an absent number could not be measured (see each).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbedLayer {
    /// The node.
    pub name: String,
    /// Its output channels.
    pub channels: usize,
    /// Output channels that `r2` leaves out: `z` or `r` is the same everywhere.
    pub constant_channels: usize,
    /// Quantization error of the weights; absent if all are zero.
    pub qe_weights: Option<f64>,
    /// Quantization error of the activations; absent if all lie on their threshold.
    pub qe_activations: Option<f64>,
    /// Linearity of the convolution; absent if all channels are constant.
    pub r2: Option<f64>,
    /// Linearity of the block that begins here; absent where the convolution belongs to the block of an earlier one,
    /// the extents of the block's output are not those of its input divided by a whole number, or there are too many
    /// channels (more than 2^27 products of them).
    pub linearity: Option<Linearity>,
}

/// Linearity of a block in its input. Absent: no more pixels than input channels were seen, the map is constant, or it
/// has other extents than the block's output.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Linearity {
    /// Input channels of the block.
    pub features: usize,
    /// Pixels that the fits were made on.
    pub pixels: usize,
    /// What the block's non-linear module reads; absent if the block has none.
    pub before_module: Option<f64>,
    /// What the module gives; absent if the block has none.
    pub after_module: Option<f64>,
    /// The block's output.
    pub block: Option<f64>,
}

impl Probe {
    /// A probe of the network in `weights`, whose binary convolutions act as in `stage`.
    ///
    /// # Errors
    /// A graph that cannot be trained.
    pub fn new(weights: &Verified<Weights>, stage: TrainingStage) -> Result<Self, TrainError> {
        let graph = Verified::<Graph>::new(weights.graph.clone())?;
        let shapes = infer::shapes(&graph)?;
        let layers: Vec<LayerProbe> = sites(&graph)
            .into_iter()
            .map(|site| LayerProbe {
                name: graph.nodes[site.convolution.0].name.clone(),
                convolution: ConvolutionProbe::new(weights, &shapes, &site),
                block: site.block.and_then(|block| LinearityProbe::new(&graph, &shapes, block)),
            })
            .collect();
        let observed: Vec<NodeId> = layers.iter().flat_map(LayerProbe::observed).collect();
        let [_, height, width] = graph.input_shape();
        let batch = (BATCH_PIXELS / (height * width)).clamp(8, 64);
        let binarize_weights = stage == TrainingStage::BinaryWeights;
        let config = NetConfig { binarize_weights, ..NetConfig::new(batch) };
        let mut net = Net::observing(graph, config, 0, &observed)?;
        net.load_weights(weights)?;
        Ok(Probe { net, batch, layers, logits: Vec::new() })
    }

    /// Measures any number of images, NHWC and normalised; running statistics normalize them.
    ///
    /// # Panics
    /// If the last image is not whole.
    pub fn add(&mut self, images: &[f32]) {
        let image: usize = self.net.graph().input_shape().iter().product();
        self.logits.clear();
        for images in images.chunks(self.batch * image) {
            self.logits.extend(self.net.predict(images));
            let net = &self.net;
            self.layers.par_iter_mut().for_each(|layer| layer.add(net));
        }
    }

    /// The logits of the images of the last call of [`Probe::add`], image by image. Where they are not finite, what is
    /// measured means nothing.
    #[must_use]
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// The measures of every binary convolution in graph order, over all images so far.
    #[must_use]
    pub fn layers(&self) -> Vec<ProbedLayer> {
        self.layers.par_iter().map(LayerProbe::measured).collect()
    }
}

impl LayerProbe {
    fn observed(&self) -> Vec<NodeId> {
        let mut observed = self.convolution.observed();
        observed.extend(self.block.iter().flat_map(LinearityProbe::observed));
        observed
    }

    fn add(&mut self, net: &Net) {
        self.convolution.add(net);
        if let Some(block) = &mut self.block {
            block.add(net);
        }
    }

    fn measured(&self) -> ProbedLayer {
        let (r2, constant_channels) = self.convolution.r2();
        ProbedLayer {
            name: self.name.clone(),
            channels: self.convolution.channels(),
            constant_channels,
            qe_weights: self.convolution.qe_weights(),
            qe_activations: self.convolution.qe_activations(),
            r2,
            linearity: self.block.as_ref().map(LinearityProbe::measured),
        }
    }
}
