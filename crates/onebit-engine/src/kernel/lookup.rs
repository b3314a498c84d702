//! Binary convolution by table lookup, where bytes are shuffled faster than bits are counted: the four bits of
//! an activation choose a table with the number of differences from each of the 16 possible groups of four
//! weights, and one shuffle looks up a register full of output channels.
//!
//! A table serves two neighbouring pixels: its entries hold the differences of the first in their low four bits
//! and those of the second in their high four. Three entries are added before the two are told apart.

#![allow(unsafe_code)]

use core::marker::PhantomData;

use super::binary::{DotAccumulator, Sums};
use super::vector::{Token, Vector};

/// Most looked-up entries (four differences each) whose sum has four bits.
const GROUP: usize = 3;

/// Most fours of weights whose differences a counter of 8 bits holds.
const MAX_COUNTED: usize = 63;

/// Largest number of products in a sum that needs counters of 8 bits only.
pub(super) const MAX_NARROW: usize = 4 * MAX_COUNTED;

/// Largest number of products in a sum: the counters have 16 bits.
pub(super) const MAX_PRODUCTS: usize = u16::MAX as usize;

/// For each eight bits, four of a pixel and four of the next, the numbers of differences of both from each four
/// bits; then those of one pixel alone as the first, and as the second.
#[repr(align(64))]
struct Tables([[u8; 16]; 256 + 16 + 16]);

static TABLES: Tables = Tables(tables());

const fn tables() -> [[u8; 16]; 288] {
    let mut tables = [[0; 16]; 288];
    let mut i: usize = 0;
    while i < 256 {
        let mut weights = 0;
        while weights < 16 {
            let first = ((i >> 4) ^ weights).count_ones() as u8;
            let second = ((i & 15) ^ weights).count_ones() as u8;
            tables[i][weights] = first | second << 4;
            tables[256 + (i >> 4)][weights] = first;
            tables[256 + 16 + (i >> 4)][weights] = first << 4;
            weights += 1;
        }
        i += 1;
    }
    tables
}

/// The table of eight bits, for both pixels or for the first four bits as one of them.
#[inline(always)]
fn table(bits: u8, first: bool, second: bool) -> &'static [u8; 16] {
    let bits = usize::from(bits);
    match (first, second) {
        (true, true) => &TABLES.0[bits],
        (true, false) => &TABLES.0[256 + (bits >> 4)],
        _ => &TABLES.0[256 + 16 + (bits >> 4)],
    }
}

/// A register of bytes, or of words of 16 bits.
pub(super) trait Shuffle: Copy {
    /// Proof that the CPU has the instructions.
    type Token: Token;

    /// Bytes in a register.
    const LANES: usize;

    /// What sums are turned into.
    type Vector: Vector<Token = Self::Token>;

    /// All bytes zero.
    fn zero(token: Self::Token) -> Self;

    /// The first [`Shuffle::LANES`] bytes.
    fn load(token: Self::Token, from: &[u8]) -> Self;

    /// The same 16 bytes in every part of 16.
    fn repeat(token: Self::Token, table: &[u8; 16]) -> Self;

    /// `self[indices]`, `self` a table in every part of 16.
    fn look_up(self, indices: Self) -> Self;

    /// `self + y`, bytes.
    fn add(self, y: Self) -> Self;

    /// `self + y`, words.
    fn add_words(self, y: Self) -> Self;

    /// `self - y`, words.
    fn sub_words(self, y: Self) -> Self;

    /// The low four bits of every byte.
    fn low(self) -> Self;

    /// `self << 4`, words.
    fn up(self) -> Self;

    /// `self >> 4`, words.
    fn down(self) -> Self;

    /// The even bytes and the odd ones, as words.
    fn halves(self) -> [Self; 2];

    /// [`empty`] as a function that is called, so that little code surrounds the innermost loop.
    fn empty<const N: usize, const P: usize>(
        token: Self::Token,
        registers: &[[Self; N]; P],
        counts: &mut [[[Self; 2]; N]; P],
    );

    /// Even and odd words in their order.
    fn interleave(halves: [Self; 2]) -> [Self; 2];

    /// Into the first [`Shuffle::LANES`] bytes.
    fn store(self, to: &mut [u8]);

    /// `base - 2 * counts` of a register of floats.
    fn sums(token: Self::Token, counts: &[u8], base: f32) -> Self::Vector;

    /// The same of words, two bytes each.
    fn word_sums(token: Self::Token, counts: &[[u8; 2]], base: f32) -> Self::Vector;
}

/// Tables looked up by `N` registers of filters; `WIDE` for more than [`MAX_NARROW`] products.
pub(super) struct Lookup<B, const N: usize, const WIDE: bool>(PhantomData<B>);

/// Counters.
pub(super) struct Tile<B, const L: usize, const N: usize, const P: usize, const WIDE: bool> {
    /// For two neighbouring pixels, the entries of both being the low and the high four bits of a byte. The register of
    /// the first adds up the low four bits, byte by byte. That of the second adds up the entries shifted right by four
    /// bits; only words of 16 bits can be shifted, so the low four bits of a word's upper byte come along into its lower
    /// byte. They are the first pixel's and are not masked out each time: [`separate`] subtracts their total in the end.
    registers: [[B; N]; P],
    /// Fours of weights counted in the registers.
    pending: usize,
    /// What was counted before, even and odd filters, as words.
    counts: [[[B; 2]; N]; P],
}

impl<B: Shuffle, const L: usize, const N: usize, const WIDE: bool> DotAccumulator<L>
    for Lookup<B, N, WIDE>
{
    type Weight = u8;
    type Input = u8;
    const INPUTS: usize = 1;
    const WIDTHS: &'static [usize] =
        if N == 1 || B::Vector::REGISTERS == 32 { &[8, 7, 4, 2] } else { &[4, 3, 2] };
    type Token = B::Token;
    type Tile<const P: usize> = Tile<B, L, N, P, WIDE>;
    type Vector = B::Vector;

    #[inline(always)]
    fn zero<const P: usize>(token: B::Token) -> Tile<B, L, N, P, WIDE> {
        const { assert!(L == N * B::LANES) };
        Tile {
            registers: [[B::zero(token); N]; P],
            pending: 0,
            counts: [[[B::zero(token); 2]; N]; P],
        }
    }

    #[inline(always)]
    fn add<const P: usize, const LEFT: usize, const RIGHT: usize>(
        token: B::Token,
        tile: &mut Tile<B, L, N, P, WIDE>,
        inputs: &[u8],
        step: usize,
        mut weights: &[[u8; L]],
    ) {
        let last = P - RIGHT - LEFT - 1;
        let mut inputs = &inputs[..last * step + weights.len()];
        while !weights.is_empty() {
            let mut len = weights.len();
            if WIDE {
                if tile.pending == MAX_COUNTED {
                    tile.empty(token);
                }
                len = len.min(MAX_COUNTED - tile.pending);
                tile.pending += len;
            }
            let (now, later) = weights.split_at(len);
            let (groups, rest) = now.as_chunks::<GROUP>();
            for group in groups {
                tile.count::<LEFT, RIGHT, GROUP>(token, inputs, step, group);
                inputs = &inputs[GROUP..];
            }
            for one in rest {
                tile.count::<LEFT, RIGHT, 1>(token, inputs, step, &[*one]);
                inputs = &inputs[1..];
            }
            weights = later;
        }
    }

    #[inline(always)]
    fn finish<const P: usize>(
        token: B::Token,
        mut tile: Tile<B, L, N, P, WIDE>,
        base: [f32; P],
        sums: &mut impl Sums<B::Vector, P>,
    ) {
        if WIDE {
            tile.empty(token);
            let words = tile.words();
            for n in 0..L / B::Vector::LANES {
                let mut values = [B::Vector::splat(token, 0.0); P];
                for p in 0..P {
                    values[p] = B::word_sums(token, &words[p][n * B::Vector::LANES..], base[p]);
                }
                sums.take(n, values);
            }
        } else {
            let bytes = tile.bytes();
            for n in 0..L / B::Vector::LANES {
                let mut values = [B::Vector::splat(token, 0.0); P];
                for p in 0..P {
                    values[p] = B::sums(token, &bytes[p][n * B::Vector::LANES..], base[p]);
                }
                sums.take(n, values);
            }
        }
    }
}

impl<B: Shuffle, const L: usize, const N: usize, const P: usize, const WIDE: bool>
    Tile<B, L, N, P, WIDE>
{
    /// Adds the differences from `G` fours of weights; `inputs` has more than `step` times the pixels but one.
    #[inline(always)]
    fn count<const LEFT: usize, const RIGHT: usize, const G: usize>(
        &mut self,
        token: B::Token,
        inputs: &[u8],
        step: usize,
        weights: &[[u8; L]; G],
    ) {
        debug_assert!(inputs.len() >= (P - RIGHT - LEFT - 1) * step + G, "inputs of every pixel");
        let mut sums = [[B::zero(token); N]; P];
        for g in 0..G {
            let mut indices = [B::zero(token); N];
            for n in 0..N {
                indices[n] = B::load(token, &weights[g][n * B::LANES..]);
            }
            for pair in 0..P.div_ceil(2) {
                let p = 2 * pair;
                let (first, second) = (p >= LEFT && p < P - RIGHT, p + 1 < P - RIGHT);
                if first || second {
                    let pixel = p.saturating_sub(LEFT);
                    // SAFETY: `add` has checked that there are G inputs from the last pixel on.
                    let bits = unsafe { *inputs.get_unchecked(pixel * step + g) };
                    let table = B::repeat(token, table(bits, first, second));
                    for n in 0..N {
                        let entries = table.look_up(indices[n]);
                        sums[p][n] = if g == 0 { entries } else { sums[p][n].add(entries) };
                    }
                }
            }
        }
        for pair in 0..P.div_ceil(2) {
            let p = 2 * pair;
            for n in 0..N {
                let sum = sums[p][n];
                if p + 1 == P {
                    self.registers[p][n] = self.registers[p][n].add(sum);
                } else {
                    self.registers[p][n] = self.registers[p][n].add(sum.low());
                    self.registers[p + 1][n] = self.registers[p + 1][n].add_words(sum.down());
                }
            }
        }
    }

    /// Moves what the registers have counted to the words.
    #[inline(always)]
    fn empty(&mut self, token: B::Token) {
        let registers = self.registers;
        B::empty(token, &registers, &mut self.counts);
        self.registers = [[B::zero(token); N]; P];
        self.pending = 0;
    }

    #[inline(always)]
    fn words(&self) -> [[[u8; 2]; L]; P] {
        let mut words = [[[0; 2]; L]; P];
        for p in 0..P {
            let bytes = words[p].as_flattened_mut();
            for n in 0..N {
                let ordered = B::interleave(self.counts[p][n]);
                for half in 0..2 {
                    ordered[half].store(&mut bytes[(2 * n + half) * B::LANES..]);
                }
            }
        }
        words
    }

    #[inline(always)]
    fn bytes(&self) -> [[u8; L]; P] {
        let registers = separate(self.registers);
        let mut bytes = [[0; L]; P];
        for p in 0..P {
            for n in 0..N {
                registers[p][n].store(&mut bytes[p][n * B::LANES..]);
            }
        }
        bytes
    }
}

/// Frees the second pixels' counts of the first ones'. The register of a second pixel holds words of
/// `second[low] + 16 * first[high] + 256 * second[high]` for the counts of their low and high bytes; the register before
/// it holds `first[high]`. Without the middle term each byte is a count of its own.
#[inline(always)]
fn separate<B: Shuffle, const N: usize, const P: usize>(mut registers: [[B; N]; P]) -> [[B; N]; P] {
    for pair in 0..P / 2 {
        for n in 0..N {
            let [_, odd] = registers[2 * pair][n].halves();
            registers[2 * pair + 1][n] = registers[2 * pair + 1][n].sub_words(odd.up());
        }
    }
    registers
}

/// Adds what registers have counted to the words.
#[inline(always)]
pub(super) fn empty<B: Shuffle, const N: usize, const P: usize>(
    registers: &[[B; N]; P],
    counts: &mut [[[B; 2]; N]; P],
) {
    let registers = separate(*registers);
    for p in 0..P {
        for n in 0..N {
            let halves = registers[p][n].halves();
            for half in 0..2 {
                counts[p][n][half] = counts[p][n][half].add_words(halves[half]);
            }
        }
    }
}
