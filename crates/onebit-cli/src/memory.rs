//! Buffers whose size a file or an argument decides.

use crate::failure::Failure;
use crate::output::bytes;

/// `len` zeros for `what`.
///
/// # Errors
/// Less memory than that.
pub(crate) fn zeros(len: usize, what: &str) -> anyhow::Result<Vec<f32>> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| too_little(len, what))?;
    values.resize(len, 0.0);
    Ok(values)
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
        assert_eq!(zeros(2, "it").expect("little"), [0.0; 2]);
    }
}
