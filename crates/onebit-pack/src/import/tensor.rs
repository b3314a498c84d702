//! A tensor in the bytes of a file: type, shape, strides.

use onebit_model::limits::MAX_PARAMETERS;

/// Type of the elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dtype {
    F64,
    F32,
    F16,
    Bf16,
    /// Integers, booleans and whatever else, of so many bytes; only counters are of such types, and nothing reads them.
    Other(usize),
}

impl Dtype {
    /// Bytes of an element.
    pub(super) fn bytes(self) -> usize {
        match self {
            Dtype::F64 => 8,
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::Bf16 => 2,
            Dtype::Other(bytes) => bytes,
        }
    }

    /// An element as a 32-bit float, rounded to nearest; NaN for another type.
    pub(super) fn decode(self, element: &[u8]) -> f32 {
        match (self, element) {
            (Dtype::F64, &[a, b, c, d, e, f, g, h]) => {
                f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32
            }
            (Dtype::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            (Dtype::F16, &[a, b]) => half(u16::from_le_bytes([a, b])),
            (Dtype::Bf16, &[a, b]) => f32::from_le_bytes([0, 0, a, b]),
            _ => f32::NAN,
        }
    }
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = (bits >> 10 & 31, u32::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction as f32 * 2.0f32.powi(-24),
        31 => f32::from_bits(0x7f80_0000 | fraction << 13),
        _ => f32::from_bits((u32::from(exponent) + 112) << 23 | fraction << 13),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// A tensor whose elements all lie in `data`.
#[derive(Clone, Debug)]
pub(super) struct Stored<'a> {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
    data: &'a [u8],
}

impl<'a> Stored<'a> {
    /// Elements in rows, the last extent innermost, from the start of `data`.
    pub(super) fn contiguous(
        dtype: Dtype,
        shape: &[usize],
        data: &'a [u8],
    ) -> Result<Self, &'static str> {
        let mut strides = vec![1usize; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] =
                strides[axis].checked_mul(shape[axis]).ok_or("its shape is too large")?;
        }
        Self::strided(dtype, shape.to_vec(), strides, 0, data)
    }

    /// Element `[i, j, ...]` is number `offset + i * strides[0] + j * strides[1] + ...` of `data`.
    pub(super) fn strided(
        dtype: Dtype,
        shape: Vec<usize>,
        strides: Vec<usize>,
        offset: usize,
        data: &'a [u8],
    ) -> Result<Self, &'static str> {
        if shape.len() != strides.len() {
            return Err("it has another number of strides than of extents");
        }
        let stored = data.len() / dtype.bytes();
        let len = shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent));
        // A stride of 0 repeats elements, so that a few bytes can stand for any number of them.
        if len.is_none_or(|len| len > stored.max(MAX_PARAMETERS)) {
            return Err("its shape has more elements than its storage and any network");
        }
        let last = shape.iter().zip(&strides).try_fold(offset, |n, (&extent, &stride)| {
            n.checked_add(extent.saturating_sub(1).checked_mul(stride)?)
        });
        if len != Some(0) && last.is_none_or(|last| last >= stored) {
            return Err("its offset or strides reach beyond its storage");
        }
        Ok(Self { dtype, shape, strides, offset, data })
    }

    /// The elements as 32-bit floats, the last extent innermost; NaN in place of other types.
    pub(super) fn values(&self) -> Vec<f32> {
        let len = self.shape.iter().product();
        let mut values = Vec::with_capacity(len);
        let mut index = vec![0; self.shape.len()];
        while values.len() < len {
            values.push(self.element(&index));
            for (i, &extent) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < extent {
                    break;
                }
                *i = 0;
            }
        }
        values
    }

    fn element(&self, index: &[usize]) -> f32 {
        let steps = index.iter().zip(&self.strides).map(|(i, stride)| i * stride);
        let start = (self.offset + steps.sum::<usize>()) * self.dtype.bytes();
        self.dtype.decode(&self.data[start..start + self.dtype.bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn halves_are_exact() {
        let cases = [
            (0x0000, 0.0),
            (0x0001, 5.960_464_5e-8),
            (0x03ff, 6.097_555e-5),
            (0x0400, 6.103_515_6e-5),
            (0x3555, 0.333_251_95),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x7c00, f32::INFINITY),
            (0x8000, 0.0),
        ];
        for (bits, value) in cases {
            assert_eq!(half(bits), value, "{bits:#x}");
        }
        assert!(half(0x7c01).is_nan());
        assert!(half(0x8000).is_sign_negative());
    }

    #[test]
    fn strides_and_offsets_are_followed() {
        let data = bytes(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let tensor = Stored::strided(Dtype::F32, vec![3, 2], vec![1, 3], 1, &data);
        assert_eq!(tensor.expect("a tensor").values(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        let scalar = Stored::contiguous(Dtype::F32, &[], &data[4..8]);
        assert_eq!(scalar.expect("a tensor").values(), [1.0]);
        let expanded = Stored::strided(Dtype::F32, vec![2, 3], vec![2, 0], 1, &data);
        assert_eq!(expanded.expect("a tensor").values(), [1.0, 1.0, 1.0, 3.0, 3.0, 3.0]);
        let none = Stored::contiguous(Dtype::F32, &[2, 0], &[]);
        assert!(none.expect("a tensor").values().is_empty());
    }

    #[test]
    fn nothing_beyond_the_storage_is_read() {
        let data = bytes(&[0.0; 6]);
        let refused = |shape: &[usize], strides: &[usize], offset| {
            Stored::strided(Dtype::F32, shape.to_vec(), strides.to_vec(), offset, &data).is_err()
        };
        assert!(!refused(&[2, 3], &[3, 1], 0));
        assert!(refused(&[2, 3], &[3, 1], 1));
        assert!(refused(&[2, 3], &[4, 1], 0));
        assert!(!refused(&[7], &[0], 0), "an element many times");
        assert!(refused(&[MAX_PARAMETERS + 1], &[0], 0), "more elements than any network has");
        assert!(refused(&[2], &[usize::MAX], 1));
        assert!(refused(&[usize::MAX, usize::MAX], &[0, 0], 0));
        assert!(refused(&[1], &[1], usize::MAX));
        assert!(refused(&[2], &[1, 1], 0));
        assert!(Stored::contiguous(Dtype::F32, &[2, usize::MAX, 2], &data).is_err());
    }
}
