//! Names in the official code of Bi-Real Net and ReActNet (github.com/liuzechun/Bi-Real-net and /ReActNet) of what
//! our graphs call otherwise, and how the tensors differ.

use onebit_model::Graph;
use onebit_model::op::{Param, Role};

/// How a tensor is stored there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As here.
    Same,
    /// `LearnableBias`, `[1, C, 1, 1]`.
    Bias,
    /// `LearnableBias` of the opposite sign: it is added where our value is subtracted or compared with.
    NegatedBias,
    /// A real convolution, OIHW.
    Kernel,
    /// A binary convolution: `NAME.weight`, OIHW, or the same elements as `NAME.weights`, `[N, 1]`.
    BinaryKernel,
}

use Form::{Bias, BinaryKernel, Kernel, NegatedBias, Same};

/// Our name, the official one, the form. A name that ends in a dot stands for all that begin with it.
type Row = (&'static str, &'static str, Form);

#[rustfmt::skip]
const RESIDUAL: &[Row] = &[
    ("stem.conv.weight", "conv1.weight", Kernel),
    ("stem.bn.", "bn1.", Same),
    ("fc.", "fc.", Same),
];

/// Within a block of a residual network.
#[rustfmt::skip]
const RESIDUAL_BLOCK: &[Row] = &[
    ("sign.threshold", "move0.bias", NegatedBias),
    ("conv.weight", "binary_conv.weight", BinaryKernel),
    ("bn.", "bn1.", Same),
    ("prelu.shift_x", "move1.bias", NegatedBias),
    ("prelu.slope_neg", "prelu.weight", Same),
    ("prelu.shift_y", "move2.bias", Bias),
    ("down.conv.weight", "downsample.1.weight", Kernel),
    ("down.bn.", "downsample.2.", Same),
];

#[rustfmt::skip]
const MOBILE: &[Row] = &[
    ("stem.conv.weight", "feature.0.conv1.weight", Kernel),
    ("stem.bn.", "feature.0.bn1.", Same),
    ("fc.", "fc.", Same),
];

/// Within a block of ReActNet-A.
#[rustfmt::skip]
const MOBILE_BLOCK: &[Row] = &[
    ("3x3.sign.threshold", "move11.bias", NegatedBias),
    ("3x3.conv.weight", "binary_3x3.weight", BinaryKernel),
    ("3x3.bn.", "bn1.", Same),
    ("3x3.prelu.shift_x", "move12.bias", NegatedBias),
    ("3x3.prelu.slope_neg", "prelu1.weight", Same),
    ("3x3.prelu.shift_y", "move13.bias", Bias),
    ("pw.sign.threshold", "move21.bias", NegatedBias),
    ("pw.conv.weight", "binary_pw.weight", BinaryKernel),
    ("pw.bn.", "bn2.", Same),
    ("pw_down1.conv.weight", "binary_pw_down1.weight", BinaryKernel),
    ("pw_down1.bn.", "bn2_1.", Same),
    ("pw_down2.conv.weight", "binary_pw_down2.weight", BinaryKernel),
    ("pw_down2.bn.", "bn2_2.", Same),
    ("pw.prelu.shift_x", "move22.bias", NegatedBias),
    ("pw.prelu.slope_neg", "prelu2.weight", Same),
    ("pw.prelu.shift_y", "move23.bias", Bias),
];

/// A tensor of the official code.
pub(super) struct Official {
    /// Its name; that of a binary convolution in the form `weight`.
    pub(super) name: String,
    pub(super) form: Form,
}

/// Families of networks, by the names of their blocks here and there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// `stageL.B`, there `layerL.B`.
    Residual,
    /// `feature.I` here and there.
    Mobile,
    /// A network that the official code does not have.
    Other,
}

impl Family {
    /// The family of a graph, by the names of its nodes.
    pub(super) fn of(graph: &Graph) -> Self {
        let any = |has: &dyn Fn(&str) -> bool| graph.nodes.iter().any(|node| has(&node.name));
        if any(&|name| name.starts_with("feature.") && name.contains(".3x3.")) {
            Family::Mobile
        } else if any(&|name| name.starts_with("stage")) {
            Family::Residual
        } else {
            Family::Other
        }
    }

    /// The official name of the tensor `name` of our graph, if the official code has such a tensor.
    pub(super) fn official(self, name: &str, param: &Param) -> Option<Official> {
        let (whole, block) = match self {
            Family::Residual => (RESIDUAL, RESIDUAL_BLOCK),
            Family::Mobile => (MOBILE, MOBILE_BLOCK),
            Family::Other => return None,
        };
        let found = look_up(whole, name).or_else(|| {
            let (prefix, rest) = self.block(name)?;
            let (name, form) = look_up(block, rest)?;
            Some((format!("{prefix}.{name}"), form))
        });
        let (name, form) = found?;
        // A kernel that is real here and binary there, or the reverse, is another network: ReActNet-B, for one.
        ((form == BinaryKernel) == (param.role == Role::Binary)).then_some(Official { name, form })
    }

    /// The official name of the block that `name` is in, and what is left of `name`.
    fn block(self, name: &str) -> Option<(String, &str)> {
        let (first, rest) = name.split_once('.')?;
        let (second, rest) = rest.split_once('.')?;
        match self {
            Family::Residual => {
                Some((format!("layer{}.{second}", first.strip_prefix("stage")?), rest))
            }
            Family::Mobile => (first == "feature").then(|| (format!("{first}.{second}"), rest)),
            Family::Other => None,
        }
    }
}

fn look_up(rows: &[Row], name: &str) -> Option<(String, Form)> {
    rows.iter().find_map(|&(ours, official, form)| match name.strip_prefix(ours)? {
        "" => Some((official.to_owned(), form)),
        rest if ours.ends_with('.') => Some((format!("{official}{rest}"), form)),
        _ => None,
    })
}

impl Form {
    /// The shape there of what has the shape `shape` here.
    pub(super) fn shape(self, shape: &[usize]) -> Vec<usize> {
        match (self, shape) {
            (Bias | NegatedBias, &[channels]) => vec![1, channels, 1, 1],
            (Kernel | BinaryKernel, &[o, h, w, i]) => vec![o, i, h, w],
            _ => shape.to_vec(),
        }
    }

    /// The values in our order and sign, for our shape `shape`.
    pub(super) fn convert(self, values: Vec<f32>, shape: &[usize]) -> Vec<f32> {
        match (self, shape) {
            // Not `-value`: 0 has to become 0, not -0.
            (NegatedBias, _) => values.into_iter().map(|value| 0.0 - value).collect(),
            (Kernel | BinaryKernel, &[_, h, w, i]) => channels_last(&values, i, h * w),
            _ => values,
        }
    }
}

/// OIHW to OHWI.
pub(super) fn channels_last(values: &[f32], channels: usize, taps: usize) -> Vec<f32> {
    let filters = values.chunks_exact((channels * taps).max(1));
    let tap = |filter, tap| <[f32]>::iter(filter).skip(tap).step_by(taps.max(1)).copied();
    filters.flat_map(|filter| (0..taps).flat_map(move |t| tap(filter, t))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_become_channels_last() {
        let oihw: Vec<f32> = (0..12).map(|v| v as f32).collect();
        let ohwi = Kernel.convert(oihw, &[2, 1, 2, 3]);
        assert_eq!(ohwi, [0.0, 2.0, 4.0, 1.0, 3.0, 5.0, 6.0, 8.0, 10.0, 7.0, 9.0, 11.0]);
        assert_eq!(Kernel.shape(&[2, 1, 2, 3]), [2, 3, 1, 2]);
    }

    #[test]
    fn a_bias_becomes_a_threshold() {
        let thresholds = NegatedBias.convert(vec![0.5, 0.0, -2.0], &[3]);
        assert_eq!(thresholds, [-0.5, 0.0, 2.0]);
        assert!(thresholds[1].is_sign_positive());
        assert_eq!(NegatedBias.shape(&[3]), [1, 3, 1, 1]);
    }
}
