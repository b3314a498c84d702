//! The window of a convolution or pooling, and what lies below it.

use core::ops::Range;

/// A square window moved over one extent of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

impl Window {
    /// Taps of the window at output position `o` that lie inside an input of `extent`; never empty, because
    /// the padding is smaller than the window.
    #[inline(always)]
    pub(crate) fn taps(&self, o: usize, extent: usize) -> Range<usize> {
        let start = o * self.stride;
        let end = (extent + self.padding).saturating_sub(start).min(self.kernel);
        self.padding.saturating_sub(start)..end
    }

    /// Input positions below the window at output position `o`, in an input of `extent`.
    #[inline(always)]
    pub(crate) fn input_rows(&self, o: usize, extent: usize) -> Range<usize> {
        let taps = self.taps(o, extent);
        self.input(o, taps.start)..self.input(o, taps.start) + taps.len()
    }

    /// Input position of the tap `tap` of the window at output position `o`, a tap of [`Window::taps`].
    #[inline(always)]
    pub(crate) fn input(&self, o: usize, tap: usize) -> usize {
        o * self.stride + tap - self.padding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_agree_with_counting() {
        for (extent, kernel, stride, padding) in
            [(1, 3, 1, 1), (5, 3, 2, 1), (9, 5, 1, 2), (4, 2, 2, 0), (2, 5, 1, 4)]
        {
            let window = Window { kernel, stride, padding };
            let outputs = (extent + 2 * padding - kernel) / stride + 1;
            for o in 0..outputs {
                let inside =
                    |tap: &usize| (padding..padding + extent).contains(&(o * stride + tap));
                let taps: alloc::vec::Vec<usize> = (0..kernel).filter(inside).collect();
                assert!(window.taps(o, extent).eq(taps.iter().copied()), "{window:?} at {o}");
            }
        }
    }
}
