//! What moves the values of a map: pooling, other shapes, several maps as one.

use onebit_model::{Op, Statistics};

use super::{Converter, Read};
use crate::import::onnx::array::Array;
use crate::import::onnx::evaluate::{kernel_shape, padding};
use crate::import::onnx::operator::Operator;
use crate::import::onnx::value::{Choice, Map, Part, Statistic, Value};

impl Converter<'_> {
    pub(super) fn pool(&mut self, at: usize, operator: &Operator, x: &str, output: &str) -> Read {
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

    pub(super) fn global_pool(&mut self, x: &str, output: &str) -> Read {
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
    pub(super) fn reshape(&mut self, x: &str, output: &str) -> Read {
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

    pub(super) fn concat(&mut self, operator: &Operator, output: &str) -> Read {
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

    pub(super) fn split(&mut self, operator: &Operator, x: &str) -> Result<Vec<Value>, String> {
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

    pub(super) fn pad(&mut self, operator: &Operator, x: &str) -> Read {
        let inputs: Vec<Option<&Array>> =
            operator.inputs.iter().map(|name| self.network.constants.get(name)).collect();
        let (pads, value) = padding(operator, &inputs)?;
        let &[0, 0, top, left, 0, 0, bottom, right] = &pads[..] else {
            return Err(format!("the pads {pads:?} are not those of the sides of a map"));
        };
        if [top, left, bottom, right] == [0; 4] {
            return Ok(self.value(x)?.clone());
        }
        Ok(Value::Padded(Box::new(self.value(x)?.clone()), [top, left, bottom, right], value))
    }
}
