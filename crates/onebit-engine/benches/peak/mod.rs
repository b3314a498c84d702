//! Peak rates of one core: what its instructions give when everything stays in registers, measured in the
//! process whose kernels are compared with them. The sum of every loop is checked against a scalar model.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::array;
use std::fmt;
use std::time::{Duration, Instant};

use crate::common::Random;

/// Random bits that every loop takes its operands from.
type Words = [u64; 128];

const CHECKED_TURNS: u64 = 100;
const SLICE: Duration = Duration::from_micros(200);
const SLICES: usize = 200;

/// What is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Factors {
    /// Bits; a sum counts those that differ.
    Bits,
    /// Four bits of an activation, the same for all lanes, and four bits of a weight in each byte.
    Nibbles,
    /// Unsigned and signed 8-bit integers.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    Bytes,
    /// 32-bit floats: the low three bits of each lane, so that sums are exact.
    Floats,
}

/// One turn of a loop: each of `a` vectors with each of `w`, `repeats` times.
struct Tile {
    factors: Factors,
    /// Bytes of a vector.
    bytes: usize,
    a: usize,
    w: usize,
    repeats: u64,
}

/// A loop over registers.
struct Peak {
    /// Its instructions.
    name: &'static str,
    /// The engine's instruction sets whose kernels can be made of them.
    isas: &'static [&'static str],
    /// Whether this CPU has them.
    detected: bool,
    tile: Tile,
    /// Sum of the products of so many turns; needs a CPU that has the instructions.
    sum: unsafe fn(u64, &Words) -> u64,
}

/// The peaks of this CPU.
pub(crate) struct Peaks {
    /// Each with its G multiply-accumulates per second, the best of all slices.
    peaks: Vec<(Peak, f64)>,
    words: Words,
}

impl Peaks {
    /// Checks and measures every loop that this CPU can run.
    pub(crate) fn measure() -> Peaks {
        #[cfg(target_arch = "x86_64")]
        let peaks = x86_64::peaks();
        #[cfg(target_arch = "aarch64")]
        let peaks = aarch64::peaks();
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let peaks = Vec::<Peak>::new();
        let mut random = Random(1);
        let words = array::from_fn(|_| random.next());
        let detected = peaks.into_iter().filter(|peak| peak.detected);
        let mut peaks = Peaks { peaks: detected.map(|peak| (peak, 0.0)).collect(), words };
        for (peak, _) in &peaks.peaks {
            let expected = CHECKED_TURNS * peak.tile.sum(&words);
            assert_eq!(run(peak, CHECKED_TURNS, &words), expected, "{}", peak.name);
        }
        peaks.measure_again();
        peaks
    }

    /// Keeps the higher of the rates before and now.
    pub(crate) fn measure_again(&mut self) {
        for (peak, rate) in &mut self.peaks {
            let mut turns = 1;
            while time(peak, turns, &self.words) < SLICE {
                turns *= 2;
            }
            for _ in 0..SLICES {
                let nanos = time(peak, turns, &self.words).as_nanos() as f64;
                *rate = rate.max((turns * peak.tile.macs()) as f64 / nanos);
            }
        }
    }

    /// G multiply-accumulates per second that the kernels of `isa` could reach with these factors.
    pub(crate) fn of(&self, isa: &str, factors: &[Factors]) -> Option<f64> {
        let fits = |(peak, _): &&(Peak, f64)| {
            factors.contains(&peak.tile.factors) && peak.isas.contains(&isa)
        };
        self.peaks.iter().filter(fits).map(|&(_, rate)| rate).max_by(f64::total_cmp)
    }
}

fn time(peak: &Peak, turns: u64, words: &Words) -> Duration {
    let start = Instant::now();
    std::hint::black_box(run(peak, turns, words));
    start.elapsed()
}

#[allow(unsafe_code, reason = "instructions that not every CPU has")]
fn run(peak: &Peak, turns: u64, words: &Words) -> u64 {
    assert!(peak.detected, "{}", peak.name);
    // SAFETY: this CPU has the instructions.
    unsafe { (peak.sum)(turns, words) }
}

impl Tile {
    fn macs(&self) -> u64 {
        let vector = match self.factors {
            Factors::Bits => 8 * self.bytes,
            Factors::Nibbles => 4 * self.bytes,
            Factors::Bytes => self.bytes,
            Factors::Floats => self.bytes / 4,
        };
        self.repeats * (self.a * self.w * vector) as u64
    }

    /// The sum of one turn.
    fn sum(&self, words: &Words) -> u64 {
        let pairs = (0..self.a).flat_map(|a| (self.a..self.a + self.w).map(move |w| (a, w)));
        let products =
            pairs.flat_map(|(a, w)| (0..self.bytes).map(move |i| self.product(words, [a, w, i])));
        let sum: i64 = products.sum();
        self.repeats * sum as u64
    }

    /// Product of byte `i` of the vectors `a` and `w`.
    fn product(&self, words: &Words, [a, w, i]: [usize; 3]) -> i64 {
        let at = |vector: usize| byte(words, vector * self.bytes + i);
        match self.factors {
            Factors::Bits => i64::from((at(a) ^ at(w)).count_ones()),
            Factors::Nibbles => i64::from((nibble(words, a) ^ at(w) & 15).count_ones()),
            Factors::Bytes => i64::from(at(a)) * i64::from(at(w) as i8),
            Factors::Floats if i.is_multiple_of(4) => i64::from((at(a) & 7) * (at(w) & 7)),
            Factors::Floats => 0,
        }
    }
}

impl fmt::Display for Peaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:52} {:7} {:>8}  bounds",
            "loop over registers of one core", "factors", "G MAC/s"
        )?;
        for (Peak { name, isas, tile, .. }, rate) in &self.peaks {
            let factors = match tile.factors {
                Factors::Bits | Factors::Nibbles => "bits",
                Factors::Bytes => "int8",
                Factors::Floats => "f32",
            };
            writeln!(f, "{name:52} {factors:7} {rate:8.1}  {}", isas.join(" "))?;
        }
        Ok(())
    }
}

fn byte(words: &Words, index: usize) -> u8 {
    words[index / 8].to_le_bytes()[index % 8]
}

/// The activation `index` of [`Factors::Nibbles`].
fn nibble(words: &Words, index: usize) -> u8 {
    byte(words, index) & 15
}

/// Bits that differ between the activation `nibble` and each weight nibble.
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
fn table(nibble: u8) -> [u8; 16] {
    array::from_fn(|weight| (weight as u8 ^ nibble).count_ones() as u8)
}
