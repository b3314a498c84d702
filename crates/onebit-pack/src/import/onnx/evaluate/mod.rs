//! Operators computed by naive loops: constants of the graph, and the logits that an imported network is compared with.

mod product;
mod shape;
mod window;

use self::product::{gemm, mat_mul};
use self::shape::{concat, gather, pad, reduce_mean, reshape, slice, split, squeeze};
use self::window::{conv, pool};
use super::array::{Array, common, product};
use super::operator::{Operator, axis};

pub(super) use self::shape::{order, padding, reduced_axes};
pub(super) use self::window::{groups, kernel_shape};

/// Outputs of an operator.
pub(super) fn evaluate(
    operator: &Operator,
    inputs: &[Option<&Array>],
) -> Result<Vec<Array>, String> {
    let x = || input(inputs, 0);
    let unary = |f: &dyn Fn(f32) -> f32| {
        let x = x()?;
        one(Array { shape: x.shape.clone(), values: x.values.iter().map(|&v| f(v)).collect() })
    };
    let binary = |f: &dyn Fn(f32, f32) -> f32| {
        let (a, b) = (input(inputs, 0)?, input(inputs, 1)?);
        let shape = common(&a.shape, &b.shape)?;
        let pairs = a.broadcast(&shape).into_iter().zip(b.broadcast(&shape));
        one(Array { values: pairs.map(|(a, b)| f(a, b)).collect(), shape })
    };
    match operator.kind.as_str() {
        "Identity" | "Dropout" => unary(&|v| v),
        "Cast" => match kind_of(operator)? {
            Kind::Float => unary(&|v| v),
            Kind::Integer => unary(&f32::trunc),
            Kind::Truth => unary(&|v| truth(v != 0.0)),
        },
        "Sign" => unary(&|v| if v == 0.0 || v.is_nan() { v } else { v.signum() }),
        "Relu" => unary(&|v| v.max(0.0)),
        "Neg" => unary(&|v| -v),
        "Abs" => unary(&f32::abs),
        "Sqrt" => unary(&f32::sqrt),
        "Tanh" => unary(&f32::tanh),
        "Sigmoid" => unary(&|v| 1.0 / (1.0 + (-v).exp())),
        "Not" => unary(&|v| truth(v == 0.0)),
        "LeakyRelu" => {
            let slope = operator.float("alpha", 0.01);
            unary(&|v| if v < 0.0 { slope * v } else { v })
        }
        "HardTanh" => unary(&|v| v.clamp(-1.0, 1.0)),
        "Clip" => {
            let [low, high] = clip_bounds(operator, inputs)?;
            unary(&|v| v.max(low).min(high))
        }
        "Add" => binary(&|a, b| a + b),
        "Sub" => binary(&|a, b| a - b),
        "Mul" => binary(&|a, b| a * b),
        "Div" => binary(&|a, b| a / b),
        "Greater" => binary(&|a, b| truth(a > b)),
        "GreaterOrEqual" => binary(&|a, b| truth(a >= b)),
        "Less" => binary(&|a, b| truth(a < b)),
        "LessOrEqual" => binary(&|a, b| truth(a <= b)),
        "PRelu" => binary(&|v, slope| if v < 0.0 { slope * v } else { v }),
        "BipolarQuant" => binary(&|v, scale| if v >= 0.0 { scale } else { -scale }),
        "Where" => {
            let [condition, a, b] = [0, 1, 2].map(|i| input(inputs, i));
            let (condition, a, b) = (condition?, a?, b?);
            let shape = common(&common(&condition.shape, &a.shape)?, &b.shape)?;
            let [condition, a, b] = [condition, a, b].map(|array| array.broadcast(&shape));
            let values = condition.iter().zip(a.iter().zip(&b));
            let values = values.map(|(&is, (&a, &b))| if is != 0.0 { a } else { b }).collect();
            one(Array { shape, values })
        }
        "MultiThreshold" => multi_threshold(operator, x()?, input(inputs, 1)?),
        "BatchNormalization" if operator.int("training_mode", 0) != 0 => {
            Err("it is in training mode".to_owned())
        }
        "BatchNormalization" => batch_normalization(operator, inputs),
        "Conv" => conv(operator, x()?, input(inputs, 1)?, inputs.get(2).copied().flatten()),
        "Gemm" => gemm(operator, x()?, input(inputs, 1)?, inputs.get(2).copied().flatten()),
        "MatMul" => mat_mul(x()?, input(inputs, 1)?),
        "MaxPool" => pool(operator, x()?, f32::NEG_INFINITY, &|values| {
            values.iter().fold(f32::NEG_INFINITY, |most, &v| most.max(v))
        }),
        "AveragePool" => pool(operator, x()?, f32::NAN, &|values| {
            let inside: Vec<f64> =
                values.iter().filter(|v| !v.is_nan()).map(|&v| f64::from(v)).collect();
            (inside.iter().sum::<f64>() / inside.len() as f64) as f32
        }),
        "GlobalAveragePool" => reduce_mean(x()?, &[2, 3], true),
        "ReduceMean" => {
            let x = x()?;
            reduce_mean(
                x,
                &reduced_axes(operator, inputs, x.rank())?,
                operator.int("keepdims", 1) != 0,
            )
        }
        "Flatten" => {
            let x = x()?;
            let at = match operator.int("axis", 1) {
                end if end == x.rank() as i64 => x.rank(),
                other => axis(other, x.rank())?,
            };
            let shape = vec![x.shape[..at].iter().product(), x.shape[at..].iter().product()];
            one(Array { shape, values: x.values.clone() })
        }
        "Reshape" => reshape(x()?, input(inputs, 1)?),
        "Transpose" => {
            let x = x()?;
            let order = order(operator, x.rank())?;
            one(x.transpose(&order))
        }
        "Squeeze" | "Unsqueeze" => squeeze(operator, inputs),
        "Concat" => {
            let arrays: Vec<&Array> = inputs.iter().flatten().copied().collect();
            concat(&arrays, operator.axis(x()?.rank(), 0)?)
        }
        "Split" => split(operator, inputs),
        "Slice" => slice(operator, inputs),
        "Pad" => pad(operator, inputs),
        "Shape" => one(Array::vector(x()?.shape.iter().map(|&extent| extent as f32).collect())),
        "Gather" => gather(operator, x()?, input(inputs, 1)?),
        "Constant" => constant(operator),
        "ConstantOfShape" => {
            let value = match operator.tensor("value") {
                Some(value) => value?.values.first().copied().unwrap_or_default(),
                None => 0.0,
            };
            let shape: Option<Vec<usize>> = x()?.extents()?.into_iter().collect();
            let shape = shape.ok_or("a negative extent")?;
            let len = product(&shape).ok_or("too large")?;
            one(Array { shape, values: vec![value; len] })
        }
        "Pow" => binary(&f32::powf),
        "Quant" => quant(operator, inputs),
        _ => Err(String::new()),
    }
}

fn one(array: Array) -> Result<Vec<Array>, String> {
    Ok(vec![array])
}

/// What a `Cast` makes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Integer,
    Truth,
}

pub(super) fn kind_of(cast: &Operator) -> Result<Kind, String> {
    match cast.int("to", 0) {
        1 | 10 | 11 | 16 => Ok(Kind::Float),
        2..=7 | 12 | 13 => Ok(Kind::Integer),
        9 => Ok(Kind::Truth),
        other => Err(format!("a cast to the ONNX type {other}")),
    }
}

fn truth(is: bool) -> f32 {
    f32::from(u8::from(is))
}

fn input<'a>(inputs: &[Option<&'a Array>], at: usize) -> Result<&'a Array, String> {
    inputs.get(at).copied().flatten().ok_or_else(|| format!("its input {at} is missing"))
}

/// Least and largest value of a `Clip`.
pub(super) fn clip_bounds(
    operator: &Operator,
    inputs: &[Option<&Array>],
) -> Result<[f32; 2], String> {
    let bound = |at: usize, name: &str, default: f32| match inputs.get(at).copied().flatten() {
        Some(Array { values, .. }) => values.first().copied().unwrap_or(default),
        None => operator.float(name, default),
    };
    Ok([bound(1, "min", f32::NEG_INFINITY), bound(2, "max", f32::INFINITY)])
}

fn multi_threshold(
    operator: &Operator,
    x: &Array,
    thresholds: &Array,
) -> Result<Vec<Array>, String> {
    let &[channels, steps] = &thresholds.shape[..] else {
        return Err("its thresholds are no matrix".to_owned());
    };
    if x.rank() < 2 || !(channels == 1 || channels == x.shape[1]) || steps == 0 {
        return Err("its thresholds do not go with its channels".to_owned());
    }
    if operator.text("data_layout").is_some_and(|layout| layout != "NCHW" && layout != "NC") {
        return Err("its `data_layout` is not NCHW".to_owned());
    }
    let (scale, bias) = (operator.float("out_scale", 1.0), operator.float("out_bias", 0.0));
    let inner: usize = x.shape[2..].iter().product();
    let of_channel =
        |i: usize| &thresholds.values[(i / inner) % x.shape[1] % channels * steps..][..steps];
    let value = |(i, &v): (usize, &f32)| {
        let passed = of_channel(i).iter().filter(|&&threshold| v >= threshold).count();
        bias + scale * passed as f32
    };
    one(Array { shape: x.shape.clone(), values: x.values.iter().enumerate().map(value).collect() })
}

fn batch_normalization(
    operator: &Operator,
    inputs: &[Option<&Array>],
) -> Result<Vec<Array>, String> {
    let x = input(inputs, 0)?;
    let [weight, bias, mean, var] = [1, 2, 3, 4].map(|at| input(inputs, at));
    let (weight, bias, mean, var) = (weight?, bias?, mean?, var?);
    let channels = x.shape.get(1).copied().unwrap_or_default();
    if [weight, bias, mean, var].iter().any(|vector| vector.values.len() != channels) {
        return Err("its parameters do not go with its channels".to_owned());
    }
    let eps = f64::from(operator.float("epsilon", 1e-5));
    let inner: usize = x.shape[2..].iter().product();
    let value = |(i, &v): (usize, &f32)| {
        let c = (i / inner) % channels;
        let [weight, bias, mean, var] =
            [weight, bias, mean, var].map(|vector| f64::from(vector.values[c]));
        ((f64::from(v) - mean) / (var + eps).sqrt() * weight + bias) as f32
    };
    one(Array { shape: x.shape.clone(), values: x.values.iter().enumerate().map(value).collect() })
}

/// QONNX's rounding to a number of bits.
fn quant(operator: &Operator, inputs: &[Option<&Array>]) -> Result<Vec<Array>, String> {
    let [x, scale, zero, bits] = [0, 1, 2, 3].map(|at| input(inputs, at));
    let (x, scale, zero, bits) = (x?, scale?, zero?, bits?);
    let &[bits] = &bits.values[..] else { return Err("several bit widths".to_owned()) };
    let (signed, narrow) = (operator.int("signed", 1) != 0, operator.int("narrow", 0) != 0);
    let steps = bits.exp2();
    let [least, most] = match signed {
        true => [-steps / 2.0 + f32::from(u8::from(narrow)), steps / 2.0 - 1.0],
        false => [0.0, steps - 1.0 - f32::from(u8::from(narrow))],
    };
    let round: fn(f32) -> f32 = match operator.text("rounding_mode").as_deref() {
        None | Some("ROUND") => f32::round_ties_even,
        Some("FLOOR") => f32::floor,
        Some("CEIL") => f32::ceil,
        Some("ROUND_TO_ZERO") => f32::trunc,
        Some(other) => return Err(format!("its `rounding_mode` is `{other}`")),
    };
    let shape = common(&common(&x.shape, &scale.shape)?, &zero.shape)?;
    let [x, scale, zero] = [x, scale, zero].map(|array| array.broadcast(&shape));
    let value = |((x, scale), zero): ((&f32, &f32), &f32)| {
        (round((x / scale + zero).clamp(least, most)) - zero) * scale
    };
    one(Array { shape, values: x.iter().zip(&scale).zip(&zero).map(value).collect() })
}

fn constant(operator: &Operator) -> Result<Vec<Array>, String> {
    if let Some(value) = operator.tensor("value") {
        return one(value?);
    }
    if let Some(values) = operator.floats("value_floats") {
        return one(Array::vector(values.to_vec()));
    }
    if let Some(values) = operator.ints("value_ints") {
        return one(Array::vector(values.iter().map(|&value| value as f32).collect()));
    }
    let int = operator.int("value_int", i64::MIN);
    one(Array::scalar(if int == i64::MIN {
        operator.float("value_float", 0.0)
    } else {
        int as f32
    }))
}
