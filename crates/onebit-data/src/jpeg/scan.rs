//! Scans: which components they hold, in which order their blocks come, and blocks that are sent at once.

use super::bits::{Bits, HuffmanTable};
use super::frame::{Component, Frame};
use super::markers::{Tables, ZIGZAG};
use super::{Failure, idct, refused};

/// A scan header with the tables that hold for it.
pub(super) struct Scan {
    pub(super) parts: Vec<Part>,
    /// The first and the last coefficient.
    pub(super) band: (usize, usize),
    /// The position of the lowest bit sent before, 0 if none was, and of that sent now.
    pub(super) bits: (u32, u32),
    restart_interval: usize,
}

/// A component of a scan.
pub(super) struct Part {
    /// Its place in the frame.
    pub(super) component: usize,
    pub(super) dc: Option<HuffmanTable>,
    pub(super) ac: Option<HuffmanTable>,
}

impl Scan {
    /// Reads a scan header and lets the components keep their quantization steps.
    pub(super) fn new(
        segment: &[u8],
        frame: &mut Frame,
        tables: &Tables<'_>,
    ) -> Result<Self, Failure> {
        let bad = || Failure::Refused("a scan header is damaged".to_owned());
        let (&count, rest) = segment.split_first().ok_or_else(bad)?;
        let (selectors, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or_else(bad)?;
        let &[first, last, approximation] = rest else { return Err(bad()) };
        let mut parts: Vec<Part> = Vec::new();
        for &[id, codes] in selectors.as_chunks().0 {
            let component = frame.components.iter().position(|c| c.id == id).ok_or_else(bad)?;
            if parts.iter().any(|part| part.component == component) {
                return Err(bad());
            }
            let chosen = |all: &[Option<HuffmanTable>; 4], i: u8| {
                all.get(usize::from(i)).ok_or_else(bad).cloned()
            };
            let (dc, ac) = (chosen(&tables.dc, codes >> 4)?, chosen(&tables.ac, codes & 15)?);
            parts.push(Part { component, dc, ac });
        }
        if parts.is_empty() {
            return Err(bad());
        }
        for part in &parts {
            let component = &mut frame.components[part.component];
            if component.steps.is_none() {
                component.steps = tables.quantization[component.table];
            }
            if component.steps.is_none() {
                return refused("a quantization table is missing");
            }
        }
        Ok(Self {
            parts,
            band: (usize::from(first), usize::from(last)),
            bits: (u32::from(approximation >> 4), u32::from(approximation & 15)),
            restart_interval: tables.restart_interval,
        })
    }

    /// Decodes a scan of whole blocks into the samples; returns where its data end.
    pub(super) fn sequential(self, frame: &mut Frame, bytes: &[u8]) -> Result<usize, Failure> {
        let mut bits = Bits::new(bytes);
        let mut predictions = [0; 4];
        self.visit(frame, &mut bits, |bits, component, part, event| match event {
            ScanEvent::Restart => {
                predictions = [0; 4];
                Ok(())
            }
            ScanEvent::Block { row, column } => {
                let (Some(dc), Some(ac)) = (&part.dc, &part.ac) else { return no_table() };
                let mut block = [0; 64];
                let prediction = &mut predictions[part.component];
                let whole = whole_block(bits, dc, ac, prediction, &mut block)?;
                let stride = component.stride * 8;
                let samples = &mut component.samples[row * 8 * stride + column * 8..];
                let steps = component.steps.as_ref().unwrap_or(&[0; 64]);
                if whole {
                    idct::block(&block, steps, samples, stride);
                } else {
                    idct::flat(block[0], steps[0], samples, stride);
                }
                Ok(())
            }
        })?;
        Ok(bits.position())
    }

    /// Calls `act` for each block of the scan in turn, and before those that follow a restart marker.
    pub(super) fn visit<'a>(
        &self,
        frame: &mut Frame,
        bits: &mut Bits<'a>,
        mut act: impl FnMut(&mut Bits<'a>, &mut Component, &Part, ScanEvent) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let single = match self.parts.as_slice() {
            [part] => Some(part),
            _ => None,
        };
        let (rows, columns) = single.map_or(frame.units, |p| frame.components[p.component].blocks);
        let (mut until_restart, mut restarts) = (self.restart_interval, 0);
        for row in 0..rows {
            for column in 0..columns {
                if self.restart_interval > 0 && until_restart == 0 {
                    bits.restart(restarts)?;
                    restarts += 1;
                    until_restart = self.restart_interval;
                    let first = &self.parts[0];
                    act(bits, &mut frame.components[first.component], first, ScanEvent::Restart)?;
                }
                until_restart = until_restart.saturating_sub(1);
                if let Some(part) = single {
                    let component = &mut frame.components[part.component];
                    act(bits, component, part, ScanEvent::Block { row, column })?;
                } else {
                    for part in &self.parts {
                        let component = &mut frame.components[part.component];
                        let (v, h) = component.sampling;
                        for place in 0..v * h {
                            let event = ScanEvent::Block {
                                row: row * v + place / h,
                                column: column * h + place % h,
                            };
                            act(bits, component, part, event)?;
                        }
                    }
                }
                bits.check()?;
            }
        }
        Ok(())
    }
}

/// What comes next in a scan.
#[derive(Clone, Copy)]
pub(super) enum ScanEvent {
    /// Predictions and runs begin anew.
    Restart,
    /// The block in this row and column of blocks.
    Block { row: usize, column: usize },
}

pub(super) fn no_table<T>() -> Result<T, Failure> {
    refused("a Huffman table is missing")
}

/// The difference of a DC coefficient to the one before.
#[inline]
pub(super) fn dc_difference(bits: &mut Bits<'_>, table: &HuffmanTable) -> Result<i32, Failure> {
    let size = bits.symbol(table)?;
    if size > 15 {
        return refused("its data hold a coefficient that is too large");
    }
    Ok(bits.signed(u32::from(size)))
}

/// Reads a block; says whether it has more than its first coefficient.
#[inline]
fn whole_block(
    bits: &mut Bits<'_>,
    dc: &HuffmanTable,
    ac: &HuffmanTable,
    prediction: &mut i32,
    block: &mut [i16; 64],
) -> Result<bool, Failure> {
    *prediction = prediction.wrapping_add(dc_difference(bits, dc)?);
    block[0] = *prediction as i16;
    let (mut k, mut whole) = (1, false);
    while k < 64 {
        let symbol = bits.symbol(ac)?;
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if run != 15 {
                break;
            }
            k += 16;
            continue;
        }
        k += run;
        if k > 63 {
            return refused("its data hold too many coefficients");
        }
        block[usize::from(ZIGZAG[k])] = bits.signed(size) as i16;
        whole = true;
        k += 1;
    }
    Ok(whole)
}
