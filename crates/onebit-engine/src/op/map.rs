use alloc::vec::Vec;

use onebit_model::bits;

use super::concat::concat;
use super::shuffle::channel_shuffle;
use super::{Affine, BitMap, Conv, ConvBin, FloatMap, Pool, Prelu, Read, SignStage, Source, Temp};
use crate::kernel::Kernels;

/// A map computed row by row: a producer, then elementwise stages, then bits.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) producer: Producer,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) stages: Vec<Stage>,
    pub(crate) sign: Option<SignStage>,
    /// Floats of [`Temp::vectors`] in use.
    pub(crate) vectors: usize,
}

/// What gives the first value of a row.
#[derive(Debug)]
pub(crate) enum Producer {
    Copy { x: Source },
    ConvBin { x: Source, height: usize, width: usize, conv: ConvBin },
    Conv { x: Source, height: usize, width: usize, conv: Conv },
    Pool { x: Source, height: usize, width: usize, pool: Pool },
    Concat { x: [Source; 2], channels: [usize; 2] },
    Shuffle { x: Source, groups: usize },
}

/// An elementwise operation on a row, in place.
#[derive(Debug)]
pub(crate) enum Stage {
    Affine(Affine),
    Add { other: Source },
    Prelu(Prelu),
}

impl Map {
    /// Computes the map into `out`, if anything reads it, and its signs into `bits`.
    pub(crate) fn run(
        &self,
        kernels: &Kernels,
        read: &Read<'_>,
        mut out: Option<&mut [f32]>,
        bits: &mut [u64],
        temp: &mut Temp,
    ) {
        self.prepare(read, &mut temp.vectors);
        let regrouped = self.regroup(read, &mut temp.regrouped);
        let len = self.width * self.channels;
        let row_words = self.width * bits::words(self.channels);
        for y in 0..self.height {
            let row_bits = bits.get_mut(y * row_words..(y + 1) * row_words);
            if let (Producer::Copy { x }, [], None) = (&self.producer, &self.stages[..], &out) {
                let row = &read.floats(*x)[y * len..][..len];
                self.sign(kernels, row, row_bits, &temp.vectors);
                continue;
            }
            let row = match &mut out {
                Some(out) => &mut out[y * len..][..len],
                None => &mut temp.row[..len],
            };
            self.produce(kernels, read, regrouped, y, row);
            for stage in &self.stages {
                stage.apply(kernels, read, &temp.vectors, y, row);
            }
            self.sign(kernels, row, row_bits, &temp.vectors);
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

    /// The input bits of a binary convolution in the order that its kernel reads.
    fn regroup<'a>(&self, read: &Read<'a>, regrouped: &'a mut [u64]) -> &'a [u64] {
        match &self.producer {
            Producer::ConvBin { x, height, width, conv } if conv.regroups() => {
                let out = &mut regrouped[..height * width * conv.pixel_words()];
                conv.regroup(read.bits(*x), out);
                out
            }
            Producer::ConvBin { x, .. } => read.bits(*x),
            _ => &[],
        }
    }

    fn produce(
        &self,
        kernels: &Kernels,
        read: &Read<'_>,
        words: &[u64],
        y: usize,
        row: &mut [f32],
    ) {
        let slice = |x: &Source, len: usize| &read.floats(*x)[y * len..][..len];
        let map = |x: &Source, height: usize, width: usize| FloatMap {
            values: read.floats(*x),
            height,
            width,
        };
        match &self.producer {
            Producer::Copy { x } => row.copy_from_slice(slice(x, row.len())),
            &Producer::ConvBin { height, width, ref conv, .. } => {
                (kernels.conv_bin)(conv, BitMap { words, height, width }, y, row);
            }
            Producer::Conv { x, height, width, conv } => {
                (kernels.conv)(conv, map(x, *height, *width), y, row);
            }
            Producer::Pool { x, height, width, pool } => {
                (kernels.pool)(*pool, map(x, *height, *width), self.channels, y, row);
            }
            Producer::Concat { x, channels } => {
                let rows = [0, 1].map(|i: usize| slice(&x[i], self.width * channels[i]));
                concat(rows, *channels, row);
            }
            Producer::Shuffle { x, groups } => {
                channel_shuffle(slice(x, row.len()), self.channels, *groups, row);
            }
        }
    }

    fn sign(&self, kernels: &Kernels, row: &[f32], bits: Option<&mut [u64]>, vectors: &[f32]) {
        if let (Some(sign), Some(bits)) = (&self.sign, bits) {
            (kernels.sign)(row, sign.thresholds(vectors), bits);
        }
    }

    pub(crate) fn weight_bytes(&self) -> usize {
        let producer = match &self.producer {
            Producer::ConvBin { conv, .. } => conv.bytes(),
            Producer::Conv { conv, .. } => conv.bytes(),
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

impl Stage {
    fn apply(
        &self,
        kernels: &Kernels,
        read: &Read<'_>,
        vectors: &[f32],
        y: usize,
        row: &mut [f32],
    ) {
        match self {
            Stage::Affine(affine) => (kernels.affine)(row, &affine.scale, &affine.shift),
            Stage::Add { other } => {
                let len = row.len();
                (kernels.add)(row, &read.floats(*other)[y * len..][..len]);
            }
            Stage::Prelu(prelu) => (kernels.prelu)(row, prelu.vectors(vectors)),
        }
    }
}
