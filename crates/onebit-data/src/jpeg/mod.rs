//! JPEG files: baseline, extended and progressive, 8 bits, every sampling, with the pixels of libjpeg-turbo bit for bit.
//!
//! The steps are those of ITU-T T.81; where it leaves a choice, the one of libjpeg-turbo's defaults is taken: the
//! accurate integer transform ([`idct`]), triangle filters for halved components ([`upsample`]) and 16-bit fixed-point
//! colours ([`colour`]).

mod bits;
mod colour;
mod frame;
mod idct;
mod markers;
mod progressive;
mod scan;
mod upsample;

use frame::{Frame, Process};
use markers::{Markers, Tables};

use crate::Image;

/// A file may pass over all of its picture this many times.
const MAX_SCANS: usize = 256;

/// Why a JPEG file is not decoded.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Damaged, or of a kind that is not read; in words.
    Refused(String),
    /// Decoding takes more memory than allowed.
    Memory,
}

fn refused<T>(reason: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Refused(reason.into()))
}

/// What a JPEG file says of its picture before its data.
pub(crate) struct Header<'a> {
    /// Rows, as stored.
    pub(crate) height: usize,
    /// Columns, as stored.
    pub(crate) width: usize,
    /// The first Exif block, without the bytes that introduce it.
    pub(crate) exif: Option<&'a [u8]>,
}

/// Reads the segments before the picture's data.
pub(crate) fn header(bytes: &[u8]) -> Result<Header<'_>, Failure> {
    let mut markers = Markers::new(bytes)?;
    let mut tables = Tables::default();
    loop {
        let (marker, segment) = markers.next_segment()?;
        if markers::is_frame(marker) {
            let frame = Frame::new(marker, segment)?;
            return Ok(Header { height: frame.height, width: frame.width, exif: tables.exif });
        }
        if matches!(marker, markers::EOI | markers::SOS) {
            return refused("it has no frame header");
        }
        tables.take(marker, segment)?;
    }
}

/// Decodes the picture: grey with one channel, any other as red, green, blue. What follows the end-of-image marker, as in
/// a phone's motion photo, is not read.
pub(crate) fn decode(bytes: &[u8], memory: u64) -> Result<Image, Failure> {
    let mut markers = Markers::new(bytes)?;
    let mut tables = Tables::default();
    let mut frame: Option<Frame> = None;
    let mut scans = 0;
    loop {
        let (marker, segment) = markers.next_segment()?;
        match (marker, &mut frame) {
            (markers::EOI, Some(frame)) => break frame.finish()?,
            (markers::SOS, Some(frame)) => {
                scans += 1;
                if scans > MAX_SCANS {
                    return refused(format!("it has more than {MAX_SCANS} scans"));
                }
                let scan = scan::Scan::new(segment, frame, &tables)?;
                let end = match frame.process {
                    Process::Sequential => scan.sequential(frame, markers.rest())?,
                    Process::Progressive => scan.progressive(frame, markers.rest())?,
                };
                markers.skip(end);
            }
            (markers::EOI | markers::SOS, None) => return refused("it has no frame header"),
            (marker, Some(_)) if markers::is_frame(marker) => {
                return refused("it has a second frame header");
            }
            (marker, None) if markers::is_frame(marker) => {
                let mut found = Frame::new(marker, segment)?;
                found.allocate(memory)?;
                frame = Some(found);
            }
            (marker, _) => tables.take(marker, segment)?,
        }
    }
    let Some(frame) = frame else { return refused("it has no frame header") };
    colour::convert(&frame, &tables)
}

/// A vector of `length` zeros, or no memory.
fn zeros<T: Copy + Default>(length: usize) -> Result<Vec<T>, Failure> {
    let mut vector = Vec::new();
    let reserved = vector.try_reserve_exact(length);
    reserved.map_err(|_| Failure::Refused("there is not enough memory to decode it".to_owned()))?;
    vector.resize(length, T::default());
    Ok(vector)
}
