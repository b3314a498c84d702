//! Products of matrices.

use super::one;
use crate::import::onnx::array::{Array, common, product};
use crate::import::onnx::operator::Operator;

pub(super) fn gemm(
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

pub(super) fn mat_mul(a: &Array, b: &Array) -> Result<Vec<Array>, String> {
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
