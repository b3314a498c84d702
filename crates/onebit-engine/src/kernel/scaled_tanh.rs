//! The scaled tanh that bounds the output of a hyper function, `lambda * tanh(v / 2)`, by a sigmoid. The exponential is
//! `libm::expf`'s, step by step without a branch, so that the compiler computes as many values at once as a register
//! holds.

use super::ScaledTanhTask;

/// Below this the exponential has no special case.
const PLAIN: f32 = 80.0;

/// `lambda * tanh(v / 2)` for every value as `lambda * (2 * sigmoid(v) - 1)`, exactly 0 at 0.
#[inline(always)]
pub(super) fn scaled_tanh(ScaledTanhTask { lambda, values }: ScaledTanhTask<'_>) {
    if values.iter().fold(true, |plain, v| plain & (v.abs() < PLAIN)) {
        for value in values {
            *value = from_exp(exp(-*value), lambda);
        }
    } else {
        for value in values {
            *value = from_exp(libm::expf(-*value), lambda);
        }
    }
}

/// The scaled tanh of `v`, from the exponential of `-v`.
#[inline(always)]
fn from_exp(exp: f32, lambda: f32) -> f32 {
    lambda * (2.0 / (1.0 + exp) - 1.0)
}

/// `libm::expf` of an `x` within [`PLAIN`]. The algorithm and its constants are those of FreeBSD's `e_expf.c`.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LN2_HI: f32 = f32::from_bits(0x3f31_7200);
    const LN2_LO: f32 = f32::from_bits(0x35bf_be8e);
    const INV_LN2: f32 = f32::from_bits(0x3fb8_aa3b);
    const HALF_LN2: u32 = 0x3eb1_7218;
    const THREE_HALVES_LN2: u32 = 0x3f85_1592;
    const TINY: u32 = 0x3900_0000;
    const P1: f32 = 0.166_666_25;
    const P2: f32 = -0.002_766_733_3;
    let magnitude = x.abs().to_bits();
    let far = (INV_LN2 * x + 0.5f32.copysign(x)) as i32;
    let near = 1.0f32.copysign(x) as i32;
    let k = if magnitude > THREE_HALVES_LN2 { far } else { near };
    let k = if magnitude > HALF_LN2 { k } else { 0 };
    let hi = x - k as f32 * LN2_HI;
    let lo = k as f32 * LN2_LO;
    let r = hi - lo;
    let rr = r * r;
    let c = r - rr * (P1 + rr * P2);
    let y = 1.0 + (r * c / (2.0 - c) - lo + hi);
    let y = y * f32::from_bits(((k + 127) << 23).cast_unsigned());
    if magnitude > TINY { y } else { 1.0 + x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_libms() {
        let bits = (0..PLAIN.to_bits()).step_by(997);
        for x in bits.map(f32::from_bits).flat_map(|x| [x, -x]) {
            assert_eq!(exp(x).to_bits(), libm::expf(x).to_bits(), "{x}");
        }
        for edge in [0x3eb1_7218, 0x3f85_1592, 0x3900_0000] {
            for x in (edge - 9..edge + 9).map(f32::from_bits).flat_map(|x| [x, -x]) {
                assert_eq!(exp(x).to_bits(), libm::expf(x).to_bits(), "{x}");
            }
        }
    }

    #[test]
    fn a_scaled_tanh_is_zero_at_zero_and_never_exceeds_lambda() {
        let scaled = |lambda, v| {
            let mut values = [v; 33];
            scaled_tanh(ScaledTanhTask { lambda, values: &mut values });
            assert!(values.iter().all(|&value| value == values[32]), "lanes differ at {v}");
            values[0]
        };
        assert_eq!(scaled(0.5, 0.0), 0.0);
        assert_eq!(scaled(0.5, 1e30), 0.5);
        assert_eq!(scaled(0.5, -1e30), -0.5);
        assert!((scaled(2.0, 1.0) - 0.924_234_3).abs() < 1e-6);
    }
}
