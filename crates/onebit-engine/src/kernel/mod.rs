//! The inner loops, one table for each instruction set.
//!
//! A new instruction set is one file here, one word in [`Isa`] and one line in `ISAS`, which feeds the choice
//! at run time, the tests and the benches.

#![allow(
    clippy::needless_range_loop,
    reason = "loops over registers, which iterators may not unroll"
)]

mod binary;
mod conv_i8;
mod dynamic;
mod epilogue;
mod linear;
mod linear_i8;
mod popcount;
mod portable;
mod real;
mod reference;
mod scaled_tanh;
mod table;
mod task;
mod tile;
mod vector;
mod winograd;

#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod avx2;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod avx512;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod avx512bw;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod bytes;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod lookup;
#[cfg(all(target_arch = "aarch64", target_feature = "neon", target_endian = "little"))]
mod neon;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use onebit_model::Geometry;

pub(crate) use task::{
    ConcatTask, ConvBinTask, ConvI8Task, ConvTask, CopyTask, LinearI8Task, LinearTask, MomentTask,
    PoolTask, Ring, ScaledTanhTask, ShuffleTask, WinogradTask,
};

use crate::EngineError;
use crate::map::RowTile;
use crate::packed::{Layout, LayoutI8};

/// An instruction set with kernels of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Naive loops that define every result; fused multiply-add in software.
    Reference,
    /// Plain Rust for any CPU; multiplies and adds in two roundings.
    Portable,
    /// WebAssembly with vectors of 128 bits; multiplies and adds in two roundings, with the results of `Portable`.
    Simd128,
    /// 64-bit ARM, little-endian.
    Neon,
    /// x86-64 with AVX2, FMA and POPCNT.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    Avx512Bw,
    /// x86-64 with AVX-512 F, BW, DQ, VL, VPOPCNTDQ and VNNI.
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
    Entry {
        isa: Isa::Simd128,
        name: "simd128",
        kernels: cfg_select! {
            all(target_arch = "wasm32", target_feature = "simd128") => { simd128::kernels }
            _ => { || None }
        },
    },
    Entry {
        isa: Isa::Neon,
        name: "neon",
        kernels: cfg_select! {
            all(target_arch = "aarch64", target_feature = "neon", target_endian = "little") => { neon::kernels }
            _ => { || None }
        },
    },
    Entry {
        isa: Isa::Avx2,
        name: "avx2",
        kernels: cfg_select! {
            all(feature = "std", target_arch = "x86_64") => { avx2::kernels }
            _ => { || None }
        },
    },
    Entry {
        isa: Isa::Avx512Bw,
        name: "avx512bw",
        kernels: cfg_select! {
            all(feature = "std", target_arch = "x86_64") => { avx512bw::kernels }
            _ => { || None }
        },
    },
    Entry {
        isa: Isa::Avx512,
        name: "avx512",
        kernels: cfg_select! {
            all(feature = "std", target_arch = "x86_64") => { avx512::kernels }
            _ => { || None }
        },
    },
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

/// Size of one group of a binary convolution.
#[allow(dead_code, reason = "portable kernels, the only ones of some targets, have one layout")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filters {
    /// Output channels.
    pub(crate) outputs: usize,
    /// Products of one output: input channels times taps.
    pub(crate) products: usize,
}

impl Filters {
    pub(crate) fn of(geometry: Geometry, channels: usize) -> Self {
        let Geometry { out_channels, kernel, groups, .. } = geometry;
        Filters { outputs: out_channels / groups, products: channels / groups * kernel * kernel }
    }
}

/// The inner loops of one instruction set. Those that compute a [`RowTile`] of a map also do what it says, in the same
/// pass.
#[derive(Debug)]
pub(crate) struct Kernels {
    pub(crate) isa: Isa,
    /// Layout of the weights of a binary convolution.
    pub(crate) conv_bin_layout: fn(Filters) -> Layout,
    /// Lanes of a block of real weights for this many output channels of a group.
    pub(crate) conv_lanes: fn(usize) -> usize,
    /// Layout of the weights of an 8-bit convolution with this many output channels.
    pub(crate) conv_i8_layout: fn(usize) -> LayoutI8,
    /// Lanes of a block of real weights of a linear layer.
    pub(crate) linear_lanes: usize,
    /// Most lanes of a block of 8-bit weights, so that sums and factors take half of the registers.
    pub(crate) linear_i8_lanes: usize,
    pub(crate) conv_bin: fn(ConvBinTask<'_>),
    pub(crate) conv: fn(ConvTask<'_>),
    pub(crate) conv_i8: fn(ConvI8Task<'_>),
    pub(crate) winograd: fn(WinogradTask<'_>),
    pub(crate) pool: fn(PoolTask<'_>),
    pub(crate) copy: fn(CopyTask<'_>),
    /// The values that are there already, by a rectifier as the only stage.
    pub(crate) rectify: fn(RowTile<'_>),
    pub(crate) concat: fn(ConcatTask<'_>),
    pub(crate) shuffle: fn(ShuffleTask<'_>),
    pub(crate) moment: fn(MomentTask<'_>),
    pub(crate) linear: fn(LinearTask<'_>),
    pub(crate) linear_i8: fn(LinearI8Task<'_>),
    pub(crate) scaled_tanh: fn(ScaledTanhTask<'_>),
}
