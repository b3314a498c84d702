//! The end of a graph: one real value that everything leads to.

use onebit_model::{Element, Geometry, Op, PadValue, Shape, Shift, Slope, WeightScale};

use super::Kind::{self, *};
use super::{KINDS, Maker};

impl Maker<'_> {
    /// Reads what nothing has read, then ends with any operation.
    pub(super) fn finish(&mut self) {
        let newest = self.nodes.len() - 1;
        let mut last = if self.is_real(newest) { newest } else { self.reduced(newest) };
        for id in 0..self.nodes.len() {
            if !self.is_read[id] && id != last {
                last = self.joined(id, last);
            }
        }
        for _ in 0..self.random.next() % 3 {
            let kind = self.random.choose(&KINDS);
            last = self.end(kind, last).unwrap_or(last);
        }
    }

    /// Adds a node behind `x` and nothing else, or with a sign in front of it.
    fn end(&mut self, kind: Kind, x: usize) -> Option<usize> {
        let shape = self.shapes[x];
        match kind {
            Sign => None,
            ConvBin => {
                let bits = self.zero_sign(x);
                let end = self.convolution(ConvBin, bits, Some(3));
                end.or_else(|| Some(self.reduced(bits)))
            }
            LinearBin => {
                let bits = self.zero_sign(x);
                let end = self.layer(LinearBin, bits, 3);
                end.or_else(|| Some(self.reduced(bits)))
            }
            Prelu => {
                let op = Op::Prelu { slope: Slope::Negative, shift: Shift::Static };
                Some(self.add(op, &[x], shape))
            }
            Add => Some(self.add(Op::Add, &[x, x], shape)),
            Concat => {
                let channels = 2 * shape.channels;
                let fits = 2 * shape.len() <= self.most_elements;
                fits.then(|| self.add(Op::Concat, &[x, x], Shape { channels, ..shape }))
            }
            Conv | ConvI8 | Affine | Shuffle | AvgPool | MaxPool | GlobalAvgPool | Linear
            | LinearI8 | HyperTrunk | HyperHead => self.node(kind, x),
        }
    }

    /// One real value that reads both.
    fn joined(&mut self, id: usize, last: usize) -> usize {
        let (a, b) = (self.shapes[id], self.shapes[last]);
        if a == b {
            return self.add(Op::Add, &[id, last], b);
        }
        let side_by_side = self.is_real(id) && (a.height, a.width) == (b.height, b.width);
        let (id, last) =
            match side_by_side && (a.channels + b.channels) * a.pixels() < self.most_elements {
                true => (id, last),
                false => (self.reduced(id), self.reduced(last)),
            };
        let (a, b) = (self.shapes[id], self.shapes[last]);
        self.add(Op::Concat, &[id, last], Shape { channels: a.channels + b.channels, ..b })
    }

    /// A short vector of a value.
    fn reduced(&mut self, id: usize) -> usize {
        let id = if self.is_real(id) {
            id
        } else {
            let shape = self.shapes[id];
            let geometry =
                Geometry { out_channels: 2, kernel: 1, stride: 1, padding: 0, groups: 1 };
            let op = Op::ConvBin { geometry, pad: PadValue::Zero, scale: WeightScale::None };
            let y = Shape { element: Element::Float, channels: 2, ..shape };
            self.add(op, &[id], y)
        };
        if self.shapes[id].pixels() == 1 {
            return id;
        }
        let kind = self.random.choose(&[Linear, HyperTrunk, HyperHead, GlobalAvgPool]);
        let out = 1 + self.below(5);
        let made = if kind == GlobalAvgPool { None } else { self.layer(kind, id, out) };
        made.unwrap_or_else(|| {
            let channels = self.shapes[id].channels;
            self.add(Op::GlobalAvgPool, &[id], Shape::float(channels, 1, 1))
        })
    }
}
