use crate::kernel::{Kernels, Moment};

/// Mean of every channel: the sum over the pixels in order, times `1 / pixels`.
pub(crate) fn global_avg_pool(
    kernels: &Kernels,
    x: &[f32],
    channels: usize,
    pixels: usize,
    out: &mut [f32],
) {
    let out = &mut out[..channels];
    out.fill(0.0);
    (kernels.moment)(Moment::First, x, &[], out);
    scale(out, pixels);
}

/// Turns sums over pixels into means.
pub(crate) fn scale(sums: &mut [f32], pixels: usize) {
    let factor = 1.0 / pixels as f32;
    for sum in sums {
        *sum *= factor;
    }
}
