//! What can be asked for by name.

use super::{
    ArchError, Defaults, Downsample, Method, Options, Stem, Task, finn, mobilenet, resnet, vgg,
};
use crate::Graph;

/// An architecture that can be asked for by name.
pub struct Architecture {
    /// Name on the command line and in recipes.
    pub name: &'static str,
    /// One line for lists.
    pub about: &'static str,
    /// `[channels, height, width]` of the images that it is made for; it takes others too.
    pub input: [usize; 3],
    /// Number of classes of the data set that it is made for; it takes others too.
    pub classes: usize,
    /// Its own values of the options.
    pub defaults: Defaults,
    /// Builds the graph.
    pub graph: fn(&Options<'_>, &Task) -> Result<Graph, ArchError>,
}

type Build = fn(&Options<'_>, &Task) -> Result<Graph, ArchError>;

/// All architectures.
#[rustfmt::skip]
pub const ARCHITECTURES: &[Architecture] = &[
    small("resnet20", "residual blocks of 16, 32 and 64 channels, 6 each", SMALL, resnet::resnet20),
    small("resnet-small", "residual blocks with `widths` and `blocks` of your own", SMALL, resnet::resnet_small),
    small("vgg-small", "six 3x3 convolutions of 128 to 512 channels, no shortcuts", SMALL, vgg::vgg_small),
    Architecture { input: [1, 28, 28], ..small("lfc", "FINN's perceptron: 1-bit image, 3 hidden 1-bit layers of 1,024 units", PLAIN, finn::lfc) },
    small("cnv", "FINN's network of 3x3 convolutions without padding, and 1-bit layers", PLAIN, finn::cnv),
    imagenet("birealnet18", "Bi-Real Net, residual, 18 layers", Defaults { method: Method::Bireal, ..RESIDUAL }, resnet::resnet18),
    imagenet("reactnet18", "ReActNet, residual, 18 layers", Defaults { method: Method::Reactnet, ..RESIDUAL }, resnet::resnet18),
    imagenet("ftbnn18", "FTBNN-style, residual, 18 layers", Defaults { method: Method::Ftbnn, ..RESIDUAL }, resnet::resnet18),
    imagenet("dybnn18", "DyBNN-style, residual, 18 layers", Defaults { method: Method::Dybnn, ..RESIDUAL }, resnet::resnet18),
    imagenet("birealnet34", "Bi-Real Net, residual, 34 layers", Defaults { method: Method::Bireal, ..RESIDUAL }, resnet::resnet34),
    imagenet("reactnet34", "ReActNet, residual, 34 layers", Defaults { method: Method::Reactnet, ..RESIDUAL }, resnet::resnet34),
    imagenet("ftbnn18-compressed", "ftbnn18 with a small stem and binary shortcuts", COMPRESSED, resnet::resnet18),
    imagenet("ftbnn18-grouped-2x2g", "ftbnn18-compressed, twice as wide, in 2 groups", Defaults { width_multiplier: 2.0, groups: 2, ..COMPRESSED }, resnet::resnet18),
    imagenet("ftbnn18-grouped-2x4g", "ftbnn18-compressed, twice as wide, in 4 groups", Defaults { width_multiplier: 2.0, groups: 4, ..COMPRESSED }, resnet::resnet18),
    small("birealnet18-cifar", "Bi-Real Net, residual, 18 layers", Defaults { method: Method::Bireal, ..SMALL }, resnet::resnet18),
    small("reactnet18-cifar", "ReActNet, residual, 18 layers", Defaults { method: Method::Reactnet, ..SMALL }, resnet::resnet18),
    small("ftbnn18-cifar", "FTBNN-style, residual, 18 layers", Defaults { method: Method::Ftbnn, ..SMALL }, resnet::resnet18),
    small("dybnn18-cifar", "DyBNN-style, residual, 18 layers", Defaults { method: Method::Dybnn, ..SMALL }, resnet::resnet18),
    imagenet("reactnet-a", "ReActNet-A, MobileNetV1's layout", MOBILE, mobilenet::reactnet_a),
    imagenet("reactnet-b", "ReActNet-A with real 1x1 convolutions in 4 groups where channels double", Defaults { downsample: Downsample::FloatGrouped, ..MOBILE }, mobilenet::reactnet_a),
    imagenet("reactnet-c", "ReActNet-A with real 1x1 convolutions where channels double", Defaults { downsample: Downsample::Float, ..MOBILE }, mobilenet::reactnet_a),
    imagenet("ftbnn-a", "FTBNN-style, ReActNet-A's layout", Defaults { method: Method::Ftbnn, ..MOBILE }, mobilenet::reactnet_a),
    imagenet("dybnn-a", "DyBNN-style, ReActNet-A's layout", Defaults { method: Method::Dybnn, ..MOBILE }, mobilenet::reactnet_a),
    small("reactnet-a-cifar", "ReActNet, ReActNet-A's layout", Defaults { method: Method::Reactnet, ..SMALL_MOBILE }, mobilenet::reactnet_a),
    small("ftbnn-a-cifar", "FTBNN-style, ReActNet-A's layout", Defaults { method: Method::Ftbnn, ..SMALL_MOBILE }, mobilenet::reactnet_a),
    small("dybnn-a-cifar", "DyBNN-style, ReActNet-A's layout", Defaults { method: Method::Dybnn, ..SMALL_MOBILE }, mobilenet::reactnet_a),
];

/// Bi-Real Net's and ReActNet's residual networks.
const RESIDUAL: Defaults = Defaults {
    method: Method::Reactnet,
    stem: Stem::Full,
    downsample: Downsample::Float,
    width_multiplier: 1.0,
    groups: 1,
};

/// Residual networks for small images.
const SMALL: Defaults = Defaults { stem: Stem::Small, ..RESIDUAL };

/// Plain signs, nothing behind normalizations.
const PLAIN: Defaults = Defaults { method: Method::Bireal, ..SMALL };

/// FTBNN-style, with no real convolution that a cheaper or binary one can replace; the choice is ours.
const COMPRESSED: Defaults = Defaults {
    method: Method::Ftbnn,
    stem: Stem::Quick,
    downsample: Downsample::Binary,
    ..RESIDUAL
};

/// ReActNet-A.
const MOBILE: Defaults =
    Defaults { stem: Stem::Strided, downsample: Downsample::Binary, ..RESIDUAL };

/// ReActNet-A for small images.
const SMALL_MOBILE: Defaults = Defaults { stem: Stem::Small, ..MOBILE };

/// For 224x224 images of 1,000 classes.
const fn imagenet(
    name: &'static str,
    about: &'static str,
    defaults: Defaults,
    graph: Build,
) -> Architecture {
    Architecture { name, about, input: [3, 224, 224], classes: 1000, defaults, graph }
}

/// For 32x32 images of 10 classes.
const fn small(
    name: &'static str,
    about: &'static str,
    defaults: Defaults,
    graph: Build,
) -> Architecture {
    Architecture { name, about, input: [3, 32, 32], classes: 10, defaults, graph }
}

/// The names of all architectures.
#[cfg(feature = "schema")]
pub(super) fn names() -> alloc::vec::Vec<&'static str> {
    ARCHITECTURES.iter().map(|architecture| architecture.name).collect()
}
