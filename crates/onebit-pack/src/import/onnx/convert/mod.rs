//! Operators of ONNX turned into nodes of our graph, one after the other.

mod arithmetic;
mod layers;
mod maps;
mod signs;

use std::collections::BTreeMap;

use onebit_model::{NodeId, Op, Slope};

use super::SignSource;
use super::array::Array;
use super::builder::Builder;
use super::evaluate::{clip_bounds, order, reduced_axes};
use super::network::Network;
use super::operator::Operator;
use super::value::{Map, Rectifier, Statistic, Value};

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
                    self.problems.extend(operator.unknown());
                    vec![]
                }
                false => self.operator(at, operator).unwrap_or_else(|problem| {
                    self.problems.push(operator.problem(&problem));
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
            Some(Value::Unreadable) | None => {
                if self.problems.is_empty() {
                    self.problems
                        .push(format!("the output `{output}` does not depend on the image"));
                }
                return None;
            }
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
            "Identity" => self.value(x)?.clone(),
            "Dropout" => {
                let training =
                    operator.inputs.get(2).and_then(|name| self.network.constants.get(name));
                if training.is_some_and(|training| training.values != [0.0]) {
                    return Err("it is in training mode".to_owned());
                }
                self.value(x)?.clone()
            }
            "Cast" => self.cast(operator, x, output)?,
            "Neg" => self.scaled(x, -1.0)?,
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
            "Not" => self.not(x, output)?,
            "Where" => self.choose(operator, output)?,
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(operator)?,
            "BatchNormalization" => self.batch_normalization(operator, x)?,
            "Conv" => self.conv(operator, x, output)?,
            "Gemm" | "MatMul" => self.layer(operator, x, output)?,
            "Relu" => self.relu(x, output)?,
            "PRelu" => {
                let slopes = self.per_channel(&operator.inputs[1], self.channels(x))?;
                if slopes.len() > 1 && !self.lies_on_channels(&operator.inputs[1], x) {
                    return Err("its slopes are not one number for each channel".to_owned());
                }
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
            "Slice" => return Err("only constants are sliced".into()),
            "Quant" => {
                return Err("activations of several bits: only those of one bit are read".into());
            }
            _ => return Err(String::new()),
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
            Some(Value::Map(map)) => map.scale.len(),
            Some(Value::Squashed(inside)) => self.channels(inside),
            Some(Value::Choice(choice)) => choice.channels,
            Some(Value::Above(above)) => self.channels(&above.of),
            _ => self.shape(name).get(1).copied().unwrap_or(1),
        }
    }

    fn is_flat(&self, name: &str) -> bool {
        match self.values.get(name) {
            Some(Value::Map(map)) => map.is_flat,
            Some(Value::Squashed(inside)) => self.is_flat(inside),
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

    /// The value of a node, of as many channels as the value `name`.
    fn like(&self, name: &str, node: NodeId) -> Value {
        let is_flat = self.is_flat(name);
        Value::Map(Map { is_flat, ..Map::of(node, self.channels(name)) })
    }
}

fn negative(slopes: &[f64], channels: usize) -> Rectifier {
    let negative = spread(slopes, channels).iter().map(|&slope| slope as f32).collect();
    Rectifier { slope: Slope::Negative, positive: vec![], negative }
}

/// A number for each channel.
fn spread(numbers: &[f64], channels: usize) -> Vec<f64> {
    (0..channels).map(|c| numbers[c % numbers.len()]).collect()
}
