//! Images in the forms in which people have them: arrays, paths, encoded bytes, PIL's images.

use std::path::PathBuf;

use numpy::ndarray::{ArrayView3, ArrayView4, Axis};
use numpy::{PyArrayMethods, PyReadonlyArray3, PyReadonlyArray4, PyUntypedArrayMethods};
use onebit::{Error, Image};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::arrays::array;
use crate::error::Failed;

const EXPECTED: &str =
    "expected uint8 [N, H, W, C], or a list of paths, bytes, PIL images or uint8 [H, W, C]";

const SHAPE: &str = "[H, W, C] with C of 1 or 3 and sides of 1 to 16384";
/// The largest side, as of image files.
const MAX_SIDE: usize = 16_384;

/// Images, each with pixels of its own size.
pub(crate) enum Pictures<'py> {
    Array(PyReadonlyArray4<'py, u8>),
    List(Vec<Picture<'py>>),
}

pub(crate) enum Picture<'py> {
    Path(PathBuf),
    Encoded(Bound<'py, PyBytes>),
    Pixels(PyReadonlyArray3<'py, u8>),
}

/// An image that any thread can open.
pub(crate) enum Source<'a> {
    Path(&'a PathBuf),
    Encoded(&'a [u8]),
    Pixels(ArrayView3<'a, u8>),
}

impl<'py> Pictures<'py> {
    pub(crate) fn new(images: &Bound<'py, PyAny>) -> PyResult<Self> {
        let is_single = images.is_instance_of::<PyString>()
            || images.is_instance_of::<PyBytes>()
            || images.hasattr("__fspath__")?
            || is_pil(images)?;
        if is_single {
            return Err(PyTypeError::new_err(format!(
                "the images are one {}: {EXPECTED}; put it into a list",
                images.get_type().name()?
            )));
        }
        if images.hasattr("__array__")? {
            return Ok(Pictures::Array(four(images)?));
        }
        let Ok(items) = images.try_iter() else {
            let found = images.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "the images are of type {found}: {EXPECTED}"
            )));
        };
        let pictures = items.enumerate().map(|(at, item)| picture(&item?, at));
        Ok(Pictures::List(pictures.collect::<PyResult<_>>()?))
    }

    pub(crate) fn sources(&self) -> Result<Vec<Source<'_>>, Error> {
        let mut sources = Vec::new();
        let room = |sources: &mut Vec<Source<'_>>, len: usize| {
            let bytes = (len as u64).saturating_mul(size_of::<Source<'_>>() as u64);
            let what = "the images";
            sources.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { what, bytes })
        };
        match self {
            Pictures::Array(array) => {
                let all: ArrayView4<'_, u8> = array.as_array();
                let count = all.len_of(Axis(0));
                room(&mut sources, count)?;
                let each = (0..count).map(|at| all.index_axis_move(Axis(0), at));
                sources.extend(each.map(Source::Pixels));
            }
            Pictures::List(pictures) => {
                room(&mut sources, pictures.len())?;
                sources.extend(pictures.iter().map(|picture| match picture {
                    Picture::Path(path) => Source::Path(path),
                    Picture::Encoded(bytes) => Source::Encoded(bytes.as_bytes()),
                    Picture::Pixels(pixels) => Source::Pixels(pixels.as_array()),
                }));
            }
        }
        Ok(sources)
    }
}

impl Source<'_> {
    /// Reads and decodes it.
    pub(crate) fn open(&self) -> Result<Image, onebit_data::Error> {
        match self {
            Source::Path(path) => Image::open(path),
            Source::Encoded(bytes) => Image::from_encoded(bytes.to_vec(), "encoded bytes"),
            Source::Pixels(pixels) => {
                let (height, width, channels) = pixels.dim();
                Image::from_pixels(height, width, channels, pixels.iter().copied().collect())
            }
        }
    }

    /// An error with the position of the image, unless a path says which one it is.
    pub(crate) fn failed(&self, at: usize, error: Error) -> PyErr {
        let position = match self {
            Source::Path(path) if error.to_string().contains(&path.display().to_string()) => None,
            _ => Some(at),
        };
        let error = PyErr::from(Failed::from(error));
        let Some(at) = position else { return error };
        Python::attach(|py| {
            let text = format!("image {at} (counted from 0): {}", error.value(py));
            PyErr::from_type(error.get_type(py), text)
        })
    }
}

fn picture<'py>(item: &Bound<'py, PyAny>, at: usize) -> PyResult<Picture<'py>> {
    let py = item.py();
    if item.is_instance_of::<PyString>() || item.hasattr("__fspath__")? {
        return Ok(Picture::Path(item.extract()?));
    }
    if let Ok(bytes) = item.cast::<PyBytes>() {
        return Ok(Picture::Encoded(bytes.clone()));
    }
    let item = match is_pil(item)? {
        true => py.import("onebit._images")?.call_method1("pixels", (item,))?,
        false => item.clone(),
    };
    if !item.hasattr("__array__")? {
        let found = item.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "image {at} (counted from 0) is of type {found}: {EXPECTED}"
        )));
    }
    let what = format!("the pixels of image {at} (counted from 0)");
    let pixels = array::<u8>(&item, &what, " [H, W, C]")?;
    let pixels = match pixels.ndim() {
        2 => with_channels(pixels.into_any())?,
        _ => pixels.into_any(),
    };
    let found = pixels.getattr("shape")?;
    let three = array::<u8>(&pixels, &what, "")?.readonly();
    let three = three.extract::<PyReadonlyArray3<'py, u8>>();
    let three = three.map_err(|_| shape_error(&what, &found, SHAPE))?;
    match three.shape() {
        [h, w, 1 | 3] if are_sides(*h, *w) => Ok(Picture::Pixels(three)),
        _ => Err(shape_error(&what, &found, SHAPE)),
    }
}

/// Grey pixels with an axis of one channel.
fn with_channels<'py>(pixels: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let shape: (usize, usize) = pixels.getattr("shape")?.extract()?;
    pixels.call_method1("reshape", ((shape.0, shape.1, 1),))
}

fn four<'py>(images: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArray4<'py, u8>> {
    let hint = " [N, H, W, C], pixels of 0 to 255; `run` takes normalised float32 [N, C, H, W]";
    let pixels = array::<u8>(images, "the images", hint)?;
    let found = pixels.getattr("shape")?;
    let shape = pixels.shape().to_vec();
    let advice = match shape[..] {
        [_, _, 1 | 3] => "; `images[None]` makes one image a batch",
        [_, _, _] => "; `images[..., None]` gives grey images their axis of channels",
        [_, 1 | 3, _, _] => "; `images.transpose(0, 2, 3, 1)` puts channels last",
        _ => "",
    };
    let wrong = || shape_error("the images", &found, &format!("[N, {}{advice}", &SHAPE[1..]));
    match shape[..] {
        [_, h, w, 1 | 3] if are_sides(h, w) => pixels.readonly().extract().map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

fn are_sides(height: usize, width: usize) -> bool {
    (1..=MAX_SIDE).contains(&height) && (1..=MAX_SIDE).contains(&width)
}

fn shape_error(what: &str, found: &Bound<'_, PyAny>, expected: &str) -> PyErr {
    PyValueError::new_err(format!("{what} have the shape {found}, expected {expected}"))
}

/// Whether it is an image of PIL, which is not imported for that.
fn is_pil(item: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(item.hasattr("getbands")? && item.hasattr("convert")?)
}
