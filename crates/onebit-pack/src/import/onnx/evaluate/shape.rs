//! Other shapes, orders and parts of the same values, and means over axes.

use super::{input, one};
use crate::import::onnx::array::{Array, product};
use crate::import::onnx::operator::{Operator, axis};

/// Axes over which a mean is taken.
pub(in crate::import::onnx) fn reduced_axes(
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
pub(in crate::import::onnx) fn order(
    operator: &Operator,
    rank: usize,
) -> Result<Vec<usize>, String> {
    let Some(order) = operator.ints("perm") else { return Ok((0..rank).rev().collect()) };
    let order = order.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    match sorted.into_iter().eq(0..rank) {
        true => Ok(order),
        false => Err(format!("`perm` is {order:?}, expected each of {rank} axes once")),
    }
}

pub(super) fn reduce_mean(x: &Array, axes: &[usize], keep: bool) -> Result<Vec<Array>, String> {
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

pub(super) fn reshape(x: &Array, shape: &Array) -> Result<Vec<Array>, String> {
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

pub(super) fn squeeze(
    operator: &Operator,
    inputs: &[Option<&Array>],
) -> Result<Vec<Array>, String> {
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

pub(super) fn concat(arrays: &[&Array], axis: usize) -> Result<Vec<Array>, String> {
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

/// `Slice` with a step of either sign; bounds and axes are inputs, or attributes as before opset 10.
pub(super) fn slice(operator: &Operator, inputs: &[Option<&Array>]) -> Result<Vec<Array>, String> {
    let x = input(inputs, 0)?;
    let numbers = |name: &str, at: usize| match (operator.ints(name), inputs.get(at).copied()) {
        (Some(numbers), _) => Some(numbers.to_vec()),
        (None, Some(Some(numbers))) => Some(numbers.values.iter().map(|&v| v as i64).collect()),
        (None, _) => None,
    };
    let starts = numbers("starts", 1).ok_or("it does not say where it starts")?;
    let ends = numbers("ends", 2).ok_or("it does not say where it ends")?;
    let axes = numbers("axes", 3).unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = numbers("steps", 4).unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err("starts, ends, axes and steps are not equally many".to_owned());
    }
    let mut result = x.clone();
    for (((&start, &end), &at), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = axis(at, x.rank())?;
        let extent = result.shape[axis] as i64;
        let from_start = |place: i64| if place < 0 { place.saturating_add(extent) } else { place };
        let taken: Vec<usize> = match step {
            0 => return Err("a step of 0".to_owned()),
            1.. => {
                let (start, end) =
                    (from_start(start).clamp(0, extent), from_start(end).clamp(0, extent));
                (start..end).step_by(step as usize).map(|place| place as usize).collect()
            }
            _ => {
                let start = from_start(start).clamp(-1, extent - 1);
                let end = from_start(end).clamp(-1, extent - 1);
                let step = step.unsigned_abs() as usize;
                (end + 1..=start).rev().step_by(step).map(|place| place as usize).collect()
            }
        };
        let inner: usize = result.shape[axis + 1..].iter().product();
        let outer: usize = result.shape[..axis].iter().product();
        let row = extent as usize * inner;
        let mut values = Vec::with_capacity(outer * taken.len() * inner);
        for i in 0..outer {
            for &place in &taken {
                let first = i * row + place * inner;
                values.extend_from_slice(&result.values[first..first + inner]);
            }
        }
        result.shape[axis] = taken.len();
        result.values = values;
    }
    one(result)
}

pub(super) fn split(operator: &Operator, inputs: &[Option<&Array>]) -> Result<Vec<Array>, String> {
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
pub(in crate::import::onnx) fn padding(
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

pub(super) fn pad(operator: &Operator, inputs: &[Option<&Array>]) -> Result<Vec<Array>, String> {
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

pub(super) fn gather(
    operator: &Operator,
    x: &Array,
    indices: &Array,
) -> Result<Vec<Array>, String> {
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
