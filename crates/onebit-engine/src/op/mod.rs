//! The operations: their parameters as the kernels read them, and how a step runs.

mod affine;
mod concat;
mod conv;
mod conv_bin;
mod global_avg_pool;
mod hyper;
mod linear;
mod map;
mod pool;
mod prelu;
mod shuffle;
mod sign;
mod window;

use alloc::vec::Vec;

pub(crate) use affine::Affine;
pub(crate) use conv::Conv;
pub(crate) use conv_bin::ConvBin;
pub(crate) use global_avg_pool::global_avg_pool;
pub(crate) use hyper::{HyperHead, HyperTrunk};
pub(crate) use linear::Linear;
pub(crate) use map::{Map, Producer, Stage};
pub(crate) use pool::{Pool, PoolKind};
pub(crate) use prelu::{Prelu, PreluVectors};
pub(crate) use sign::SignStage;
pub(crate) use window::Window;

use crate::arena::{Around, Span};

/// Where a value lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
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
    pub(crate) fn floats(&self, source: Source) -> &'a [f32] {
        match source {
            Source::Image => self.image,
            Source::Floats(span) => self.floats.get(span),
            Source::Bits(_) => &[],
        }
    }

    /// A bit map; nothing for a real value.
    pub(crate) fn bits(&self, source: Source) -> &'a [u64] {
        match source {
            Source::Bits(span) => self.bits.get(span),
            Source::Image | Source::Floats(_) => &[],
        }
    }
}

/// Memory that a step uses only while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Temp {
    /// One row of a real value that only a sign reads.
    pub(crate) row: Vec<f32>,
    /// Dynamic thresholds and shifts, statistics.
    pub(crate) vectors: Vec<f32>,
    /// Input of a binary convolution with every group in words of its own.
    pub(crate) regrouped: Vec<u64>,
}

/// Values of a dynamic operand and its place in [`Temp::vectors`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offsets {
    pub(crate) values: Source,
    pub(crate) at: usize,
}

/// A real map, NHWC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FloatMap<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// A bit map: for each pixel, for each group of channels, its words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BitMap<'a> {
    pub(crate) words: &'a [u64],
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// What a step does.
#[derive(Debug)]
pub(crate) enum Work {
    /// Anything that gives a map, with its fused epilogue.
    Map(Map),
    GlobalAvgPool {
        x: Source,
        channels: usize,
        pixels: usize,
    },
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
            Work::GlobalAvgPool { .. } | Work::Linear(_) | Work::HyperHead(_) => 0,
        }
    }

    /// Bytes of parameters.
    pub(crate) fn weight_bytes(&self) -> usize {
        match self {
            Work::Map(map) => map.weight_bytes(),
            Work::HyperTrunk(trunk) => trunk.hidden.weight_bytes(),
            Work::HyperHead(head) => head.layer.weight_bytes(),
            Work::Linear(linear) => linear.weight_bytes(),
            Work::GlobalAvgPool { .. } => 0,
        }
    }
}
