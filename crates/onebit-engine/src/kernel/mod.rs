//! The inner loops, one table for each instruction set.
//!
//! A new instruction set is one file here, one word in [`Isa`] and one line in `ISAS`, which feeds the choice
//! at run time, the tests and the benches.

mod body;
mod portable;
mod reference;
mod vector;

#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod avx2;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod avx512;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::EngineError;
use crate::op::{BitMap, Conv, ConvBin, FloatMap, Pool, PreluVectors};

/// An instruction set with kernels of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Naive loops that define every result; fused multiply-add in software.
    Reference,
    /// Plain Rust for any CPU; multiplies and adds in two roundings.
    Portable,
    /// x86-64 with AVX2, FMA and POPCNT.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VPOPCNTDQ.
    Avx512,
}

/// An instruction set, its name, and its kernels if this CPU and this build have them.
struct Entry {
    isa: Isa,
    name: &'static str,
    kernels: fn() -> Option<&'static Kernels>,
}

/// Slowest first.
const ISAS: &[Entry] = &[
    Entry { isa: Isa::Reference, name: "reference", kernels: reference::kernels },
    Entry { isa: Isa::Portable, name: "portable", kernels: portable::kernels },
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    Entry { isa: Isa::Avx2, name: "avx2", kernels: avx2::kernels },
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    Entry { isa: Isa::Avx512, name: "avx512", kernels: avx512::kernels },
    #[cfg(not(all(feature = "std", target_arch = "x86_64")))]
    Entry { isa: Isa::Avx2, name: "avx2", kernels: || None },
    #[cfg(not(all(feature = "std", target_arch = "x86_64")))]
    Entry { isa: Isa::Avx512, name: "avx512", kernels: || None },
];

impl Isa {
    /// Instruction sets that this CPU and this build can use, slowest first.
    #[must_use]
    pub fn available() -> Vec<Isa> {
        ISAS.iter().filter(|entry| (entry.kernels)().is_some()).map(|entry| entry.isa).collect()
    }

    /// The instruction set of a name such as `avx512`, available or not.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Isa> {
        ISAS.iter().find(|entry| entry.name == name).map(|entry| entry.isa)
    }

    /// The name, as on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        ISAS.iter().find(|entry| entry.isa == self).map_or("", |entry| entry.name)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The kernels of `isa`, or the fastest.
pub(crate) fn select(isa: Option<Isa>) -> Result<&'static Kernels, EngineError> {
    let wanted = |entry: &&Entry| isa.is_none_or(|isa| entry.isa == isa);
    let kernels = ISAS.iter().rev().filter(wanted).find_map(|entry| (entry.kernels)());
    kernels.ok_or_else(|| {
        let names: Vec<&str> = Isa::available().iter().map(|isa| isa.name()).collect();
        let available: String = names.join(", ");
        EngineError::MissingIsa { isa: isa.unwrap_or(Isa::Reference), available }
    })
}

/// What a sum over pixels adds for each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// `x`
    First,
    /// `(x - mean)^2`
    Centred,
    /// `x^3`, as `(x * x) * x`
    Third,
}

/// The inner loops of one instruction set. Rows are `width x channels`, NHWC.
#[derive(Debug)]
pub(crate) struct Kernels {
    pub(crate) isa: Isa,
    /// Lanes of a block of binary weights for this many output channels of a group.
    pub(crate) conv_bin_lanes: fn(usize) -> usize,
    /// Lanes of a block of real weights for this many output channels of a group.
    pub(crate) conv_lanes: fn(usize) -> usize,
    /// Row `y` of a binary convolution.
    pub(crate) conv_bin: fn(&ConvBin, BitMap<'_>, usize, &mut [f32]),
    /// Row `y` of a real convolution.
    pub(crate) conv: fn(&Conv, FloatMap<'_>, usize, &mut [f32]),
    /// Row `y` of a pooling of a map with that many channels.
    pub(crate) pool: fn(Pool, FloatMap<'_>, usize, usize, &mut [f32]),
    /// `row = row * scale + shift`.
    pub(crate) affine: fn(&mut [f32], &[f32], &[f32]),
    /// `row = row + other`.
    pub(crate) add: fn(&mut [f32], &[f32]),
    /// The parametric rectifier, in place.
    pub(crate) prelu: fn(&mut [f32], PreluVectors<'_>),
    /// Packs `row > threshold`.
    pub(crate) sign: fn(&[f32], &[f32], &mut [u64]),
    /// Adds a moment over the pixels of `x` (with the means) to the sums.
    pub(crate) moment: fn(Moment, &[f32], &[f32], &mut [f32]),
}
