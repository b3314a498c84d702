//! Counter-based randomness: each value is a pure function of (seed, epoch, index, stream, k).
//!
//! The function is Philox4x64-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as
//! 1, 2, 3", SC 2011): key = (seed, stream), counter = (k / 4, index, epoch, 0), and value k is
//! word k mod 4 of the block. There is no generator state, so a resumed run draws what an
//! uninterrupted one would have drawn, and threads need no order among themselves. Logarithms and
//! cosines come from the `libm` crate, so normal values have the same bits on every platform.

const MULTIPLIERS: [u64; 2] = [0xD2E7_470E_E14C_6C93, 0xCA5A_8263_9512_1157];
const WEYL: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xBB67_AE85_84CA_A73B];
const ROUNDS: usize = 10;

/// What randomness is used for; two purposes never share values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stream(pub u64);

impl Stream {
    /// The order of the images in an epoch.
    pub const SHUFFLE: Self = Self(1);
    /// Crops and flips of an image.
    pub const AUGMENT: Self = Self(2);
    /// Initial values of weights.
    pub const WEIGHTS: Self = Self(3);
    /// Made-up inputs of tests and benchmarks.
    pub const SYNTHETIC: Self = Self(4);
}

/// Names one endless sequence of random values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The seed of the run.
    pub seed: u64,
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// The image, tensor or other thing that the values are for.
    pub index: u64,
    /// The purpose.
    pub stream: Stream,
}

/// The first 64 random bits of `key`.
#[must_use]
pub fn bits(key: Key) -> u64 {
    key.at(0)
}

impl Key {
    /// Value `k` of the sequence: 64 random bits.
    #[must_use]
    pub fn at(self, k: u64) -> u64 {
        let block = self.block(k / 4);
        match k % 4 {
            0 => block[0],
            1 => block[1],
            2 => block[2],
            _ => block[3],
        }
    }

    /// Value `k` as a real number in [0, 1): its upper 24 bits, so every result is exact in `f32`.
    #[must_use]
    pub fn uniform(self, k: u64) -> f32 {
        unit_f32(self.at(k))
    }

    /// Value `k` as a real number in [0, 1): its upper 53 bits.
    #[must_use]
    pub fn unit(self, k: u64) -> f64 {
        (self.at(k) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Value `k` as an integer in `0..bound`, or 0 when `bound` is 0.
    ///
    /// The value is scaled by a 128-bit product; no number is favoured by more than one part in
    /// 2^64 / `bound`.
    #[must_use]
    pub fn below(self, k: u64, bound: u64) -> u64 {
        scale(self.at(k), bound)
    }

    /// Standard normal value `k`, by the Box-Muller transform of values 2k and 2k + 1.
    #[must_use]
    pub fn normal(self, k: u64) -> f32 {
        let block = self.block(k / 2);
        if k.is_multiple_of(2) {
            box_muller(block[0], block[1])
        } else {
            box_muller(block[2], block[3])
        }
    }

    /// The values 0, 1, 2, ... in order, four times cheaper than calling [`Key::at`] for each.
    pub fn values(self) -> impl Iterator<Item = u64> {
        (0..).flat_map(move |block| self.block(block))
    }

    /// The standard normal values 0, 1, 2, ... in order: the same as [`Key::normal`], at half the cost.
    pub fn normals(self) -> impl Iterator<Item = f32> {
        (0..).flat_map(move |block| {
            let [a, b, c, d] = self.block(block);
            [box_muller(a, b), box_muller(c, d)]
        })
    }

    /// The real numbers in [0, 1) 0, 1, 2, ... in order: the same as [`Key::uniform`].
    pub fn uniforms(self) -> impl Iterator<Item = f32> {
        self.values().map(unit_f32)
    }

    fn block(self, block: u64) -> [u64; 4] {
        philox([block, self.index, self.epoch, 0], [self.seed, self.stream.0])
    }
}

/// A permutation of `0..n`, by Fisher-Yates from the end, drawn from [`Stream::SHUFFLE`].
///
/// `n` must fit in 32 bits, or the result is cut to the first 2^32 - 1 numbers.
#[must_use]
pub fn shuffled(seed: u64, epoch: u64, n: usize) -> Vec<u32> {
    let n = u32::try_from(n).unwrap_or(u32::MAX);
    let mut order: Vec<u32> = (0..n).collect();
    shuffle(seed, epoch, &mut order);
    order
}

/// Puts indices, which are in order, into the order of an epoch.
pub(crate) fn shuffle(seed: u64, epoch: u64, order: &mut [u32]) {
    let key = Key { seed, epoch, index: 0, stream: Stream::SHUFFLE };
    for (last, value) in (1..order.len()).rev().zip(key.values()) {
        let other = scale(value, last as u64 + 1) as usize;
        order.swap(last, other);
    }
}

pub(crate) fn scale(value: u64, bound: u64) -> u64 {
    ((u128::from(value) * u128::from(bound)) >> 64) as u64
}

fn unit_f32(value: u64) -> f32 {
    (value >> 40) as f32 / (1u32 << 24) as f32
}

fn box_muller(a: u64, b: u64) -> f32 {
    let unit = 1.0 / (1u64 << 53) as f64;
    let above_zero = ((a >> 11) + 1) as f64 * unit;
    let turn = (b >> 11) as f64 * unit;
    (libm::sqrt(-2.0 * libm::log(above_zero)) * libm::cos(std::f64::consts::TAU * turn)) as f32
}

fn philox(mut counter: [u64; 4], mut key: [u64; 2]) -> [u64; 4] {
    for _ in 0..ROUNDS {
        let low = u128::from(MULTIPLIERS[0]) * u128::from(counter[0]);
        let high = u128::from(MULTIPLIERS[1]) * u128::from(counter[2]);
        counter = [
            (high >> 64) as u64 ^ counter[1] ^ key[0],
            high as u64,
            (low >> 64) as u64 ^ counter[3] ^ key[1],
            low as u64,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { seed: 42, epoch: 3, index: 7, stream: Stream::WEIGHTS };

    #[test]
    fn philox_gives_the_published_known_answers() {
        let zero = [
            0x1655_4d9e_ca36_314c,
            0xdb20_fe9d_672d_0fdc,
            0xd7e7_72ce_e186_176b,
            0x7e68_b68a_ec7b_a23b,
        ];
        assert_eq!(philox([0; 4], [0; 2]), zero);
        let ones = [
            0x87b0_92c3_013f_e90b,
            0x438c_3c67_be8d_0224,
            0x9cc7_d7c6_9cd7_77b6,
            0xa09c_aebf_594f_0ba0,
        ];
        assert_eq!(philox([u64::MAX; 4], [u64::MAX; 2]), ones);
    }

    #[test]
    fn values_are_those_of_numpy_philox_with_the_documented_key_and_counter() {
        let expected = [
            0x2e72_31b4_f3f5_2c76,
            0x330d_16dd_2546_b15e,
            0xf013_a468_a412_62c5,
            0xaf22_a0eb_f011_a328,
            0x668c_d454_774d_ac05,
            0xfe65_6370_be92_2976,
            0x5ffd_79da_9cfd_8d2e,
            0x1bd1_6885_20c4_7f59,
        ];
        assert_eq!(KEY.values().take(8).collect::<Vec<_>>(), expected);
        assert_eq!((0..8).map(|k| KEY.at(k)).collect::<Vec<_>>(), expected);
        assert_eq!(bits(KEY), expected[0]);
    }

    #[test]
    fn sequences_equal_single_values() {
        let normals: Vec<f32> = (0..9).map(|k| KEY.normal(k)).collect();
        assert_eq!(KEY.normals().take(9).collect::<Vec<_>>(), normals);
        let uniforms: Vec<f32> = (0..9).map(|k| KEY.uniform(k)).collect();
        assert_eq!(KEY.uniforms().take(9).collect::<Vec<_>>(), uniforms);
    }

    #[test]
    fn each_part_of_a_key_matters() {
        let others = [
            Key { seed: 43, ..KEY },
            Key { epoch: 4, ..KEY },
            Key { index: 8, ..KEY },
            Key { stream: Stream::SHUFFLE, ..KEY },
        ];
        assert!(others.iter().all(|&other| bits(other) != bits(KEY)));
    }

    #[test]
    fn normals_have_the_moments_of_a_normal() {
        let n = 200_000;
        let values: Vec<f64> = KEY.normals().take(n).map(f64::from).collect();
        let moment = |power| values.iter().map(|value| value.powi(power)).sum::<f64>() / n as f64;
        assert!(moment(1).abs() < 0.01, "mean {}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.02, "variance {}", moment(2));
        assert!((moment(4) - 3.0).abs() < 0.15, "fourth moment {}", moment(4));
        assert!(values.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn uniform_and_below_stay_in_range() {
        assert!(KEY.uniforms().take(10_000).all(|value| (0.0..1.0).contains(&value)));
        assert_eq!(unit_f32(u64::MAX), 1.0 - 1.0 / (1u32 << 24) as f32);
        let mut counts = [0; 9];
        for k in 0..9_000 {
            counts[KEY.below(k, 9) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
        assert_eq!(KEY.below(0, 0), 0);
    }

    #[test]
    fn shuffled_is_a_permutation_that_depends_on_seed_and_epoch() {
        let order = shuffled(1, 0, 1_000);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1_000).collect::<Vec<u32>>());
        assert_ne!(order, sorted);
        assert_ne!(order, shuffled(1, 1, 1_000));
        assert_ne!(order, shuffled(2, 0, 1_000));
        assert_eq!(order, shuffled(1, 0, 1_000));
        assert!(shuffled(1, 0, 0).is_empty());
        let firsts: std::collections::HashSet<u32> =
            (0..100).map(|epoch| shuffled(1, epoch, 4)[0]).collect();
        assert_eq!(firsts.len(), 4);
    }
}
