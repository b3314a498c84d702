//! Operators computed by naive loops: constants of the graph, and the logits that an imported network is compared with.

use std::thread;

use super::array::{Array, common, product};
use super::operator::{Operator, Window, axis};

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

/// Axes over which a mean is taken.
pub(super) fn reduced_axes(
    operator: &Operator,
    inputs: &[Option<&Array>],
    rank: usize,
) -> Result<Vec<usize>, String> {
    let axes: Vec<i64> = match (operator.ints("axes"), inputs.get(1).copied().flatten()) {
        (Some(axes), _) => axes.to_vec(),
        (None, Some(axes)) => axes.values.iter().map(|&value| value as i64).collect(),
        (None, None) => (0..rank as i64).collect(),
    };
    let mut axes = axes.into_iter().map(|at| axis(at, rank)).collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    match axes.windows(2).any(|pair| pair[0] == pair[1]) {
        true => Err("an axis twice".to_owned()),
        false => Ok(axes),
    }
}

/// Order of the axes of a `Transpose`.
pub(super) fn order(operator: &Operator, rank: usize) -> Result<Vec<usize>, String> {
    let Some(order) = operator.ints("perm") else { return Ok((0..rank).rev().collect()) };
    let order = order.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    match sorted.into_iter().eq(0..rank) {
        true => Ok(order),
        false => Err(format!("`perm` is {order:?}, expected each of {rank} axes once")),
    }
}

/// Side lengths of the window of a convolution or pooling.
pub(super) fn kernel_shape(
    operator: &Operator,
    weight: Option<&Array>,
) -> Result<Vec<usize>, String> {
    match (operator.ints("kernel_shape"), weight) {
        (Some(sides), _) if sides.iter().all(|&side| (1..1 << 16).contains(&side)) => {
            Ok(sides.iter().map(|&side| side as usize).collect())
        }
        (None, Some(weight)) if weight.rank() > 2 => Ok(weight.shape[2..].to_vec()),
        (found, _) => Err(format!("`kernel_shape` is {found:?}, expected two sides")),
    }
}

/// Groups of a convolution.
pub(super) fn groups(operator: &Operator) -> Result<usize, String> {
    match operator.int("group", 1) {
        groups @ 1.. => Ok(groups as usize),
        other => Err(format!("{other} groups")),
    }
}

fn map_extents(x: &Array) -> Result<[usize; 4], String> {
    match x.shape[..] {
        [n, channels, height, width] => Ok([n, channels, height, width]),
        _ => Err(format!("it reads an array of the shape {:?}, expected [N, C, H, W]", x.shape)),
    }
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

fn conv(
    operator: &Operator,
    x: &Array,
    weight: &Array,
    bias: Option<&Array>,
) -> Result<Vec<Array>, String> {
    let [n, channels, height, width] = map_extents(x)?;
    let window = operator.window(&kernel_shape(operator, Some(weight))?, &x.shape[2..])?;
    let [rows, columns] = window.extents([height, width])?;
    let [kernel_rows, kernel_columns] = window.kernel;
    let groups = groups(operator)?;
    let outputs = weight.shape[0];
    let expected = [outputs, channels / groups, kernel_rows, kernel_columns];
    let divides = channels.is_multiple_of(groups) && outputs.is_multiple_of(groups);
    if weight.shape != expected || !divides {
        return Err(format!(
            "its weights have the shape {:?}, expected {expected:?} in groups that divide the channels",
            weight.shape
        ));
    }
    if let Some(bias) = bias.filter(|bias| bias.values.len() != outputs) {
        return Err(format!("its bias has the shape {:?}, expected [{outputs}]", bias.shape));
    }
    let shape = vec![n, outputs, rows, columns];
    let mut values = vec![0.0f32; product(&shape).ok_or("the result is too large")?];
    let inputs = channels / groups;
    let (pixels, taps) = (height * width, kernel_rows * kernel_columns);
    let compute = |row: usize, sums: &mut [f64]| {
        let (y, o, image) = (row % rows, row / rows % outputs, row / rows / outputs);
        sums.fill(bias.map_or(0.0, |bias| bias.values[o].into()));
        let first = o / (outputs / groups) * inputs;
        for i in 0..inputs {
            let map = &x.values[(image * channels + first + i) * pixels..][..pixels];
            let filter = &weight.values[(o * inputs + i) * taps..][..taps];
            for (tap, &w) in filter.iter().enumerate() {
                let (ky, kx) = (tap / kernel_columns, tap % kernel_columns);
                let row = (y * window.stride[0] + ky).checked_sub(window.pads[0]);
                if let Some(line) = row.and_then(|row| map.get(row * width..(row + 1) * width)) {
                    add_products(sums, line, w, kx, &window);
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = (n * outputs * rows).div_ceil(threads).max(1);
    thread::scope(|scope| {
        for (part, values) in values.chunks_mut(share * columns).enumerate() {
            let compute = &compute;
            scope.spawn(move || {
                let mut sums = vec![0.0f64; columns];
                for (row, out) in values.chunks_exact_mut(columns).enumerate() {
                    compute(part * share + row, &mut sums);
                    out.iter_mut().zip(&sums).for_each(|(out, &sum)| *out = sum as f32);
                }
            });
        }
    });
    one(Array { shape, values })
}

/// Adds the products of one tap with a line of the map to the sums of a row of outputs.
fn add_products(sums: &mut [f64], line: &[f32], weight: f32, kx: usize, window: &Window) {
    let (stride, left) = (window.stride[1], window.pads[1]);
    let first = left.saturating_sub(kx).div_ceil(stride);
    let inputs =
        line.iter().skip(first * stride + kx - left.min(first * stride + kx)).step_by(stride);
    for (sum, &value) in sums.iter_mut().skip(first).zip(inputs) {
        *sum += f64::from(weight) * f64::from(value);
    }
}

fn pool(
    operator: &Operator,
    x: &Array,
    outside: f32,
    combine: &dyn Fn(&[f32]) -> f32,
) -> Result<Vec<Array>, String> {
    let [n, channels, height, width] = map_extents(x)?;
    let window = operator.window(&kernel_shape(operator, None)?, &x.shape[2..])?;
    let [rows, columns] = window.extents([height, width])?;
    let shape = vec![n, channels, rows, columns];
    let mut values = Vec::with_capacity(product(&shape).ok_or("the result is too large")?);
    let mut taken = vec![];
    for map in x.values.chunks_exact((height * width).max(1)) {
        for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
            taken.clear();
            for (ky, kx) in
                (0..window.kernel[0]).flat_map(|ky| (0..window.kernel[1]).map(move |kx| (ky, kx)))
            {
                let row = (y * window.stride[0] + ky).checked_sub(window.pads[0]);
                let column = (x * window.stride[1] + kx).checked_sub(window.pads[1]);
                taken.push(match (row, column) {
                    (Some(row), Some(column)) if row < height && column < width => {
                        map[row * width + column]
                    }
                    _ => outside,
                });
            }
            values.push(combine(&taken));
        }
    }
    one(Array { shape, values })
}

fn gemm(
    operator: &Operator,
    a: &Array,
    b: &Array,
    c: Option<&Array>,
) -> Result<Vec<Array>, String> {
    if a.rank() != 2 || b.rank() != 2 {
        return Err("it reads what is no matrix".to_owned());
    }
    let turned = |array: &Array, name| match operator.int(name, 0) {
        0 => array.clone(),
        _ => array.transpose(&[1, 0]),
    };
    let mut y = mat_mul(&turned(a, "transA"), &turned(b, "transB"))?.remove(0);
    let (alpha, beta) = (operator.float("alpha", 1.0), operator.float("beta", 1.0));
    let c = match c {
        Some(c) if common(&c.shape, &y.shape)? == y.shape => c.broadcast(&y.shape),
        Some(c) => return Err(format!("its bias has the shape {:?}", c.shape)),
        None => vec![0.0; y.values.len()],
    };
    y.values.iter_mut().zip(c).for_each(|(y, c)| *y = alpha * *y + beta * c);
    one(y)
}

fn mat_mul(a: &Array, b: &Array) -> Result<Vec<Array>, String> {
    let (&[.., inner], &[rows, columns]) = (&a.shape[..], &b.shape[..]) else {
        return Err("it reads what is no matrix".to_owned());
    };
    if inner != rows || inner == 0 {
        return Err(format!("the shapes {:?} and {:?} do not go together", a.shape, b.shape));
    }
    let mut shape = a.shape.clone();
    *shape.last_mut().ok_or("no axis")? = columns;
    let mut values = Vec::with_capacity(product(&shape).ok_or("the result is too large")?);
    let mut sums = vec![0.0f64; columns];
    for row in a.values.chunks_exact(inner) {
        sums.fill(0.0);
        for (&value, line) in row.iter().zip(b.values.chunks_exact(columns.max(1))) {
            for (sum, &w) in sums.iter_mut().zip(line) {
                *sum += f64::from(value) * f64::from(w);
            }
        }
        values.extend(sums.iter().map(|&sum| sum as f32));
    }
    one(Array { shape, values })
}

fn reduce_mean(x: &Array, axes: &[usize], keep: bool) -> Result<Vec<Array>, String> {
    if axes.iter().any(|&axis| axis >= x.rank()) {
        return Err(format!("it reads an array of the shape {:?}, expected [N, C, H, W]", x.shape));
    }
    let kept: Vec<usize> = (0..x.rank()).filter(|axis| !axes.contains(axis)).collect();
    let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
    let count = axes.iter().map(|&axis| x.shape[axis]).product::<usize>().max(1);
    let mean =
        |values: &[f32]| (values.iter().map(|&v| f64::from(v)).sum::<f64>() / count as f64) as f32;
    let values = x.transpose(&order).values.chunks(count).map(mean).collect();
    let shape = (0..x.rank()).filter_map(|axis| match (axes.contains(&axis), keep) {
        (false, _) => Some(x.shape[axis]),
        (true, true) => Some(1),
        (true, false) => None,
    });
    one(Array { shape: shape.collect(), values })
}

fn reshape(x: &Array, shape: &Array) -> Result<Vec<Array>, String> {
    let wanted = shape.extents()?;
    let mut extents = Vec::with_capacity(wanted.len());
    for (axis, extent) in wanted.iter().enumerate() {
        extents.push(match extent {
            Some(0) => *x.shape.get(axis).ok_or("an extent that is not there")?,
            Some(extent) => *extent,
            None => 1,
        });
    }
    if let Some(free) = wanted.iter().position(Option::is_none) {
        let others: usize = extents.iter().product::<usize>().max(1);
        extents[free] = x.values.len() / others;
    }
    match product(&extents) == Some(x.values.len()) {
        true => one(Array { shape: extents, values: x.values.clone() }),
        false => Err(format!("the shape {:?} cannot become {extents:?}", x.shape)),
    }
}

fn squeeze(operator: &Operator, inputs: &[Option<&Array>]) -> Result<Vec<Array>, String> {
    let x = input(inputs, 0)?;
    let is_squeeze = operator.kind == "Squeeze";
    let given: Option<Vec<i64>> = match (operator.ints("axes"), inputs.get(1).copied().flatten()) {
        (Some(axes), _) => Some(axes.to_vec()),
        (None, Some(axes)) => Some(axes.values.iter().map(|&value| value as i64).collect()),
        (None, None) => None,
    };
    let rank = if is_squeeze { x.rank() } else { x.rank() + given.as_ref().map_or(0, Vec::len) };
    let axes: Vec<usize> = match given {
        Some(axes) => axes.into_iter().map(|at| axis(at, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).filter(|&axis| x.shape[axis] == 1).collect(),
    };
    let mut old = x.shape.iter().copied();
    let mut shape = vec![];
    for axis in 0..rank {
        match (is_squeeze, axes.contains(&axis)) {
            (true, true) if old.next() != Some(1) => {
                return Err("it drops an axis of more than one".into());
            }
            (true, true) => {}
            (false, true) => shape.push(1),
            (_, false) => shape.extend(old.next()),
        }
    }
    one(Array { shape, values: x.values.clone() })
}

fn concat(arrays: &[&Array], axis: usize) -> Result<Vec<Array>, String> {
    let mut shape = arrays[0].shape.clone();
    let others = |shape: &[usize]| [&shape[..axis], &shape[axis + 1..]].concat();
    if arrays.iter().any(|a| a.rank() != shape.len() || others(&a.shape) != others(&shape)) {
        return Err("the shapes of its inputs do not go together".to_owned());
    }
    shape[axis] = arrays.iter().map(|array| array.shape[axis]).sum();
    let outer: usize = shape[..axis].iter().product();
    let mut values = Vec::with_capacity(product(&shape).ok_or("the result is too large")?);
    for i in 0..outer {
        for array in arrays {
            let run = array.values.len() / outer.max(1);
            values.extend_from_slice(&array.values[i * run..(i + 1) * run]);
        }
    }
    one(Array { shape, values })
}

fn split(operator: &Operator, inputs: &[Option<&Array>]) -> Result<Vec<Array>, String> {
    let x = input(inputs, 0)?;
    let axis = operator.axis(x.rank(), 0)?;
    let parts = operator.outputs.len().max(1);
    let sizes: Vec<usize> = match (operator.ints("split"), inputs.get(1).copied().flatten()) {
        (Some(sizes), _) => sizes.iter().map(|&size| size.max(0) as usize).collect(),
        (None, Some(sizes)) => sizes.values.iter().map(|&size| size.max(0.0) as usize).collect(),
        (None, None) => vec![x.shape[axis] / parts; parts],
    };
    if sizes.iter().sum::<usize>() != x.shape[axis] {
        return Err(format!("the sizes {sizes:?} do not add up to {}", x.shape[axis]));
    }
    let inner: usize = x.shape[axis + 1..].iter().product();
    let mut start = 0;
    let part = |&size: &usize| {
        let mut shape = x.shape.clone();
        shape[axis] = size;
        let rows = x.values.chunks(x.shape[axis] * inner);
        let values =
            rows.flat_map(|row| &row[start * inner..(start + size) * inner]).copied().collect();
        start += size;
        Array { shape, values }
    };
    Ok(sizes.iter().map(part).collect())
}

/// Values before each axis, then behind each, and what is put there.
pub(super) fn padding(
    operator: &Operator,
    inputs: &[Option<&Array>],
) -> Result<(Vec<usize>, f32), String> {
    if operator.text("mode").is_some_and(|mode| mode != "constant") {
        return Err("its `mode` is not `constant`".to_owned());
    }
    let pads: Option<Vec<usize>> = match (operator.ints("pads"), inputs.get(1).copied().flatten()) {
        (Some(pads), _) => pads.iter().map(|&pad| usize::try_from(pad).ok()).collect(),
        (None, Some(pads)) => pads.extents()?.into_iter().collect(),
        (None, None) => None,
    };
    let value = match inputs.get(2).copied().flatten() {
        Some(value) => value.values.first().copied().unwrap_or_default(),
        None => operator.float("value", 0.0),
    };
    Ok((pads.ok_or("its pads are missing or negative")?, value))
}

fn pad(operator: &Operator, inputs: &[Option<&Array>]) -> Result<Vec<Array>, String> {
    let x = input(inputs, 0)?;
    let (pads, value) = padding(operator, inputs)?;
    if pads.len() != 2 * x.rank() {
        return Err(format!("it has {} pads for {} axes", pads.len(), x.rank()));
    }
    let (before, behind) = pads.split_at(x.rank());
    let mut padded = x.clone();
    for axis in 0..x.rank() {
        let filled = |extent: usize| {
            let mut shape = padded.shape.clone();
            shape[axis] = extent;
            product(&shape).map(|len| Array { shape, values: vec![value; len] }).ok_or("too large")
        };
        let (front, back) = (filled(before[axis])?, filled(behind[axis])?);
        padded = concat(&[&front, &padded, &back], axis)?.remove(0);
    }
    one(padded)
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

fn gather(operator: &Operator, x: &Array, indices: &Array) -> Result<Vec<Array>, String> {
    let axis = operator.axis(x.rank(), 0)?;
    let inner: usize = x.shape[axis + 1..].iter().product();
    let mut values = vec![];
    for row in x.values.chunks((x.shape[axis] * inner).max(1)) {
        for &index in &indices.values {
            let from_end = if index < 0.0 { x.shape[axis] as f32 } else { 0.0 };
            let at = (index + from_end) as usize * inner;
            values.extend(row.get(at..at + inner).ok_or("an index beyond the end")?);
        }
    }
    let shape = [&x.shape[..axis], &indices.shape[..], &x.shape[axis + 1..]].concat();
    one(Array { shape, values })
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
