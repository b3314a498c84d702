//! Constants folded in f64: batch normalization and weight scale become one factor and one shift per channel.

use onebit_model::bits;

/// Parameters and statistics of a batch normalization, one element for each channel.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// Factor, `gamma`.
    pub weight: &'a [f32],
    /// Shift, `beta`.
    pub bias: &'a [f32],
    /// Mean of the training data.
    pub running_mean: &'a [f32],
    /// Variance of the training data, 0 or more.
    pub running_var: &'a [f32],
    /// Added to the variance.
    pub eps: f32,
}

/// `y = x * scale + shift` for each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// Factors.
    pub scale: Vec<f32>,
    /// Shifts.
    pub shift: Vec<f32>,
}

/// `scale = weight * alpha / sqrt(var + eps)`, `shift = bias - mean * weight / sqrt(var + eps)`, each rounded once.
///
/// `alpha` is the weight scale of the convolution in front (Bi-Real Net, section 3.4; XNOR-Net, equation 6), with
/// one element for each channel, or empty where there is none. The mean was measured on scaled outputs, so only
/// the factor takes `alpha`. A factor may be negative, tiny or zero: thresholds are compared after it, not before.
#[must_use]
pub fn batch_norm(bn: BatchNorm<'_>, alpha: &[f64]) -> Affine {
    let channels = bn.weight.iter().zip(bn.bias).zip(bn.running_mean).zip(bn.running_var);
    let folded = channels.enumerate().map(|(c, (((&weight, &bias), &mean), &var))| {
        let factor = f64::from(weight) / (f64::from(var) + f64::from(bn.eps)).sqrt();
        let scale = factor * alpha.get(c).copied().unwrap_or(1.0);
        let shift = f64::from(bias) - f64::from(mean) * factor;
        (scale as f32, shift as f32)
    });
    let (scale, shift) = folded.unzip();
    Affine { scale, shift }
}

/// A weight scale that no batch normalization takes up.
#[must_use]
pub fn weight_scale(alpha: &[f64]) -> Affine {
    Affine { scale: alpha.iter().map(|&a| a as f32).collect(), shift: vec![0.0; alpha.len()] }
}

/// Mean of `|W|` over the weights of each of `out_channels` output channels (OHWI).
#[must_use]
pub fn mean_abs(weights: &[f32], out_channels: usize) -> Vec<f64> {
    let per_channel = (weights.len() / out_channels.max(1)).max(1);
    weights.chunks(per_channel).map(bits::mean_abs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_may_be_negative_zero_or_tiny() {
        let bn = BatchNorm {
            weight: &[2.0, -2.0, 0.0, 1e-13, -1e-13],
            bias: &[1.0; 5],
            running_mean: &[3.0; 5],
            running_var: &[4.0 - 1e-5; 5],
            eps: 1e-5,
        };
        let Affine { scale, shift } = batch_norm(bn, &[0.5; 5]);
        assert_eq!(scale, [0.5, -0.5, 0.0, 2.5e-14, -2.5e-14]);
        assert_eq!(shift, [-2.0, 4.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn a_variance_of_zero_leaves_eps() {
        let bn = BatchNorm {
            weight: &[1.0],
            bias: &[0.0],
            running_mean: &[0.0],
            running_var: &[0.0],
            eps: 1e-5,
        };
        let expected = 1.0 / f64::from(1e-5_f32).sqrt();
        assert_eq!(batch_norm(bn, &[]).scale, [expected as f32]);
    }

    #[test]
    fn the_mean_is_not_scaled_twice() {
        let bn = BatchNorm {
            weight: &[1.0],
            bias: &[0.0],
            running_mean: &[10.0],
            running_var: &[1.0 - 1e-5],
            eps: 1e-5,
        };
        let folded = batch_norm(bn, &[0.25]);
        let (count, alpha) = (40.0, 0.25);
        assert_eq!(count * folded.scale[0] + folded.shift[0], count * alpha - 10.0);
    }

    #[test]
    fn mean_abs_is_per_output_channel() {
        assert_eq!(mean_abs(&[1.0, -3.0, 0.5, 0.5], 2), [2.0, 0.5]);
    }
}
