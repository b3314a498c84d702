//! Values of an ONNX graph, and how they are stored.

use onebit_model::limits::MAX_ELEMENTS;

use crate::import::tensor::Dtype;
use crate::onnx_proto::{
    BFLOAT16, BOOL, DOUBLE, FLOAT, FLOAT16, INT8, INT32, INT64, TensorProto, UINT8,
};

/// Numbers in rows, the last extent innermost. Integers and truth values are floats, too: those that graphs of networks have,
/// extents and 0 or 1, are exact.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

impl Array {
    pub(super) fn scalar(value: f32) -> Self {
        Array { shape: vec![], values: vec![value] }
    }

    pub(super) fn vector(values: Vec<f32>) -> Self {
        Array { shape: vec![values.len()], values }
    }

    /// The values of a stored constant.
    pub(super) fn read(tensor: &TensorProto) -> Result<Self, String> {
        if tensor.data_location != 0 {
            return Err(
                "its values lie in another file; save the network with its weights inside".into()
            );
        }
        let extent = |&dim: &i64| usize::try_from(dim).map_err(|_| "a negative extent".to_owned());
        let shape = tensor.dims.iter().map(extent).collect::<Result<Vec<_>, _>>()?;
        let raw = &tensor.raw_data[..];
        let values: Vec<f32> = match tensor.data_type {
            FLOAT if raw.is_empty() => tensor.float_data.clone(),
            FLOAT => raw.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
            DOUBLE if raw.is_empty() => tensor.double_data.iter().map(|&v| v as f32).collect(),
            DOUBLE => {
                raw.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes) as f32).collect()
            }
            INT32 if raw.is_empty() => tensor.int32_data.iter().map(|&v| v as f32).collect(),
            INT32 => {
                raw.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes) as f32).collect()
            }
            INT64 if raw.is_empty() => tensor.int64_data.iter().map(|&v| integer(v)).collect(),
            INT64 => {
                raw.as_chunks().0.iter().map(|&bytes| integer(i64::from_le_bytes(bytes))).collect()
            }
            FLOAT16 | BFLOAT16 if raw.is_empty() => {
                tensor.int32_data.iter().map(|&v| sixteen(tensor.data_type, v as u16)).collect()
            }
            FLOAT16 | BFLOAT16 => {
                let halves = raw.as_chunks().0.iter().map(|&bytes| u16::from_le_bytes(bytes));
                halves.map(|bits| sixteen(tensor.data_type, bits)).collect()
            }
            INT8 | UINT8 if raw.is_empty() => tensor.int32_data.iter().map(|&v| v as f32).collect(),
            INT8 => raw.iter().map(|&v| f32::from(v as i8)).collect(),
            UINT8 => raw.iter().map(|&v| v.into()).collect(),
            BOOL if raw.is_empty() => tensor.int32_data.iter().map(|&v| v as f32).collect(),
            BOOL => raw.iter().map(|&v| v.into()).collect(),
            other => {
                return Err(format!(
                    "its values are of the ONNX type {other}, expected floats of 16 to 64 bits, int8, uint8, int32, int64 or bool"
                ));
            }
        };
        if product(&shape) != Some(values.len()) {
            return Err(format!(
                "it has {} values, its shape {shape:?} says otherwise",
                values.len()
            ));
        }
        Ok(Array { shape, values })
    }

    /// Values that are whole numbers of 0 or more, such as extents; -1 is `None`.
    pub(super) fn extents(&self) -> Result<Vec<Option<usize>>, String> {
        let extent = |&value: &f32| match value {
            -1.0 => Ok(None),
            _ if value >= 0.0 && value.fract() == 0.0 => Ok(Some(value as usize)),
            _ => Err(format!("{value} is no extent")),
        };
        self.values.iter().map(extent).collect()
    }

    pub(super) fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The array that its values become when each is looked at with the index that it has in `shape`, to which it is repeated.
    pub(super) fn broadcast(&self, shape: &[usize]) -> Vec<f32> {
        if self.shape == shape {
            return self.values.clone();
        }
        let mut steps = vec![0; shape.len()];
        let mut step = 1;
        let missing = shape.len() - self.rank();
        for (axis, &extent) in self.shape.iter().enumerate().rev() {
            steps[missing + axis] = if extent == 1 { 0 } else { step };
            step *= extent;
        }
        let len = shape.iter().product();
        let mut index = vec![0; shape.len()];
        let mut at = 0;
        let mut values = Vec::with_capacity(len);
        while values.len() < len {
            values.push(self.values[at]);
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                at += steps[axis];
                if index[axis] < shape[axis] {
                    break;
                }
                at -= steps[axis] * index[axis];
                index[axis] = 0;
            }
        }
        values
    }

    /// Its axes in another order.
    pub(super) fn transpose(&self, order: &[usize]) -> Self {
        let mut steps = vec![1; self.rank()];
        for axis in (1..self.rank()).rev() {
            steps[axis - 1] = steps[axis] * self.shape[axis];
        }
        let shape: Vec<usize> = order.iter().map(|&axis| self.shape[axis]).collect();
        let steps: Vec<usize> = order.iter().map(|&axis| steps[axis]).collect();
        let mut index = vec![0; shape.len()];
        let mut values = Vec::with_capacity(self.values.len());
        while values.len() < self.values.len() {
            values.push(
                self.values[index.iter().zip(&steps).map(|(i, step)| i * step).sum::<usize>()],
            );
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                if index[axis] < shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Array { shape, values }
    }
}

/// A float of 16 bits of the ONNX type `data_type`.
fn sixteen(data_type: i32, bits: u16) -> f32 {
    let dtype = if data_type == FLOAT16 { Dtype::F16 } else { Dtype::Bf16 };
    dtype.decode(&bits.to_le_bytes())
}

/// Large integers stand for "to the end" in slices; no extent is larger than a float holds exactly.
fn integer(value: i64) -> f32 {
    value as f32
}

/// Elements of a shape; `None` where they are more than any map of a network has.
pub(super) fn product(shape: &[usize]) -> Option<usize> {
    let len = shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent))?;
    (len <= MAX_ELEMENTS).then_some(len)
}

/// The shape to which both are repeated.
pub(super) fn common(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], axis: usize| {
        (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis])
    };
    let extent = |axis| match (at(a, axis), at(b, axis)) {
        (x, y) if x == y || y == 1 => Ok(x),
        (1, y) => Ok(y),
        _ => Err(format!("the shapes {a:?} and {b:?} do not go together")),
    };
    let shape = (0..rank).map(extent).collect::<Result<Vec<_>, _>>()?;
    product(&shape).map(|_| shape).ok_or_else(|| "the result is too large".to_owned())
}
