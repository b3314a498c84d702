//! The rows of a map by a parallel for: several threads compute some of them each.

#[cfg(feature = "std")]
use core::ops::Range;
#[cfg(feature = "std")]
use std::sync::{Mutex, PoisonError};

#[cfg(feature = "std")]
use onebit_model::bits;

use super::Buffers;
#[cfg(feature = "std")]
use super::fused_map::Producer;
use super::fused_map::{Context, FusedMap, Outputs};
use crate::aligned::Aligned;
#[cfg(feature = "std")]
use crate::map::stride;

/// A parallel for: `parallel_for(n, body)` calls `body` with every number below `n`, some at the same time, and returns
/// when all calls have.
pub(crate) type ParallelFor<'a> = &'a (dyn Fn(usize, &(dyn Fn(usize) + Sync)) + 'a);

/// Most threads for one map.
pub(crate) const MAX_PARTS: usize = 32;

/// Least [`FusedMap::cost`] that is worth waking threads for.
#[cfg(feature = "std")]
const MIN_COST: usize = 1 << 14;

/// Rows that one thread computes.
#[cfg(feature = "std")]
struct Part<'a> {
    rows: Range<usize>,
    outputs: Outputs<'a>,
    buffers: Buffers<'a>,
}

impl FusedMap {
    /// Computes all rows, in as many parts at the same time as there are `buffers`.
    pub(super) fn all_rows(
        &self,
        context: &Context<'_>,
        outputs: Outputs<'_>,
        buffers: &mut [Aligned<f32>],
        parallel_for: Option<ParallelFor<'_>>,
    ) {
        #[cfg(feature = "std")]
        if let (Some(parallel_for), parts @ 2..) = (parallel_for, self.parts(buffers.len())) {
            return self.in_parts(context, outputs, &mut buffers[..parts], parallel_for);
        }
        #[cfg(not(feature = "std"))]
        let _ = parallel_for;
        if let Some(memory) = buffers.first_mut() {
            let mut buffers = Buffers::of(memory, &self.buffer_lens());
            self.rows(context, 0..self.height, outputs, &mut buffers);
        }
    }

    /// Parts for so many threads: one where more are not worth it, or where two of them would give the same signs.
    #[cfg(feature = "std")]
    fn parts(&self, threads: usize) -> usize {
        let is_shared = match &self.producer {
            Producer::Pool { pool, inner: Some(inner), .. } => {
                let window = pool.window;
                inner.sign.is_some() && (window.kernel != window.stride || window.padding > 0)
            }
            _ => false,
        };
        if is_shared || self.cost() < MIN_COST { 1 } else { threads.min(self.height) }
    }

    #[cfg(feature = "std")]
    fn in_parts(
        &self,
        context: &Context<'_>,
        mut outputs: Outputs<'_>,
        buffers: &mut [Aligned<f32>],
        parallel_for: ParallelFor<'_>,
    ) {
        let count = buffers.len().min(MAX_PARTS);
        let mut parts = [const { Mutex::new(None) }; MAX_PARTS];
        let lens = self.buffer_lens();
        for (i, (part, memory)) in parts.iter_mut().zip(buffers).enumerate() {
            let rows = i * self.height / count..(i + 1) * self.height / count;
            let outputs = self.part_of(&mut outputs, rows.clone());
            let buffers = Buffers::of(memory, &lens);
            *part = Mutex::new(Some(Part { rows, outputs, buffers }));
        }
        let compute = |i: usize| {
            let mut part = parts[i].lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Part { rows, outputs, mut buffers }) = part.take() {
                self.rows(context, rows, outputs, &mut buffers);
            }
        };
        parallel_for(count, &compute);
        // No part is left by a thread pool. The type promises nothing, though, and rows that nobody has computed would
        // hold those of the image before: what is left is computed here.
        (0..count).for_each(compute);
    }

    /// Takes the outputs of the next rows.
    #[cfg(feature = "std")]
    fn part_of<'a>(&self, outputs: &mut Outputs<'a>, rows: Range<usize>) -> Outputs<'a> {
        let (pixels, stride) = (rows.len() * self.width, stride(self.channels));
        let sums = rows.len() * stride;
        let inner_bits = match &self.producer {
            Producer::Pool { pool, inner: Some(inner), .. } => {
                let rows = self.inner_rows(*pool, inner, rows);
                rows.len() * inner.width * bits::words(inner.channels)
            }
            _ => 0,
        };
        Outputs {
            floats: split_front(&mut outputs.floats, pixels * stride),
            bits: split_front(&mut outputs.bits, pixels * bits::words(self.channels)),
            inner_bits: split_front(&mut outputs.inner_bits, inner_bits),
            sums: split_front(&mut outputs.sums, sums),
        }
    }
}

/// Takes the first `len` elements away.
#[cfg(feature = "std")]
fn split_front<'a, T>(whole: &mut Option<&'a mut [T]>, len: usize) -> Option<&'a mut [T]> {
    whole.as_mut()?.split_off_mut(..len)
}
