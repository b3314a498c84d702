//! One binary convolution by itself, without a plan.

use onebit_model::{Geometry, PadValue, Shape, bits, packed_shape};

use crate::aligned::{Aligned, BumpAllocator, product};
use crate::kernel::{ConvBinTask, Filters, Kernels, select};
use crate::map::{BitMap, RowTile};
use crate::packed::{ConvBin, Layout};
use crate::{EngineError, Isa};

/// One binary convolution by itself, for a trainer's forward pass and for measurements.
#[derive(Debug)]
pub struct BinaryConvolution {
    kernels: &'static Kernels,
    conv: ConvBin,
    layout: Layout,
    x: Shape,
    y: Shape,
}

/// Working memory of [`BinaryConvolution::run`], reused from one run to the next.
#[derive(Debug, Default)]
pub struct Workspace {
    prepared: Aligned<u64>,
    sums: Aligned<f32>,
}

impl BinaryConvolution {
    /// Repacks `weight` `[O, k, k, words]` for an input map of the shape `x`.
    ///
    /// # Errors
    /// The instruction set is not available, there is no memory, or `weight` has another length.
    ///
    /// # Panics
    /// If the window does not fit the input (shape inference refuses such a graph).
    pub fn new(
        weight: &[u64],
        geometry: Geometry,
        pad: PadValue,
        x: Shape,
        isa: Option<Isa>,
    ) -> Result<Self, EngineError> {
        let kernels = select(isa)?;
        check_weight(weight, packed_shape(&geometry.weight_shape(x.channels)).iter().product())?;
        let extent = |input| geometry.output_extent(input).expect("the window fits the input");
        let y = Shape::float(geometry.out_channels, extent(x.height), extent(x.width));
        let layout = (kernels.conv_bin_layout)(Filters::of(geometry, x.channels));
        let conv =
            ConvBin::new(weight, geometry, x.channels, pad, layout, &BumpAllocator::default())?;
        Ok(BinaryConvolution { kernels, conv, layout, x, y })
    }

    /// Puts other weights `[O, k, k, words]` in the place of those that it was made with.
    ///
    /// # Errors
    /// `weight` has another length.
    pub fn set_weight(&mut self, weight: &[u64]) -> Result<(), EngineError> {
        check_weight(weight, self.conv.file_words())?;
        self.conv.pack(weight, self.layout);
        Ok(())
    }

    /// Exact sums of products of one image's bits `x` (pixel by pixel, each starting a new word):
    /// integers, `[height, width, O]`.
    ///
    /// # Errors
    /// There is no memory for the workspace.
    ///
    /// # Panics
    /// If `x` or `y` does not have the length of its map.
    pub fn run(
        &self,
        x: &[u64],
        workspace: &mut Workspace,
        y: &mut [f32],
    ) -> Result<(), EngineError> {
        assert_eq!(x.len(), self.x.pixels() * bits::words(self.x.channels), "length of x");
        assert_eq!(y.len(), self.y.len(), "length of y");
        let stride = self.conv.sums_stride();
        if stride == self.y.channels {
            return self.sums(x, &mut workspace.prepared, stride, y);
        }
        let Workspace { prepared, sums } = workspace;
        sums.resize(product(&[self.y.pixels(), stride]))?;
        self.sums(x, prepared, stride, sums)?;
        for (y, sums) in y.chunks_exact_mut(self.y.channels).zip(sums.chunks_exact(stride)) {
            y.copy_from_slice(&sums[..self.y.channels]);
        }
        Ok(())
    }

    fn sums(
        &self,
        x: &[u64],
        prepared: &mut Aligned<u64>,
        stride: usize,
        y: &mut [f32],
    ) -> Result<(), EngineError> {
        prepared.resize(self.conv.prepared_words(self.x.pixels()))?;
        self.conv.prepare(x, prepared);
        let words = self.conv.prepared(x, prepared);
        let x = BitMap { words, height: self.x.height, width: self.x.width };
        let row_tile = RowTile {
            rows: 0..self.y.height,
            width: self.y.width,
            channels: self.y.channels,
            stride,
            stages: &[],
            floats: Some(y),
            bits: None,
            sums: None,
        };
        (self.kernels.conv_bin)(ConvBinTask { conv: &self.conv, x, row_tile });
        Ok(())
    }
}

fn check_weight(weight: &[u64], expected: usize) -> Result<(), EngineError> {
    let found = weight.len();
    match found == expected {
        true => Ok(()),
        false => {
            let node = "convolution".into();
            Err(EngineError::ParameterSize { node, tensor: "weight", found, expected })
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    const GEOMETRY: Geometry =
        Geometry { out_channels: 19, kernel: 3, stride: 2, padding: 1, groups: 1 };

    /// Sums of one image, where padded taps count as +1.
    fn sums(conv: &BinaryConvolution, x: &[u64]) -> Vec<f32> {
        let mut y = vec![0.0; conv.y.len()];
        conv.run(x, &mut Workspace::default(), &mut y).expect("memory");
        y
    }

    #[test]
    fn weights_can_be_replaced() {
        let x = Shape { element: onebit_model::Element::Bit, ..Shape::float(40, 5, 6) };
        let weight = |seed: u64| -> Vec<u64> {
            (0..19 * 9).map(|i| (i + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24).collect()
        };
        let bits: Vec<u64> = weight(5)[..30].to_vec();
        for isa in Isa::available() {
            let new = |weight: &[u64]| {
                BinaryConvolution::new(weight, GEOMETRY, PadValue::One, x, Some(isa))
            };
            let [first, second] = [weight(1), weight(2)];
            let mut conv = new(&first).expect("a convolution");
            conv.set_weight(&second).expect("as many weights");
            let expected = sums(&new(&second).expect("a convolution"), &bits);
            assert_eq!(sums(&conv, &bits), expected, "{isa}");
            assert_ne!(sums(&new(&first).expect("a convolution"), &bits), expected, "{isa}");
            let error = conv.set_weight(&second[1..]).expect_err("too few weights");
            assert!(matches!(error, EngineError::ParameterSize { found: 170, .. }), "{error}");
        }
    }
}
