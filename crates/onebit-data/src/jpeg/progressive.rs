//! Scans of a progressive frame: first or further bits of some coefficients (T.81, annex G).

use super::bits::{Bits, HuffmanTable};
use super::frame::Frame;
use super::markers::ZIGZAG;
use super::scan::{Scan, ScanEvent, dc_difference, no_table};
use super::{Failure, refused};

impl Scan {
    /// Decodes a scan into the coefficients; returns where its data end.
    pub(super) fn progressive(self, frame: &mut Frame, bytes: &[u8]) -> Result<usize, Failure> {
        let (first, last) = self.band;
        let (before, low) = self.bits;
        let dc = first == 0;
        let band_is_sound =
            if dc { last == 0 } else { last < 64 && first <= last && self.parts.len() == 1 };
        if !band_is_sound || low > 13 || (before != 0 && before != low + 1) {
            return refused("a scan header is damaged");
        }
        let mut bits = Bits::new(bytes);
        let mut predictions = [0i32; 4];
        let mut run = 0;
        self.visit(frame, &mut bits, |bits, component, part, event| {
            let ScanEvent::Block { row, column } = event else {
                predictions = [0; 4];
                run = 0;
                return Ok(());
            };
            let at = row * component.stride + column;
            let Some(block) = component.coefficients.as_chunks_mut::<64>().0.get_mut(at) else {
                return refused("a scan goes beyond the picture");
            };
            match (dc, before, &part.dc, &part.ac) {
                (true, 0, Some(table), _) => {
                    let prediction = &mut predictions[part.component];
                    *prediction = prediction.wrapping_add(dc_difference(bits, table)?);
                    block[0] = (*prediction << low) as i16;
                    Ok(())
                }
                (true, 0, None, _) | (false, _, _, None) => no_table(),
                (true, _, _, _) => {
                    if bits.bit() {
                        block[0] |= 1 << low;
                    }
                    Ok(())
                }
                (false, 0, _, Some(table)) => {
                    first_bits(bits, table, block, (first, last), low, &mut run)
                }
                (false, _, _, Some(table)) => {
                    further_bit(bits, table, block, (first, last), low, &mut run)
                }
            }
        })?;
        Ok(bits.position())
    }
}

/// The length of a run of blocks whose band has ended, this one included.
fn end_of_band(bits: &mut Bits<'_>, size: u32) -> u32 {
    (1 << size) + bits.number(size)
}

fn first_bits(
    bits: &mut Bits<'_>,
    table: &HuffmanTable,
    block: &mut [i16; 64],
    (first, last): (usize, usize),
    low: u32,
    run: &mut u32,
) -> Result<(), Failure> {
    if *run > 0 {
        *run -= 1;
        return Ok(());
    }
    let mut k = first;
    while k <= last {
        let symbol = bits.symbol(table)?;
        let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if zeros < 15 {
                *run = end_of_band(bits, zeros as u32) - 1;
                break;
            }
            k += 16;
            continue;
        }
        k += zeros;
        if k > last {
            return refused("its data hold too many coefficients");
        }
        block[usize::from(ZIGZAG[k])] = (bits.signed(size) << low) as i16;
        k += 1;
    }
    Ok(())
}

fn further_bit(
    bits: &mut Bits<'_>,
    table: &HuffmanTable,
    block: &mut [i16; 64],
    (first, last): (usize, usize),
    low: u32,
    run: &mut u32,
) -> Result<(), Failure> {
    let mut k = first;
    while *run == 0 && k <= last {
        let symbol = bits.symbol(table)?;
        let (zeros, size) = (symbol >> 4, symbol & 15);
        let new = match size {
            0 if zeros < 15 => {
                *run = end_of_band(bits, u32::from(zeros));
                break;
            }
            0 => 0,
            _ if bits.ready(1) != 0 => 1 << low,
            _ => -1 << low,
        };
        k = refine(bits, block, (k, last), low, Some(zeros));
        if new != 0 {
            if k > last {
                return refused("its data hold too many coefficients");
            }
            block[usize::from(ZIGZAG[k])] = new;
        }
        k += 1;
    }
    if *run > 0 {
        refine(bits, block, (k, last), low, None);
        *run -= 1;
    }
    Ok(())
}

/// Reads a further bit of each coefficient that is not zero, up to the zero after `zeros` of them, whose place it
/// returns, or to the end of the band.
fn refine(
    bits: &mut Bits<'_>,
    block: &mut [i16; 64],
    (mut k, last): (usize, usize),
    low: u32,
    zeros: Option<u8>,
) -> usize {
    let mut left = zeros;
    let bit = 1i16 << low;
    while k <= last {
        let coefficient = &mut block[usize::from(ZIGZAG[k])];
        if *coefficient != 0 {
            if bits.bit() && *coefficient & bit == 0 {
                *coefficient = coefficient.wrapping_add(if *coefficient > 0 { bit } else { -bit });
            }
        } else if let Some(left) = &mut left {
            if *left == 0 {
                break;
            }
            *left -= 1;
        }
        k += 1;
    }
    k
}
