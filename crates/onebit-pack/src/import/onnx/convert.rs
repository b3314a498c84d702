//! Operators of ONNX turned into nodes of our graph, one after the other.

use std::collections::BTreeMap;

use onebit_model::op::HYPER_STD_EPS;
use onebit_model::{
    Geometry, HyperRange, NodeId, Op, PadValue, Precision, Shift, Slope, Statistics, Threshold,
    WeightScale, bits,
};

use super::SignSource;
use super::array::Array;
use super::builder::Builder;
use super::evaluate::{clip_bounds, kernel_shape, order, padding, reduced_axes};
use super::network::Network;
use super::operator::Operator;
use super::value::{Above, Choice, Limit, Map, Part, Rectifier, Statistic, Value};

/// Operators that are read, in some places; all others are named as such.
#[rustfmt::skip]
pub(super) const READ: [&str; 45] = [
    "Add", "AveragePool", "BatchNormalization", "BipolarQuant", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape",
    "Conv", "Div", "Dropout", "Flatten", "Gather", "Gemm", "GlobalAveragePool", "Greater", "GreaterOrEqual", "HardTanh",
    "Identity", "LeakyRelu", "Less", "LessOrEqual", "MatMul", "MaxPool", "Mul", "MultiThreshold", "Not", "PRelu", "Pad",
    "Pow", "ReduceMean", "Relu", "Reshape", "Shape", "Sigmoid", "Sign", "Split", "Sqrt", "Squeeze", "Sub", "Tanh",
    "Transpose", "Unsqueeze", "Where",
];

/// What an operator became, or why it could not be read.
type Read = Result<Value, String>;

pub(super) struct Converter<'a> {
    network: &'a Network,
    shapes: &'a BTreeMap<String, Vec<usize>>,
    readers: BTreeMap<&'a str, usize>,
    values: BTreeMap<String, Value>,
    pub(super) builder: Builder,
    pub(super) problems: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) signs: Vec<SignSource>,
}

impl<'a> Converter<'a> {
    pub(super) fn new(
        network: &'a Network,
        shapes: &'a BTreeMap<String, Vec<usize>>,
        [channels, height, width]: [usize; 3],
    ) -> Self {
        let mut builder = Builder::default();
        let input = builder.push(&network.input, Op::Input { channels, height, width }, vec![]);
        let is_flat = network.input_shape.len() == 1 && height * width > 1;
        let value = Value::Map(Map { is_flat, ..Map::of(input, channels) });
        let mut readers = BTreeMap::from([(network.output.as_str(), 1)]);
        for name in network.operators.iter().flat_map(|operator| &operator.inputs) {
            *readers.entry(name.as_str()).or_default() += 1;
        }
        Converter {
            network,
            shapes,
            readers,
            values: BTreeMap::from([(network.input.clone(), value)]),
            builder,
            problems: vec![],
            notes: vec![],
            signs: vec![],
        }
    }

    /// Reads all operators; the node of the logits, where all could be read.
    pub(super) fn run(&mut self) -> Option<NodeId> {
        for (at, operator) in self.network.operators.iter().enumerate() {
            let is_known =
                |name: &String| name.is_empty() || self.network.constants.contains_key(name);
            if operator.outputs.iter().all(is_known) {
                continue;
            }
            let spoilt = |name: &String| matches!(self.values.get(name), Some(Value::Unreadable));
            let gone = |name: &String| !is_known(name) && !self.values.contains_key(name);
            let values = match operator.inputs.iter().any(|name| spoilt(name) || gone(name)) {
                true => {
                    if !READ.contains(&operator.kind.as_str()) {
                        self.problems.push(not_read(operator));
                    }
                    vec![]
                }
                false => self.operator(at, operator).unwrap_or_else(|problem| {
                    self.problems
                        .push(format!("`{}` ({}): {problem}", operator.name, operator.kind));
                    vec![]
                }),
            };
            let mut values = values.into_iter();
            for name in &operator.outputs {
                self.values.insert(name.clone(), values.next().unwrap_or(Value::Unreadable));
            }
        }
        let output = &self.network.output;
        if self.is_flat(output) {
            self.problems.push(format!(
                "the output `{output}` is a flattened map: its order is not that of our logits"
            ));
            return None;
        }
        let found = match self.values.get(output).cloned() {
            Some(Value::Unreadable) | None => return None,
            Some(Value::ChannelsLast(map)) => {
                self.values.insert(output.clone(), Value::Map(map));
                self.node_of(output)
            }
            Some(_) => self.node_of(output),
        };
        found
            .map_err(|problem| self.problems.push(format!("the output `{output}`: {problem}")))
            .ok()
    }

    fn operator(&mut self, at: usize, operator: &Operator) -> Result<Vec<Value>, String> {
        let x = operator.inputs.first().map(String::as_str).unwrap_or_default();
        let output = operator.outputs.first().map(String::as_str).unwrap_or_default();
        let value = match operator.kind.as_str() {
            "Identity" | "Dropout" | "Cast" => match self.value(x)?.clone() {
                Value::Above(above) if operator.kind == "Cast" => {
                    self.choice(above, output, [vec![1.0], vec![0.0]])
                }
                value => value,
            },
            "Sign" => {
                self.notes
                    .push(format!("`{}`: the sign of 0 is 0 in ONNX and -1 here", operator.name));
                let above = self.above(x, &[0.0], false)?;
                self.choice(above, output, [vec![1.0], vec![-1.0]])
            }
            "BipolarQuant" => {
                let scale = self.per_channel(&operator.inputs[1], 1)?;
                let above = self.above(x, &[0.0], true)?;
                self.choice(above, output, [scale.clone(), scale.iter().map(|s| -s).collect()])
            }
            "MultiThreshold" => self.multi_threshold(operator, x, output)?,
            "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" => {
                self.comparison(operator, output)?
            }
            "Not" => match self.value(x)?.clone() {
                Value::Above(above) => self.choice(above, output, [vec![0.0], vec![1.0]]),
                _ => return Err("it does not read a comparison".to_owned()),
            },
            "Where" => self.choose(operator, output)?,
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(operator)?,
            "BatchNormalization" => self.batch_normalization(operator, x)?,
            "Conv" => self.conv(operator, x, output)?,
            "Gemm" | "MatMul" => self.layer(operator, x, output)?,
            "Relu" => self.relu(x, output)?,
            "PRelu" => {
                let slopes = self.per_channel(&operator.inputs[1], self.channels(x))?;
                self.rectifier(x, output, negative(&slopes, self.channels(x)))?
            }
            "LeakyRelu" => {
                let slope = f64::from(operator.float("alpha", 0.01));
                self.rectifier(x, output, negative(&[slope], self.channels(x)))?
            }
            "Tanh" | "HardTanh" => self.squashed(x)?,
            "Clip" => {
                let inputs: Vec<Option<&Array>> =
                    operator.inputs.iter().map(|name| self.network.constants.get(name)).collect();
                match clip_bounds(operator, &inputs)? {
                    [0.0, f32::INFINITY] => self.relu(x, output)?,
                    [low, high] if low == -high && high > 0.0 => self.squashed(x)?,
                    [low, high] => return Err(format!("a clip from {low} to {high}")),
                }
            }
            "Sqrt" => match *self.value(x)? {
                Value::Statistic(node, Statistic::PaddedVariance) => {
                    Value::Statistic(node, Statistic::Std)
                }
                _ => return Err("a root of what is no variance".to_owned()),
            },
            "Sigmoid" => match self.value(x)? {
                Value::Map(map) if self.is_plain_layer(map) && self.is_read_once(x) => {
                    Value::Sigmoid { layer: map.node, scale: 1.0, shift: 0.0 }
                }
                _ => return Err("a sigmoid that bounds no layer of a hyper function".to_owned()),
            },
            "MaxPool" | "AveragePool" => self.pool(at, operator, x, output)?,
            "GlobalAveragePool" => self.global_pool(x, output)?,
            "ReduceMean" => {
                let axes =
                    self.network.constants.get(operator.inputs.get(1).unwrap_or(&String::new()));
                let rank = self.shape(x).len();
                match &reduced_axes(operator, &[None, axes], rank)?[..] {
                    [2, 3] => self.global_pool(x, output)?,
                    other => {
                        return Err(format!("a mean over the axes {other:?}, expected [2, 3]"));
                    }
                }
            }
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => self.reshape(x, output)?,
            "Transpose" => {
                match (self.value(x)?.clone(), &order(operator, self.shape(x).len())?[..]) {
                    (Value::Grouped { map, groups, exchanged: false }, [0, 2, 1, 3, 4]) => {
                        Value::Grouped { map, groups, exchanged: true }
                    }
                    (Value::Map(map), [0, 2, 3, 1]) => Value::ChannelsLast(map),
                    (_, order) => {
                        return Err(format!(
                            "a transposition {order:?} that is no channel shuffle"
                        ));
                    }
                }
            }
            "Concat" => self.concat(operator, output)?,
            "Split" => return self.split(operator, x),
            "Pad" => self.pad(operator, x)?,
            "Quant" => {
                return Err("activations of several bits: only those of one bit are read".into());
            }
            _ => return Err("this operator is not read".to_owned()),
        };
        Ok(vec![value])
    }

    fn value(&self, name: &str) -> Result<&Value, String> {
        self.values.get(name).ok_or_else(|| format!("it reads the constant `{name}`"))
    }

    fn shape(&self, name: &str) -> &[usize] {
        self.shapes.get(name).map_or(&[], Vec::as_slice)
    }

    fn channels(&self, name: &str) -> usize {
        match self.values.get(name) {
            Some(Value::Map(map) | Value::Squashed(map)) => map.scale.len(),
            Some(Value::Choice(choice)) => choice.channels,
            Some(Value::Above(above)) => self.channels(&above.of),
            _ => self.shape(name).get(1).copied().unwrap_or(1),
        }
    }

    fn is_flat(&self, name: &str) -> bool {
        match self.values.get(name) {
            Some(Value::Map(map) | Value::Squashed(map)) => map.is_flat,
            Some(Value::Choice(choice)) => choice.is_flat,
            Some(Value::Above(above)) => self.is_flat(&above.of),
            _ => false,
        }
    }

    /// A real map that is not flattened.
    fn spatial(&mut self, name: &str) -> Result<NodeId, String> {
        match self.is_flat(name) {
            true => Err("it reads a flattened map, which only layers do".to_owned()),
            false => self.node_of(name),
        }
    }

    fn pixels(&self, name: &str) -> usize {
        self.shape(name).iter().skip(2).product()
    }

    fn is_read_once(&self, name: &str) -> bool {
        self.readers.get(name) == Some(&1)
    }

    /// A real map or vector.
    fn map(&self, name: &str) -> Result<&Map, String> {
        match self.value(name)? {
            Value::Map(map) => Ok(map),
            Value::Choice(_) | Value::Above(_) => Err(
                "it reads 1-bit values, which only convolutions, layers and maximum poolings do"
                    .to_owned(),
            ),
            Value::Squashed(_) => {
                Err("a hyperbolic tangent or clip is only read in front of a sign".to_owned())
            }
            Value::Padded(..) => Err("padding is only read in front of a convolution".to_owned()),
            _ => Err("it reads a part of a shuffle or hyper function".to_owned()),
        }
    }

    /// The node whose value a real value is; an affine node of its name where it is a scaled or shifted one.
    fn node_of(&mut self, name: &str) -> Result<NodeId, String> {
        let map = self.map(name)?.clone();
        if !map.is_scaled() && !map.is_shifted() {
            return Ok(map.node);
        }
        let node = self.builder.push(name, Op::Affine, vec![map.node]);
        let floats = |values: &[f64]| values.iter().map(|&v| v as f32).collect();
        self.builder.vector(node, "scale", floats(&map.scale));
        self.builder.vector(node, "shift", floats(&map.shift));
        let is_flat = map.is_flat;
        let map = Map { is_flat, ..Map::of(node, map.scale.len()) };
        self.values.insert(name.to_owned(), Value::Map(map));
        Ok(node)
    }

    /// A constant that is the same for all pixels: a number for each of so many channels, or one for all.
    fn per_channel(&self, name: &str, channels: usize) -> Result<Vec<f64>, String> {
        let constant = self.network.constants.get(name);
        let Array { shape, values } = constant.ok_or_else(|| format!("`{name}` is no constant"))?;
        let wide = shape.iter().filter(|&&extent| extent != 1).count();
        // Axes are counted from behind: [C, 1, 1] or [1, C, 1, 1] for a map, [C] or [1, C] for a vector, and [C] for PRelu.
        match wide <= 1 && (values.len() == 1 || values.len() == channels) {
            true => Ok(values.iter().map(|&value| value.into()).collect()),
            false => {
                Err(format!("`{name}` of the shape {shape:?} is not one number for each channel"))
            }
        }
    }

    /// Whether a constant's only wide axis is that of the channels of a value.
    fn lies_on_channels(&self, constant: &str, value: &str) -> bool {
        let (shape, rank) = (self.shape(constant), self.shape(value).len());
        let wide = shape.iter().position(|&extent| extent != 1);
        wide.is_none_or(|axis| axis + rank == shape.len() + 1)
    }

    fn choice(&self, above: Above, base: &str, numbers: [Vec<f64>; 2]) -> Value {
        let (base, first) = (base.to_owned(), numbers.clone());
        let (channels, is_flat) = (self.channels(&above.of), self.is_flat(&above.of));
        Value::Choice(Choice { above, base, first, numbers, channels, is_flat })
    }

    /// The comparison of a value with limits: above them, or not below them.
    fn above(&mut self, name: &str, limits: &[f32], or_equal: bool) -> Result<Above, String> {
        match self.value(name)? {
            Value::Map(_) | Value::Moved { .. } => {}
            Value::Squashed(map) if limits.iter().all(|&limit| limit == 0.0) => {
                let map = map.clone();
                self.values.insert(name.to_owned(), Value::Map(map));
            }
            _ => drop(self.map(name)?),
        }
        let limits =
            limits.iter().map(|&limit| if or_equal { bits::at_least(limit) } else { limit });
        Ok(Above { of: name.to_owned(), limit: Limit::Static(limits.collect()), pools: vec![] })
    }

    fn comparison(&mut self, operator: &Operator, output: &str) -> Read {
        let [a, b] = [&operator.inputs[0], &operator.inputs[1]];
        let (greater, or_equal) = match operator.kind.as_str() {
            "Greater" => (true, false),
            "GreaterOrEqual" => (true, true),
            "Less" => (false, false),
            _ => (false, true),
        };
        let constants = &self.network.constants;
        // a < b is b > a.
        let (x, limit, above) = match (constants.contains_key(a), constants.contains_key(b)) {
            (true, _) => (b, a, !greater),
            (_, true) => (a, b, greater),
            _ if greater && !or_equal => return self.dynamic(a, b),
            _ => return Err("a comparison of two values other than `Greater`".to_owned()),
        };
        let limits = self.per_channel(limit, self.channels(x))?;
        if !self.lies_on_channels(limit, x) {
            return Err(format!("`{limit}` is not one number for each channel"));
        }
        let limits: Vec<f32> = limits.iter().map(|&limit| limit as f32).collect();
        // x < t is not (x >= t), x <= t is not (x > t).
        let found = self.above(x, &limits, if above { or_equal } else { !or_equal })?;
        Ok(match above {
            true => Value::Above(found),
            false => self.choice(found, output, [vec![0.0], vec![1.0]]),
        })
    }

    /// A comparison with a limit of each image.
    fn dynamic(&mut self, x: &str, limit: &str) -> Read {
        let map = self.map(limit)?;
        if map.is_scaled() || self.pixels(limit) > 1 {
            return Err("a comparison with what is no vector of thresholds".to_owned());
        }
        let limit = Limit::Dynamic(limit.to_owned());
        Ok(Value::Above(Above { of: x.to_owned(), limit, pools: vec![] }))
    }

    fn choose(&mut self, operator: &Operator, output: &str) -> Read {
        let above = match self.value(&operator.inputs[0])?.clone() {
            Value::Above(above) => {
                [above, Above { of: String::new(), limit: Limit::Static(vec![]), pools: vec![] }]
            }
            // A comparison the other way round.
            Value::Choice(Choice { above, numbers, .. }) if numbers == [[0.0], [1.0]] => {
                [Above { of: String::new(), limit: Limit::Static(vec![]), pools: vec![] }, above]
            }
            _ => return Err("it does not read a comparison".to_owned()),
        };
        let channels = self.channels(&operator.inputs[0]);
        let numbers = [
            self.per_channel(&operator.inputs[1], channels)?,
            self.per_channel(&operator.inputs[2], channels)?,
        ];
        let [straight, turned] = above;
        Ok(match straight.of.is_empty() {
            false => self.choice(straight, output, numbers),
            true => {
                let [first, second] = numbers;
                self.choice(turned, output, [second, first])
            }
        })
    }

    fn multi_threshold(&mut self, operator: &Operator, x: &str, output: &str) -> Read {
        let name = &operator.inputs[1];
        let Some(thresholds) = self.network.constants.get(name) else {
            return Err(format!("`{name}` is no constant"));
        };
        if thresholds.shape.get(1) != Some(&1) {
            return Err(format!(
                "thresholds of the shape {:?}: only one for each channel gives 1-bit values",
                thresholds.shape
            ));
        }
        let (scale, bias) = (operator.float("out_scale", 1.0), operator.float("out_bias", 0.0));
        let above = self.above(x, &thresholds.values, true)?;
        let [high, low] = [f64::from(bias + scale), f64::from(bias)];
        Ok(self.choice(above, output, [vec![high], vec![low]]))
    }

    fn arithmetic(&mut self, operator: &Operator) -> Read {
        let [a, b] = [operator.inputs[0].as_str(), operator.inputs[1].as_str()];
        let kind = operator.kind.as_str();
        let constants = &self.network.constants;
        match (constants.contains_key(a), constants.contains_key(b)) {
            (true, _) if kind == "Div" => Err("a division by what is no constant".to_owned()),
            (true, _) => self.with_constant(kind, b, a, true),
            (_, true) => self.with_constant(kind, a, b, false),
            _ => self.of_two(operator, a, b),
        }
    }

    /// `x op constant`, or `constant op x`.
    fn with_constant(&mut self, kind: &str, x: &str, constant: &str, turned: bool) -> Read {
        let channels = self.channels(x);
        let numbers = self.per_channel(constant, channels)?;
        if !self.lies_on_channels(constant, x) {
            return Err(format!("`{constant}` is not one number for each channel"));
        }
        let numbers = spread(&numbers, channels);
        let ones = vec![1.0; channels];
        let (scale, shift): (Vec<f64>, Vec<f64>) = match kind {
            "Add" => (ones, numbers),
            "Sub" if turned => (vec![-1.0; channels], numbers),
            "Sub" => (ones, numbers.iter().map(|number| -number).collect()),
            "Mul" => (numbers, vec![0.0; channels]),
            _ if numbers.contains(&0.0) => return Err("a division by 0".to_owned()),
            _ => (numbers.iter().map(|number| 1.0 / number).collect(), vec![0.0; channels]),
        };
        let uniform = |numbers: &[f64]| numbers.iter().all(|&number| number == numbers[0]);
        let value = self.value(x)?.clone();
        match value {
            Value::Choice(choice) => {
                let moved = |numbers: &[f64]| -> Vec<f64> {
                    let len =
                        if uniform(&scale) && uniform(&shift) { numbers.len() } else { channels };
                    let at = |c: usize| numbers[c % numbers.len()] * scale[c] + shift[c];
                    (0..len).map(at).collect()
                };
                let numbers = [moved(&choice.numbers[0]), moved(&choice.numbers[1])];
                Ok(Value::Choice(Choice { numbers, ..choice }))
            }
            Value::Statistic(node, Statistic::Variance) if kind == "Add" => match shift[0] {
                eps if eps as f32 == HYPER_STD_EPS => {
                    Ok(Value::Statistic(node, Statistic::PaddedVariance))
                }
                eps => Err(format!("a standard deviation of eps {eps}, expected {HYPER_STD_EPS}")),
            },
            Value::Part(part) if kind == "Add" => {
                let own = part.own.iter().zip(&shift).map(|(a, b)| a + b).collect();
                Ok(Value::Part(Part { own, ..part }))
            }
            Value::Sigmoid { layer, scale: s, shift: t } if uniform(&scale) && uniform(&shift) => {
                let (scale, shift) = (s * scale[0], t * scale[0] + shift[0]);
                if scale > 0.0 && 2.0 * shift == -scale {
                    return self.hyper_head(layer, scale / 2.0);
                }
                Ok(Value::Sigmoid { layer, scale, shift })
            }
            _ => {
                let mut map = self.map(x)?.clone();
                // A scaled and shifted value is an affine node; what is added behind it may be the shift of a rectifier.
                if matches!(kind, "Add" | "Sub") && map.is_scaled() && map.is_sum {
                    let is_flat = map.is_flat;
                    map = Map { is_flat, ..Map::of(self.node_of(x)?, channels) };
                }
                let is_plain = !map.is_scaled() && !map.is_shifted() && self.is_read_once(x);
                if let (true, Op::HyperHead { range: HyperRange::Sigmoid { lambda }, .. }) =
                    (is_plain && kind == "Mul", &mut self.builder.nodes[map.node.0].op)
                    && uniform(&scale)
                    && scale[0] > 0.0
                {
                    *lambda = (f64::from(*lambda) * scale[0]) as f32;
                    return Ok(Value::Map(map));
                }
                // What takes a bias or a shift by itself.
                let suffix = match self.builder.node(map.node).op {
                    Op::Linear { .. } => Some("bias"),
                    Op::Prelu { shift: Shift::Static, .. } => Some("shift_y"),
                    _ => None,
                };
                if let (true, Some(suffix)) = (is_plain && kind == "Add", suffix) {
                    for (v, s) in self.builder.values(map.node, suffix).zip(&shift) {
                        *v = (f64::from(*v) + s) as f32;
                    }
                    return Ok(Value::Map(map));
                }
                let scaled =
                    |values: &[f64]| values.iter().zip(&scale).map(|(v, s)| v * s).collect();
                let shifted: Vec<f64> = scaled(&map.shift);
                Ok(Value::Map(Map {
                    node: map.node,
                    scale: scaled(&map.scale),
                    shift: shifted.iter().zip(&shift).map(|(v, s)| v + s).collect(),
                    is_sum: map.is_sum || matches!(kind, "Add" | "Sub"),
                    is_flat: map.is_flat,
                }))
            }
        }
    }

    /// Arithmetic of two values of the image.
    fn of_two(&mut self, operator: &Operator, a: &str, b: &str) -> Read {
        let output = &operator.outputs[0];
        let (left, right) = (self.value(a)?.clone(), self.value(b)?.clone());
        match (operator.kind.as_str(), left, right) {
            ("Add", Value::Map(x), Value::Map(y)) if x == y => Ok(Value::Map(Map {
                node: x.node,
                scale: x.scale.iter().map(|scale| 2.0 * scale).collect(),
                shift: x.shift.iter().map(|shift| 2.0 * shift).collect(),
                is_sum: x.is_sum,
                is_flat: x.is_flat,
            })),
            ("Add", Value::Map(_), Value::Map(_)) => {
                if self.shape(a) != self.shape(b) {
                    return Err("a sum of maps of different sizes".to_owned());
                }
                let inputs = vec![self.node_of(a)?, self.node_of(b)?];
                let node = self.builder.push(output, Op::Add, inputs);
                Ok(self.like(a, node))
            }
            ("Add", Value::Bent { of, by, rectifier }, Value::Part(to))
            | ("Add", Value::Part(to), Value::Bent { of, by, rectifier }) => {
                self.dynamic_rectifier(output, &of, &rectifier, [by, to])
            }
            ("Sub", Value::Map(_), Value::Part(by)) => Ok(Value::Moved { of: a.to_owned(), by }),
            ("Sub", Value::Map(_), Value::Map(mean)) => {
                let node = self.node_of(a)?;
                let is_mean = self.builder.node(mean.node).op == Op::GlobalAvgPool
                    && self.builder.node(mean.node).inputs == [node]
                    && !mean.is_scaled()
                    && !mean.is_shifted();
                if is_mean {
                    return Ok(Value::Statistic(node, Statistic::Centred));
                }
                if self.shape(a) != self.shape(b) {
                    return Err("a difference of maps of different sizes".to_owned());
                }
                let negated = |values: &[f64]| values.iter().map(|value| -value).collect();
                let minus = Map {
                    node: mean.node,
                    scale: negated(&mean.scale),
                    shift: negated(&mean.shift),
                    is_sum: mean.is_sum,
                    is_flat: mean.is_flat,
                };
                let name = format!("{output}.minus");
                self.values.insert(name.clone(), Value::Map(minus));
                let inputs = vec![node, self.node_of(&name)?];
                let node = self.builder.push(output, Op::Add, inputs);
                Ok(self.like(a, node))
            }
            ("Mul", Value::Statistic(node, Statistic::Centred), Value::Statistic(..)) if a == b => {
                Ok(Value::Statistic(node, Statistic::SquaredDistance))
            }
            ("Mul", Value::Map(_), Value::Map(_)) if a == b => {
                Ok(Value::Statistic(self.node_of(a)?, Statistic::Square))
            }
            ("Mul", Value::Statistic(node, Statistic::Square), Value::Map(x))
            | ("Mul", Value::Map(x), Value::Statistic(node, Statistic::Square))
                if x.node == node =>
            {
                Ok(Value::Statistic(node, Statistic::Cube))
            }
            ("Mul", Value::Choice(choice), _) => self.slopes(b, output, &choice),
            ("Mul", _, Value::Choice(choice)) => self.slopes(a, output, &choice),
            (kind, ..) => Err(format!("`{kind}` of two values that depend on the image")),
        }
    }

    /// The product of a value with slopes that are chosen by its own sign.
    fn slopes(&mut self, x: &str, output: &str, choice: &Choice) -> Read {
        let zero = matches!(&choice.above.limit, Limit::Static(limits) if limits.iter().all(|&limit| limit == 0.0));
        if choice.above.of != x || !zero || !choice.above.pools.is_empty() {
            return Err("a product of two values that depend on the image".to_owned());
        }
        let channels = self.channels(x);
        let floats =
            |numbers: &[f64]| spread(numbers, channels).iter().map(|&v| v as f32).collect();
        let [positive, negative] = [floats(&choice.numbers[0]), floats(&choice.numbers[1])];
        self.rectifier(x, output, Rectifier { slope: Slope::Both, positive, negative })
    }

    fn rectifier(&mut self, x: &str, output: &str, rectifier: Rectifier) -> Read {
        if let Value::Moved { of, by } = self.value(x)?.clone() {
            return Ok(Value::Bent { of, by, rectifier });
        }
        let channels = self.channels(x);
        let map = self.map(x)?.clone();
        let (input, shift) = match map.is_shifted() && !map.is_scaled() {
            true => (map.node, Shift::Static),
            false => (self.node_of(x)?, Shift::None),
        };
        let node =
            self.builder.push(output, Op::Prelu { slope: rectifier.slope, shift }, vec![input]);
        if shift == Shift::Static {
            let shifts = map.shift.iter().map(|&shift| (0.0 - shift) as f32).collect();
            self.builder.vector(node, "shift_x", shifts);
            self.builder.vector(node, "shift_y", vec![0.0; channels]);
        }
        self.set_slopes(node, &rectifier);
        Ok(self.like(x, node))
    }

    /// The value of a node, of as many channels as the value `name`.
    fn like(&self, name: &str, node: NodeId) -> Value {
        let is_flat = self.is_flat(name);
        Value::Map(Map { is_flat, ..Map::of(node, self.channels(name)) })
    }

    fn set_slopes(&mut self, node: NodeId, rectifier: &Rectifier) {
        if rectifier.slope == Slope::Both {
            self.builder.vector(node, "slope_pos", rectifier.positive.clone());
        }
        if rectifier.slope != Slope::Relu {
            self.builder.vector(node, "slope_neg", rectifier.negative.clone());
        }
    }

    /// A rectifier whose shifts depend on the image.
    fn dynamic_rectifier(
        &mut self,
        output: &str,
        of: &str,
        rectifier: &Rectifier,
        [from, to]: [Part; 2],
    ) -> Read {
        let channels = self.channels(output);
        let inner = from.vector == to.vector && [from.start, to.start] == [0, channels];
        if !inner {
            return Err("shifts of a rectifier that are not halves of one vector".to_owned());
        }
        let inputs = vec![self.node_of(of)?, from.vector];
        let op = Op::Prelu { slope: rectifier.slope, shift: Shift::Dynamic };
        let node = self.builder.push(output, op, inputs);
        for (suffix, part) in [("shift_x", from), ("shift_y", to)] {
            self.builder.vector(node, suffix, part.own.iter().map(|&v| v as f32).collect());
        }
        self.set_slopes(node, rectifier);
        Ok(Value::Map(Map::of(node, channels)))
    }

    fn relu(&mut self, x: &str, output: &str) -> Read {
        if let Value::Hidden(layer, statistics) = *self.value(x)? {
            let Op::Linear { out_features: hidden } = self.builder.node(layer).op else {
                return Err("a hidden layer that is read twice".to_owned());
            };
            let precision = Precision::F32;
            self.builder.nodes[layer.0].op = Op::HyperTrunk { statistics, hidden, precision };
            return Ok(Value::Map(Map::of(layer, hidden)));
        }
        let relu = Rectifier { slope: Slope::Relu, positive: vec![], negative: vec![] };
        self.rectifier(x, output, relu)
    }

    fn squashed(&mut self, x: &str) -> Read {
        Ok(Value::Squashed(self.map(x)?.clone()))
    }

    fn batch_normalization(&mut self, operator: &Operator, x: &str) -> Read {
        let channels = self.channels(x);
        let parameters = operator.inputs[1..].iter().map(|name| self.per_channel(name, channels));
        let parameters: Vec<Vec<f64>> = parameters.collect::<Result<_, _>>()?;
        let [weight, bias, mean, var] = &parameters[..] else {
            return Err("it does not have four parameters".to_owned());
        };
        let eps = f64::from(operator.float("epsilon", 1e-5));
        if var.iter().any(|&var| var + eps <= 0.0) {
            return Err("a variance below 0".to_owned());
        }
        let map = self.map(x)?.clone();
        let mut scaled = map.clone();
        for c in 0..channels {
            let at = |values: &[f64]| values[c % values.len()];
            let factor = at(weight) / (at(var) + eps).sqrt();
            scaled.scale[c] = map.scale[c] * factor;
            scaled.shift[c] = (map.shift[c] - at(mean)) * factor + at(bias);
        }
        scaled.is_sum = true;
        Ok(Value::Map(scaled))
    }

    fn conv(&mut self, operator: &Operator, x: &str, output: &str) -> Read {
        let Some(weight) = self.network.constants.get(&operator.inputs[1]) else {
            return Err("its weights depend on the image".to_owned());
        };
        let bias = operator.inputs.get(2).filter(|name| !name.is_empty());
        let outputs = self.channels(output);
        let bias = bias.map(|name| self.per_channel(name, outputs)).transpose()?;
        let (source, pads, pad) = match self.value(x)?.clone() {
            Value::Padded(source, pads, pad) => (*source, pads, Some(pad)),
            source => (source, [0; 4], None),
        };
        let shape = self.shape(x).to_vec();
        let extents = [shape[2], shape[3]];
        let window = operator.window(&kernel_shape(operator, Some(weight))?, &extents)?;
        if pad.is_some_and(|pad| pad != 0.0) && window.pads != [0; 4] {
            return Err("two kinds of padding".to_owned());
        }
        let pads: Vec<usize> = pads.iter().zip(&window.pads).map(|(a, b)| a + b).collect();
        let groups = operator.int("group", 1).max(1) as usize;
        let covers = window.kernel == extents && pads == [0; 4] && groups == 1;
        let [kernel, width] = window.kernel;
        if !covers && (kernel != width || window.stride[0] != window.stride[1]) {
            return Err("a window or step that is not square".to_owned());
        }
        if pads.iter().any(|&pad| pad != pads[0]) {
            return Err(format!("the paddings {pads:?} of its sides are not equal"));
        }
        let geometry = Geometry {
            out_channels: outputs,
            kernel,
            stride: window.stride[0],
            padding: pads[0],
            groups,
        };
        match source {
            Value::Choice(choice) => {
                self.binary(output, &choice, weight, bias, covers, geometry, pad.unwrap_or(0.0))
            }
            Value::Statistics(node, statistics) if covers => {
                let layer = self.linear(output, node, weight, bias, 1);
                Ok(Value::Hidden(layer, statistics))
            }
            Value::Map(_) => {
                if pad.is_some_and(|pad| pad != 0.0) {
                    return Err("a padding of other numbers than 0 around a real map".to_owned());
                }
                let name = if let Value::Padded(..) = self.value(x)? {
                    self.unpadded(x)?
                } else {
                    x.to_owned()
                };
                let input = self.node_of(&name)?;
                if covers && (bias.is_some() || extents != [1, 1]) {
                    let layer = self.linear(output, input, weight, bias, extents[0] * extents[1]);
                    return Ok(Value::Map(Map::of(layer, outputs)));
                }
                let node = self.builder.push(output, Op::Conv { geometry }, vec![input]);
                let ohwi = weight.transpose(&[0, 2, 3, 1]);
                self.builder.set(node, "weight", ohwi.shape, ohwi.values);
                let mut map = Map::of(node, outputs);
                map.shift = bias.map_or_else(|| vec![0.0; outputs], |bias| spread(&bias, outputs));
                Ok(Value::Map(map))
            }
            _ => self.map(x).and(Err("it reads what is no map".to_owned())),
        }
    }

    /// A name for what is inside a padded value.
    fn unpadded(&mut self, x: &str) -> Result<String, String> {
        let Value::Padded(inner, ..) = self.value(x)?.clone() else { return Ok(x.to_owned()) };
        let name = format!("{x}.unpadded");
        self.values.insert(name.clone(), *inner);
        Ok(name)
    }

    /// A convolution or layer of bits.
    #[allow(clippy::too_many_arguments, reason = "they are what a convolution is")]
    fn binary(
        &mut self,
        output: &str,
        choice: &Choice,
        weight: &Array,
        bias: Option<Vec<f64>>,
        covers: bool,
        geometry: Geometry,
        pad: f32,
    ) -> Read {
        let Some([factor, offset]) = choice.of_bits() else {
            return Err("its 1-bit values are other numbers in each channel".to_owned());
        };
        let outputs = geometry.out_channels;
        let sizes = binary_sizes(weight, outputs)?;
        let ohwi = weight.transpose(&[0, 2, 3, 1]);
        let sums: Vec<f64> = ohwi
            .values
            .chunks(ohwi.values.len() / outputs)
            .map(|filter| filter.iter().map(|&w| f64::from(w)).sum())
            .collect();
        let padded_bit = (f64::from(pad) - offset) / factor;
        let pad = match padded_bit {
            _ if geometry.padding == 0 => PadValue::Zero,
            0.0 => PadValue::Zero,
            1.0 => PadValue::One,
            other => {
                return Err(format!(
                    "a padding that is {other} for bits of +1 and -1, expected 0 or 1"
                ));
            }
        };
        let input = self.sign(choice)?;
        let scale = WeightScale::None;
        let (op, shape) = match covers {
            true => (
                Op::LinearBin { out_features: outputs, scale },
                vec![outputs, ohwi.values.len() / outputs],
            ),
            false => (Op::ConvBin { geometry, pad, scale }, ohwi.shape.clone()),
        };
        let node = self.builder.push(output, op, vec![input]);
        self.builder.set(node, "weight", shape, ohwi.values);
        let mut map = Map::of(node, outputs);
        for o in 0..outputs {
            map.scale[o] = factor * sizes[o];
            map.shift[o] =
                offset * sums[o] + bias.as_ref().map_or(0.0, |bias| bias[o % bias.len()]);
        }
        Ok(Value::Map(map))
    }

    /// The node of the bits that a choice is made of.
    fn sign(&mut self, choice: &Choice) -> Result<NodeId, String> {
        let known = self.signs.iter().find(|sign| sign.value == choice.base);
        if let Some(known) = known {
            return Ok(known.node);
        }
        let Choice { above, base, .. } = choice;
        let mut x = self.node_of(&above.of)?;
        for &at in &above.pools {
            let pool = &self.network.operators[at];
            let kernel = kernel_shape(pool, None)?;
            let window = pool.window(&kernel, &self.shape(&pool.inputs[0])[2..])?;
            let op = Op::MaxPool {
                kernel: kernel[0],
                stride: window.stride[0],
                padding: window.pads[0],
            };
            x = self.builder.push(&format!("{}.max", pool.outputs[0]), op, vec![x]);
        }
        let channels = choice.channels;
        let node = match &above.limit {
            Limit::Dynamic(limit) => {
                let map = self.map(limit)?.clone();
                let op = Op::Sign { threshold: Threshold::Dynamic };
                let node = self.builder.push(base, op, vec![x, map.node]);
                self.builder.vector(
                    node,
                    "threshold",
                    map.shift.iter().map(|&v| v as f32).collect(),
                );
                node
            }
            Limit::Static(limits) if limits.iter().all(|&limit| limit == 0.0) => {
                self.builder.push(base, Op::Sign { threshold: Threshold::Zero }, vec![x])
            }
            Limit::Static(limits) => {
                let op = Op::Sign { threshold: Threshold::Static };
                let node = self.builder.push(base, op, vec![x]);
                let limits = (0..channels).map(|c| limits[c % limits.len()]).collect();
                self.builder.vector(node, "threshold", limits);
                node
            }
        };
        let source = SignSource {
            node,
            name: self.builder.node(node).name.clone(),
            value: base.clone(),
            above: above.clone(),
            numbers: choice.first.clone(),
            channels,
        };
        self.signs.push(source);
        Ok(node)
    }

    /// A layer of real weights `[O, C, h, w]`, with a bias.
    fn linear(
        &mut self,
        output: &str,
        input: NodeId,
        weight: &Array,
        bias: Option<Vec<f64>>,
        pixels: usize,
    ) -> NodeId {
        let outputs = weight.shape[0];
        let node = self.builder.push(output, Op::Linear { out_features: outputs }, vec![input]);
        let inputs = weight.values.len() / outputs;
        let channels = inputs / pixels;
        let by_channel =
            Array { shape: vec![outputs, channels, pixels], values: weight.values.clone() };
        let values = by_channel.transpose(&[0, 2, 1]).values;
        self.builder.set(node, "weight", vec![outputs, inputs], values);
        let bias = bias.map_or_else(|| vec![0.0; outputs], |bias| spread(&bias, outputs));
        self.builder.vector(node, "bias", bias.iter().map(|&v| v as f32).collect());
        node
    }

    /// `Gemm` or `MatMul`.
    fn layer(&mut self, operator: &Operator, x: &str, output: &str) -> Read {
        let Some(weight) = self.network.constants.get(&operator.inputs[1]) else {
            return Err("its weights depend on the image".to_owned());
        };
        if weight.rank() != 2 || self.shape(x).len() != 2 || operator.int("transA", 0) != 0 {
            return Err("it is no layer of a vector".to_owned());
        }
        let is_gemm = operator.kind == "Gemm";
        let is_turned = is_gemm && operator.int("transB", 0) != 0;
        let mut rows = if is_turned { weight.clone() } else { weight.transpose(&[1, 0]) };
        let (alpha, beta) = match is_gemm {
            true => (operator.float("alpha", 1.0), operator.float("beta", 1.0)),
            false => (1.0, 1.0),
        };
        rows.values.iter_mut().for_each(|w| *w *= alpha);
        let outputs = rows.shape[0];
        let bias = operator.inputs.get(2).filter(|name| is_gemm && !name.is_empty());
        let bias = bias.map(|name| self.per_channel(name, outputs)).transpose()?;
        let bias = bias.map(|bias| bias.iter().map(|b| b * f64::from(beta)).collect::<Vec<f64>>());
        let pixels = rows.shape[1] / self.channels(x).max(1);
        match self.value(x)?.clone() {
            Value::Choice(choice) => {
                let shape = vec![outputs, choice.channels, pixels, 1];
                let maps = Array { shape, values: rows.values };
                let geometry =
                    Geometry { out_channels: outputs, kernel: 1, stride: 1, padding: 0, groups: 1 };
                self.binary(output, &choice, &maps, bias, true, geometry, 0.0)
            }
            _ => {
                let input = self.node_of(x)?;
                let layer = self.linear(output, input, &rows, bias, pixels);
                Ok(Value::Map(Map::of(layer, outputs)))
            }
        }
    }

    /// Whether a value is that of a layer and nothing else.
    fn is_plain_layer(&self, map: &Map) -> bool {
        let layer = matches!(self.builder.node(map.node).op, Op::Linear { .. });
        layer && !map.is_scaled() && !map.is_shifted()
    }

    /// A bounded layer of a hyper function.
    fn hyper_head(&mut self, layer: NodeId, lambda: f64) -> Read {
        let Op::Linear { out_features: outputs } = self.builder.node(layer).op else {
            return Err("a sigmoid that bounds no layer".to_owned());
        };
        let range = HyperRange::Sigmoid { lambda: lambda as f32 };
        self.builder.nodes[layer.0].op =
            Op::HyperHead { outputs, range, precision: Precision::F32 };
        Ok(Value::Map(Map::of(layer, outputs)))
    }

    fn pool(&mut self, at: usize, operator: &Operator, x: &str, output: &str) -> Read {
        let shape = self.shape(x).to_vec();
        let window = operator.window(&kernel_shape(operator, None)?, &shape[2..])?;
        let ([kernel, width], pads) = (window.kernel, window.pads);
        if kernel != width
            || window.stride[0] != window.stride[1]
            || pads.iter().any(|&p| p != pads[0])
        {
            return Err("a window, step or padding that is not square".to_owned());
        }
        let (stride, padding) = (window.stride[0], pads[0]);
        let is_max = operator.kind == "MaxPool";
        if let (Value::Choice(choice), true) = (self.value(x)?.clone(), is_max) {
            let rises = |c: usize| {
                choice.numbers[0][c % choice.numbers[0].len()]
                    > choice.numbers[1][c % choice.numbers[1].len()]
            };
            if !(0..self.channels(x)).all(rises) {
                return Err("a maximum of 1-bit values that fall".to_owned());
            }
            if choice.is_flat {
                return Err("it reads a flattened map, which only layers do".to_owned());
            }
            let mut above = choice.above;
            above.pools.push(at);
            return Ok(self.choice(above, output, choice.numbers));
        }
        if !is_max && padding > 0 {
            return Err("an average with padding".to_owned());
        }
        let input = self.spatial(x)?;
        let op = match is_max {
            true => Op::MaxPool { kernel, stride, padding },
            false => Op::AvgPool { kernel, stride },
        };
        let node = self.builder.push(output, op, vec![input]);
        Ok(Value::Map(Map::of(node, self.channels(output))))
    }

    fn global_pool(&mut self, x: &str, output: &str) -> Read {
        match *self.value(x)? {
            Value::Statistic(node, Statistic::SquaredDistance) => {
                return Ok(Value::Statistic(node, Statistic::Variance));
            }
            Value::Statistic(node, Statistic::Cube) => {
                return Ok(Value::Statistic(node, Statistic::Third));
            }
            _ => {}
        }
        let input = self.spatial(x)?;
        let node = self.builder.push(output, Op::GlobalAvgPool, vec![input]);
        Ok(Value::Map(Map::of(node, self.channels(output))))
    }

    /// What becomes of a value when only its shape changes.
    fn reshape(&mut self, x: &str, output: &str) -> Read {
        let (from, to) = (self.shape(x).to_vec(), self.shape(output).to_vec());
        let (channels, is_flat) = (self.channels(x), self.is_flat(x));
        let is_vector = to.len() >= 2 && to[0] == 1 && to[2..].iter().all(|&extent| extent == 1);
        let pixels =
            if is_flat { from[1] / channels.max(1) } else { from.iter().skip(2).product() };
        let is_map = to.len() == 4 && to[..2] == [1, channels] && to[2] * to[3] == pixels;
        let flattened = match is_vector {
            true => Some(pixels > 1),
            false => is_map.then_some(false),
        };
        match (self.value(x)?.clone(), flattened) {
            (value, _) if from == to => Ok(value),
            (Value::ChannelsLast(map), Some(_)) => Ok(Value::ChannelsLast(map)),
            (Value::Map(map), Some(is_flat)) => Ok(Value::Map(Map { is_flat, ..map })),
            (Value::Squashed(map), Some(is_flat)) => Ok(Value::Squashed(Map { is_flat, ..map })),
            (Value::Choice(choice), Some(is_flat)) => {
                Ok(Value::Choice(Choice { is_flat, ..choice }))
            }
            (Value::Map(map), None)
                if to.len() == 5 && to[1] * to[2] == channels && to[3..] == from[2..] =>
            {
                Ok(Value::Grouped { map, groups: to[1], exchanged: false })
            }
            (Value::Grouped { map, groups, exchanged: true }, _)
                if to.len() == 4 && to[2..] == from[3..] =>
            {
                let name = format!("{output}.whole");
                let channels = map.scale.len();
                self.values.insert(name.clone(), Value::Map(map));
                let input = self.node_of(&name)?;
                let node = self.builder.push(output, Op::ChannelShuffle { groups }, vec![input]);
                Ok(Value::Map(Map::of(node, channels)))
            }
            _ => self.map(x).and(Err(format!("the shape {from:?} becomes {to:?}"))),
        }
    }

    fn concat(&mut self, operator: &Operator, output: &str) -> Read {
        let first = &operator.inputs[0];
        if operator.axis(self.shape(first).len(), 0)? != 1 {
            return Err("not along the channels".to_owned());
        }
        if let [mean, second] = &operator.inputs[..]
            && let (Value::Map(mean), &Value::Statistic(node, statistic)) =
                (self.value(mean)?, self.value(second)?)
        {
            let of_same = self.builder.node(mean.node).inputs == [node];
            return match statistic {
                Statistic::Std if of_same => Ok(Value::Statistics(node, Statistics::MeanStd)),
                Statistic::Third if of_same => Ok(Value::Statistics(node, Statistics::MeanThird)),
                _ => Err("statistics that no hyper function has".to_owned()),
            };
        }
        let mut node = self.spatial(first)?;
        for (at, name) in operator.inputs.iter().enumerate().skip(1) {
            let other = self.spatial(name)?;
            let name = if at + 1 == operator.inputs.len() {
                output.to_owned()
            } else {
                format!("{output}.{at}")
            };
            node = self.builder.push(&name, Op::Concat, vec![node, other]);
        }
        Ok(Value::Map(Map::of(node, self.channels(output))))
    }

    fn split(&mut self, operator: &Operator, x: &str) -> Result<Vec<Value>, String> {
        let map = self.map(x)?;
        if map.is_scaled() || map.is_shifted() || self.pixels(x) > 1 {
            return Err("only vectors of shifts are split".to_owned());
        }
        let vector = map.node;
        let mut start = 0;
        let part = |name: &String| {
            let len = self.channels(name);
            start += len;
            Value::Part(Part { vector, start: start - len, own: vec![0.0; len] })
        };
        Ok(operator.outputs.iter().map(part).collect())
    }

    fn pad(&mut self, operator: &Operator, x: &str) -> Read {
        let inputs: Vec<Option<&Array>> =
            operator.inputs.iter().map(|name| self.network.constants.get(name)).collect();
        let (pads, value) = padding(operator, &inputs)?;
        let &[0, 0, top, left, 0, 0, bottom, right] = &pads[..] else {
            return Err(format!("the pads {pads:?} are not those of the sides of a map"));
        };
        Ok(Value::Padded(Box::new(self.value(x)?.clone()), [top, left, bottom, right], value))
    }
}

pub(super) fn not_read(operator: &Operator) -> String {
    format!("`{}` ({}): this operator is not read", operator.name, operator.kind)
}

fn negative(slopes: &[f64], channels: usize) -> Rectifier {
    let negative = spread(slopes, channels).iter().map(|&slope| slope as f32).collect();
    Rectifier { slope: Slope::Negative, positive: vec![], negative }
}

/// A number for each channel.
fn spread(numbers: &[f64], channels: usize) -> Vec<f64> {
    (0..channels).map(|c| numbers[c % numbers.len()]).collect()
}

/// For each output the size that all of its weights have.
fn binary_sizes(weight: &Array, outputs: usize) -> Result<Vec<f64>, String> {
    let filters = weight.values.chunks(weight.values.len() / outputs.max(1));
    let size = |(o, filter): (usize, &[f32])| {
        let size = filter[0].abs();
        let even = size > 0.0 && filter.iter().all(|w| w.abs() == size);
        even.then_some(f64::from(size)).ok_or_else(|| {
            format!(
                "it reads 1-bit values, but the weights of output {o} are not +-1 times one number"
            )
        })
    };
    filters.enumerate().map(size).collect()
}
