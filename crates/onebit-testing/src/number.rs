//! What the interpreter computes with: plain numbers, or numbers that know how far 32-bit floats may be off.

use core::ops::{Add, Mul, Sub};

/// A number of the interpreter. Everything it computes is a sum of products, but for what stands here.
pub trait Number: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
    /// A parameter, a pixel or a constant.
    fn exact(value: f64) -> Self;

    /// The number.
    fn value(self) -> f64;

    /// The same number at the end of an operation, whose intermediate results no longer count.
    #[must_use]
    fn settled(self) -> Self;

    /// A sum of integers, which every order of additions gives.
    #[must_use]
    fn integer(self) -> Self;

    /// The larger one; NaN where one is.
    #[must_use]
    fn larger(self, other: Self) -> Self;

    /// Times `positive` above zero, times `negative` elsewhere.
    #[must_use]
    fn bent(self, positive: Self, negative: Self) -> Self;

    /// The root.
    #[must_use]
    fn root(self) -> Self;

    /// `lambda * (2 * sigmoid(self) - 1)`.
    #[must_use]
    fn bounded(self, lambda: f64) -> Self;

    /// The integer, between 0 and 255, of `self / scale + offset`, less `offset`: as 32-bit floats, each step rounded.
    /// That of a NaN is 0.
    #[must_use]
    fn steps(self, scale: f64, offset: f64) -> Self;

    /// What minimal filtering makes of the outputs of a convolution.
    fn filtered(outputs: &mut [Self], inputs: &[Self]);
}

impl Number for f64 {
    fn exact(value: f64) -> Self {
        value
    }

    fn value(self) -> f64 {
        self
    }

    fn settled(self) -> Self {
        self
    }

    fn integer(self) -> Self {
        self
    }

    fn larger(self, other: Self) -> Self {
        if self.is_nan() || self > other { self } else { other }
    }

    fn bent(self, positive: Self, negative: Self) -> Self {
        self * if self > 0.0 { positive } else { negative }
    }

    fn root(self) -> Self {
        self.sqrt()
    }

    fn bounded(self, lambda: f64) -> Self {
        lambda * (2.0 / (1.0 + (-self).exp()) - 1.0)
    }

    fn steps(self, scale: f64, offset: f64) -> Self {
        let position = self as f32 * (1.0 / scale as f32) + offset as f32;
        let integer = position.round_ties_even().clamp(0.0, 255.0);
        f64::from(if integer.is_nan() { 0.0 } else { integer }) - offset
    }

    fn filtered(_: &mut [Self], _: &[Self]) {}
}

/// Half a unit in the last place of a 32-bit float.
const HALF_UNIT: f64 = 1.0 / (1 << 24) as f64;
/// Above this, 32-bit floats may overflow.
const LARGEST: f64 = 1e37;
/// Below this, they lose digits.
const SMALLEST: f64 = 1e-36;
/// By how much minimal filtering of the 7x7 windows of stride 2 multiplies the rounding errors: its constants and the
/// order of its sums.
const FILTERED: f64 = 500.0;

/// A number, and a bound, to first order, of how far 32-bit floats that are rounded at each step may be from it, in
/// whichever order terms are added. The bound of an infinity or a NaN is 0 where such floats must have it as well, and
/// infinite where anything may come out.
#[derive(Clone, Copy, Debug)]
pub struct Bounded {
    /// The number.
    pub value: f64,
    /// The bound.
    pub error: f64,
    /// Sum of the absolute values of what has been added up.
    size: f64,
}

impl Bounded {
    /// `error` without the last rounding.
    fn rounded(value: f64, error: f64, size: f64, operands: [Self; 2]) -> Self {
        let unbounded = operands.iter().any(|x| x.error == f64::INFINITY);
        let special = operands.iter().any(|x| !x.value.is_finite());
        let error = match (unbounded, special) {
            (true, _) => f64::INFINITY,
            (false, true) => 0.0,
            (false, false) if size >= LARGEST => f64::INFINITY,
            (false, false) => error + HALF_UNIT * size + SMALLEST,
        };
        Bounded { value, error, size }
    }

    /// Whether a 32-bit float may have come out.
    #[must_use]
    pub fn allows(self, found: f32, factor: f64) -> bool {
        let found = f64::from(found);
        let same = found == self.value || found.is_nan() && self.value.is_nan();
        same || self.error == f64::INFINITY || (found - self.value).abs() <= factor * self.error
    }
}

impl Add for Bounded {
    type Output = Self;

    fn add(self, y: Self) -> Self {
        let (value, error) = (self.value + y.value, self.error + y.error);
        Bounded::rounded(value, error, self.size + y.size, [self, y])
    }
}

impl Sub for Bounded {
    type Output = Self;

    fn sub(self, y: Self) -> Self {
        let (value, error) = (self.value - y.value, self.error + y.error);
        Bounded::rounded(value, error, self.size + y.size, [self, y])
    }
}

impl Mul for Bounded {
    type Output = Self;

    fn mul(self, y: Self) -> Self {
        let error = self.value.abs() * y.error + y.value.abs() * self.error + self.error * y.error;
        let mut product =
            Bounded::rounded(self.value * y.value, error, self.size * y.size, [self, y]);
        let uncertain = |x: Self| x.value.abs() <= x.error;
        let infinite = |x: Self| x.value.is_infinite();
        if infinite(self) && uncertain(y) && y.error > 0.0
            || infinite(y) && uncertain(self) && self.error > 0.0
        {
            product.error = f64::INFINITY;
        }
        product
    }
}

impl Number for Bounded {
    fn exact(value: f64) -> Self {
        Bounded { value, error: 0.0, size: value.abs() }
    }

    fn value(self) -> f64 {
        self.value
    }

    fn settled(self) -> Self {
        Bounded { size: self.value.abs() + self.error, ..self }
    }

    fn integer(self) -> Self {
        Bounded { error: 0.0, ..self }
    }

    fn larger(self, other: Self) -> Self {
        let unbounded = self.error.max(other.error);
        let larger = Bounded {
            value: self.value.larger(other.value),
            error: unbounded,
            size: self.size.max(other.size),
        };
        let special = !self.value.is_finite() || !other.value.is_finite();
        if special && unbounded < f64::INFINITY && !larger.value.is_finite() {
            return Bounded { error: 0.0, ..larger };
        }
        larger
    }

    fn bent(self, positive: Self, negative: Self) -> Self {
        let bent = self * if self.value > 0.0 { positive } else { negative };
        let steepest = positive.value.abs().max(negative.value.abs());
        if self.value.abs() <= self.error {
            return Bounded { error: bent.error + steepest * 2.0 * self.error, ..bent };
        }
        bent
    }

    fn root(self) -> Self {
        let value = self.value.sqrt();
        if !self.value.is_finite() || self.error == f64::INFINITY {
            return Bounded {
                value,
                error: if self.error < f64::INFINITY { 0.0 } else { self.error },
                size: value,
            };
        }
        let lowest = (self.value - self.error).max(0.0).sqrt();
        Bounded { value, error: value - lowest + HALF_UNIT * value, size: value }
    }

    fn bounded(self, lambda: f64) -> Self {
        let value = self.value.bounded(lambda);
        if self.error == f64::INFINITY {
            return Bounded { value, error: f64::INFINITY, size: lambda };
        }
        let error =
            if self.value.is_nan() { 0.0 } else { lambda * (self.error / 2.0 + 8.0 * HALF_UNIT) };
        Bounded { value, error, size: lambda }
    }

    fn steps(self, scale: f64, offset: f64) -> Self {
        if self.error == f64::INFINITY {
            return Bounded { value: 0.0, error: 255.0, size: 255.0 };
        }
        let value = self.value.steps(scale, offset);
        let position = self.value / scale + offset;
        let uncertain = self.error / scale
            + if self.error > 0.0 { 4.0 * HALF_UNIT * (position.abs() + offset) } else { 0.0 };
        let fraction = position - position.floor();
        let near = (fraction - 0.5).abs() <= uncertain;
        let error = if position.is_finite() && near { 1.0 + uncertain } else { 0.0 };
        Bounded { value, error, size: value.abs() + error }
    }

    fn filtered(outputs: &mut [Self], inputs: &[Self]) {
        let special = inputs.iter().any(|x| !x.value.is_finite() || x.error == f64::INFINITY);
        let worst = outputs.iter().map(|y| y.error).fold(0.0, f64::max);
        let error = if special { f64::INFINITY } else { FILTERED * worst };
        outputs.iter_mut().for_each(|y| y.error = error);
    }
}
