use alloc::vec::Vec;

use onebit_model::{Geometry, PadValue, Shape, bits, packed_shape};

use crate::kernel::{Kernels, select};
use crate::op::{BitMap, ConvBin};
use crate::{EngineError, Isa};

/// One binary convolution by itself, for a trainer's forward pass and for measurements.
#[derive(Debug)]
pub struct BinaryConvolution {
    kernels: &'static Kernels,
    conv: ConvBin,
    x: Shape,
    y: Shape,
}

impl BinaryConvolution {
    /// Repacks `weight` `[O, k, k, words]` for an input map of the shape `x`.
    ///
    /// # Errors
    /// The instruction set is not available, or `weight` has another length.
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
        let found = weight.len();
        let expected = packed_shape(&geometry.weight_shape(x.channels)).iter().product();
        if found != expected {
            let node = "convolution".into();
            return Err(EngineError::ParameterSize { node, tensor: "weight", found, expected });
        }
        let extent = |input| geometry.output_extent(input).expect("the window fits the input");
        let y = Shape::float(geometry.out_channels, extent(x.height), extent(x.width));
        let lanes = (kernels.conv_bin_lanes)(geometry.out_channels / geometry.groups);
        let conv = ConvBin::new(weight, geometry, x.channels, pad, lanes);
        Ok(BinaryConvolution { kernels, conv, x, y })
    }

    /// Exact sums of products of one image's bits `x` (pixel by pixel, each starting a new word):
    /// integers, `[height, width, O]`. `regrouped` is working memory, used where a group of channels starts
    /// inside a word.
    ///
    /// # Panics
    /// If `x` or `y` does not have the length of its map.
    pub fn run(&self, x: &[u64], regrouped: &mut Vec<u64>, y: &mut [f32]) {
        assert_eq!(x.len(), self.x.pixels() * bits::words(self.x.channels), "length of x");
        assert_eq!(y.len(), self.y.len(), "length of y");
        let words = if self.conv.regroups() {
            regrouped.resize(self.x.pixels() * self.conv.pixel_words(), 0);
            self.conv.regroup(x, regrouped);
            regrouped.as_slice()
        } else {
            x
        };
        let map = BitMap { words, height: self.x.height, width: self.x.width };
        let row = self.y.width * self.y.channels;
        for (index, row) in y.chunks_exact_mut(row).enumerate() {
            (self.kernels.conv_bin)(&self.conv, map, index, row);
        }
    }
}
