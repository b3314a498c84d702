//! How a step runs: which kernels compute what of its values, with which memory.

mod affine;
mod buffers;
mod fused_map;
mod hyper;
mod linear;
mod parallel_for;
mod prelu;
mod sign;
mod statistics;

pub(crate) use affine::Affine;
pub(crate) use buffers::{BufferLens, Buffers};
pub(crate) use fused_map::{FusedMap, Outputs, Producer, Stage};
pub(crate) use hyper::{HyperHead, HyperTrunk};
pub(crate) use linear::{Linear, LinearWeights};
pub(crate) use parallel_for::{MAX_PARTS, ParallelFor};
pub(crate) use prelu::Prelu;
pub(crate) use sign::SignStage;
pub(crate) use statistics::Channels;

use crate::aligned::Aligned;
use crate::arena::{Around, Span};
use crate::map::stride;

/// Where a value lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Image,
    Floats(Span),
    Bits(Span),
}

/// Everything that a step may read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read<'a> {
    pub(crate) image: &'a [f32],
    pub(crate) floats: Around<'a, f32>,
    pub(crate) bits: Around<'a, u64>,
}

impl<'a> Read<'a> {
    /// A real value; nothing for a bit map.
    pub(crate) fn floats(&self, at: Location) -> &'a [f32] {
        match at {
            Location::Image => self.image,
            Location::Floats(span) => self.floats.get(span),
            Location::Bits(_) => &[],
        }
    }

    /// A bit map; nothing for a real value.
    pub(crate) fn bits(&self, at: Location) -> &'a [u64] {
        match at {
            Location::Bits(span) => self.bits.get(span),
            Location::Image | Location::Floats(_) => &[],
        }
    }
}

/// Memory that a step uses only while it runs; it holds anything before.
#[derive(Debug)]
pub(crate) struct Temp<'a> {
    /// Dynamic thresholds and shifts, statistics: [`Work::vectors`].
    pub(crate) vectors: &'a mut [f32],
    /// Input of a binary convolution as its kernel reads it: [`Work::prepared`].
    pub(crate) prepared: &'a mut [u64],
    /// One for each thread that computes rows of a map: [`Work::buffer`].
    pub(crate) buffers: &'a mut [Aligned<f32>],
}

/// Values of a dynamic operand and its place in [`Temp::vectors`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offsets {
    pub(crate) values: Location,
    pub(crate) at: usize,
}

/// What a step does.
#[derive(Debug)]
pub(crate) enum Work {
    /// Anything that gives a map, with its fused epilogue.
    Map(FusedMap),
    GlobalAvgPool(Channels),
    Linear(Linear),
    HyperTrunk(HyperTrunk),
    HyperHead(HyperHead),
}

impl Work {
    /// Floats of [`Temp::vectors`] in use.
    pub(crate) fn vectors(&self) -> usize {
        match self {
            Work::Map(map) => map.vectors,
            Work::HyperTrunk(trunk) => trunk.vectors(),
            Work::GlobalAvgPool(x) => stride(x.channels),
            Work::Linear(linear) => linear.vectors(),
            Work::HyperHead(head) => head.layer.vectors(),
        }
    }

    /// Words of [`Temp::prepared`] in use.
    pub(crate) fn prepared(&self) -> usize {
        match self {
            Work::Map(map) => map.prepared(),
            Work::GlobalAvgPool(_) | Work::Linear(_) | Work::HyperTrunk(_) | Work::HyperHead(_) => {
                0
            }
        }
    }

    /// Floats of each of [`Temp::buffers`] in use.
    pub(crate) fn buffer(&self) -> usize {
        match self {
            Work::Map(map) => map.buffer_lens().sum(),
            Work::GlobalAvgPool(_) | Work::Linear(_) | Work::HyperTrunk(_) | Work::HyperHead(_) => {
                0
            }
        }
    }

    /// Bytes of parameters.
    pub(crate) fn weight_bytes(&self) -> usize {
        match self {
            Work::Map(map) => map.weight_bytes(),
            Work::HyperTrunk(trunk) => trunk.hidden.weight_bytes(),
            Work::HyperHead(head) => head.layer.weight_bytes(),
            Work::Linear(linear) => linear.weight_bytes(),
            Work::GlobalAvgPool(_) => 0,
        }
    }
}
