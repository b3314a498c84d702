//! Memory whose first element starts a cache line, so that no register-wide access straddles two.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, DerefMut};

/// Bytes of a cache line, and of the widest register.
const LINE: usize = 64;

/// A fixed number of elements that start at a multiple of 64 bytes.
pub(crate) struct Aligned<T> {
    memory: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Aligned<T> {
    pub(crate) fn new(len: usize) -> Self {
        if len == 0 {
            return Aligned { memory: Vec::new(), start: 0, len };
        }
        let memory = vec![T::default(); len + LINE / size_of::<T>()];
        let start = memory.as_ptr().align_offset(LINE).min(LINE / size_of::<T>());
        Aligned { memory, start, len }
    }

    /// Changes the length; what was there is lost.
    pub(crate) fn resize(&mut self, len: usize) {
        if len != self.len {
            *self = Aligned::new(len);
        }
    }
}

impl<T: Copy + Default> Clone for Aligned<T> {
    fn clone(&self) -> Self {
        let mut copy = Aligned::new(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl<T: Copy + Default> Default for Aligned<T> {
    fn default() -> Self {
        Aligned::new(0)
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

impl<T> fmt::Debug for Aligned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aligned").field("len", &self.len).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_a_line_and_keeps_its_values_when_cloned() {
        let mut words: Aligned<u64> = Aligned::new(5);
        words.copy_from_slice(&[1, 2, 3, 4, 5]);
        for words in [&words, &words.clone()] {
            assert_eq!(words.as_ptr().align_offset(LINE), 0);
            assert_eq!(words[..], [1, 2, 3, 4, 5]);
        }
    }
}
