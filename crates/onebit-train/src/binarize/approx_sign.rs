//! `2 - 2|u|` inside [-1, 1]: the derivative of `2u + u^2` below zero and `2u - u^2` above (Bi-Real Net, section 3.2).

#[inline(always)]
pub(super) fn derivative(u: f32) -> f32 {
    let d = 2.0 - 2.0 * u.abs();
    if d > 0.0 { d } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::derivative;

    #[test]
    fn equals_the_golden_values() {
        let golden = [
            (-2.0, 0.0),
            (-1.0, 0.0),
            (-0.75, 0.5),
            (-0.5, 1.0),
            (-0.25, 1.5),
            (0.0, 2.0),
            (0.25, 1.5),
            (0.5, 1.0),
            (0.75, 0.5),
            (1.0, 0.0),
            (2.0, 0.0),
        ];
        for (u, d) in golden {
            assert_eq!(derivative(u), d, "at {u}");
        }
        assert_eq!(derivative(f32::INFINITY), 0.0);
    }
}
