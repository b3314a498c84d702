//! Counters of 8 bits in registers, which are added to counters of 16 bits before they overflow.

use super::binary::Sums;
use super::vector::{Token, Vector};

/// Most bytes of weights whose differences (eight each) a counter of 8 bits holds.
const BYTES_PER_COUNTER: usize = 31;

/// Largest number of products in a sum: the counters in memory have 16 bits.
pub(super) const MAX_PRODUCTS: usize = u16::MAX as usize;

/// A register of counters of 8 bits, one for each output channel.
pub(super) trait Bytes: Copy {
    /// Proof that the CPU has the instructions.
    type Token: Token;

    /// Bytes in a register.
    const LANES: usize;

    /// What sums are turned into.
    type Vector: Vector<Token = Self::Token>;

    /// All bytes zero.
    fn zero(token: Self::Token) -> Self;

    /// Into the first [`Bytes::LANES`] bytes.
    fn store(self, to: &mut [u8]);

    /// `base - 2 * counts` of a register of floats.
    fn sums(token: Self::Token, counts: &[u16], base: f32) -> Self::Vector;
}

/// Counters of `P` pixels and `L` filters, `N` registers for each pixel.
pub(super) struct Tile<B, const L: usize, const N: usize, const P: usize> {
    pub(super) registers: [[B; N]; P],
    /// Bytes of weights counted in the registers.
    pending: usize,
    counts: [[u16; L]; P],
}

impl<B: Bytes, const L: usize, const N: usize, const P: usize> Tile<B, L, N, P> {
    /// Counters at zero.
    #[inline(always)]
    pub(super) fn zero(token: B::Token) -> Self {
        const { assert!(L == N * B::LANES) };
        Tile { registers: [[B::zero(token); N]; P], pending: 0, counts: [[0; L]; P] }
    }

    /// Bytes of weights, at most `len`, that the caller counts next.
    #[inline(always)]
    pub(super) fn next(&mut self, token: B::Token, len: usize) -> usize {
        if self.pending == BYTES_PER_COUNTER {
            self.empty(token);
        }
        let len = len.min(BYTES_PER_COUNTER - self.pending);
        self.pending += len;
        len
    }

    /// Moves what the registers have counted to memory.
    #[inline(always)]
    fn empty(&mut self, token: B::Token) {
        for (registers, counts) in self.registers.iter_mut().zip(&mut self.counts) {
            let mut bytes = [0; L];
            for (n, register) in registers.iter_mut().enumerate() {
                register.store(&mut bytes[n * B::LANES..]);
                *register = B::zero(token);
            }
            for (count, byte) in counts.iter_mut().zip(bytes) {
                *count += u16::from(byte);
            }
        }
        self.pending = 0;
    }

    /// Hands on `base - 2 * differences`.
    #[inline(always)]
    pub(super) fn finish(
        mut self,
        token: B::Token,
        base: [f32; P],
        sums: &mut impl Sums<B::Vector, P>,
    ) {
        self.empty(token);
        for n in 0..L / B::Vector::LANES {
            let mut values = [B::Vector::splat(token, 0.0); P];
            for p in 0..P {
                values[p] = B::sums(token, &self.counts[p][n * B::Vector::LANES..], base[p]);
            }
            sums.take(n, values);
        }
    }
}
