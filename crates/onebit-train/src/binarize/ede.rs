//! The derivative of `k tanh(t u)` (IR-Net, section 3.3).

#[inline(always)]
pub(super) fn derivative(u: f32, k: f32, t: f32) -> f32 {
    let h = (t * u).tanh();
    k * t * (1.0 - h * h)
}

#[cfg(test)]
mod tests {
    use super::derivative;

    #[test]
    fn is_kt_at_zero_and_vanishes_far_away() {
        assert_eq!(derivative(0.0, 3.0, 0.5), 1.5);
        assert!(derivative(9.0, 1.0, 2.0) < 1e-6);
    }
}
