//! Buffers whose size a file or an argument decides.

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
    values
        .try_reserve_exact(len.saturating_sub(values.len()))
        .map_err(|_| too_little(len, what))?;
    values.resize(len, 0.0);
    Ok(())
}

fn too_little(len: usize, what: &str) -> anyhow::Error {
    let size = bytes((len as u64).saturating_mul(size_of::<f32>() as u64));
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
    }
}
