//! Buffers whose size a file or a setting decides.

#[cfg(feature = "datasets")]
use onebit_model::memory::THREAD_BYTES;
use onebit_model::memory::has_room;

use crate::Error;

/// `len` zeros for `what`.
pub(crate) fn zeros<T: Copy + Default>(len: usize, what: &str) -> Result<Vec<T>, Error> {
    let mut values = room(len, what)?;
    values.resize(len, T::default());
    Ok(values)
}

/// Room for `len` values of `what`.
pub(crate) fn room<T>(len: usize, what: &str) -> Result<Vec<T>, Error> {
    let mut values = Vec::new();
    let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
    let reserved = values.try_reserve_exact(len);
    reserved.map_err(|_| Error::Memory { what: what.to_owned(), bytes })?;
    Ok(values)
}

/// Refuses what the system has no memory for, before it is asked for where that would end the program.
pub(crate) fn check_room(bytes: usize, what: &str) -> Result<(), Error> {
    match has_room(bytes) {
        true => Ok(()),
        false => Err(Error::Memory { what: what.to_owned(), bytes: bytes as u64 }),
    }
}

#[cfg(feature = "datasets")]
/// Refuses to start a thread for `what` where there is no memory for one: one that has begun without ends the program.
pub(crate) fn check_thread(what: &str) -> Result<(), Error> {
    check_room(THREAD_BYTES, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn what_does_not_fit_is_an_error_that_names_it() {
        let error = zeros::<f32>(usize::MAX / 8, "the batch").unwrap_err();
        assert!(error.to_string().contains("not enough memory for the batch"), "{error}");
        assert_eq!(error.kind(), ErrorKind::BadData);
        assert_eq!(zeros::<u8>(2, "it").unwrap(), [0, 0]);
        assert!(check_room(usize::MAX / 2, "it").is_err());
        check_thread("it").unwrap();
    }
}
