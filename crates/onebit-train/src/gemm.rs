//! Matrix products over slices: the one place that calls the `gemm` library (only its f32 part, to build faster).
#![allow(unsafe_code)]

/// A strided view of a matrix inside a slice.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
}

impl<'a> Mat<'a> {
    /// Rows that follow each other every `row_stride` elements, their elements adjacent.
    pub(crate) fn rows(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        Mat { data, rows, cols, row_stride, col_stride: 1 }
    }

    /// The transpose of this view.
    pub(crate) fn transposed(self) -> Self {
        Mat {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }
}

/// What happens to the old value of the result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    Overwrite,
    Add,
}

/// `dst = lhs * rhs` or `dst += lhs * rhs`, `dst` in rows of adjacent elements every `row_stride`.
///
/// # Panics
/// If the inner extents differ or a view reaches outside its slice.
pub(crate) fn product(
    dst: &mut [f32],
    row_stride: usize,
    lhs: Mat<'_>,
    rhs: Mat<'_>,
    write: Write,
) {
    let (m, n, k) = (lhs.rows, rhs.cols, lhs.cols);
    assert_eq!(k, rhs.rows, "inner extents of a matrix product");
    if m == 0 || n == 0 {
        return;
    }
    assert!(n <= row_stride || m == 1, "rows of the result overlap");
    assert!(end(m, n, row_stride, 1) <= dst.len(), "result of a matrix product");
    assert!(end(m, k, lhs.row_stride, lhs.col_stride) <= lhs.data.len(), "left matrix");
    assert!(end(k, n, rhs.row_stride, rhs.col_stride) <= rhs.data.len(), "right matrix");
    // The library wants its result in adjacent rows of a column: the transposed product is computed.
    // SAFETY: the asserts above show that every element addressed by the three views lies inside
    // its slice; `dst` is borrowed exclusively, so it overlaps neither operand, and its rows do
    // not overlap each other.
    unsafe {
        gemm_f32::gemm::f32::get_gemm_fn()(
            n,
            m,
            k,
            dst.as_mut_ptr(),
            row_stride as isize,
            1,
            write == Write::Add,
            rhs.data.as_ptr(),
            rhs.row_stride as isize,
            rhs.col_stride as isize,
            lhs.data.as_ptr(),
            lhs.row_stride as isize,
            lhs.col_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm_common::Parallelism::None,
        );
    }
}

/// One past the last element of a non-empty strided matrix.
fn end(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> usize {
    if rows == 0 || cols == 0 { 0 } else { (rows - 1) * row_stride + (cols - 1) * col_stride + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_strided_views_equal_the_definition() {
        let a: Vec<f32> = (0..40).map(|v| v as f32 - 7.0).collect();
        let b: Vec<f32> = (0..40).map(|v| 3.0 - v as f32).collect();
        let lhs = Mat::rows(&a, 4, 5, 6);
        let rhs = Mat::rows(&b, 3, 5, 7).transposed();
        let mut dst = vec![1.0; 4 * 3];
        product(&mut dst, 3, lhs, rhs, Write::Add);
        for i in 0..4 {
            for j in 0..3 {
                let sum: f32 = (0..5).map(|k| a[i * 6 + k] * b[j * 7 + k]).sum();
                assert_eq!(dst[i * 3 + j], sum + 1.0);
            }
        }
    }
}
