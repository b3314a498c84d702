use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use super::{
    Affine, Band, BitMap, Buffers, Conv, ConvBin, ConvI8, FloatMap, MAX_STAGES, Pool, Prelu, Read,
    SignStage, Source, StageView, Temp, Winograd, stride,
};
use crate::kernel::Kernels;

/// Rows of a pooling for which those of its input are computed at once.
const POOLED_ROWS: usize = 8;

/// A map computed in one pass: a producer, then elementwise stages, then bits.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) producer: Producer,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// At most [`MAX_STAGES`].
    pub(crate) stages: Vec<Stage>,
    pub(crate) sign: Option<SignStage>,
    /// Floats of [`Temp::vectors`] in use.
    pub(crate) vectors: usize,
}

/// What gives the first value of a pixel.
#[derive(Debug)]
pub(crate) enum Producer {
    Copy {
        x: Source,
    },
    /// The output's place holds the value already, and the only stage is a rectifier.
    InPlace,
    ConvBin {
        x: Source,
        height: usize,
        width: usize,
        conv: ConvBin,
    },
    Conv {
        x: Source,
        channels: usize,
        height: usize,
        width: usize,
        conv: Conv,
    },
    ConvI8 {
        x: Source,
        height: usize,
        width: usize,
        conv: ConvI8,
    },
    Winograd {
        x: Source,
        height: usize,
        width: usize,
        conv: Winograd,
    },
    /// Of a map that is there, or of one whose rows are computed as they are needed.
    Pool {
        x: Source,
        height: usize,
        width: usize,
        pool: Pool,
        inner: Option<Box<Map>>,
    },
    Concat {
        x: [Source; 2],
        channels: [usize; 2],
    },
    Shuffle {
        x: Source,
        groups: usize,
    },
}

/// An elementwise operation.
#[derive(Debug)]
pub(crate) enum Stage {
    Affine(Affine),
    /// `channels` of `other`, fewer than the map's where both halves of twins add the same.
    Add {
        other: Source,
        channels: usize,
    },
    Prelu(Prelu),
}

/// Where the map goes; what nothing reads is not written.
#[derive(Debug)]
pub(crate) struct Outputs<'a> {
    pub(crate) floats: Option<&'a mut [f32]>,
    pub(crate) bits: Option<&'a mut [u64]>,
    /// For each row, the sums of the channels.
    pub(crate) sums: Option<&'a mut [f32]>,
}

impl Map {
    /// Computes the map.
    pub(crate) fn run(
        &self,
        kernels: &Kernels,
        read: &Read<'_>,
        mut outputs: Outputs<'_>,
        temp: &mut Temp,
    ) {
        if let Some(sums) = &mut outputs.sums {
            sums.fill(0.0);
        }
        let Temp { vectors, buffers, pooled } = temp;
        buffers.next = 0;
        self.prepare(read, vectors);
        self.rows(kernels, read, 0..self.height, outputs, vectors, buffers, pooled);
    }

    /// Computes rows of the map, which `outputs` begin with.
    #[allow(
        clippy::too_many_arguments,
        reason = "what is read, what is written, and working memory"
    )]
    fn rows(
        &self,
        kernels: &Kernels,
        read: &Read<'_>,
        rows: Range<usize>,
        outputs: Outputs<'_>,
        vectors: &[f32],
        buffers: &mut Buffers,
        pooled: &mut [f32],
    ) {
        let first = StageView::Affine { scale: &[], shift: &[] };
        let mut stages = [first; MAX_STAGES];
        for (view, stage) in stages.iter_mut().zip(&self.stages) {
            *view = self.view(stage, read, vectors);
        }
        let thresholds = self.sign.as_ref().map(|sign| sign.thresholds(vectors));
        let mut band = Band {
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
            return inner.pool(kernels, read, *pool, buffers, pooled, &mut band);
        }
        let stride = self.sums_stride();
        if stride == band.stride {
            return self.produce(kernels, read, buffers, &mut band);
        }
        let mut ragged = core::mem::take(&mut buffers.ragged);
        let floats = Some(&mut ragged[..]);
        let rows = band.rows.clone();
        let mut sums = Band { rows, stride, stages: &[], floats, bits: None, sums: None, ..band };
        self.produce(kernels, read, buffers, &mut sums);
        (kernels.copy)(self.map(&ragged, stride), &mut band);
        buffers.ragged = ragged;
    }

    /// Pools this map, computing its rows as they are needed.
    fn pool(
        &self,
        kernels: &Kernels,
        read: &Read<'_>,
        pool: Pool,
        buffers: &mut Buffers,
        pooled: &mut [f32],
        band: &mut Band<'_>,
    ) {
        let row = self.width * stride(self.channels);
        let mut have: Range<usize> = 0..0;
        for first in band.rows.clone().step_by(POOLED_ROWS) {
            let last = (first + POOLED_ROWS).min(band.rows.end) - 1;
            let start = pool.window.input_rows(first, self.height).start;
            let end = pool.window.input_rows(last, self.height).end;
            let kept = have.end.saturating_sub(start);
            pooled.copy_within((have.len() - kept) * row..have.len() * row, 0);
            let floats = Some(&mut pooled[kept * row..(end - start) * row]);
            let outputs = Outputs { floats, bits: None, sums: None };
            self.rows(kernels, read, start + kept..end, outputs, &[], buffers, &mut []);
            let map = self.map(&pooled[..(end - start) * row], stride(self.channels));
            (kernels.pool)(pool, map, start, &mut band.part(first..last + 1));
            have = start..end;
        }
    }

    fn prepare(&self, read: &Read<'_>, vectors: &mut [f32]) {
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
            Stage::Prelu(prelu) => StageView::Prelu(prelu.vectors(vectors)),
        }
    }

    /// A value of this map's shape.
    fn like<'a>(&self, read: &Read<'a>, x: Source) -> FloatMap<'a> {
        self.map(read.floats(x), stride(self.channels))
    }

    fn map<'a>(&self, values: &'a [f32], stride: usize) -> FloatMap<'a> {
        FloatMap { values, height: self.height, width: self.width, stride }
    }

    fn produce(
        &self,
        kernels: &Kernels,
        read: &Read<'_>,
        buffers: &mut Buffers,
        band: &mut Band<'_>,
    ) {
        let real = |x: Source, channels, height, width| FloatMap {
            values: read.floats(x),
            height,
            width,
            stride: if x == Source::Image { channels } else { stride(channels) },
        };
        match &self.producer {
            Producer::Copy { x: Source::Image } => {
                (kernels.copy)(self.map(read.image, self.channels), band);
            }
            Producer::InPlace => (kernels.rectify)(band),
            Producer::Copy { x } => (kernels.copy)(self.like(read, *x), band),
            &Producer::ConvBin { x, height, width, ref conv } => {
                let words = conv.prepare(read.bits(x), &mut buffers.prepared);
                (kernels.conv_bin)(conv, BitMap { words, height, width }, band);
            }
            &Producer::Conv { x, channels, height, width, ref conv } => {
                (kernels.conv)(conv, real(x, channels, height, width), band);
            }
            &Producer::ConvI8 { x, height, width, ref conv } => {
                let map = real(x, conv.inputs, height, width);
                let Buffers { prepared, next, .. } = buffers;
                (kernels.conv_i8)(conv, map, prepared, next, band);
            }
            &Producer::Winograd { x, height, width, ref conv } => {
                let map = real(x, conv.inputs, height, width);
                let Buffers { transformed, next, .. } = buffers;
                (kernels.winograd)(conv, map, transformed, next, band);
            }
            &Producer::Pool { x, height, width, pool, .. } => {
                (kernels.pool)(pool, real(x, self.channels, height, width), 0, band);
            }
            Producer::Concat { x, channels } => {
                let maps = [0, 1].map(|i| real(x[i], channels[i], self.height, self.width));
                (kernels.concat)(maps, channels[0], band);
            }
            Producer::Shuffle { x, groups } => {
                (kernels.shuffle)(self.like(read, *x), *groups, band);
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

    /// Floats of [`Buffers::ragged`] in use.
    pub(crate) fn ragged(&self) -> usize {
        match self.sums_stride() {
            own if own == stride(self.channels) => 0,
            wider => self.height * self.width * wider,
        }
    }

    /// Words of [`Buffers::prepared`] in use.
    pub(crate) fn prepared(&self) -> usize {
        match &self.producer {
            Producer::ConvBin { height, width, conv, .. } => conv.prepared_words(height * width),
            Producer::ConvI8 { width, conv, .. } => {
                conv.workspace(*width, self.width).unwrap_or(usize::MAX)
            }
            Producer::Pool { inner: Some(inner), .. } => inner.prepared(),
            _ => 0,
        }
    }

    /// Floats of [`Buffers::transformed`] in use.
    pub(crate) fn transformed(&self) -> usize {
        match &self.producer {
            Producer::Winograd { conv, .. } => conv.workspace(self.width),
            Producer::Pool { inner: Some(inner), .. } => inner.transformed(),
            _ => 0,
        }
    }

    /// Floats of [`Temp::pooled`] in use.
    pub(crate) fn pooled(&self) -> usize {
        match &self.producer {
            Producer::Pool { pool, inner: Some(inner), .. } => {
                let rows = (POOLED_ROWS - 1) * pool.window.stride + pool.window.kernel;
                rows.min(inner.height) * inner.width * stride(inner.channels)
            }
            _ => 0,
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
            Stage::Add { .. } => 0,
        };
        let sign = self.sign.as_ref().map_or(0, |sign| 4 * sign.threshold.len());
        producer + self.stages.iter().map(stage).sum::<usize>() + sign
    }
}
