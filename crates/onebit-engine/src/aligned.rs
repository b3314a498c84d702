//! Memory whose first element starts a cache line, so that no register-wide access straddles two; and much of it in
//! one piece, which the system is asked to give in large pages.
#![allow(unsafe_code)]

use alloc::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use alloc::sync::Arc;
use core::cell::Cell;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::{fmt, slice};

use bytemuck::Zeroable;

use crate::EngineError;

/// Bytes of a cache line, and of the widest register.
const LINE: usize = 64;

/// Bytes of a large page, where the system can be asked for them.
const PAGE: Option<usize> =
    if cfg!(all(feature = "std", target_os = "linux")) { Some(2 << 20) } else { None };

/// A fixed number of elements that start at a multiple of 64 bytes.
pub(crate) struct Aligned<T> {
    /// Elements that nothing else refers to.
    elements: NonNull<T>,
    len: usize,
    /// Keeps them; none where there are none.
    _block: Option<Arc<Block>>,
}

// SAFETY: it owns its elements; the block is only kept and given back.
unsafe impl<T: Send> Send for Aligned<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Aligned<T> {}

impl<T: Copy + Zeroable> Aligned<T> {
    /// Zeros.
    pub(crate) fn new(len: usize) -> Result<Self, EngineError> {
        BumpAllocator::default().take(len)
    }

    /// Changes the length; what was there is lost.
    pub(crate) fn resize(&mut self, len: usize) -> Result<(), EngineError> {
        if len != self.len {
            *self = Aligned::new(len)?;
        }
        Ok(())
    }
}

impl<T> Default for Aligned<T> {
    fn default() -> Self {
        Aligned { elements: NonNull::dangling(), len: 0, _block: None }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: these elements of the block, which is kept, were zeroed and are nobody else's.
        unsafe { slice::from_raw_parts(self.elements.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; the borrow is exclusive.
        unsafe { slice::from_raw_parts_mut(self.elements.as_ptr(), self.len) }
    }
}

impl<T> fmt::Debug for Aligned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aligned").field("len", &self.len).finish()
    }
}

/// A number of elements: so large that there is no such memory where it overflows.
pub(crate) fn product(factors: &[usize]) -> usize {
    factors.iter().fold(1, |product, &factor| product.saturating_mul(factor))
}

/// A bump allocator: the parts of a plan are taken from it one behind the other. A page of 4 KiB is a miss in the
/// processor's table of pages and, when it is new, an interruption; a network of some megabytes is a few pages of 2 MiB.
#[derive(Debug, Default)]
pub(crate) struct BumpAllocator {
    block: Option<Arc<Block>>,
    taken: Cell<usize>,
}

impl BumpAllocator {
    /// Room for at most so many bytes in one piece, of which only what is taken is touched. What does not fit, or all of
    /// it where large pages cannot be asked for, is allocated by itself.
    pub(crate) fn new(bytes: usize) -> Self {
        BumpAllocator { block: Block::large(bytes).map(Arc::new), taken: Cell::new(0) }
    }

    /// Zeros.
    pub(crate) fn take<T: Copy + Zeroable>(&self, len: usize) -> Result<Aligned<T>, EngineError> {
        if len == 0 {
            return Ok(Aligned::default());
        }
        let bytes = len.saturating_mul(size_of::<T>());
        let refused = EngineError::OutOfMemory { bytes };
        let layout = Layout::array::<T>(len).and_then(|layout| layout.align_to(LINE));
        let Ok(layout) = layout else { return Err(refused) };
        let (start, block) = match self.part(layout.size()) {
            Some(part) => part,
            None => {
                let block = Block::zeroed(layout).ok_or(refused)?;
                (block.start, Arc::new(block))
            }
        };
        Ok(Aligned { elements: start.cast(), len, _block: Some(block) })
    }

    /// The next zeros of the piece, if so many are left.
    fn part(&self, bytes: usize) -> Option<(NonNull<u8>, Arc<Block>)> {
        let block = self.block.as_ref()?;
        let from = self.taken.get();
        let to = from.checked_add(bytes)?.checked_next_multiple_of(LINE)?;
        if to > block.layout.size() {
            return None;
        }
        self.taken.set(to);
        // SAFETY: from..to lies in the block and was not taken before; `from` is a multiple of 64.
        let start = unsafe {
            let start = block.start.add(from);
            start.write_bytes(0, bytes);
            start
        };
        Some((start, Arc::clone(block)))
    }
}

/// Bytes from the allocator.
#[derive(Debug)]
struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it gives access to nothing; whoever takes a part of it says what that part allows.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    /// None where the system has no such memory. `layout.size()` must not be 0.
    fn zeroed(layout: Layout) -> Option<Self> {
        assert_ne!(layout.size(), 0, "an allocation of nothing");
        if let Some(block) = Block::large(layout.size()) {
            // SAFETY: the block has that many bytes.
            unsafe { block.start.write_bytes(0, layout.size()) };
            return Some(block);
        }
        // SAFETY: the size is not 0.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Block { start, layout })
    }

    /// At least a page of uninitialized bytes, in large pages if the system has them.
    fn large(bytes: usize) -> Option<Self> {
        let page = PAGE.filter(|&page| bytes >= page)?;
        let layout = Layout::from_size_align(bytes, page).ok()?;
        // SAFETY: the size is not 0.
        let start = NonNull::new(unsafe { alloc(layout) })?;
        ask_for_large_pages(start, bytes);
        Some(Block { start, layout })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout; nobody has a part of it any more.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// A hint: where the system has no such pages the memory is as good.
#[cfg(all(feature = "std", target_os = "linux", not(miri)))]
fn ask_for_large_pages(start: NonNull<u8>, bytes: usize) {
    // SAFETY: these bytes are ours, and the advice does not change them.
    let _refused = unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
}

#[cfg(not(all(feature = "std", target_os = "linux", not(miri))))]
fn ask_for_large_pages(_: NonNull<u8>, _: usize) {}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn it_starts_a_line_and_keeps_its_values() {
        let mut words: Aligned<u64> = Aligned::new(5).unwrap();
        assert_eq!(words[..], [0; 5]);
        words.copy_from_slice(&[1, 2, 3, 4, 5]);
        assert_eq!(words.as_ptr().align_offset(LINE), 0);
        assert_eq!(words[..], [1, 2, 3, 4, 5]);
        assert!(Aligned::<f32>::new(0).unwrap().is_empty());
    }

    #[test]
    fn memory_that_there_is_not_is_an_error() {
        let memory = BumpAllocator::new(3 << 20);
        let refused_by_the_system = cfg!(target_pointer_width = "64").then_some(usize::MAX / 64);
        for len in [usize::MAX, usize::MAX / 4].into_iter().chain(refused_by_the_system) {
            let bytes = len.saturating_mul(4);
            let refused = EngineError::OutOfMemory { bytes };
            assert_eq!(memory.take::<f32>(len).err(), Some(refused.clone()));
            assert_eq!(Aligned::<f32>::default().resize(len), Err(refused));
        }
        assert!(memory.take::<f32>(5).is_ok());
    }

    #[test]
    fn parts_of_one_memory_do_not_touch() {
        let ends = |part: &[u8]| (part.first().copied(), part.last().copied());
        for bytes in [0, 1 << 10, 3 << 20] {
            let memory = BumpAllocator::new(bytes);
            let lens = [1, 64, 65, 1 << 20, 0, 1 << 20, 1 << 20];
            let mut parts: Vec<Aligned<u8>> = lens.map(|len| memory.take(len).unwrap()).into();
            let floats: Aligned<f32> = memory.take(7).unwrap();
            assert_eq!(floats[..], [0.0; 7]);
            for (part, value) in parts.iter_mut().zip(1..) {
                let Some(last) = part.len().checked_sub(1) else { continue };
                assert_eq!(part.as_ptr().align_offset(LINE), 0);
                assert_eq!(ends(part), (Some(0), Some(0)));
                (part[0], part[last]) = (value, value);
            }
            drop(memory);
            for (part, value) in parts.iter().zip(1..) {
                let value = (!part.is_empty()).then_some(value);
                assert_eq!(ends(part), (value, value), "of {bytes}");
            }
            assert_eq!(floats[..], [0.0; 7]);
        }
    }
}
