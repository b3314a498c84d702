//! NumPy arrays of 32-bit floats, read and written.

use std::io::{BufReader, Read};
use std::path::Path;

use onebit_files::{shown, write_atomic};

use crate::Error;
use crate::buffer::room;
use crate::files::open_to_read;
use crate::gzip::read_exactly;

const MAGIC: &[u8] = b"\x93NUMPY";
const MAX_HEADER: usize = 1 << 16;
const MAX_DIMENSIONS: usize = 32;
const MAX_BYTES: u64 = 16 << 30;
const ALIGNMENT: usize = 64;
const F32: &str = "<f4";

/// Reads a NumPy array of little-endian `float32` in C order; returns its shape and values.
///
/// Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>, versions 1.0
/// and 2.0.
///
/// # Errors
///
/// If the file is missing, is not an `.npy` file, holds another type, Fortran order or no values, is longer or shorter
/// than its header says, or holds more than 16 GiB or than there is memory for.
pub fn read_npy_f32(path: &Path) -> Result<(Vec<usize>, Vec<f32>), Error> {
    let mut reader = BufReader::new(open_to_read(path, "a NumPy .npy file of float32")?);
    let header = read_header(path, &mut reader)?;
    let shape = Header::parse(path, &header)?.shape(path)?;
    let bytes = shape
        .iter()
        .try_fold(4u64, |product, &side| product.checked_mul(side as u64))
        .filter(|&bytes| bytes <= MAX_BYTES)
        .ok_or_else(|| {
            Error::limit(path, "shape", format!("{shape:?}"), format!("{MAX_BYTES} bytes of data"))
        })?;
    let data = read_exactly(path, &mut reader, bytes, "array data")?;
    let words = data.as_chunks().0;
    let mut values = room(words.len(), &format!("the array of {}", path.display()))?;
    values.extend(words.iter().map(|&word| f32::from_le_bytes(word)));
    Ok((shape, values))
}

/// Writes a NumPy array of little-endian `float32` in C order, as version 1.0.
///
/// The file appears under its name only when it is whole and on disk.
///
/// # Errors
///
/// If `data` does not have the number of values that `shape` says, `shape` has more than 32
/// dimensions, or the file cannot be written.
pub fn write_npy_f32(path: &Path, shape: &[usize], data: &[f32]) -> Result<(), Error> {
    let count = shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
    if count != Some(data.len()) || shape.len() > MAX_DIMENSIONS {
        return Err(Error::setting(
            format!("number of values for {}", path.display()),
            data.len(),
            format!("the product of the shape {shape:?} (at most {MAX_DIMENSIONS} dimensions)"),
        ));
    }
    let sides: Vec<String> = shape.iter().map(usize::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let shape = format!("({}{comma})", sides.join(", "));
    let text = format!("{{'descr': '{F32}', 'fortran_order': False, 'shape': {shape}, }}");
    let fixed = MAGIC.len() + 4;
    let length = (fixed + text.len() + 1).next_multiple_of(ALIGNMENT) - fixed;
    let what = format!("the array of {}", path.display());
    let mut file = room(fixed + length + size_of_val(data), &what)?;
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&[1, 0]);
    file.extend_from_slice(&(length as u16).to_le_bytes());
    file.extend_from_slice(format!("{text:<width$}\n", width = length - 1).as_bytes());
    file.extend(data.iter().flat_map(|value| value.to_le_bytes()));
    Ok(write_atomic(path, &file)?)
}

fn read_header(path: &Path, reader: &mut dyn Read) -> Result<String, Error> {
    let start = read_some(path, reader, MAGIC.len() + 2)?;
    let (magic, version) = start.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(Error::format(path, "file type", "not NumPy", "a NumPy .npy file of float32"));
    }
    let length = match version {
        [1, 0] => {
            let bytes = read_some(path, reader, 2)?;
            bytes.iter().rev().fold(0, |length, &byte| length << 8 | usize::from(byte))
        }
        [2, 0] => {
            let bytes = read_some(path, reader, 4)?;
            bytes.iter().rev().fold(0, |length, &byte| length << 8 | usize::from(byte))
        }
        other => {
            return Err(Error::format(
                path,
                "npy version",
                format!("{other:?}"),
                "[1, 0] or [2, 0]",
            ));
        }
    };
    if length > MAX_HEADER {
        return Err(Error::limit(
            path,
            "npy header",
            format!("{length} bytes"),
            format!("{MAX_HEADER} bytes"),
        ));
    }
    let header = read_some(path, reader, length)?;
    String::from_utf8(header)
        .map_err(|_| Error::format(path, "npy header", "not ASCII", "a Python dictionary"))
}

fn read_some(path: &Path, reader: &mut dyn Read, length: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).map_err(|source| match source.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            Error::format(path, "npy header", "cut off", "a whole header")
        }
        _ => Error::read(path, source, "a NumPy .npy file"),
    })?;
    Ok(bytes)
}

/// The three fields of a header, as written.
struct Header<'a> {
    descr: &'a str,
    fortran_order: &'a str,
    shape: &'a str,
}

impl<'a> Header<'a> {
    fn parse(path: &Path, text: &'a str) -> Result<Self, Error> {
        let bad = || {
            Error::format(
                path,
                "npy header",
                format!("`{}`", shown(text.trim())),
                "the fields descr, fortran_order and shape, once each",
            )
        };
        let mut rest = text
            .trim()
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'))
            .ok_or_else(bad)?
            .trim();
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (name, after) = rest.split_once(':').ok_or_else(bad)?;
            let after = after.trim_start();
            let end = if after.starts_with('(') {
                after.find(')').map(|end| end + 1)
            } else {
                Some(after.find(',').unwrap_or(after.len()))
            };
            let (value, after) = after.split_at_checked(end.ok_or_else(bad)?).ok_or_else(bad)?;
            let field = match name.trim().trim_matches(['\'', '"']) {
                "descr" => &mut descr,
                "fortran_order" => &mut fortran_order,
                "shape" => &mut shape,
                _ => return Err(bad()),
            };
            if field.replace(value.trim()).is_some() {
                return Err(bad());
            }
            let after = after.trim_start();
            rest = after.strip_prefix(',').unwrap_or(after).trim_start();
        }
        Ok(Self {
            descr: descr.ok_or_else(bad)?,
            fortran_order: fortran_order.ok_or_else(bad)?,
            shape: shape.ok_or_else(bad)?,
        })
    }

    fn shape(&self, path: &Path) -> Result<Vec<usize>, Error> {
        let found = self.descr.trim_matches(['\'', '"']);
        if found != F32 {
            return Err(Error::format(
                path,
                "dtype",
                format!("`{}`", shown(found)),
                format!("`{F32}` (little-endian float32); convert with x.astype('{F32}')"),
            ));
        }
        if self.fortran_order != "False" {
            return Err(Error::format(
                path,
                "fortran_order",
                shown(self.fortran_order),
                "False; convert with numpy.ascontiguousarray(x)",
            ));
        }
        let bad = || {
            Error::format(
                path,
                "shape",
                format!("`{}`", shown(self.shape)),
                format!("a tuple of at most {MAX_DIMENSIONS} sizes, each at least 1"),
            )
        };
        let inside = self
            .shape
            .strip_prefix('(')
            .and_then(|text| text.strip_suffix(')'))
            .ok_or_else(bad)?
            .trim();
        let inside = inside.strip_suffix(',').unwrap_or(inside);
        if inside.is_empty() {
            return Ok(Vec::new());
        }
        let shape: Option<Vec<usize>> =
            inside.split(',').map(|side| side.trim().parse().ok()).collect();
        shape.filter(|s| s.len() <= MAX_DIMENSIONS && !s.contains(&0)).ok_or_else(bad)
    }
}
