//! Convolutions and poolings.

use std::thread;

use super::one;
use crate::import::onnx::array::{Array, product};
use crate::import::onnx::operator::{Operator, Window};

/// Side lengths of the window of a convolution or pooling.
pub(in crate::import::onnx) fn kernel_shape(
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
pub(in crate::import::onnx) fn groups(operator: &Operator) -> Result<usize, String> {
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

pub(super) fn conv(
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

pub(super) fn pool(
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
