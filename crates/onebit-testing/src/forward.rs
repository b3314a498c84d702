use onebit_model::{
    Data, Geometry, Graph, HyperRange, Model, Node, NodeId, Op, PadValue, Shape, Shift, Slope,
    Statistics, Threshold, bits, infer, row_scale,
};

/// Values of a node's parameter; convolution weights as they act, scale included.
pub type Params<'a> = &'a dyn Fn(&Node, &str) -> Vec<f64>;
/// Called with a sign node, its channels, and `x - threshold` of every element; gives the signs that are used.
pub type Signs<'a> = &'a mut dyn FnMut(&Node, usize, &[f64]) -> Vec<bool>;

/// Logits of one NHWC image of the size `input` (channels, height, width): the graph evaluated in f64, one naive
/// loop for each operation.
pub fn forward(
    graph: &Graph,
    input: [usize; 3],
    params: Params<'_>,
    image: &[f64],
    signs: Signs<'_>,
) -> Vec<f64> {
    let shapes = infer::shapes_for(graph, input).unwrap();
    let mut maps: Vec<Vec<f64>> = Vec::new();
    for (position, node) in graph.nodes.iter().enumerate() {
        let Some(first) = node.inputs.first() else {
            maps.push(image.to_vec());
            continue;
        };
        let inputs: Vec<&[f64]> = node.inputs.iter().map(|id| maps[id.0].as_slice()).collect();
        let step = Step { node, x: shapes[first.0], y: shapes[position], params };
        let map = step.compute(&inputs, signs);
        assert_eq!(map.len(), shapes[position].len(), "{}", node.name);
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
    let Op::ConvBin { geometry, .. } = node.op else { panic!("bits in {}", node.name) };
    let NodeId(source) = node.inputs[0];
    let channels = infer::shapes(&model.graph).unwrap()[source].channels / geometry.groups;
    let taps = words.chunks(bits::words(channels));
    taps.flat_map(|tap| (0..channels).map(|c| f64::from(bits::value(tap, c)))).collect()
}

fn scaled(values: &[i8], scale: &Data) -> Vec<f64> {
    let Data::F32(scale) = scale else { panic!("factors are floats") };
    let rows = values.chunks(values.len() / scale.len()).zip(scale);
    rows.flat_map(|(row, s)| row.iter().map(move |&q| f64::from(q) * f64::from(*s))).collect()
}

struct Step<'a> {
    node: &'a Node,
    x: Shape,
    y: Shape,
    params: Params<'a>,
}

impl Step<'_> {
    fn compute(&self, inputs: &[&[f64]], signs: Signs<'_>) -> Vec<f64> {
        let x = inputs[0];
        let offsets = inputs.get(1).copied().unwrap_or_default();
        match self.node.op {
            Op::Conv { geometry } => self.conv(x, &geometry, &self.constant(0.0)),
            Op::ConvBin { geometry, pad: PadValue::Zero, .. } => {
                self.conv(x, &geometry, &self.constant(0.0))
            }
            Op::ConvBin { geometry, pad: PadValue::One, .. } => {
                self.conv(x, &geometry, &self.constant(1.0))
            }
            Op::ConvI8 { geometry } => {
                let zero = self.rounded(&self.constant(0.0));
                self.conv(&self.rounded(x), &geometry, &zero)
            }
            Op::LinearI8 { .. } => {
                linear(&self.param("weight"), &self.param("bias"), &self.rounded(x))
            }
            Op::BatchNorm => self.batch_norm(x),
            Op::Affine => {
                let (scale, shift) = (self.param("scale"), self.param("shift"));
                self.map(x, |c, x| x * scale[c] + shift[c])
            }
            Op::Sign { threshold } => self.sign(x, threshold, offsets, signs),
            Op::Prelu { slope, shift } => self.prelu(x, slope, shift, offsets),
            Op::Add => x.iter().zip(inputs[1]).map(|(a, b)| a + b).collect(),
            Op::Concat => {
                let (a, b) = (self.x.channels, self.y.channels - self.x.channels);
                let pixels = x.chunks(a).zip(inputs[1].chunks(b));
                pixels.flat_map(|(a, b)| [a, b].concat()).collect()
            }
            Op::ChannelShuffle { groups } => self.shuffle(x, groups),
            Op::AvgPool { kernel, stride } => self
                .pool(x, [kernel, stride, 0], |taps| taps.iter().sum::<f64>() / taps.len() as f64),
            Op::MaxPool { kernel, stride, padding } => {
                self.pool(x, [kernel, stride, padding], |taps| {
                    taps.iter().copied().fold(f64::NEG_INFINITY, f64::max)
                })
            }
            Op::GlobalAvgPool => self.moments(x, |_, x| x),
            Op::Linear { .. } => linear(&self.param("weight"), &self.param("bias"), x),
            Op::HyperTrunk { statistics, .. } => self.hyper_trunk(x, statistics),
            Op::HyperHead { range, .. } => self.hyper_head(x, range),
            Op::Input { .. } => panic!("{} has an input", self.node.name),
        }
    }

    fn param(&self, suffix: &str) -> Vec<f64> {
        (self.params)(self.node, suffix)
    }

    fn map(&self, x: &[f64], f: impl Fn(usize, f64) -> f64) -> Vec<f64> {
        let c = self.x.channels;
        x.iter().enumerate().map(|(i, &x)| f(i % c, x)).collect()
    }

    /// The same number for each channel.
    fn constant(&self, value: f64) -> Vec<f64> {
        vec![value; self.x.channels]
    }

    /// A convolution whose padding holds a number for each channel.
    fn conv(&self, x: &[f64], g: &Geometry, pad: &[f64]) -> Vec<f64> {
        let w = self.param("weight");
        let (k, per_group) = (g.kernel, self.x.channels / g.groups);
        let mut y = Vec::with_capacity(self.y.len());
        for (oy, ox) in pixels(self.y) {
            for o in 0..g.out_channels {
                let first = o / (g.out_channels / g.groups) * per_group;
                let mut sum = 0.0;
                for (ky, kx) in (0..k).flat_map(|ky| (0..k).map(move |kx| (ky, kx))) {
                    let at = self.at(oy * g.stride + ky, ox * g.stride + kx, g.padding);
                    for i in 0..per_group {
                        let value = match at {
                            Some(pixel) => x[pixel * self.x.channels + first + i],
                            None => pad[first + i],
                        };
                        sum += value * w[((o * k + ky) * k + kx) * per_group + i];
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
    fn rounded(&self, x: &[f64]) -> Vec<f64> {
        let (scale, offset) = (self.param("input_scale"), self.param("input_offset"));
        self.map(x, |c, x| {
            let position = x as f32 * (1.0 / scale[c] as f32) + offset[c] as f32;
            let integer = f64::from(position.round_ties_even().clamp(0.0, 255.0));
            integer - offset[c]
        })
    }

    fn batch_norm(&self, x: &[f64]) -> Vec<f64> {
        let (gamma, beta) = (self.param("weight"), self.param("bias"));
        let (mean, var) = (self.param("running_mean"), self.param("running_var"));
        let eps = f64::from(1e-5f32);
        self.map(x, |c, x| gamma[c] * (x - mean[c]) / (var[c] + eps).sqrt() + beta[c])
    }

    fn sign(&self, x: &[f64], threshold: Threshold, offsets: &[f64], signs: Signs<'_>) -> Vec<f64> {
        let own = match threshold {
            Threshold::Zero => vec![0.0; self.x.channels],
            Threshold::Static | Threshold::Dynamic => self.param("threshold"),
        };
        let margins = self.map(x, |c, x| x - own[c] - offsets.get(c).unwrap_or(&0.0));
        let signs = signs(self.node, self.x.channels, &margins);
        signs.into_iter().map(|positive| if positive { 1.0 } else { -1.0 }).collect()
    }

    fn prelu(&self, x: &[f64], slope: Slope, shift: Shift, offsets: &[f64]) -> Vec<f64> {
        let channels = self.x.channels;
        let (zeros, ones) = (vec![0.0; channels], vec![1.0; channels]);
        let (pos, neg) = match slope {
            Slope::Relu => (ones, zeros.clone()),
            Slope::Negative => (ones, self.param("slope_neg")),
            Slope::Both => (self.param("slope_pos"), self.param("slope_neg")),
        };
        let (shift_x, shift_y) = match shift {
            Shift::None => (zeros.clone(), zeros),
            Shift::Static | Shift::Dynamic => (self.param("shift_x"), self.param("shift_y")),
        };
        let offset = |i: usize| offsets.get(i).copied().unwrap_or(0.0);
        self.map(x, |c, x| {
            let moved = x - shift_x[c] - offset(c);
            let bent = moved * if moved > 0.0 { pos[c] } else { neg[c] };
            bent + shift_y[c] + offset(channels + c)
        })
    }

    fn shuffle(&self, x: &[f64], groups: usize) -> Vec<f64> {
        let per_group = self.x.channels / groups;
        let mut y = vec![0.0; x.len()];
        for (x, y) in x.chunks(self.x.channels).zip(y.chunks_mut(self.x.channels)) {
            for (c, &x) in x.iter().enumerate() {
                y[c % per_group * groups + c / per_group] = x;
            }
        }
        y
    }

    fn pool(
        &self,
        x: &[f64],
        [kernel, stride, padding]: [usize; 3],
        f: impl Fn(&[f64]) -> f64,
    ) -> Vec<f64> {
        let channels = self.x.channels;
        let mut y = Vec::with_capacity(self.y.len());
        for (oy, ox) in pixels(self.y) {
            let taps = (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx)));
            let inside: Vec<usize> = taps
                .filter_map(|(ky, kx)| self.at(oy * stride + ky, ox * stride + kx, padding))
                .collect();
            for c in 0..channels {
                let taps: Vec<f64> = inside.iter().map(|pixel| x[pixel * channels + c]).collect();
                y.push(f(&taps));
            }
        }
        y
    }

    fn moments(&self, x: &[f64], f: impl Fn(usize, f64) -> f64) -> Vec<f64> {
        let channels = self.x.channels;
        let sum = |c| x.iter().skip(c).step_by(channels).map(|&x| f(c, x)).sum::<f64>();
        (0..channels).map(|c| sum(c) / self.x.pixels() as f64).collect()
    }

    fn hyper_trunk(&self, x: &[f64], statistics: Statistics) -> Vec<f64> {
        let mean = self.moments(x, |_, x| x);
        let second = match statistics {
            Statistics::Mean => vec![],
            Statistics::MeanThird => self.moments(x, |_, x| x.powi(3)),
            Statistics::MeanStd => {
                let variance = self.moments(x, |c, x| (x - mean[c]).powi(2));
                variance.iter().map(|v| (v + 1e-5).sqrt()).collect()
            }
        };
        let mut hidden =
            linear(&self.param("weight"), &self.param("bias"), &[mean, second].concat());
        hidden.iter_mut().for_each(|h| *h = h.max(0.0));
        hidden
    }

    fn hyper_head(&self, hidden: &[f64], range: HyperRange) -> Vec<f64> {
        let mut out = linear(&self.param("weight"), &self.param("bias"), hidden);
        if let HyperRange::Sigmoid { lambda } = range {
            let bound = |v: f64| f64::from(lambda) * (2.0 / (1.0 + (-v).exp()) - 1.0);
            out.iter_mut().for_each(|v| *v = bound(*v));
        }
        out
    }
}

fn pixels(shape: Shape) -> impl Iterator<Item = (usize, usize)> {
    (0..shape.height).flat_map(move |y| (0..shape.width).map(move |x| (y, x)))
}

fn linear(weight: &[f64], bias: &[f64], x: &[f64]) -> Vec<f64> {
    let rows = weight.chunks(x.len()).zip(bias);
    rows.map(|(w, b)| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + b).collect()
}
