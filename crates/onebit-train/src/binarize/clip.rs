//! 1 up to a bound: the derivative of `clamp(u, -bound, bound)` (BinaryNet, section 1.3).

#[inline(always)]
pub(super) fn derivative(u: f32, bound: f32) -> f32 {
    if u.abs() <= bound { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::derivative;

    #[test]
    fn is_one_up_to_the_bound() {
        assert_eq!(derivative(-1.25, 1.25), 1.0);
        assert_eq!(derivative(1.26, 1.25), 0.0);
    }
}
