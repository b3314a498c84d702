//! Comparisons and quantizers of one bit, and the signs that they become.

use onebit_model::{NodeId, Op, Threshold, bits};

use super::{Converter, Read};
use crate::import::onnx::SignSource;
use crate::import::onnx::evaluate::{Kind, kernel_shape, kind_of};
use crate::import::onnx::operator::Operator;
use crate::import::onnx::value::{Above, Choice, Limit, Value};

impl Converter<'_> {
    pub(super) fn choice(&self, above: Above, base: &str, numbers: [Vec<f64>; 2]) -> Value {
        let (base, first) = (base.to_owned(), numbers.clone());
        let (channels, is_flat) = (self.channels(&above.of), self.is_flat(&above.of));
        Value::Choice(Choice { above, base, first, numbers, channels, is_flat })
    }

    /// The comparison of a value with limits: above them, or not below them.
    pub(super) fn above(
        &mut self,
        name: &str,
        limits: &[f32],
        or_equal: bool,
    ) -> Result<Above, String> {
        match self.value(name)? {
            Value::Map(_) | Value::Moved { .. } => {}
            Value::Squashed(inside) if limits.iter().all(|&limit| limit == 0.0) => {
                return self.above(&inside.clone(), limits, or_equal);
            }
            _ => drop(self.map(name)?),
        }
        let limits =
            limits.iter().map(|&limit| if or_equal { bits::at_least(limit) } else { limit });
        Ok(Above { of: name.to_owned(), limit: Limit::Static(limits.collect()), pools: vec![] })
    }

    pub(super) fn comparison(&mut self, operator: &Operator, output: &str) -> Read {
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
    pub(super) fn dynamic(&mut self, x: &str, limit: &str) -> Read {
        let map = self.map(limit)?;
        if map.is_scaled() || self.pixels(limit) > 1 {
            return Err("a comparison with what is no vector of thresholds".to_owned());
        }
        let limit = Limit::Dynamic(limit.to_owned());
        Ok(Value::Above(Above { of: x.to_owned(), limit, pools: vec![] }))
    }

    pub(super) fn choose(&mut self, operator: &Operator, output: &str) -> Read {
        let (above, is_turned) = match self.value(&operator.inputs[0])?.clone() {
            Value::Above(above) => (above, false),
            // Truth values that have been through `Not`, or another way round.
            Value::Choice(Choice { above, numbers, .. }) if numbers == [[0.0], [1.0]] => {
                (above, true)
            }
            Value::Choice(Choice { above, numbers, .. }) if numbers == [[1.0], [0.0]] => {
                (above, false)
            }
            _ => return Err("it does not read a comparison".to_owned()),
        };
        let condition = &operator.inputs[0];
        let channels = self.channels(condition);
        if let Some(name) =
            operator.inputs[1..].iter().find(|n| !self.lies_on_channels(n, condition))
        {
            return Err(format!("`{name}` is not one number for each channel"));
        }
        let mut numbers = [
            self.per_channel(&operator.inputs[1], channels)?,
            self.per_channel(&operator.inputs[2], channels)?,
        ];
        if is_turned {
            numbers.reverse();
        }
        Ok(self.choice(above, output, numbers))
    }

    pub(super) fn multi_threshold(&mut self, operator: &Operator, x: &str, output: &str) -> Read {
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

    pub(super) fn squashed(&self, x: &str) -> Read {
        self.map(x).map(|_| Value::Squashed(x.to_owned()))
    }

    /// The node of the bits that a choice is made of.
    pub(super) fn sign(&mut self, choice: &Choice) -> Result<NodeId, String> {
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

    /// Truth values as numbers, or one float as another.
    pub(super) fn cast(&mut self, operator: &Operator, x: &str, output: &str) -> Read {
        let kind = kind_of(operator)?;
        match (self.value(x)?.clone(), kind) {
            (Value::Above(above), Kind::Truth) => Ok(Value::Above(above)),
            (Value::Above(above), _) => Ok(self.choice(above, output, [vec![1.0], vec![0.0]])),
            (Value::Choice(choice), Kind::Integer) if choice.is_whole() => {
                Ok(Value::Choice(choice))
            }
            (value, Kind::Float) => Ok(value),
            _ => Err("real values that are rounded to integers or truth values".to_owned()),
        }
    }

    /// The contrary of truth values.
    pub(super) fn not(&mut self, x: &str, output: &str) -> Read {
        match self.value(x)?.clone() {
            Value::Above(above) => Ok(self.choice(above, output, [vec![0.0], vec![1.0]])),
            Value::Choice(Choice { above, numbers, .. }) if numbers == [[0.0], [1.0]] => {
                Ok(self.choice(above, output, [vec![1.0], vec![0.0]]))
            }
            Value::Choice(Choice { above, numbers, .. }) if numbers == [[1.0], [0.0]] => {
                Ok(self.choice(above, output, [vec![0.0], vec![1.0]]))
            }
            _ => Err("it does not read a comparison".to_owned()),
        }
    }
}
