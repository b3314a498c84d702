//! Python's pickle format, as far as a checkpoint of tensors needs it.
//!
//! A pickle is a program for a machine with a stack. This one builds plain values in a list and nothing else: it
//! knows the names of `globals.rs`, and objects of every other class stay opaque; no code of theirs is run. Values
//! refer to each other by position, so that neither building nor dropping them recurses, and no operation takes longer
//! than the bytes that led to it.

mod call;
mod globals;

use std::collections::BTreeMap;

use super::ImportError;
use super::tensor::Dtype;
pub(super) use globals::{Global, Name};

/// Most operations of one pickle, each of which makes at most one value; a network of 300 tensors with its
/// optimizer needs about 20,000.
const MAX_OPERATIONS: usize = 1 << 20;

/// The newest version of the format.
const MAX_PROTOCOL: u8 = 5;

/// Longest name of a class or function, and longest number in digits, in bytes.
const MAX_LINE: usize = 512;

/// The number 0x1950a86a20f9469cfc6c, which PyTorch's older container begins with, as the format writes it, in bytes
/// and in digits.
const MAGIC: &[u8] = b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
const MAGIC_DIGITS: &str = "119547037146038801333356L";

/// Position of a value in [`Pickle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ref(usize);

/// The values of one pickle.
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Ref,
}

/// One value.
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// The number at the start of PyTorch's older container.
    Magic,
    Text(&'a str),
    Tuple(Vec<Ref>),
    List(Vec<Ref>),
    Dict(Vec<(Ref, Ref)>),
    Global(Global<'a>),
    Storage(Storage<'a>),
    Tensor(Box<Tensor<'a>>),
    /// An object of a class, or what a function gives, by its name.
    Object(Name<'a>),
    /// Reals, long integers, bytes, sets: nothing reads them.
    Other,
}

/// A named piece of the file that holds elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage<'a> {
    pub(super) dtype: Dtype,
    pub(super) key: &'a str,
    /// Elements.
    pub(super) len: usize,
}

/// A view of a storage.
pub(super) struct Tensor<'a> {
    pub(super) storage: Storage<'a>,
    /// Type of its elements, in which offset and strides are counted.
    pub(super) dtype: Dtype,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

impl<'a> Pickle<'a> {
    /// Runs the pickle at the start of `bytes`; also gives the bytes behind it.
    pub(super) fn load(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), ImportError> {
        let mut machine = Machine {
            bytes,
            rest: bytes,
            values: vec![],
            stack: vec![],
            marks: vec![],
            memo: Memo::default(),
            left: MAX_OPERATIONS,
        };
        let root = machine.run()?;
        Ok((Pickle { values: machine.values, root }, machine.rest))
    }

    /// What was pickled.
    pub(super) fn root(&self) -> &Value<'a> {
        self.get(self.root)
    }

    /// The value at a position that this pickle gave.
    pub(super) fn get(&self, at: Ref) -> &Value<'a> {
        self.values.get(at.0).unwrap_or(&Value::None)
    }

    /// Every storage that a tensor or anything else refers to.
    pub(super) fn storages(&self) -> impl Iterator<Item = Storage<'a>> {
        self.values.iter().filter_map(|value| match value {
            Value::Storage(storage) => Some(*storage),
            _ => None,
        })
    }

    /// The texts and values of a dictionary; `None` for a key that is no text.
    pub(super) fn entries(
        &self,
        dict: &[(Ref, Ref)],
    ) -> impl Iterator<Item = (Option<&'a str>, &Value<'a>)> {
        dict.iter().map(|&(key, value)| match *self.get(key) {
            Value::Text(text) => (Some(text), self.get(value)),
            _ => (None, self.get(value)),
        })
    }

    /// The value of a text key; the last one, as in Python, if there are several.
    pub(super) fn entry(&self, dict: &[(Ref, Ref)], key: &str) -> Option<&Value<'a>> {
        self.entries(dict).filter(|entry| entry.0 == Some(key)).map(|entry| entry.1).last()
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    rest: &'a [u8],
    values: Vec<Value<'a>>,
    stack: Vec<Ref>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: Memo,
    /// Operations that may still be made.
    left: usize,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Ref, ImportError> {
        loop {
            self.spend(1)?;
            let [operation] = self.array()?;
            if operation == b'.' {
                return self.pop();
            }
            self.step(operation)?;
        }
    }

    fn spend(&mut self, operations: usize) -> Result<(), ImportError> {
        let left = self.left.checked_sub(operations);
        let spent = || self.problem(format!("has more than {MAX_OPERATIONS} operations"));
        self.left = left.ok_or_else(spent)?;
        Ok(())
    }

    /// One operation, by its letter in Python's `pickletools`.
    fn step(&mut self, operation: u8) -> Result<(), ImportError> {
        match operation {
            0x80 => self.protocol()?,
            // A frame says how many bytes can be read at once.
            0x95 => drop(self.array::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'K' | b'M' | b'J' | 0x8a | 0x8b => self.integer(operation)?,
            b'I' | b'L' | b'F' => self.digits(operation)?,
            b'G' => {
                self.array::<8>()?;
                self.push(Value::Other);
            }
            b'X' | 0x8c | 0x8d | b'U' | b'T' | b'B' | b'C' | 0x8e | 0x96 => {
                self.sized(operation)?;
            }
            b'S' | b'V' => self.quoted(operation)?,
            b')' => self.push(Value::Tuple(vec![])),
            0x85..=0x87 => self.short_tuple(usize::from(operation - 0x84))?,
            b't' | b'l' | b'd' | 0x91 => self.gathered(operation)?,
            b']' => self.push(Value::List(vec![])),
            b'}' => self.push(Value::Dict(vec![])),
            0x8f => self.push(Value::Other),
            b'a' | b'e' | 0x90 | b's' | b'u' => self.put_in(operation)?,
            b'q' | b'r' | b'p' | 0x94 | b'h' | b'j' | b'g' => self.memo(operation)?,
            b'0' | b'1' | b'2' => self.shuffle(operation)?,
            b'c' | 0x93 => self.global(operation)?,
            b'Q' => self.persistent()?,
            b'R' | 0x81 | 0x92 | b'i' | b'o' => self.construct(operation)?,
            b'b' => self.build()?,
            _ => {
                let problem = format!("has the operation {operation:#04x}, which tensors need not");
                return Err(self.problem(problem));
            }
        }
        Ok(())
    }

    fn protocol(&mut self) -> Result<(), ImportError> {
        match self.array()? {
            [0..=MAX_PROTOCOL] => Ok(()),
            [other] => Err(self.problem(format!(
                "has protocol {other}, expected one up to {MAX_PROTOCOL}: it is damaged, or of a newer Python"
            ))),
        }
    }

    fn integer(&mut self, operation: u8) -> Result<(), ImportError> {
        let value = match operation {
            b'K' => i64::from(u8::from_le_bytes(self.array()?)),
            b'M' => i64::from(u16::from_le_bytes(self.array()?)),
            b'J' => i64::from(i32::from_le_bytes(self.array()?)),
            _ => {
                let length = match operation {
                    0x8a => usize::from(u8::from_le_bytes(self.array()?)),
                    _ => u32::from_le_bytes(self.array()?) as usize,
                };
                let digits = self.take(length)?;
                let negative = digits.last().is_some_and(|&digit| digit >= 0x80);
                let mut extended = [if negative { 0xff } else { 0 }; 8];
                let Some(low) = extended.get_mut(..digits.len()) else {
                    let magic = digits == MAGIC;
                    self.push(if magic { Value::Magic } else { Value::Other });
                    return Ok(());
                };
                low.copy_from_slice(digits);
                i64::from_le_bytes(extended)
            }
        };
        self.push(Value::Int(value));
        Ok(())
    }

    /// A number in digits, on a line of its own.
    fn digits(&mut self, operation: u8) -> Result<(), ImportError> {
        let line = self.line()?;
        let value = match (operation, line) {
            (b'I', "00") => Value::Bool(false),
            (b'I', "01") => Value::Bool(true),
            (b'L', MAGIC_DIGITS) => Value::Magic,
            (b'F', _) => Value::Other,
            (_, digits) => {
                let digits = digits.strip_suffix('L').unwrap_or(digits);
                digits.parse().map_or(Value::Other, Value::Int)
            }
        };
        self.push(value);
        Ok(())
    }

    /// A text or bytes behind their length.
    fn sized(&mut self, operation: u8) -> Result<(), ImportError> {
        let length = match operation {
            0x8c | b'U' | b'C' => u64::from(u8::from_le_bytes(self.array()?)),
            b'X' | b'T' | b'B' => u64::from(u32::from_le_bytes(self.array()?)),
            _ => u64::from_le_bytes(self.array()?),
        };
        let bytes = self.take(usize::try_from(length).map_err(|_| cut_short())?)?;
        // Texts of Python 2 are bytes, and those of Python 3 may hold half a pair of UTF-16: what is no UTF-8 is no name.
        let text = !matches!(operation, b'B' | b'C' | 0x8e | 0x96);
        let text = text.then(|| std::str::from_utf8(bytes).ok()).flatten();
        self.push(text.map_or(Value::Other, Value::Text));
        Ok(())
    }

    /// A text on a line of its own, as protocol 0 has them; one with escaped characters is nothing that is read.
    fn quoted(&mut self, operation: u8) -> Result<(), ImportError> {
        let end = self.rest.iter().position(|&byte| byte == b'\n').ok_or_else(cut_short)?;
        let line = std::str::from_utf8(self.take(end)?).ok().filter(|line| !line.contains('\\'));
        self.take(1)?;
        let quote = |line: &'a str, quote| line.strip_prefix(quote)?.strip_suffix(quote);
        let text = match operation {
            b'V' => line,
            _ => line.and_then(|line| quote(line, '\'').or_else(|| quote(line, '"'))),
        };
        self.push(text.map_or(Value::Other, Value::Text));
        Ok(())
    }

    fn short_tuple(&mut self, len: usize) -> Result<(), ImportError> {
        let mut items = (0..len).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.push(Value::Tuple(items));
        Ok(())
    }

    /// A collection of everything up to the mark.
    fn gathered(&mut self, operation: u8) -> Result<(), ImportError> {
        let items = self.pop_to_mark()?;
        self.push(match operation {
            b't' => Value::Tuple(items),
            b'l' => Value::List(items),
            b'd' => {
                Value::Dict(items.as_chunks().0.iter().map(|&[key, value]| (key, value)).collect())
            }
            _ => Value::Other,
        });
        Ok(())
    }

    /// Puts one value, or all up to the mark, into the collection below them.
    fn put_in(&mut self, operation: u8) -> Result<(), ImportError> {
        let items = match operation {
            b'a' => vec![self.pop()?],
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                vec![key, value]
            }
            _ => self.pop_to_mark()?,
        };
        let (top, pairs) = (self.top()?, matches!(operation, b's' | b'u'));
        match self.values.get_mut(top.0) {
            Some(Value::List(list)) if !pairs => list.extend(items),
            Some(Value::Dict(dict)) if pairs && items.len().is_multiple_of(2) => {
                dict.extend(items.as_chunks().0.iter().map(|&[key, value]| (key, value)));
            }
            // What is in an object is not read.
            Some(Value::Object(_) | Value::Other) => {}
            _ if pairs => {
                return Err(self.problem("inserts into what is no dictionary".to_owned()));
            }
            _ => return Err(self.problem("appends to what is no list".to_owned())),
        }
        Ok(())
    }

    fn memo(&mut self, operation: u8) -> Result<(), ImportError> {
        let index = match operation {
            0x94 => self.memo.len(),
            b'q' | b'h' => usize::from(u8::from_le_bytes(self.array()?)),
            b'r' | b'j' => u32::from_le_bytes(self.array()?) as usize,
            _ => {
                let digits = self.line()?.parse();
                digits.map_err(|_| self.problem("numbers a value in a wrong way".to_owned()))?
            }
        };
        if matches!(operation, b'h' | b'j' | b'g') {
            let known = self.memo.get(index);
            let known = known.ok_or_else(|| self.problem("refers to an unknown value".to_owned()));
            self.stack.push(known?);
            return Ok(());
        }
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn shuffle(&mut self, operation: u8) -> Result<(), ImportError> {
        match operation {
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            _ if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            _ => drop(self.pop()?),
        }
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(Ref(self.values.len()));
        self.values.push(value);
    }

    /// Never takes what lies below the last open mark.
    fn pop(&mut self) -> Result<Ref, ImportError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn top(&self) -> Result<Ref, ImportError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.get(floor..).and_then(|above| above.last());
        top.copied().ok_or_else(|| self.problem("takes a value that is not there".to_owned()))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Ref>, ImportError> {
        match self.marks.pop() {
            Some(height) if height <= self.stack.len() => Ok(self.stack.split_off(height)),
            _ => Err(self.problem("takes values up to a mark that is not there".to_owned())),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ImportError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(cut_short)?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], ImportError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(cut_short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A short line, without its end.
    fn line(&mut self) -> Result<&'a str, ImportError> {
        let end = self.rest.iter().take(MAX_LINE + 1).position(|&byte| byte == b'\n');
        let end = end.ok_or_else(|| self.problem("has a name without an end".to_owned()))?;
        let line = self.take(end)?;
        self.take(1)?;
        let name = std::str::from_utf8(line);
        name.map_err(|_| self.problem("has a name that is none".to_owned()))
    }

    fn problem(&self, problem: String) -> ImportError {
        ImportError::Pickle { at: self.bytes.len() - self.rest.len(), problem }
    }
}

/// Numbered values.
#[derive(Default)]
struct Memo {
    /// Those that are numbered in the order in which they were made, as picklers do.
    ordered: Vec<Ref>,
    others: BTreeMap<usize, Ref>,
}

impl Memo {
    fn len(&self) -> usize {
        self.ordered.len() + self.others.len()
    }

    fn get(&self, index: usize) -> Option<Ref> {
        self.ordered.get(index).or_else(|| self.others.get(&index)).copied()
    }

    fn insert(&mut self, index: usize, value: Ref) {
        if let Some(known) = self.ordered.get_mut(index) {
            *known = value;
        } else if index == self.ordered.len() && self.others.is_empty() {
            self.ordered.push(value);
        } else {
            self.others.insert(index, value);
        }
    }
}

fn cut_short() -> ImportError {
    ImportError::CutShort("its pickle".to_owned())
}
