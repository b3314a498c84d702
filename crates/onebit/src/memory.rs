//! Buffers whose size a file or an argument decides.

use std::hint::black_box;

use crate::failure::Failure;
use crate::output::bytes;

/// `len` zeros for `what`.
///
/// # Errors
/// Less memory than that.
pub(crate) fn zeros(len: usize, what: &str) -> anyhow::Result<Vec<f32>> {
    let mut values = Vec::new();
    grow(&mut values, len, what)?;
    Ok(values)
}

/// Makes `values` `len` long, with zeros where it was shorter.
///
/// # Errors
/// Less memory than that.
pub(crate) fn grow(values: &mut Vec<f32>, len: usize, what: &str) -> anyhow::Result<()> {
    let reserved = values.try_reserve_exact(len.saturating_sub(values.len()));
    reserved.map_err(|_| too_little::<f32>(len, what))?;
    values.resize(len, 0.0);
    Ok(())
}

/// The bytes of all `parts`, one after another, for `what`.
///
/// # Errors
/// Less memory than that.
pub(crate) fn joined(parts: &[&[u8]], what: &str) -> anyhow::Result<Vec<u8>> {
    let len = parts.iter().map(|part| part.len()).sum();
    let mut joined = Vec::new();
    joined.try_reserve_exact(len).map_err(|_| too_little::<u8>(len, what))?;
    parts.iter().for_each(|part| joined.extend_from_slice(part));
    Ok(joined)
}

/// What starting a thread takes: the stack, and room for what the system and the allocator put beside it. So much the
/// allocator of the C library has in no reserve of its own, but asks the system for.
const THREAD_BYTES: usize = 65 << 20;

/// Refuses to start a thread for which there is no memory: one that has begun without ends the program.
///
/// # Errors
/// Less memory than that.
pub(crate) fn check_thread() -> anyhow::Result<()> {
    let mut room = Vec::<u8>::new();
    let reserved = room.try_reserve_exact(THREAD_BYTES);
    // Otherwise the compiler may leave the reservation out.
    black_box(&mut room);
    reserved.map_err(|_| Failure::bad_data("there is not enough memory for another thread"))
}

fn too_little<T>(len: usize, what: &str) -> anyhow::Error {
    let size = bytes((len as u64).saturating_mul(size_of::<T>() as u64));
    Failure::bad_data(format!("there is not enough memory for {what}: {size} are needed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_an_error() {
        let said = zeros(usize::MAX / 8, "the logits").expect_err("too much").to_string();
        assert!(said.contains("the logits"), "{said}");
        let mut values = zeros(2, "it").expect("little");
        grow(&mut values, 3, "it").expect("little");
        grow(&mut values, 1, "it").expect("little");
        assert_eq!(values, [0.0]);
        assert_eq!(joined(&[b"ab", b"", b"c"], "it").expect("little"), b"abc");
    }
}
