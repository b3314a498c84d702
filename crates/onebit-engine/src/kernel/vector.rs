//! Registers of floats and of counters as traits, and what baselines have of them.
//!
//! The instructions of a register may be beyond the target's baseline. So a register is made only with its token, a
//! value that only functions which enable the instructions can make. Whoever has a token or a register has proof
//! that the CPU can execute them, and the loops over registers are safe code.

/// Proof that the CPU has the instructions of an instruction set.
pub(super) trait Token: Copy {
    /// Calls `function` as a function that enables the instructions and is not inlined.
    fn call<F: Function>(self, function: F) -> F::Output;
}

/// A function and its arguments.
pub(super) trait Function {
    /// What it returns.
    type Output;

    /// Calls it. Inlined, so that it has the instructions of its caller.
    fn run(self) -> Self::Output;
}

/// The token of instructions that every CPU of the target has.
#[derive(Clone, Copy)]
pub(super) struct Baseline;

impl Token for Baseline {
    #[inline(never)]
    fn call<F: Function>(self, function: F) -> F::Output {
        function.run()
    }
}

/// A register of floats.
pub(super) trait Vector: Copy {
    /// Proof that the CPU has the instructions.
    type Token: Token;

    /// Floats in a register.
    const LANES: usize;

    /// Registers that the instruction set has.
    const REGISTERS: usize;

    /// The same number in every lane.
    fn splat(token: Self::Token, value: f32) -> Self;

    /// The first [`Vector::LANES`] floats.
    fn load(token: Self::Token, from: &[f32]) -> Self;

    /// The first [`Vector::LANES`] integers.
    fn from_i8(token: Self::Token, from: &[i8]) -> Self;

    /// `self + y`.
    fn add(self, y: Self) -> Self;

    /// `self - y`.
    fn sub(self, y: Self) -> Self;

    /// `self * y`.
    fn mul(self, y: Self) -> Self;

    /// `self * y + z`.
    fn mul_add(self, y: Self, z: Self) -> Self;

    /// `self` in the lanes where `self > y` or it is a NaN, `y` in the others: a NaN where either is.
    fn larger(self, y: Self) -> Self;

    /// `yes` in the lanes above zero, `no` in the others.
    fn if_positive(self, yes: Self, no: Self) -> Self;

    /// A set bit for each lane with `self > y`, the first lane's lowest.
    fn greater(self, y: Self) -> u64;

    /// Into the first [`Vector::LANES`] floats.
    fn store(self, to: &mut [f32]);
}

/// Two roundings, four lanes: what every CPU's baseline registers hold.
impl Vector for [f32; 4] {
    type Token = Baseline;

    const LANES: usize = 4;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(_: Baseline, value: f32) -> Self {
        [value; 4]
    }

    #[inline(always)]
    fn load(_: Baseline, from: &[f32]) -> Self {
        let from = &from[..4];
        core::array::from_fn(|lane| from[lane])
    }

    #[inline(always)]
    fn from_i8(_: Baseline, from: &[i8]) -> Self {
        let from = &from[..4];
        core::array::from_fn(|lane| f32::from(from[lane]))
    }

    #[inline(always)]
    fn add(self, y: Self) -> Self {
        core::array::from_fn(|lane| self[lane] + y[lane])
    }

    #[inline(always)]
    fn sub(self, y: Self) -> Self {
        core::array::from_fn(|lane| self[lane] - y[lane])
    }

    #[inline(always)]
    fn mul(self, y: Self) -> Self {
        core::array::from_fn(|lane| self[lane] * y[lane])
    }

    #[inline(always)]
    fn mul_add(self, y: Self, z: Self) -> Self {
        core::array::from_fn(|lane| self[lane] * y[lane] + z[lane])
    }

    #[inline(always)]
    fn larger(self, y: Self) -> Self {
        core::array::from_fn(|lane| {
            if self[lane] > y[lane] || self[lane].is_nan() { self[lane] } else { y[lane] }
        })
    }

    #[inline(always)]
    fn if_positive(self, yes: Self, no: Self) -> Self {
        core::array::from_fn(|lane| if self[lane] > 0.0 { yes[lane] } else { no[lane] })
    }

    #[inline(always)]
    fn greater(self, y: Self) -> u64 {
        (0..4).fold(0, |mask, lane| mask | u64::from(self[lane] > y[lane]) << lane)
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        to[..4].copy_from_slice(&self);
    }
}

/// Two registers as one: half as many passes where the instruction set's registers are short.
impl<V: Vector> Vector for [V; 2] {
    type Token = V::Token;

    const LANES: usize = 2 * V::LANES;
    const REGISTERS: usize = V::REGISTERS;

    #[inline(always)]
    fn splat(token: V::Token, value: f32) -> Self {
        [V::splat(token, value); 2]
    }

    #[inline(always)]
    fn load(token: V::Token, from: &[f32]) -> Self {
        let from = &from[..2 * V::LANES];
        [V::load(token, from), V::load(token, &from[V::LANES..])]
    }

    #[inline(always)]
    fn from_i8(token: V::Token, from: &[i8]) -> Self {
        let from = &from[..2 * V::LANES];
        [V::from_i8(token, from), V::from_i8(token, &from[V::LANES..])]
    }

    #[inline(always)]
    fn add(self, y: Self) -> Self {
        [self[0].add(y[0]), self[1].add(y[1])]
    }

    #[inline(always)]
    fn sub(self, y: Self) -> Self {
        [self[0].sub(y[0]), self[1].sub(y[1])]
    }

    #[inline(always)]
    fn mul(self, y: Self) -> Self {
        [self[0].mul(y[0]), self[1].mul(y[1])]
    }

    #[inline(always)]
    fn mul_add(self, y: Self, z: Self) -> Self {
        [self[0].mul_add(y[0], z[0]), self[1].mul_add(y[1], z[1])]
    }

    #[inline(always)]
    fn larger(self, y: Self) -> Self {
        [self[0].larger(y[0]), self[1].larger(y[1])]
    }

    #[inline(always)]
    fn if_positive(self, yes: Self, no: Self) -> Self {
        [self[0].if_positive(yes[0], no[0]), self[1].if_positive(yes[1], no[1])]
    }

    #[inline(always)]
    fn greater(self, y: Self) -> u64 {
        self[0].greater(y[0]) | self[1].greater(y[1]) << V::LANES
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        let to = &mut to[..2 * V::LANES];
        self[0].store(to);
        self[1].store(&mut to[V::LANES..]);
    }
}

/// A register of counters, one for each output channel.
pub(super) trait Counter: Copy {
    /// Proof that the CPU has the instructions.
    type Token: Token;

    /// What is compared at once: a part of the bits of a pixel, the same in every lane.
    type Word: bytemuck::Pod;

    /// Words in a register.
    const LANES: usize;

    /// What sums are turned into, of as many lanes.
    type Vector: Vector<Token = Self::Token>;

    /// Counters at zero.
    fn zero(token: Self::Token) -> Self;

    /// The same word in every lane.
    fn splat(token: Self::Token, word: Self::Word) -> Self;

    /// The first [`Counter::LANES`] words.
    fn load(token: Self::Token, from: &[Self::Word]) -> Self;

    /// `self + popcount(x ^ y)`.
    fn add_differences(self, x: Self, y: Self) -> Self;

    /// `base - 2 * self`.
    fn sums(self, token: Self::Token, base: f32) -> Self::Vector;
}
