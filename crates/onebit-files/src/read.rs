use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::Error;

/// Reads a whole file that must not be longer than `limit` bytes.
///
/// # Errors
/// Unreadable, or longer.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let failed = Error::read(path);
    let file = File::open(path).map_err(&failed)?;
    let announced = file.metadata().map_err(&failed)?.len();
    let too_large = || Error::TooLarge { path: path.to_owned(), limit };
    if announced > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let expected = usize::try_from(announced).map_err(|_| too_large())?;
    bytes.try_reserve(expected).map_err(|e| failed(io::Error::other(e)))?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(&failed)?;
    if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
}
