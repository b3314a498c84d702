//! Real weights packed into bits.

use onebit_model::{Data, Tensor, bits, packed_shape};

/// Packs latent weights of the logical shape `[O, k, k, I/groups]`: bit 1 where `w > 0`, every tap in words of
/// its own, tail bits zero.
#[must_use]
pub fn pack_weights(latent: &[f32], logical_shape: &[usize]) -> Tensor {
    let channels = logical_shape.last().copied().unwrap_or(1).max(1);
    let per_tap = bits::words(channels);
    let taps = latent.chunks_exact(channels);
    let mut words = vec![0; taps.len() * per_tap];
    for (tap, out) in taps.zip(words.chunks_exact_mut(per_tap)) {
        bits::pack(tap, out);
    }
    Tensor { shape: packed_shape(logical_shape), data: Data::U64(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tap_starts_a_word_and_zero_is_minus_one() {
        let mut latent = vec![-1.0; 2 * 66];
        for set in [0, 65, 66 + 64] {
            latent[set] = 0.1;
        }
        latent[1] = 0.0;
        latent[2] = -0.0;
        let packed = pack_weights(&latent, &[2, 1, 1, 66]);
        assert_eq!(packed.shape, [2, 1, 1, 2]);
        assert_eq!(packed.data, Data::U64(vec![1, 0b10, 0, 0b01]));
    }

    #[test]
    fn a_full_word_has_no_tail() {
        let packed = pack_weights(&[1.0; 64], &[1, 1, 1, 64]);
        assert_eq!(packed.data, Data::U64(vec![u64::MAX]));
    }
}
