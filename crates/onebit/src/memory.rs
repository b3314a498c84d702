//! Buffers whose size a file or an argument decides.

use crate::Error;

/// Makes `values` `len` long, with zeros where it was shorter.
///
/// # Errors
/// Less memory than that.
pub(crate) fn grow(values: &mut Vec<f32>, len: usize, what: &'static str) -> Result<(), Error> {
    let more = len.saturating_sub(values.len());
    let bytes = (len as u64).saturating_mul(size_of::<f32>() as u64);
    values.try_reserve_exact(more).map_err(|_| Error::OutOfMemory { what, bytes })?;
    values.resize(len, 0.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_an_error() {
        let mut values = Vec::new();
        let said = grow(&mut values, usize::MAX / 8, "the logits").expect_err("too much");
        assert!(said.to_string().contains("for the logits"), "{said}");
        grow(&mut values, 3, "it").expect("little");
        grow(&mut values, 1, "it").expect("little");
        assert_eq!(values, [0.0]);
    }
}
