//! Arithmetic, rectifiers and normalization: what becomes a factor and a shift for each channel.

use onebit_model::op::HYPER_STD_EPS;
use onebit_model::{HyperRange, NodeId, Op, Precision, Shift, Slope};

use super::{Converter, Read, spread};
use crate::import::onnx::operator::Operator;
use crate::import::onnx::value::{Choice, Limit, Map, Part, Rectifier, Statistic, Value};

impl Converter<'_> {
    pub(super) fn arithmetic(&mut self, operator: &Operator) -> Read {
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

    /// A value times one number.
    pub(super) fn scaled(&mut self, x: &str, factor: f64) -> Read {
        let by = |numbers: &[f64]| numbers.iter().map(|number| factor * number).collect();
        match self.value(x)?.clone() {
            Value::Choice(choice) => {
                let numbers = [by(&choice.numbers[0]), by(&choice.numbers[1])];
                Ok(Value::Choice(Choice { numbers, ..choice }))
            }
            _ => {
                let map = self.map(x)?.clone();
                Ok(Value::Map(Map { scale: by(&map.scale), shift: by(&map.shift), ..map }))
            }
        }
    }

    /// `x op constant`, or `constant op x`.
    pub(super) fn with_constant(
        &mut self,
        kind: &str,
        x: &str,
        constant: &str,
        turned: bool,
    ) -> Read {
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
    pub(super) fn of_two(&mut self, operator: &Operator, a: &str, b: &str) -> Read {
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
    pub(super) fn slopes(&mut self, x: &str, output: &str, choice: &Choice) -> Read {
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

    pub(super) fn rectifier(&mut self, x: &str, output: &str, rectifier: Rectifier) -> Read {
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

    pub(super) fn set_slopes(&mut self, node: NodeId, rectifier: &Rectifier) {
        if rectifier.slope == Slope::Both {
            self.builder.vector(node, "slope_pos", rectifier.positive.clone());
        }
        if rectifier.slope != Slope::Relu {
            self.builder.vector(node, "slope_neg", rectifier.negative.clone());
        }
    }

    /// A rectifier whose shifts depend on the image.
    pub(super) fn dynamic_rectifier(
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

    pub(super) fn relu(&mut self, x: &str, output: &str) -> Read {
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

    pub(super) fn batch_normalization(&mut self, operator: &Operator, x: &str) -> Read {
        let channels = self.channels(x);
        let parameters = operator.inputs[1..].iter().map(|name| self.per_channel(name, channels));
        let parameters: Vec<Vec<f64>> = parameters.collect::<Result<_, _>>()?;
        let [weight, bias, mean, var] = &parameters[..] else {
            return Err("it does not have four parameters".to_owned());
        };
        let eps = f64::from(operator.float("epsilon", 1e-5));
        if var.iter().any(|&var| var + eps <= 0.0) {
            return Err("a variance of 0 or less, its epsilon added".to_owned());
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

    /// Whether a value is that of a layer and nothing else.
    pub(super) fn is_plain_layer(&self, map: &Map) -> bool {
        let layer = matches!(self.builder.node(map.node).op, Op::Linear { .. });
        layer && !map.is_scaled() && !map.is_shifted()
    }

    /// A bounded layer of a hyper function.
    pub(super) fn hyper_head(&mut self, layer: NodeId, lambda: f64) -> Read {
        let Op::Linear { out_features: outputs } = self.builder.node(layer).op else {
            return Err("a sigmoid that bounds no layer".to_owned());
        };
        let range = HyperRange::Sigmoid { lambda: lambda as f32 };
        self.builder.nodes[layer.0].op =
            Op::HyperHead { outputs, range, precision: Precision::F32 };
        Ok(Value::Map(Map::of(layer, outputs)))
    }
}
