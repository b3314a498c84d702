//! Arrays of NumPy, borrowed where their layout allows.

use numpy::ndarray::{ArrayView4, ArrayViewMut4, Axis};
use numpy::{
    Element, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyReadonlyArray4, PyReadonlyArrayDyn,
    PyUntypedArray, PyUntypedArrayMethods, dtype,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// An array of type `T` and any layout; whatever NumPy makes an array of is taken, such as a tensor on the CPU.
pub(crate) fn array<'py, T: Element>(
    value: &Bound<'py, PyAny>,
    what: &str,
    hint: &str,
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    let py = value.py();
    let array = match value.cast::<PyUntypedArray>() {
        Ok(array) => array.clone(),
        Err(_) => {
            let asarray = py.import("numpy")?.getattr("asarray")?;
            asarray.call1((value,))?.cast_into::<PyUntypedArray>()?
        }
    };
    if !array.dtype().is_equiv_to(&dtype::<T>(py)) {
        let (found, expected) = (array.dtype(), dtype::<T>(py));
        let message = format!("{what} are {found}, expected {expected}{hint}");
        return Err(PyTypeError::new_err(message));
    }
    let is_aligned: bool = array.getattr("flags")?.getattr("aligned")?.extract()?;
    let array = if is_aligned { array.into_any() } else { array.call_method0("copy")? };
    Ok(array.cast_into::<PyArrayDyn<T>>()?)
}

/// Images `[N, C, H, W]` of float32, normalised.
pub(crate) fn normalised<'py>(
    value: &Bound<'py, PyAny>,
    channels: usize,
) -> PyResult<PyReadonlyArray4<'py, f32>> {
    let hint = " [N, C, H, W], normalised as the network's mean and std say; `logits` takes pixels of uint8";
    let images = array::<f32>(value, "the images", hint)?;
    let shape = images.shape().to_vec();
    match shape[..] {
        [_, c, h, w] if c == channels && h > 0 && w > 0 => {}
        [_, _, _, c] if c == channels => {
            return Err(PyValueError::new_err(format!(
                "the images have the shape {shape:?}, expected [N, {channels}, H, W]: channels go second, `x.transpose(0, 3, 1, 2)` moves them there"
            )));
        }
        _ => {
            return Err(PyValueError::new_err(format!(
                "the images have the shape {shape:?}, expected [N, {channels}, H, W]"
            )));
        }
    }
    images.readonly().extract::<PyReadonlyArray4<'py, f32>>()
}

/// Images `[N, C, H, W]`, of which some at a time are read as `[N, H, W, C]`.
pub(crate) struct Images<'a> {
    nhwc: ArrayView4<'a, f32>,
    buffer: Vec<f32>,
}

impl<'a> Images<'a> {
    pub(crate) fn new(nchw: ArrayView4<'a, f32>) -> Self {
        Images { nhwc: nchw.permuted_axes([0, 2, 3, 1]), buffer: Vec::new() }
    }

    /// The images from `start` to before `end`, copied unless they lie in memory so.
    pub(crate) fn range(&mut self, start: usize, end: usize) -> Result<&[f32], onebit::Error> {
        let (_, h, w, c) = self.nhwc.dim();
        let part = self.nhwc.slice_axis(Axis(0), (start..end).into());
        // A view borrows from the array, not from this one.
        match part.to_slice() {
            Some(values) => Ok(values),
            None => {
                let len = (end - start).saturating_mul(h * w * c);
                if self.buffer.len() < len {
                    self.buffer = zeros(len, "the images")?;
                }
                self.buffer.truncate(len);
                let shape = (end - start, h, w, c);
                if let Ok(mut to) = ArrayViewMut4::from_shape(shape, &mut self.buffer) {
                    to.assign(&part);
                }
                Ok(&self.buffer)
            }
        }
    }
}

/// Values and shape of an array of float32 of any layout, copied in the order of its indices.
pub(crate) fn floats(value: &Bound<'_, PyAny>, what: &str) -> PyResult<(Vec<usize>, Vec<f32>)> {
    let array: PyReadonlyArrayDyn<'_, f32> = array::<f32>(value, what, "")?.readonly();
    let view = array.as_array();
    Ok((view.shape().to_vec(), view.iter().copied().collect()))
}

/// Zeros, or an error where there is no memory for so many.
pub(crate) fn zeros(len: usize, what: &'static str) -> Result<Vec<f32>, onebit::Error> {
    let mut values = Vec::new();
    let bytes = (len as u64).saturating_mul(4);
    values.try_reserve_exact(len).map_err(|_| onebit::Error::OutOfMemory { what, bytes })?;
    values.resize(len, 0.0);
    Ok(values)
}
