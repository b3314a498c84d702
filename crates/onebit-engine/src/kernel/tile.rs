//! How a row of outputs is cut into tiles.

use crate::packed::Window;

/// Tiles of a row of `outputs` of inputs of width `extent`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiling {
    /// Widths of tiles, widest first.
    widths: &'static [usize],
    window: Window,
    extent: usize,
    outputs: usize,
}

impl Tiling {
    /// Tiles of these widths, widest first; where 7 divides the row, as in networks for 224 pixels, 8 is passed
    /// over.
    #[inline(always)]
    pub(super) fn new(
        widths: &'static [usize],
        window: Window,
        extent: usize,
        outputs: usize,
    ) -> Self {
        let widths = match widths {
            [8, rest @ ..] if outputs.is_multiple_of(7) => rest,
            widths => widths,
        };
        Tiling { widths, window, extent, outputs }
    }

    /// Pixels of the tile that starts at `x`: the widest whose padding touches no more than its first and its last
    /// pixel, or 1.
    #[inline(always)]
    pub(super) fn tile(&self, x: usize) -> usize {
        for &width in self.widths {
            if x + width <= self.outputs && self.edges(x, width).are_thin() {
                return width;
            }
        }
        1
    }

    /// How many tiles of `width` outputs, one beside the other from `x` on, lie inside the input with all of their
    /// windows.
    #[inline(always)]
    pub(super) fn inside(&self, x: usize, width: usize) -> usize {
        let Window { kernel, stride, padding } = self.window;
        let inside = match (self.extent + padding).checked_sub(kernel) {
            Some(last) if x * stride >= padding => (last / stride + 1).min(self.outputs),
            _ => 0,
        };
        inside.saturating_sub(x) / width
    }

    /// Edges of the tile of `width` outputs from `x` on.
    #[inline(always)]
    pub(super) fn edges(&self, x: usize, width: usize) -> Edges {
        let Window { kernel, stride, padding } = self.window;
        let left = padding.saturating_sub(x * stride);
        let right = (self.extent + padding).saturating_sub((x + width - 1) * stride).min(kernel);
        Edges { left, right, kernel, stride }
    }
}

/// Columns of taps of a tile that lie in the padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edges {
    /// The first pixel has padding in the columns before this one.
    pub(super) left: usize,
    /// The last pixel has padding from this column on.
    pub(super) right: usize,
    kernel: usize,
    stride: usize,
}

impl Edges {
    /// Whether every window lies inside the input.
    #[inline(always)]
    pub(super) fn are_inside(self) -> bool {
        self.left == 0 && self.right == self.kernel
    }

    /// Whether padding touches no more than the first and the last pixel, and not both in one column of taps.
    #[inline(always)]
    pub(super) fn are_thin(self) -> bool {
        self.left <= self.stride
            && self.kernel - self.right <= self.stride
            && self.left <= self.right
    }

    /// The end of the columns from `kx` on that are padding for the same pixels.
    #[inline(always)]
    pub(super) fn run(self, kx: usize) -> usize {
        let left = if kx < self.left { self.left } else { self.kernel };
        let right = if kx < self.right { self.right } else { self.kernel };
        left.min(right)
    }

    /// Whether the column `kx` is padding for the first pixel and for the last.
    #[inline(always)]
    pub(super) fn padded(self, kx: usize) -> [bool; 2] {
        [kx < self.left, kx >= self.right]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_a_row_and_know_their_padding() {
        for (extent, kernel, stride, padding) in [
            (56, 3, 1, 1),
            (7, 3, 1, 1),
            (2, 3, 1, 1),
            (1, 3, 1, 1),
            (9, 5, 1, 2),
            (224, 7, 2, 3),
            (5, 3, 2, 1),
        ] {
            let window = Window { kernel, stride, padding };
            let outputs = (extent + 2 * padding - kernel) / stride + 1;
            let tiling = Tiling::new(&[8, 7, 4, 2], window, extent, outputs);
            let mut x = 0;
            while x < outputs {
                let width = tiling.tile(x);
                let edges = tiling.edges(x, width);
                for i in 0..3 {
                    let (x, is_inside) = (x + i * width, i < tiling.inside(x, width));
                    let fits = x + width <= outputs;
                    let all = (0..=i).all(|j| tiling.edges(x - j * width, width).are_inside());
                    assert_eq!(is_inside, fits && all, "{window:?} at {x}");
                }
                for (p, kx) in (0..width).flat_map(|p| (0..kernel).map(move |kx| (p, kx))) {
                    let [left, right] = edges.padded(kx);
                    let padded = p == 0 && left || p == width - 1 && right;
                    let taps = window.taps(x + p, extent);
                    assert_eq!(padded, !taps.contains(&kx), "{window:?} at {x} + {p}, {kx}");
                }
                x += width;
            }
            assert_eq!(x, outputs);
        }
    }
}
