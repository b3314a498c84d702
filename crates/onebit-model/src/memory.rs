//! Memory that is asked for before it is taken: a program whose allocation fails in the midst of something ends.

use alloc::vec::Vec;
use core::hint::black_box;

/// What starting a thread takes: the stack, and room for what the system and the allocator put beside it. So much the
/// allocator of the C library has in no reserve of its own, but asks the system for.
pub const THREAD_BYTES: usize = 65 << 20;

/// Whether the system would give so many bytes at once.
#[must_use]
pub fn has_room(bytes: usize) -> bool {
    let mut room = Vec::<u8>::new();
    let reserved = room.try_reserve_exact(bytes);
    // Otherwise the compiler may leave the reservation out.
    black_box(&mut room);
    reserved.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_little_and_none_for_everything() {
        assert!(has_room(0) && has_room(1 << 10));
        assert!(!has_room(usize::MAX));
    }
}
