//! Vectors: what offsets and hyper functions are made of, by whatever operations.

use onebit_model::{Element, Geometry, Op, PadValue, Shape, Shift, Slope, Threshold, WeightScale};

use super::Kind::{self, *};
use super::{LAYERS, Maker};

impl Maker<'_> {
    /// A vector of `len` values, an old one or what any operation makes of others.
    pub(super) fn vector(&mut self, len: usize) -> usize {
        let old = self.pick(|maker, id| maker.shapes[id] == Shape::float(len, 1, 1));
        let vector = match old {
            Some(old) if !self.one_of(3) => old,
            _ => self.new_vector(len),
        };
        if !self.one_of(3) {
            return vector;
        }
        let shape = self.shapes[vector];
        match self.random.next() % 6 {
            0 => self.add(Op::Affine, &[vector], shape),
            1 => self.add(Op::Add, &[vector, vector], shape),
            2 => {
                let groups = self.divisor(len, len);
                self.add(Op::ChannelShuffle { groups }, &[vector], shape)
            }
            3 => {
                let op = Op::MaxPool { kernel: 3, stride: 2, padding: 1 };
                self.add(op, &[vector], shape)
            }
            4 => self.add(Op::AvgPool { kernel: 1, stride: 2 }, &[vector], shape),
            _ => {
                let op = Op::Prelu { slope: Slope::Both, shift: Shift::Static };
                self.add(op, &[vector], shape)
            }
        }
    }

    pub(super) fn new_vector(&mut self, len: usize) -> usize {
        let x = self.real();
        let made = match self.random.next() % 8 {
            0 => self
                .pick(|maker, id| maker.is_real(id) && maker.shapes[id].channels == len)
                .and_then(|x| self.node(GlobalAvgPool, x)),
            1 if len > 1 => {
                let first = 1 + self.below(len - 1);
                let kind = self.random.choose(&LAYERS);
                let a = self.layer(kind, x, first);
                let kind = self.random.choose(&LAYERS);
                let b = self.layer(kind, x, len - first);
                a.zip(b).map(|(a, b)| self.add(Op::Concat, &[a, b], Shape::float(len, 1, 1)))
            }
            2 | 3 => {
                let mean =
                    self.pick(|maker, id| maker.is_real(id) && maker.shapes[id].pixels() == 1);
                let mean = mean.or_else(|| self.node(GlobalAvgPool, x));
                let kind = self.random.choose(&[Conv, ConvI8, ConvBin]);
                mean.and_then(|mean| {
                    let x = if kind == ConvBin { self.zero_sign(mean) } else { mean };
                    self.pointwise(kind, x, len)
                })
            }
            _ => {
                let kind = self.random.choose(&LAYERS);
                self.layer(kind, x, len)
            }
        };
        // The fewest products that there can be: those of a mean of one value for each channel.
        made.unwrap_or_else(|| {
            let mean = self.node(GlobalAvgPool, x).unwrap_or(x);
            self.add(Op::Linear { out_features: len }, &[mean], Shape::float(len, 1, 1))
        })
    }

    pub(super) fn zero_sign(&mut self, x: usize) -> usize {
        let bits = Shape { element: Element::Bit, ..self.shapes[x] };
        self.add(Op::Sign { threshold: Threshold::Zero }, &[x], bits)
    }

    /// A convolution of a vector to `len` values.
    fn pointwise(&mut self, kind: Kind, x: usize, len: usize) -> Option<usize> {
        let groups = if kind == ConvI8 { 1 } else { self.divisor(self.shapes[x].channels, len) };
        let geometry = Geometry { out_channels: len, kernel: 1, stride: 1, padding: 0, groups };
        if len * self.shapes[x].channels > self.most_products {
            return None;
        }
        let op = match kind {
            Conv => Op::Conv { geometry },
            ConvI8 => Op::ConvI8 { geometry },
            _ => Op::ConvBin { geometry, pad: PadValue::One, scale: WeightScale::None },
        };
        Some(self.add(op, &[x], Shape::float(len, 1, 1)))
    }

    /// A dynamic sign or rectifier whose offsets are a vector that was there first.
    pub(super) fn dynamic_behind_vector(&mut self, kind: Kind) {
        let fits = |maker: &Self, id: usize| {
            let shape = maker.shapes[id];
            maker.is_real(id)
                && shape.pixels() == 1
                && (kind == Sign || shape.channels.is_multiple_of(2))
        };
        let Some(offsets) = self.pick(fits) else { return };
        let len = self.shapes[offsets].channels;
        let channels = if kind == Sign { len } else { len / 2 };
        let same =
            self.pick(|maker, id| maker.is_real(id) && maker.shapes[id].channels == channels);
        let x = match same {
            Some(x) if self.one_of(2) => x,
            _ => {
                let x = self.real();
                let made = self.convolution(Conv, x, Some(channels));
                made.unwrap_or_else(|| self.new_vector(channels))
            }
        };
        let shape = self.shapes[x];
        if kind == Sign {
            let bits = Shape { element: Element::Bit, ..shape };
            self.add(Op::Sign { threshold: Threshold::Dynamic }, &[x, offsets], bits);
        } else {
            let slope = self.random.choose(&[Slope::Relu, Slope::Negative, Slope::Both]);
            self.add(Op::Prelu { slope, shift: Shift::Dynamic }, &[x, offsets], shape);
        }
    }
}
