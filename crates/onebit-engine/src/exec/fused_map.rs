//! A fused op that gives a map, with its parameters and places: computed a few rows at a time by a producer, the stages
//! behind it and a sign.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use onebit_model::bits;

use super::{Affine, BufferLens, Buffers, Location, ParallelFor, Prelu, Read, SignStage, Temp};
use crate::aligned::product;
use crate::kernel::{
    ConcatTask, ConvBinTask, ConvI8Task, ConvTask, CopyTask, Kernels, PoolTask, Ring, ShuffleTask,
    WinogradTask,
};
use crate::map::{BitMap, FloatMap, MAX_STAGES, RowTile, StageView, stride};
use crate::packed::{Conv, ConvBin, ConvI8, Pool, Window, Winograd};

/// Floats of the rows that are computed at once where a pooling reads them, so that they stay in the second-level
/// cache, and most rows of the pooling that they are for.
const POOLED_FLOATS: usize = 128 << 10;
const MAX_POOLED_ROWS: usize = 8;

const FLOATS_OF_WORD: usize = size_of::<u64>() / size_of::<f32>();

/// A fused op that gives a map, as a step runs it: in one pass a producer, then elementwise stages, then bits.
#[derive(Debug)]
pub(crate) struct FusedMap {
    pub(crate) producer: Producer,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// At most [`MAX_STAGES`].
    pub(crate) stages: Vec<Stage>,
    pub(crate) sign: Option<SignStage>,
    /// Floats of [`Temp::vectors`] in use, those of the producer in front.
    pub(crate) vectors: usize,
}

/// What gives the first value of a pixel.
#[derive(Debug)]
pub(crate) enum Producer {
    Copy {
        x: Location,
    },
    /// The output's place holds the value already, and the only stage is a rectifier.
    InPlace,
    ConvBin {
        x: Location,
        height: usize,
        width: usize,
        conv: ConvBin,
    },
    Conv {
        x: Location,
        channels: usize,
        height: usize,
        width: usize,
        conv: Conv,
    },
    ConvI8 {
        x: Location,
        height: usize,
        width: usize,
        conv: ConvI8,
    },
    Winograd {
        x: Location,
        height: usize,
        width: usize,
        conv: Winograd,
    },
    /// Of a map that is there, or of one whose rows, or signs, are computed on the way.
    Pool {
        x: Location,
        height: usize,
        width: usize,
        pool: Pool,
        inner: Option<Box<FusedMap>>,
    },
    Concat {
        x: [Location; 2],
        channels: [usize; 2],
    },
    Shuffle {
        x: Location,
        groups: usize,
    },
}

impl Producer {
    /// The map whose rows, or signs, are computed on the way.
    pub(crate) fn inner(&self) -> Option<&FusedMap> {
        match self {
            Producer::Pool { inner, .. } => inner.as_deref(),
            Producer::Copy { .. }
            | Producer::InPlace
            | Producer::ConvBin { .. }
            | Producer::Conv { .. }
            | Producer::ConvI8 { .. }
            | Producer::Winograd { .. }
            | Producer::Concat { .. }
            | Producer::Shuffle { .. } => None,
        }
    }
}

/// An elementwise operation of an epilogue.
#[derive(Debug)]
pub(crate) enum Stage {
    Affine(Affine),
    /// `channels` of `other`, fewer than the map's where both halves of siblings add the same.
    Add {
        other: Location,
        channels: usize,
    },
    /// Adds what the output's place holds.
    Accumulate,
    Prelu(Prelu),
}

/// Where the map goes; what nothing reads is not written.
#[derive(Debug, Default)]
pub(crate) struct Outputs<'a> {
    pub(crate) floats: Option<&'a mut [f32]>,
    pub(crate) bits: Option<&'a mut [u64]>,
    /// Signs of the map that a pooling reads.
    pub(crate) inner_bits: Option<&'a mut [u64]>,
    /// For each row, the sums of the channels.
    pub(crate) sums: Option<&'a mut [f32]>,
}

/// What the rows of a map are computed from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) kernels: &'static Kernels,
    pub(crate) read: Read<'a>,
    /// [`Temp::vectors`] and [`Temp::prepared`] of the step.
    vectors: &'a [f32],
    prepared: &'a [u64],
}

impl FusedMap {
    /// Computes the map.
    pub(crate) fn run(
        &self,
        kernels: &'static Kernels,
        read: Read<'_>,
        mut outputs: Outputs<'_>,
        temp: Temp<'_>,
        parallel_for: Option<ParallelFor<'_>>,
    ) {
        if let Some(sums) = &mut outputs.sums {
            sums.fill(0.0);
        }
        let Temp { vectors, prepared, buffers } = temp;
        self.prepare(&read, vectors, prepared);
        let context = Context { kernels, read, vectors, prepared };
        self.all_rows(&context, outputs, buffers, parallel_for);
    }

    /// Computes rows of the map, which `outputs` begin with.
    pub(crate) fn rows(
        &self,
        context: &Context<'_>,
        rows: Range<usize>,
        outputs: Outputs<'_>,
        buffers: &mut Buffers<'_>,
    ) {
        let Context { kernels, read, vectors, .. } = *context;
        let first = StageView::Affine { scale: &[], shift: &[] };
        let mut stages = [first; MAX_STAGES];
        for (view, stage) in stages.iter_mut().zip(&self.stages) {
            *view = self.view(stage, &read, vectors);
        }
        let thresholds = self.sign.as_ref().map(|sign| sign.thresholds(vectors));
        let mut row_tile = RowTile {
            rows,
            width: self.width,
            channels: self.channels,
            stride: stride(self.channels),
            stages: &stages[..self.stages.len()],
            floats: outputs.floats,
            bits: thresholds.zip(outputs.bits),
            sums: outputs.sums,
        };
        if let Producer::Pool { pool, inner: Some(inner), .. } = &self.producer {
            let end = self.inner_rows(*pool, inner, row_tile.rows.clone()).end;
            return inner.pool(context, *pool, (outputs.inner_bits, end), buffers, &mut row_tile);
        }
        let stride = self.sums_stride();
        if stride == row_tile.stride {
            return self.produce(context, buffers, row_tile);
        }
        let sums = core::mem::take(&mut buffers.sums);
        let row = self.width * stride;
        let floats = Some(&mut sums[row_tile.rows.start * row..row_tile.rows.end * row]);
        let rows = row_tile.rows.clone();
        let of_sums =
            RowTile { rows, stride, stages: &[], floats, bits: None, sums: None, ..row_tile };
        self.produce(context, buffers, of_sums);
        (kernels.copy)(CopyTask { x: self.map(sums, stride), row_tile });
        buffers.sums = sums;
    }

    /// Rows of the map `inner` that are computed for rows of its pooling: those that it reads, and where signs of all
    /// are needed, those behind the last that it reads.
    pub(super) fn inner_rows(
        &self,
        pool: Pool,
        inner: &FusedMap,
        rows: Range<usize>,
    ) -> Range<usize> {
        let start = pool.window.input_rows(rows.start, inner.height).start;
        let end = match inner.sign {
            Some(_) if rows.end == self.height => inner.height,
            _ => pool.window.input_rows(rows.end - 1, inner.height).end,
        };
        start..end
    }

    /// Where this map is, if it is there and no more than its signs are computed.
    fn there(&self) -> Option<Location> {
        match self.producer {
            Producer::Copy { x } if self.stages.is_empty() => Some(x),
            _ => None,
        }
    }

    /// Pools this map, computing its rows as they are needed, up to the row `all`; `bits` gets their signs, from the
    /// first that is needed.
    fn pool(
        &self,
        context: &Context<'_>,
        pool: Pool,
        (mut bits, all): (Option<&mut [u64]>, usize),
        buffers: &mut Buffers<'_>,
        row_tile: &mut RowTile<'_>,
    ) {
        let pooled = core::mem::take(&mut buffers.pooled);
        let there = self.there().map(|x| self.like(&context.read, x));
        let row = self.width * stride(self.channels);
        let bit_row = self.width * bits::words(self.channels);
        let rows = self.pooled_rows(pool);
        let begin = pool.window.input_rows(row_tile.rows.start, self.height).start;
        let mut have = begin..begin;
        for first in row_tile.rows.clone().step_by(rows) {
            let next = (first + rows).min(row_tile.rows.end);
            let start = pool.window.input_rows(first, self.height).start;
            let end = match next == row_tile.rows.end {
                true => all,
                false => pool.window.input_rows(next - 1, self.height).end,
            };
            let kept = have.end.saturating_sub(start);
            if there.is_none() {
                pooled.copy_within((have.len() - kept) * row..have.len() * row, 0);
            }
            let of_bits = (start + kept - begin) * bit_row..(end - begin) * bit_row;
            let outputs = Outputs {
                floats: match there {
                    Some(_) => None,
                    None => Some(&mut pooled[kept * row..(end - start) * row]),
                },
                bits: bits.as_mut().map(|bits| &mut bits[of_bits]),
                inner_bits: None,
                sums: None,
            };
            self.rows(context, start + kept..end, outputs, buffers);
            let computed = || self.map(&pooled[..(end - start) * row], stride(self.channels));
            let (x, first_row) = there.map_or_else(|| (computed(), start), |map| (map, 0));
            let (row, row_tile) = (&mut *buffers.pool_row, row_tile.part(first..next));
            (context.kernels.pool)(PoolTask { pool, x, first_row, row, row_tile });
            have = start..end;
        }
        buffers.pooled = pooled;
    }

    /// Rows of a pooling of this map for which those of this map are computed at once.
    fn pooled_rows(&self, pool: Pool) -> usize {
        if self.there().is_some() {
            return 1;
        }
        let row = pool.window.stride * self.width * stride(self.channels);
        (POOLED_FLOATS / row.max(1)).clamp(1, MAX_POOLED_ROWS)
    }

    fn prepare(&self, read: &Read<'_>, vectors: &mut [f32], prepared: &mut [u64]) {
        match &self.producer {
            Producer::ConvBin { x, conv, .. } => conv.prepare(read.bits(*x), prepared),
            Producer::Pool { inner: Some(inner), .. } => inner.prepare(read, vectors, prepared),
            _ => {}
        }
        for stage in &self.stages {
            if let Stage::Prelu(prelu) = stage {
                prelu.prepare(read, vectors);
            }
        }
        if let Some(sign) = &self.sign {
            sign.prepare(read, vectors);
        }
    }

    fn view<'a>(&self, stage: &'a Stage, read: &Read<'a>, vectors: &'a [f32]) -> StageView<'a> {
        match stage {
            Stage::Affine(affine) => {
                StageView::Affine { scale: &affine.scale, shift: &affine.shift }
            }
            Stage::Add { other, channels } => {
                StageView::Add { other: self.map(read.floats(*other), stride(*channels)) }
            }
            Stage::Accumulate => StageView::Accumulate,
            Stage::Prelu(prelu) => StageView::Prelu(prelu.vectors(vectors)),
        }
    }

    /// A value of this map's shape.
    fn like<'a>(&self, read: &Read<'a>, x: Location) -> FloatMap<'a> {
        self.map(read.floats(x), stride(self.channels))
    }

    fn map<'a>(&self, values: &'a [f32], stride: usize) -> FloatMap<'a> {
        FloatMap { values, height: self.height, width: self.width, stride }
    }

    fn produce(&self, context: &Context<'_>, buffers: &mut Buffers<'_>, row_tile: RowTile<'_>) {
        let Context { kernels, ref read, prepared, .. } = *context;
        let real = |x: Location, channels, height, width| FloatMap {
            values: read.floats(x),
            height,
            width,
            stride: if x == Location::Image { channels } else { stride(channels) },
        };
        match &self.producer {
            Producer::Copy { x: Location::Image } => {
                let x = self.map(read.image, self.channels);
                (kernels.copy)(CopyTask { x, row_tile });
            }
            Producer::InPlace => (kernels.rectify)(row_tile),
            Producer::Copy { x } => {
                (kernels.copy)(CopyTask { x: self.like(read, *x), row_tile });
            }
            &Producer::ConvBin { x, height, width, ref conv } => {
                let words = conv.prepared(read.bits(x), prepared);
                let x = BitMap { words, height, width };
                (kernels.conv_bin)(ConvBinTask { conv, x, row_tile });
            }
            &Producer::Conv { x, channels, height, width, ref conv } => {
                let x = real(x, channels, height, width);
                (kernels.conv)(ConvTask { conv, x, row_tile });
            }
            &Producer::ConvI8 { x, height, width, ref conv } => {
                let x = real(x, conv.inputs, height, width);
                let Buffers { ring, next_row, .. } = buffers;
                let ring = Ring { memory: bytemuck::cast_slice_mut(ring), next_row };
                (kernels.conv_i8)(ConvI8Task { conv, x, ring, row_tile });
            }
            &Producer::Winograd { x, height, width, ref conv } => {
                let x = real(x, conv.inputs, height, width);
                let Buffers { ring: memory, next_row, .. } = buffers;
                let ring = Ring { memory, next_row };
                (kernels.winograd)(WinogradTask { conv, x, ring, row_tile });
            }
            &Producer::Pool { x, height, width, pool, .. } => {
                let x = real(x, self.channels, height, width);
                let row = &mut *buffers.pool_row;
                (kernels.pool)(PoolTask { pool, x, first_row: 0, row, row_tile });
            }
            Producer::Concat { x, channels } => {
                let x = [0, 1].map(|i| real(x[i], channels[i], self.height, self.width));
                (kernels.concat)(ConcatTask { x, first: channels[0], row_tile });
            }
            Producer::Shuffle { x, groups } => {
                let (x, groups) = (self.like(read, *x), *groups);
                (kernels.shuffle)(ShuffleTask { x, groups, row_tile });
            }
        }
    }

    /// Floats from one pixel to the next of the map that the producer writes; where that is more than the map's own
    /// stride, these are sums that need room before the stages.
    fn sums_stride(&self) -> usize {
        match &self.producer {
            Producer::ConvBin { conv, .. } => conv.sums_stride(),
            Producer::Conv { conv, .. } => conv.sums_stride(),
            _ => stride(self.channels),
        }
    }

    /// About how many operations on floats of one register it takes.
    #[cfg(feature = "std")]
    pub(super) fn cost(&self) -> usize {
        let values = self.height * self.width * self.channels;
        match &self.producer {
            Producer::ConvBin { conv, .. } => values * (1 + conv.products() / 32),
            Producer::Conv { conv, .. } => values * (1 + conv.products()),
            Producer::Winograd { conv, .. } => values * conv.products(),
            Producer::ConvI8 { conv, .. } => values * (1 + conv.groups()),
            Producer::Pool { inner: Some(inner), .. } => values + inner.cost(),
            _ => values,
        }
    }

    /// Words of [`Temp::prepared`] in use.
    pub(crate) fn prepared(&self) -> usize {
        match &self.producer {
            Producer::ConvBin { height, width, conv, .. } => conv.prepared_words(height * width),
            Producer::Pool { inner: Some(inner), .. } => inner.prepared(),
            _ => 0,
        }
    }

    /// Floats of [`Buffers`] in use.
    pub(crate) fn buffer_lens(&self) -> BufferLens {
        let sums = match self.sums_stride() {
            own if own == stride(self.channels) => 0,
            wider => product(&[self.height, self.width, wider]),
        };
        let lens = BufferLens { sums, ..BufferLens::default() };
        match &self.producer {
            Producer::Winograd { conv, .. } => {
                BufferLens { ring: conv.workspace(self.width), ..lens }
            }
            Producer::ConvI8 { width, conv, .. } => {
                let words = conv.workspace(*width, self.width).unwrap_or(usize::MAX);
                BufferLens { ring: words.saturating_mul(FLOATS_OF_WORD), ..lens }
            }
            Producer::Pool { width, pool, inner, .. } => {
                let inner_lens = inner.as_ref().map(|inner| inner.buffer_lens());
                let pooled = match inner {
                    Some(inner) if inner.there().is_none() => {
                        let Window { kernel, stride: step, .. } = pool.window;
                        let rows = inner.pooled_rows(*pool) * step + kernel;
                        product(&[rows.min(inner.height), inner.width, stride(inner.channels)])
                    }
                    _ => 0,
                };
                let pool_row = product(&[*width, stride(self.channels)]);
                BufferLens { pooled, pool_row, ..inner_lens.unwrap_or_default() }
            }
            Producer::Copy { .. }
            | Producer::InPlace
            | Producer::ConvBin { .. }
            | Producer::Conv { .. }
            | Producer::Concat { .. }
            | Producer::Shuffle { .. } => lens,
        }
    }

    pub(crate) fn weight_bytes(&self) -> usize {
        let producer = match &self.producer {
            Producer::ConvBin { conv, .. } => conv.bytes(),
            Producer::Conv { conv, .. } => conv.bytes(),
            Producer::ConvI8 { conv, .. } => conv.bytes(),
            Producer::Winograd { conv, .. } => conv.bytes(),
            Producer::Pool { inner: Some(inner), .. } => inner.weight_bytes(),
            _ => 0,
        };
        let stage = |stage: &Stage| match stage {
            Stage::Affine(_) => 8 * self.channels,
            Stage::Prelu(_) => 16 * self.channels,
            Stage::Add { .. } | Stage::Accumulate => 0,
        };
        let sign = self.sign.as_ref().map_or(0, |sign| 4 * sign.threshold.len());
        producer + self.stages.iter().map(stage).sum::<usize>() + sign
    }
}
