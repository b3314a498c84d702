//! Graphs that put any operation behind any value: maps, vectors and the image, with any number of channels, read by
//! several nodes or by one.

mod end;
mod vectors;

use onebit_model::op::window_extent;
use onebit_model::{
    Element, Geometry, HyperRange, Op, PadValue, Precision, Shape, Shift, Slope, Statistics,
    Threshold, WeightScale,
};

use super::Random;

const CHANNELS: [usize; 24] =
    [1, 1, 2, 3, 3, 4, 5, 6, 8, 8, 15, 16, 16, 17, 20, 24, 31, 32, 33, 48, 63, 64, 65, 130];
const KERNELS: [usize; 12] = [1, 1, 1, 2, 2, 3, 3, 3, 4, 5, 7, 11];
/// Most elements of a map, and most products of a convolution or a layer; of a few graphs, whose maps are so large that
/// threads share them.
const SMALL: [usize; 2] = [1500, 12_000];
const LARGE: [usize; 2] = [40_000, 600_000];

/// What a node is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Conv,
    ConvBin,
    ConvI8,
    Affine,
    Sign,
    Prelu,
    Add,
    Concat,
    Shuffle,
    AvgPool,
    MaxPool,
    GlobalAvgPool,
    Linear,
    LinearBin,
    LinearI8,
    HyperTrunk,
    HyperHead,
}

use Kind::*;

const KINDS: [Kind; 17] = [
    Conv,
    ConvBin,
    ConvI8,
    Affine,
    Sign,
    Prelu,
    Add,
    Concat,
    Shuffle,
    AvgPool,
    MaxPool,
    GlobalAvgPool,
    Linear,
    LinearBin,
    LinearI8,
    HyperTrunk,
    HyperHead,
];
/// Those that give a vector of any length.
const LAYERS: [Kind; 4] = [Linear, LinearI8, HyperTrunk, HyperHead];
/// Those that give a map of the shape they read.
const KEEPING: [Kind; 5] = [Affine, Prelu, Shuffle, MaxPool, ConvBin];

/// Nodes: name, operation, inputs.
pub(crate) type Nodes = Vec<(String, Op, Vec<usize>)>;

/// A graph being made.
pub(crate) struct Maker<'a> {
    pub(crate) nodes: Nodes,
    shapes: Vec<Shape>,
    is_read: Vec<bool>,
    random: &'a mut Random,
    most_elements: usize,
    most_products: usize,
}

/// The nodes of a random graph.
pub(crate) fn random_nodes(random: &mut Random) -> Nodes {
    let [most_elements, most_products] =
        if random.next().is_multiple_of(40) { LARGE } else { SMALL };
    let mut maker = Maker {
        nodes: Vec::new(),
        shapes: Vec::new(),
        is_read: Vec::new(),
        random,
        most_elements,
        most_products,
    };
    maker.input();
    for _ in 0..1 + maker.random.next() % 10 {
        maker.grow();
    }
    maker.finish();
    maker.nodes
}

impl Maker<'_> {
    fn below(&mut self, end: usize) -> usize {
        (self.random.next() % end as u64) as usize
    }

    fn one_of(&mut self, n: u64) -> bool {
        self.random.next().is_multiple_of(n)
    }

    fn input(&mut self) {
        let most = if self.most_elements == LARGE[0] { 60 } else { 9 };
        let is_vector = self.one_of(6);
        let side = |maker: &mut Self| if is_vector { 1 } else { 1 + maker.below(most) };
        let (height, width) = (side(self), side(self));
        let channels = self.channels(height * width);
        let shape = Shape::float(channels, height, width);
        self.add(Op::Input { channels, height, width }, &[], shape);
    }

    /// A number of channels for a map of so many pixels.
    fn channels(&mut self, pixels: usize) -> usize {
        let channels = self.random.choose(&CHANNELS);
        if channels * pixels <= self.most_elements { channels } else { 1 + self.below(5) }
    }

    fn add(&mut self, op: Op, inputs: &[usize], shape: Shape) -> usize {
        self.nodes.push((format!("n{}", self.nodes.len()), op, inputs.to_vec()));
        self.shapes.push(shape);
        self.is_read.push(false);
        inputs.iter().for_each(|&x| self.is_read[x] = true);
        self.nodes.len() - 1
    }

    fn is_real(&self, id: usize) -> bool {
        self.shapes[id].element == Element::Float
    }

    /// A value for which `fits` holds: often the newest, often one that nothing reads yet.
    fn pick(&mut self, fits: impl Fn(&Self, usize) -> bool) -> Option<usize> {
        let ids: Vec<usize> = (0..self.nodes.len()).filter(|&id| fits(self, id)).collect();
        let unread: Vec<usize> = ids.iter().copied().filter(|&id| !self.is_read[id]).collect();
        match self.random.next() % 5 {
            0 | 1 => ids.last().copied(),
            2 if !unread.is_empty() => Some(self.random.choose(&unread)),
            _ if ids.is_empty() => None,
            _ => Some(self.random.choose(&ids)),
        }
    }

    fn real(&mut self) -> usize {
        self.pick(Self::is_real).unwrap_or(0)
    }

    fn grow(&mut self) {
        if self.one_of(12) {
            return self.siblings();
        }
        let kind = self.random.choose(&KINDS);
        if self.one_of(8) && matches!(kind, Sign | Prelu) {
            self.dynamic_behind_vector(kind);
        } else {
            let x = self.real();
            self.node(kind, x);
        }
    }

    /// Adds a node of this kind behind `x`, with whatever else it needs, if it can have one.
    fn node(&mut self, kind: Kind, x: usize) -> Option<usize> {
        let shape = self.shapes[x];
        match kind {
            Conv | ConvI8 => {
                let out = self.channels(shape.pixels());
                self.convolution(kind, x, Some(out))
            }
            ConvBin => {
                let bits = self.some_bits(x);
                let out = self.channels(self.shapes[bits].pixels());
                self.convolution(ConvBin, bits, Some(out))
            }
            LinearBin => {
                let bits = self.some_bits(x);
                let out = self.random.choose(&CHANNELS);
                self.layer(LinearBin, bits, out)
            }
            Affine => Some(self.add(Op::Affine, &[x], shape)),
            Sign => Some(self.sign(x)),
            Prelu => Some(self.prelu(x)),
            Add => {
                let other = self.pick(|maker, id| maker.shapes[id] == shape);
                let other = match other {
                    Some(other) if self.one_of(2) => other,
                    _ => self.keeping(x),
                };
                let inputs = if self.one_of(2) { [x, other] } else { [other, x] };
                Some(self.add(Op::Add, &inputs, shape))
            }
            Concat => self.concat(x),
            Shuffle => {
                let groups = self.divisor(shape.channels, shape.channels);
                Some(self.add(Op::ChannelShuffle { groups }, &[x], shape))
            }
            AvgPool | MaxPool => self.pooling(kind, x),
            GlobalAvgPool => {
                Some(self.add(Op::GlobalAvgPool, &[x], Shape::float(shape.channels, 1, 1)))
            }
            Linear | LinearI8 | HyperTrunk | HyperHead => {
                let out = self.random.choose(&CHANNELS);
                self.layer(kind, x, out)
            }
        }
    }

    /// A bit map: one that is there, or the signs of `x`.
    fn some_bits(&mut self, x: usize) -> usize {
        match self.pick(|maker, id| !maker.is_real(id)) {
            Some(bits) if self.one_of(2) => bits,
            _ => self.sign(x),
        }
    }

    /// Adds a layer of `out` values.
    fn layer(&mut self, kind: Kind, x: usize, out: usize) -> Option<usize> {
        let statistics =
            self.random.choose(&[Statistics::Mean, Statistics::MeanStd, Statistics::MeanThird]);
        let precision = self.random.choose(&[Precision::F32, Precision::I8]);
        let lambda = self.random.uniform(0.1, 2.0);
        let range = self.random.choose(&[HyperRange::Raw, HyperRange::Sigmoid { lambda }]);
        let inputs = match kind {
            HyperTrunk => 2 * self.shapes[x].channels,
            _ => self.shapes[x].len(),
        };
        if inputs * out > self.most_products {
            return None;
        }
        let op = match kind {
            Linear => Op::Linear { out_features: out },
            LinearBin => Op::LinearBin { out_features: out, scale: WeightScale::None },
            LinearI8 => Op::LinearI8 { out_features: out },
            HyperTrunk => Op::HyperTrunk { statistics, hidden: out, precision },
            _ => Op::HyperHead { outputs: out, range, precision },
        };
        Some(self.add(op, &[x], Shape::float(out, 1, 1)))
    }

    fn divisor(&mut self, a: usize, b: usize) -> usize {
        let divisors: Vec<usize> =
            (1..=a).filter(|&g| a.is_multiple_of(g) && b.is_multiple_of(g)).collect();
        if self.one_of(2) { 1 } else { self.random.choose(&divisors) }
    }

    /// Adds a convolution to `out` channels, or one that keeps the shape.
    fn convolution(&mut self, kind: Kind, x: usize, out: Option<usize>) -> Option<usize> {
        let shape = self.shapes[x];
        let out_channels = out.unwrap_or(shape.channels);
        let groups = match kind {
            ConvI8 => 1,
            _ => self.divisor(shape.channels, out_channels),
        };
        let (kernel, stride, padding) = match out {
            Some(_) => self.window(true),
            None => self.random.choose(&[(1, 1, 0), (3, 1, 1), (5, 1, 2)]),
        };
        let geometry = Geometry { out_channels, kernel, stride, padding, groups };
        let y = Shape {
            element: Element::Float,
            channels: out_channels,
            height: geometry.output_extent(shape.height)?,
            width: geometry.output_extent(shape.width)?,
        };
        let products = y.len() * kernel * kernel * shape.channels / groups;
        if y.len() > self.most_elements || products > self.most_products {
            return None;
        }
        let pad = self.random.choose(&[PadValue::Zero, PadValue::One]);
        let op = match kind {
            Conv => Op::Conv { geometry },
            ConvI8 => Op::ConvI8 { geometry },
            _ => Op::ConvBin { geometry, pad, scale: WeightScale::None },
        };
        Some(self.add(op, &[x], y))
    }

    /// Side, step and padding; one in so many is that of a stem, and any padding is less than the side.
    fn window(&mut self, is_padded: bool) -> (usize, usize, usize) {
        if is_padded && self.one_of(10) {
            return (7, 2, self.random.choose(&[3, 3, 0, 6]));
        }
        let kernel = self.random.choose(&KERNELS);
        let stride = self.random.choose(&[1, 1, 1, 2, 2, 3, 5]);
        let padding = if is_padded && !self.one_of(3) { self.below(kernel) } else { 0 };
        (kernel, stride, padding)
    }

    fn pooling(&mut self, kind: Kind, x: usize) -> Option<usize> {
        let shape = self.shapes[x];
        let (kernel, stride, padding) = match self.random.next() % 4 {
            0 => (2, 2, 0),
            1 => (3, 2, usize::from(kind == MaxPool)),
            _ => self.window(kind == MaxPool),
        };
        let extent = |input| window_extent(input, kernel, stride, padding);
        let y = Shape { height: extent(shape.height)?, width: extent(shape.width)?, ..shape };
        if y.len() > self.most_elements || y.len() * kernel * kernel > self.most_products {
            return None;
        }
        let op = match kind {
            MaxPool => Op::MaxPool { kernel, stride, padding },
            _ => Op::AvgPool { kernel, stride },
        };
        Some(self.add(op, &[x], y))
    }

    fn concat(&mut self, x: usize) -> Option<usize> {
        let shape = self.shapes[x];
        let fits = |maker: &Self, id: usize| {
            let other = maker.shapes[id];
            maker.is_real(id) && (other.height, other.width) == (shape.height, shape.width)
        };
        let other = match self.pick(fits) {
            Some(other) if !self.one_of(3) => other,
            _ => self.keeping(x),
        };
        let channels = shape.channels + self.shapes[other].channels;
        if channels * shape.pixels() > self.most_elements {
            return None;
        }
        let inputs = if self.one_of(2) { [x, other] } else { [other, x] };
        Some(self.add(Op::Concat, &inputs, Shape { channels, ..shape }))
    }

    /// Adds a node whose value has the shape of `x`.
    fn keeping(&mut self, x: usize) -> usize {
        let shape = self.shapes[x];
        let kept = match self.random.choose(&KEEPING) {
            MaxPool => {
                let (kernel, padding) = self.random.choose(&[(1, 0), (3, 1)]);
                Some(self.add(Op::MaxPool { kernel, stride: 1, padding }, &[x], shape))
            }
            ConvBin => {
                let bits = self.sign(x);
                self.convolution(ConvBin, bits, None)
            }
            kind => self.node(kind, x),
        };
        kept.unwrap_or_else(|| self.add(Op::Affine, &[x], shape))
    }

    fn sign(&mut self, x: usize) -> usize {
        let shape = self.shapes[x];
        let bits = Shape { element: Element::Bit, ..shape };
        let threshold = self.random.choose(&[
            Threshold::Zero,
            Threshold::Static,
            Threshold::Dynamic,
            Threshold::Dynamic,
        ]);
        if threshold == Threshold::Dynamic {
            let offsets = self.vector(shape.channels);
            return self.add(Op::Sign { threshold }, &[x, offsets], bits);
        }
        self.add(Op::Sign { threshold }, &[x], bits)
    }

    fn prelu(&mut self, x: usize) -> usize {
        let shape = self.shapes[x];
        let slope = self.random.choose(&[Slope::Relu, Slope::Negative, Slope::Both]);
        let shift = self.random.choose(&[Shift::None, Shift::Static, Shift::Dynamic]);
        let mut inputs = vec![x];
        if shift == Shift::Dynamic {
            inputs.push(self.vector(2 * shape.channels));
        }
        self.add(Op::Prelu { slope, shift }, &inputs, shape)
    }

    /// Two binary convolutions of the same bits, alike or nearly, and what concatenates them.
    fn siblings(&mut self) {
        let x = self.real();
        let bits = self.sign(x);
        let out = self.random.choose(&[16, 16, 32, 17, 8]);
        let Some(first) = self.convolution(ConvBin, bits, Some(out)) else { return };
        let mut op = self.nodes[first].1.clone();
        if let Op::ConvBin { pad, .. } = &mut op
            && self.one_of(8)
        {
            *pad = PadValue::One;
        }
        let shape = self.shapes[first];
        let second = self.add(op, &[bits], shape);
        let (mut a, mut b) = (first, second);
        let shared = self.pick(|maker, id| maker.shapes[id] == shape);
        for _ in 0..self.below(4) {
            let prelu = Op::Prelu { slope: Slope::Both, shift: Shift::Static };
            match (self.random.next() % 5, shared) {
                (0 | 1, _) => [a, b] = [a, b].map(|x| self.add(Op::Affine, &[x], shape)),
                (2, Some(shared)) => {
                    let other = if self.one_of(4) { a } else { shared };
                    let sum = self.add(Op::Add, &[a, shared], shape);
                    (a, b) = (sum, self.add(Op::Add, &[other, b], shape));
                }
                (3, _) => a = self.add(Op::Affine, &[a], shape),
                _ => [a, b] = [a, b].map(|x| self.add(prelu.clone(), &[x], shape)),
            }
        }
        let channels = 2 * shape.channels;
        if channels * shape.pixels() <= self.most_elements {
            self.add(Op::Concat, &[a, b], Shape { channels, ..shape });
        }
    }
}
