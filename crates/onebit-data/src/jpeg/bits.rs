//! Bits of entropy-coded data, and Huffman codes among them.

use super::{Failure, markers, refused};

const LOOKUP_BITS: u32 = 9;

/// The codes of a table, by their first 9 bits and, where they are longer, by length.
#[derive(Clone)]
pub(super) struct HuffmanTable {
    /// Length << 8 | symbol, or 0 for a longer code.
    lookup: [u16; 1 << LOOKUP_BITS],
    /// For each length the codes below this one, aligned to 16 bits, are no longer than it.
    ends: [u32; 17],
    /// Added to a code of each length, the place of its symbol.
    offsets: [i32; 17],
    symbols: [u8; 256],
}

impl HuffmanTable {
    /// From the number of codes of each length and the symbols in the order of their codes; none if they overlap.
    pub(super) fn new(counts: &[u8; 16], values: &[u8]) -> Option<Self> {
        let mut symbols = [0; 256];
        symbols.get_mut(..values.len())?.copy_from_slice(values);
        let mut table =
            Self { lookup: [0; 1 << LOOKUP_BITS], ends: [0; 17], offsets: [0; 17], symbols };
        let (mut code, mut k) = (0u32, 0usize);
        for (length, &count) in (1u32..).zip(counts) {
            table.offsets[length as usize] = k as i32 - code as i32;
            for _ in 0..count {
                let symbol = *symbols.get(k)?;
                if length <= LOOKUP_BITS {
                    let spare = LOOKUP_BITS - length;
                    let first = (code << spare) as usize;
                    let entry = (length as u16) << 8 | u16::from(symbol);
                    table.lookup.get_mut(first..first + (1 << spare))?.fill(entry);
                }
                code += 1;
                k += 1;
            }
            if code > 1 << length {
                return None;
            }
            table.ends[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }
}

/// The bits of one scan, up to its next marker; behind the data come zeros, which [`Bits::check`] finds.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, the first one uppermost.
    buffer: u64,
    count: u32,
    /// Those of the bits that are none of the file's.
    invented: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, buffer: 0, count: 0, invented: 0 }
    }

    /// Where the next byte is read; never behind a marker.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Refuses a scan that needed more bits than there were.
    #[inline]
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.count < self.invented {
            return refused("its data end early");
        }
        Ok(())
    }

    /// Goes to what follows the restart marker of this number.
    pub(super) fn restart(&mut self, number: usize) -> Result<(), Failure> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match markers::next_marker(rest) {
            Some((start, marker)) if usize::from(marker) == 0xd0 + number % 8 => {
                *self = Self { at: self.at + start + 2, ..Self::new(self.bytes) };
            }
            _ => return refused("a restart marker is missing"),
        }
        Ok(())
    }

    /// Makes at least 49 bits ready.
    #[inline]
    fn fill(&mut self) {
        if self.count > 48 {
            return;
        }
        if let Some(chunk) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_be_bytes(*chunk);
            // Whether any byte is FF, as a byte that is zero in the complement.
            let zero = !word;
            if zero.wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080 == 0 {
                // Bits beyond whole bytes are set once more, to the same, by the next filling.
                self.buffer |= word >> self.count;
                let taken = (64 - self.count) / 8;
                self.at += taken as usize;
                self.count += taken * 8;
                return;
            }
        }
        self.fill_slowly();
    }

    fn fill_slowly(&mut self) {
        while self.count <= 56 {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let byte = match *rest {
                [0xff, 0, ..] => {
                    self.at += 2;
                    0xff
                }
                [0xff, ..] | [] => {
                    self.invented += 8;
                    0
                }
                [byte, ..] => {
                    self.at += 1;
                    byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    #[inline]
    fn consume(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count;
    }

    /// The symbol of the next code; after it, at least 33 bits are ready.
    #[inline]
    pub(super) fn symbol(&mut self, table: &HuffmanTable) -> Result<u8, Failure> {
        self.fill();
        let entry = table.lookup[(self.buffer >> (64 - LOOKUP_BITS)) as usize];
        if entry != 0 {
            self.consume(u32::from(entry >> 8));
            return Ok(entry as u8);
        }
        self.long_symbol(table)
    }

    fn long_symbol(&mut self, table: &HuffmanTable) -> Result<u8, Failure> {
        let next = (self.buffer >> 48) as u32;
        let length = (LOOKUP_BITS + 1..=16).find(|&length| next < table.ends[length as usize]);
        let Some(length) = length else {
            self.check()?;
            return refused("its data hold a code that no table has");
        };
        self.consume(length);
        let place = table.offsets[length as usize] + (next >> (16 - length)) as i32;
        Ok(table.symbols[place as usize & 255])
    }

    /// The next `count` bits, at most 16, as a number; they must be ready.
    #[inline]
    pub(super) fn ready(&mut self, count: u32) -> u32 {
        let bits = (self.buffer >> 32) as u32;
        let value = if count == 0 { 0 } else { bits >> (32 - count) };
        self.consume(count);
        value
    }

    /// A number of `count` bits, at most 16, that stand for it as T.81 says (table F.1); they must be ready.
    #[inline]
    pub(super) fn signed(&mut self, count: u32) -> i32 {
        let value = self.ready(count) as i32;
        if count > 0 && value < 1 << (count - 1) { value - (1 << count) + 1 } else { value }
    }

    /// The next bit.
    #[inline]
    pub(super) fn bit(&mut self) -> bool {
        self.fill();
        self.ready(1) != 0
    }

    /// The next `count` bits, at most 16, as a number.
    pub(super) fn number(&mut self, count: u32) -> u32 {
        self.fill();
        self.ready(count)
    }
}
