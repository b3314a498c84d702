//! Memory that some rows of a map need only while they are computed.

use crate::arena::ALIGN;

/// Floats of each of [`Buffers`] that a map needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BufferLens {
    pub(crate) ring: usize,
    pub(crate) sums: usize,
    pub(crate) pooled: usize,
    pub(crate) pool_row: usize,
}

impl BufferLens {
    fn each(&self) -> [usize; 4] {
        [self.ring, self.sums, self.pooled, self.pool_row]
            .map(|len| len.checked_next_multiple_of(ALIGN).unwrap_or(usize::MAX))
    }

    /// Floats of all.
    pub(crate) fn sum(&self) -> usize {
        self.each().into_iter().fold(0, usize::saturating_add)
    }
}

/// Memory of one thread for rows of a map, one behind the other; it holds anything before.
#[derive(Debug)]
pub(crate) struct Buffers<'a> {
    /// A ring of rows of the input of a convolution: transformed ones for minimal filtering, rounded ones for 8 bits.
    pub(crate) ring: &'a mut [f32],
    /// The first row of the input that is not yet in the ring. The rows of a map are computed from the top, so that
    /// neighbouring row tiles share what their windows have in common.
    pub(crate) next_row: usize,
    /// Sums of a convolution whose groups end inside a register.
    pub(crate) sums: &'a mut [f32],
    /// Rows that are pooled as soon as they are computed.
    pub(crate) pooled: &'a mut [f32],
    /// The rows of a window of a pooling as one.
    pub(crate) pool_row: &'a mut [f32],
}

impl<'a> Buffers<'a> {
    /// Cuts them out of `memory`, which starts a cache line and has at least [`BufferLens::sum`] floats.
    pub(crate) fn of(memory: &'a mut [f32], lens: &BufferLens) -> Self {
        let mut rest = memory;
        let [ring, sums, pooled, pool_row] = lens.each().map(|len| {
            let (buffer, behind) = core::mem::take(&mut rest).split_at_mut(len);
            rest = behind;
            buffer
        });
        Buffers { ring, next_row: 0, sums, pooled, pool_row }
    }
}
