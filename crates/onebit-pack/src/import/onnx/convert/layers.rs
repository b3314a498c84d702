//! Convolutions and layers, of bits and of real values.

use onebit_model::{Geometry, NodeId, Op, PadValue, WeightScale};

use super::{Converter, Read, spread};
use crate::import::onnx::array::Array;
use crate::import::onnx::evaluate::{groups, kernel_shape};
use crate::import::onnx::operator::Operator;
use crate::import::onnx::value::{Choice, Map, Value};

/// Weights `[O, I, h, w]` of a convolution or layer of bits, and how they lie over the map.
pub(super) struct Filters<'a> {
    weight: &'a Array,
    /// A number for each output, or one for all.
    bias: Option<Vec<f64>>,
    geometry: Geometry,
    /// Whether the window is the whole map.
    covers: bool,
    /// The number that is padded.
    pad: f32,
}

impl Converter<'_> {
    pub(super) fn conv(&mut self, operator: &Operator, x: &str, output: &str) -> Read {
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
        let groups = groups(operator)?;
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
                let pad = pad.unwrap_or(0.0);
                self.binary(output, &choice, &Filters { weight, bias, geometry, covers, pad })
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
    pub(super) fn unpadded(&mut self, x: &str) -> Result<String, String> {
        let Value::Padded(inner, ..) = self.value(x)?.clone() else { return Ok(x.to_owned()) };
        let name = format!("{x}.unpadded");
        self.values.insert(name.clone(), *inner);
        Ok(name)
    }

    /// A convolution or layer of bits.
    pub(super) fn binary(&mut self, output: &str, choice: &Choice, filters: &Filters<'_>) -> Read {
        let &Filters { weight, ref bias, geometry, covers, pad } = filters;
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

    /// A layer of real weights `[O, C, h, w]`, with a bias.
    pub(super) fn linear(
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
    pub(super) fn layer(&mut self, operator: &Operator, x: &str, output: &str) -> Read {
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
                let (weight, covers, pad) = (&maps, true, 0.0);
                self.binary(output, &choice, &Filters { weight, bias, geometry, covers, pad })
            }
            _ => {
                let input = self.node_of(x)?;
                let layer = self.linear(output, input, &rows, bias, pixels);
                Ok(Value::Map(Map::of(layer, outputs)))
            }
        }
    }
}

/// Share by which the sizes of binary weights may differ: estimators that are written as `sign - clip + clip` round.
const ROUNDING: f32 = 1e-6;

/// For each output the size that all of its weights have.
fn binary_sizes(weight: &Array, outputs: usize) -> Result<Vec<f64>, String> {
    let filters = weight.values.chunks(weight.values.len() / outputs.max(1));
    let size = |(o, filter): (usize, &[f32])| {
        let size = filter[0].abs();
        let even = |w: &f32| (w.abs() - size).abs() <= ROUNDING * size;
        (size > 0.0 && filter.iter().all(even)).then_some(f64::from(size)).ok_or_else(|| {
            format!(
                "it reads 1-bit values, but the weights of output {o} are not +-1 times one number"
            )
        })
    };
    filters.enumerate().map(size).collect()
}
