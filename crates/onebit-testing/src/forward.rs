//! The independent interpreter: a graph evaluated by one naive loop for each operation.

use onebit_model::op::HYPER_STD_EPS;
use onebit_model::{
    Data, Geometry, Graph, HyperRange, Model, Node, NodeId, Op, PadValue, Shape, Shift, Slope,
    Statistics, Threshold, bits, infer, row_scale,
};

use crate::number::{Bounded, Number};

/// Values of a node's parameter; convolution weights as they act, scale included.
pub type Params<'a> = &'a dyn Fn(&Node, &str) -> Vec<f64>;
/// Called with a sign node, its channels, and `x - threshold` of every element; gives the signs that are used.
pub type Signs<'a, N = f64> = &'a mut dyn FnMut(&Node, usize, &[N]) -> Vec<bool>;

/// Logits of one NHWC image of the size `input` (channels, height, width): the graph evaluated in f64, one naive
/// loop for each operation.
pub fn forward(
    graph: &Graph,
    input: [usize; 3],
    params: Params<'_>,
    image: &[f64],
    signs: Signs<'_>,
) -> Vec<f64> {
    evaluate(graph, input, params, image.to_vec(), signs)
}

/// [`forward`], and how far the logits, and what is compared with thresholds, may be off where 32-bit floats are
/// rounded at each step.
pub fn forward_bounded(
    graph: &Graph,
    input: [usize; 3],
    params: Params<'_>,
    image: &[f32],
    signs: Signs<'_, Bounded>,
) -> Vec<Bounded> {
    let image = image.iter().map(|&v| Bounded::exact(v.into())).collect();
    evaluate(graph, input, params, image, signs)
}

fn evaluate<N: Number>(
    graph: &Graph,
    input: [usize; 3],
    params: Params<'_>,
    image: Vec<N>,
    signs: Signs<'_, N>,
) -> Vec<N> {
    let shapes = infer::shapes_for(graph, input).unwrap();
    let mut maps = vec![image];
    for (position, node) in graph.nodes.iter().enumerate().skip(1) {
        let inputs: Vec<&[N]> = node.inputs.iter().map(|id| maps[id.0].as_slice()).collect();
        let evaluation =
            Evaluation { node, x: shapes[node.inputs[0].0], y: shapes[position], params };
        let mut map = evaluation.compute(&inputs, signs);
        assert_eq!(map.len(), shapes[position].len(), "{}", node.name);
        map.iter_mut().for_each(|v| *v = v.settled());
        maps.push(map);
    }
    maps.pop().unwrap()
}

/// Values of a parameter of a lowered network, bits as -1 and +1, 8-bit integers times the factor of their row.
#[must_use]
pub fn packed_params(model: &Model, node: &Node, suffix: &str) -> Vec<f64> {
    let name = node.param_name(suffix);
    let words = match &model.tensors[&name].data {
        Data::F32(values) => return values.iter().map(|&v| f64::from(v)).collect(),
        Data::I8(values) => return scaled(values, &model.tensors[&row_scale(&name)].data),
        Data::U64(words) => words,
    };
    let NodeId(source) = node.inputs[0];
    let x = infer::shapes(&model.graph).unwrap()[source];
    let channels = match node.op {
        Op::ConvBin { geometry, .. } => x.channels / geometry.groups,
        Op::LinearBin { .. } => x.len(),
        _ => panic!("bits in {}", node.name),
    };
    let taps = words.chunks(bits::words(channels));
    taps.flat_map(|tap| (0..channels).map(|c| f64::from(bits::value(tap, c)))).collect()
}

fn scaled(values: &[i8], scale: &Data) -> Vec<f64> {
    let Data::F32(scale) = scale else { panic!("factors are floats") };
    let rows = values.chunks(values.len() / scale.len()).zip(scale);
    rows.flat_map(|(row, s)| row.iter().map(move |&q| f64::from(q) * f64::from(*s))).collect()
}

struct Evaluation<'a> {
    node: &'a Node,
    x: Shape,
    y: Shape,
    params: Params<'a>,
}

impl Evaluation<'_> {
    fn compute<N: Number>(&self, inputs: &[&[N]], signs: Signs<'_, N>) -> Vec<N> {
        let x = inputs[0];
        let offsets = inputs.get(1).copied().unwrap_or_default();
        match self.node.op {
            Op::Conv { geometry } => {
                let mut y = self.conv(x, &geometry, &self.constant(0.0));
                if let Geometry { kernel: 7, stride: 2, groups: 1, .. } = geometry {
                    N::filtered(&mut y, x);
                }
                y
            }
            Op::ConvBin { geometry, pad, .. } => {
                let pad = match pad {
                    PadValue::Zero => 0.0,
                    PadValue::One => 1.0,
                };
                let y = self.conv(x, &geometry, &self.constant(pad));
                y.into_iter().map(N::integer).collect()
            }
            Op::ConvI8 { geometry } => {
                let zero = self.rounded(&self.constant(0.0));
                self.conv(&self.rounded(x), &geometry, &zero)
            }
            Op::LinearI8 { .. } => {
                linear(&self.param("weight"), &self.param("bias"), &self.rounded(x))
            }
            Op::LinearBin { .. } => {
                let none = vec![N::exact(0.0); self.y.channels];
                let y = linear(&self.param("weight"), &none, x);
                y.into_iter().map(N::integer).collect()
            }
            Op::BatchNorm { eps } => self.batch_norm(x, eps),
            Op::Affine => {
                let (scale, shift) = (self.param("scale"), self.param("shift"));
                self.map(x, |c, x| x * scale[c] + shift[c])
            }
            Op::Sign { threshold } => self.sign(x, threshold, offsets, signs),
            Op::Prelu { slope, shift } => self.prelu(x, slope, shift, offsets),
            Op::Add => x.iter().zip(inputs[1]).map(|(&a, &b)| a + b).collect(),
            Op::Concat => {
                let (a, b) = (self.x.channels, self.y.channels - self.x.channels);
                let pixels = x.chunks(a).zip(inputs[1].chunks(b));
                pixels.flat_map(|(a, b)| [a, b].concat()).collect()
            }
            Op::ChannelShuffle { groups } => self.shuffle(x, groups),
            Op::AvgPool { kernel, stride } => {
                let factor = N::exact(1.0 / (kernel * kernel) as f64);
                self.pool(x, [kernel, stride, 0], |a, b| a + b)
                    .into_iter()
                    .map(|sum| sum * factor)
                    .collect()
            }
            Op::MaxPool { kernel, stride, padding } => {
                self.pool(x, [kernel, stride, padding], N::larger)
            }
            Op::GlobalAvgPool => self.moments(x, |_, x| x),
            Op::Linear { .. } => linear(&self.param("weight"), &self.param("bias"), x),
            Op::HyperTrunk { statistics, .. } => self.hyper_trunk(x, statistics),
            Op::HyperHead { range, .. } => self.hyper_head(x, range),
            Op::Input { .. } => panic!("{} is a second input", self.node.name),
        }
    }

    fn param<N: Number>(&self, suffix: &str) -> Vec<N> {
        (self.params)(self.node, suffix).into_iter().map(N::exact).collect()
    }

    fn map<N: Number>(&self, x: &[N], f: impl Fn(usize, N) -> N) -> Vec<N> {
        let c = self.x.channels;
        x.iter().enumerate().map(|(i, &x)| f(i % c, x)).collect()
    }

    /// The same number for each channel.
    fn constant<N: Number>(&self, value: f64) -> Vec<N> {
        vec![N::exact(value); self.x.channels]
    }

    /// A convolution whose padding holds a number for each channel.
    fn conv<N: Number>(&self, x: &[N], g: &Geometry, pad: &[N]) -> Vec<N> {
        let w = self.param("weight");
        let (k, per_group) = (g.kernel, self.x.channels / g.groups);
        let mut y = Vec::with_capacity(self.y.len());
        for (oy, ox) in pixels(self.y) {
            for o in 0..g.out_channels {
                let first = o / (g.out_channels / g.groups) * per_group;
                let mut sum = N::exact(0.0);
                for (ky, kx) in (0..k).flat_map(|ky| (0..k).map(move |kx| (ky, kx))) {
                    let at = self.at(oy * g.stride + ky, ox * g.stride + kx, g.padding);
                    for i in 0..per_group {
                        let value = match at {
                            Some(pixel) => x[pixel * self.x.channels + first + i],
                            None => pad[first + i],
                        };
                        sum = sum + value * w[((o * k + ky) * k + kx) * per_group + i];
                    }
                }
                y.push(sum);
            }
        }
        y
    }

    /// Pixel at `row - padding`, `column - padding`, or `None` outside.
    fn at(&self, row: usize, column: usize, padding: usize) -> Option<usize> {
        let row = row.checked_sub(padding).filter(|&r| r < self.x.height)?;
        let column = column.checked_sub(padding).filter(|&c| c < self.x.width)?;
        Some(row * self.x.width + column)
    }

    /// The 8-bit integers of a map, less what stands for 0. The step is a part of the weights.
    fn rounded<N: Number>(&self, x: &[N]) -> Vec<N> {
        let (scale, offset) =
            ((self.params)(self.node, "input_scale"), (self.params)(self.node, "input_offset"));
        self.map(x, |c, x| x.steps(scale[c], offset[c]))
    }

    fn batch_norm<N: Number>(&self, x: &[N], eps: f32) -> Vec<N> {
        let (gamma, beta) = (self.param::<f64>("weight"), self.param::<f64>("bias"));
        let (mean, var) = (self.param::<f64>("running_mean"), self.param::<f64>("running_var"));
        let eps = f64::from(eps);
        self.map(x, |c, x| {
            let moved = N::exact(gamma[c]) * (x - N::exact(mean[c]));
            moved * N::exact(1.0 / (var[c] + eps).sqrt()) + N::exact(beta[c])
        })
    }

    fn sign<N: Number>(
        &self,
        x: &[N],
        threshold: Threshold,
        offsets: &[N],
        signs: Signs<'_, N>,
    ) -> Vec<N> {
        let own = match threshold {
            Threshold::Zero => self.constant(0.0),
            Threshold::Static | Threshold::Dynamic => self.param("threshold"),
        };
        let at: Vec<N> = match offsets {
            [] => own,
            offsets => own.into_iter().zip(offsets).map(|(own, &d)| own + d).collect(),
        };
        let margins = self.map(x, |c, x| x - at[c]);
        let signs = signs(self.node, self.x.channels, &margins);
        signs.into_iter().map(|positive| N::exact(if positive { 1.0 } else { -1.0 })).collect()
    }

    fn prelu<N: Number>(&self, x: &[N], slope: Slope, shift: Shift, offsets: &[N]) -> Vec<N> {
        let channels = self.x.channels;
        let (zeros, ones) = (self.constant(0.0), self.constant(1.0));
        let (pos, neg) = match slope {
            Slope::Relu => (ones, zeros.clone()),
            Slope::Negative => (ones, self.param("slope_neg")),
            Slope::Both => (self.param("slope_pos"), self.param("slope_neg")),
        };
        let (shift_x, shift_y) = match shift {
            Shift::None => (zeros.clone(), zeros),
            Shift::Static | Shift::Dynamic => (self.param("shift_x"), self.param("shift_y")),
        };
        let with_offsets = |shift: Vec<N>, first: usize| -> Vec<N> {
            match offsets.get(first..) {
                None | Some([]) => shift,
                Some(offsets) => shift.into_iter().zip(offsets).map(|(s, &d)| s + d).collect(),
            }
        };
        let (shift_x, shift_y) = (with_offsets(shift_x, 0), with_offsets(shift_y, channels));
        self.map(x, |c, x| (x - shift_x[c]).bent(pos[c], neg[c]) + shift_y[c])
    }

    fn shuffle<N: Number>(&self, x: &[N], groups: usize) -> Vec<N> {
        let per_group = self.x.channels / groups;
        let mut y = x.to_vec();
        for (x, y) in x.chunks(self.x.channels).zip(y.chunks_mut(self.x.channels)) {
            for (c, &x) in x.iter().enumerate() {
                y[c % per_group * groups + c / per_group] = x;
            }
        }
        y
    }

    /// What `f` makes of all values below each window.
    fn pool<N: Number>(
        &self,
        x: &[N],
        [kernel, stride, padding]: [usize; 3],
        f: impl Fn(N, N) -> N,
    ) -> Vec<N> {
        let channels = self.x.channels;
        let mut y = Vec::with_capacity(self.y.len());
        for (oy, ox) in pixels(self.y) {
            let taps = (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx)));
            let inside: Vec<usize> = taps
                .filter_map(|(ky, kx)| self.at(oy * stride + ky, ox * stride + kx, padding))
                .collect();
            for c in 0..channels {
                let taps = inside.iter().map(|pixel| x[pixel * channels + c]);
                y.push(taps.reduce(&f).unwrap());
            }
        }
        y
    }

    fn moments<N: Number>(&self, x: &[N], f: impl Fn(usize, N) -> N) -> Vec<N> {
        let channels = self.x.channels;
        let factor = N::exact(1.0 / self.x.pixels() as f64);
        let mean = |c| {
            let values = x.iter().skip(c).step_by(channels).map(|&x| f(c, x));
            values.fold(N::exact(0.0), |sum, value| sum + value) * factor
        };
        (0..channels).map(mean).collect()
    }

    fn hyper_trunk<N: Number>(&self, x: &[N], statistics: Statistics) -> Vec<N> {
        let mean = self.moments(x, |_, x| x);
        let second = match statistics {
            Statistics::Mean => vec![],
            Statistics::MeanThird => self.moments(x, |_, x| x * x * x),
            Statistics::MeanStd => {
                let variance = self.moments(x, |c, x| {
                    let d = x - mean[c];
                    d * d
                });
                let eps = N::exact(f64::from(HYPER_STD_EPS));
                variance.into_iter().map(|v| (v + eps).root()).collect()
            }
        };
        let hidden = linear(&self.param("weight"), &self.param("bias"), &[mean, second].concat());
        hidden.into_iter().map(|h| h.larger(N::exact(0.0))).collect()
    }

    fn hyper_head<N: Number>(&self, hidden: &[N], range: HyperRange) -> Vec<N> {
        let mut out = linear(&self.param("weight"), &self.param("bias"), hidden);
        if let HyperRange::Sigmoid { lambda } = range {
            out.iter_mut().for_each(|v| *v = v.bounded(f64::from(lambda)));
        }
        out
    }
}

fn pixels(shape: Shape) -> impl Iterator<Item = (usize, usize)> {
    (0..shape.height).flat_map(move |y| (0..shape.width).map(move |x| (y, x)))
}

fn linear<N: Number>(weight: &[N], bias: &[N], x: &[N]) -> Vec<N> {
    let dot = |w: &[N]| w.iter().zip(x).fold(N::exact(0.0), |sum, (&w, &x)| sum + w * x);
    weight.chunks(x.len()).zip(bias).map(|(w, &b)| dot(w) + b).collect()
}
