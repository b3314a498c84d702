//! The frame: sizes, components, and the memory that they are decoded into.

use super::{Failure, idct, refused, zeros};

/// How the coefficients are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    /// Each block at once.
    Sequential,
    /// In several passes over all blocks.
    Progressive,
}

/// What a frame header says.
pub(super) struct Frame {
    pub(super) process: Process,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) components: Vec<Component>,
    /// Rows and columns of units of blocks in a scan of several components.
    pub(super) units: (usize, usize),
    pub(super) most: (usize, usize),
}

/// One colour: its sampling and its samples.
pub(super) struct Component {
    pub(super) id: u8,
    /// Blocks of a unit, vertically and horizontally.
    pub(super) sampling: (usize, usize),
    pub(super) table: usize,
    /// Rows and columns of samples that belong to the picture.
    pub(super) size: (usize, usize),
    /// Rows and columns of blocks that belong to the picture.
    pub(super) blocks: (usize, usize),
    /// Columns of blocks in memory.
    pub(super) stride: usize,
    /// Quantization steps, as they were when the first scan of the component began.
    pub(super) steps: Option<[u16; 64]>,
    /// Of a progressive frame: 64 coefficients of each block.
    pub(super) coefficients: Vec<i16>,
    /// `stride * 8` samples a row.
    pub(super) samples: Vec<u8>,
}

impl Frame {
    pub(super) fn new(marker: u8, segment: &[u8]) -> Result<Self, Failure> {
        let process = match marker {
            0xc0 | 0xc1 => Process::Sequential,
            0xc2 => Process::Progressive,
            0xc3 => return refused("lossless JPEG is not read"),
            0xc9..=0xcb | 0xcd..=0xcf => return refused("arithmetic coding is not read"),
            _ => return refused("hierarchical JPEG is not read"),
        };
        let bad = || Failure::Refused("its frame header is damaged".to_owned());
        let (&[precision, h1, h0, w1, w0, count], rest) =
            segment.split_first_chunk().ok_or_else(bad)?;
        if precision != 8 {
            return refused(format!("samples of {precision} bits are not read"));
        }
        let (height, width) = (u16::from_be_bytes([h1, h0]), u16::from_be_bytes([w1, w0]));
        if height == 0 || width == 0 {
            return refused(format!("it has {width} x {height} pixels"));
        }
        if !matches!(count, 1 | 3 | 4) {
            return refused(format!("it has {count} components, not 1, 3 or 4"));
        }
        let (components, []) = rest.as_chunks::<3>() else { return Err(bad()) };
        if components.len() != usize::from(count) {
            return Err(bad());
        }
        let mut frame = Self {
            process,
            height: usize::from(height),
            width: usize::from(width),
            components: components.iter().map(Component::new).collect::<Result<_, _>>()?,
            units: (0, 0),
            most: (1, 1),
        };
        frame.lay_out()?;
        Ok(frame)
    }

    fn lay_out(&mut self) -> Result<(), Failure> {
        let all = self.components.iter().map(|component| component.sampling);
        self.most = all.fold((1, 1), |most, one| (most.0.max(one.0), most.1.max(one.1)));
        let most = self.most;
        self.units = (self.height.div_ceil(8 * most.0), self.width.div_ceil(8 * most.1));
        for component in &mut self.components {
            let (v, h) = component.sampling;
            if !most.0.is_multiple_of(v) || !most.1.is_multiple_of(h) {
                return refused("its sampling factors are no multiples of each other");
            }
            component.size =
                ((self.height * v).div_ceil(most.0), (self.width * h).div_ceil(most.1));
            component.blocks = (component.size.0.div_ceil(8), component.size.1.div_ceil(8));
            component.stride = self.units.1 * h;
        }
        Ok(())
    }

    /// Makes room for the samples, where all of it, with the pixels, is not beyond `memory` bytes.
    pub(super) fn allocate(&mut self, memory: u64) -> Result<(), Failure> {
        let coefficients = match self.process {
            Process::Sequential => 0,
            Process::Progressive => 64,
        };
        let blocks = |c: &Component| c.stride * self.units.0 * c.sampling.0;
        let all: usize = self.components.iter().map(blocks).sum();
        let pixels = self.height * self.width * self.components.len();
        if (all * (64 + 2 * coefficients) + pixels) as u64 > memory {
            return Err(Failure::Memory);
        }
        let rows = self.units.0;
        for component in &mut self.components {
            let blocks = component.stride * rows * component.sampling.0;
            component.coefficients = zeros(blocks * coefficients)?;
            component.samples = zeros(blocks * 64)?;
        }
        Ok(())
    }

    /// Turns the coefficients of a progressive frame into samples, and refuses a frame that lacks a component.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        for component in &mut self.components {
            let Some(steps) = component.steps else {
                return refused(format!("component {} has no data", component.id));
            };
            let stride = component.stride;
            let rows = component.samples.chunks_exact_mut(stride * 64);
            let coefficients = component.coefficients.chunks_exact(stride * 64);
            for (samples, coefficients) in rows.zip(coefficients) {
                for (i, block) in coefficients.as_chunks::<64>().0.iter().enumerate() {
                    idct::block(block, &steps, &mut samples[i * 8..], stride * 8);
                }
            }
            component.coefficients = Vec::new();
        }
        Ok(())
    }
}

impl Component {
    fn new(&[id, sampling, table]: &[u8; 3]) -> Result<Self, Failure> {
        let (h, v) = (usize::from(sampling >> 4), usize::from(sampling & 15));
        if !(1..=4).contains(&h) || !(1..=4).contains(&v) || table > 3 {
            return refused("its frame header is damaged");
        }
        Ok(Self {
            id,
            sampling: (v, h),
            table: usize::from(table),
            size: (0, 0),
            blocks: (0, 0),
            stride: 0,
            steps: None,
            coefficients: Vec::new(),
            samples: Vec::new(),
        })
    }

    /// Row `y` of the samples, those beyond the picture left out; a row beyond it is its last one.
    pub(super) fn row(&self, y: usize) -> &[u8] {
        let y = y.min(self.size.0 - 1);
        &self.samples[y * self.stride * 8..][..self.size.1]
    }
}
