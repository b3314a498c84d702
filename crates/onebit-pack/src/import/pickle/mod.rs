//! The part of Python's pickle format, protocol 2, that a checkpoint of tensors needs.
//!
//! A pickle is a program for a machine with a stack. This one builds plain values in a list and nothing else: it
//! knows the names of [`GLOBALS`] and runs no code. Values refer to each other by position, so that neither
//! building nor dropping them recurses.

use super::ImportError;
use super::tensor::Dtype;

/// Most operations of one pickle, each of which makes at most one value; a network of 300 tensors with its
/// optimizer needs about 20,000.
const MAX_OPERATIONS: usize = 1 << 20;

/// Most parts of a tuple that is read: the arguments of a call, the extents of a tensor.
const MAX_PARTS: usize = 8;

/// Longest name of a class or function, in bytes.
const MAX_NAME: usize = 128;

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
    Text(&'a str),
    Tuple(Vec<Ref>),
    List(Vec<Ref>),
    Dict(Vec<(Ref, Ref)>),
    Global(Global),
    Storage(Storage<'a>),
    Tensor(Box<Tensor<'a>>),
    /// What nothing here reads: reals, long integers, scalars of NumPy.
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

/// A view of a storage, as `torch._utils._rebuild_tensor_v2` gets it.
pub(super) struct Tensor<'a> {
    pub(super) storage: Storage<'a>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// What the machine knows by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
    /// Scalars of NumPy, such as a best accuracy; they become [`Value::Other`].
    Scalar,
}

#[rustfmt::skip]
const GLOBALS: &[(&str, &str, Global)] = &[
    ("collections", "OrderedDict", Global::OrderedDict),
    ("torch._utils", "_rebuild_tensor_v2", Global::RebuildTensor),
    ("torch._utils", "_rebuild_parameter", Global::RebuildParameter),
    ("torch", "DoubleStorage", Global::Storage(Dtype::F64)),
    ("torch", "FloatStorage", Global::Storage(Dtype::F32)),
    ("torch", "HalfStorage", Global::Storage(Dtype::F16)),
    ("torch", "BFloat16Storage", Global::Storage(Dtype::Bf16)),
    ("torch", "LongStorage", Global::Storage(Dtype::Other(8))),
    ("torch", "IntStorage", Global::Storage(Dtype::Other(4))),
    ("torch", "ShortStorage", Global::Storage(Dtype::Other(2))),
    ("torch", "CharStorage", Global::Storage(Dtype::Other(1))),
    ("torch", "ByteStorage", Global::Storage(Dtype::Other(1))),
    ("torch", "BoolStorage", Global::Storage(Dtype::Other(1))),
    ("numpy.core.multiarray", "scalar", Global::Scalar),
    ("numpy._core.multiarray", "scalar", Global::Scalar),
    ("numpy", "dtype", Global::Scalar),
    ("_codecs", "encode", Global::Scalar),
];

impl<'a> Pickle<'a> {
    /// Runs the pickle at the start of `bytes`; also gives the bytes behind it.
    pub(super) fn load(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), ImportError> {
        let mut machine = Machine {
            bytes,
            rest: bytes,
            values: vec![],
            stack: vec![],
            marks: vec![],
            memo: vec![],
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
    memo: Vec<Ref>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Ref, ImportError> {
        for _ in 0..MAX_OPERATIONS {
            let [operation] = self.array()?;
            if operation == b'.' {
                return self.pop();
            }
            self.step(operation)?;
        }
        Err(self.problem(format!("has more than {MAX_OPERATIONS} operations")))
    }

    /// One operation, by its letter in Python's `pickletools`.
    fn step(&mut self, operation: u8) -> Result<(), ImportError> {
        match operation {
            0x80 => self.protocol()?,
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'K' | b'M' | b'J' | 0x8a => self.integer(operation)?,
            b'G' => {
                self.array::<8>()?;
                self.push(Value::Other);
            }
            b'X' => self.text()?,
            b')' => self.push(Value::Tuple(vec![])),
            0x85..=0x87 => self.short_tuple(usize::from(operation - 0x84))?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items));
            }
            b']' => self.push(Value::List(vec![])),
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b'}' => self.push(Value::Dict(vec![])),
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.insert(&items)?;
            }
            b'q' | b'r' | b'h' | b'j' => self.memo(operation)?,
            b'c' => self.global()?,
            b'Q' => self.storage()?,
            b'R' => self.call()?,
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
            [2] => Ok(()),
            [other] => Err(self.problem(format!(
                "has protocol {other}, expected 2, which `torch.save` writes unless told otherwise"
            ))),
        }
    }

    fn integer(&mut self, operation: u8) -> Result<(), ImportError> {
        let value = match operation {
            b'K' => i64::from(u8::from_le_bytes(self.array()?)),
            b'M' => i64::from(u16::from_le_bytes(self.array()?)),
            b'J' => i64::from(i32::from_le_bytes(self.array()?)),
            _ => {
                let [length] = self.array()?;
                let digits = self.take(usize::from(length))?;
                let negative = digits.last().is_some_and(|&digit| digit >= 0x80);
                let mut extended = [if negative { 0xff } else { 0 }; 8];
                let Some(low) = extended.get_mut(..digits.len()) else {
                    self.push(Value::Other);
                    return Ok(());
                };
                low.copy_from_slice(digits);
                i64::from_le_bytes(extended)
            }
        };
        self.push(Value::Int(value));
        Ok(())
    }

    fn text(&mut self) -> Result<(), ImportError> {
        let length = u32::from_le_bytes(self.array()?);
        let bytes = self.take(length as usize)?;
        let text = std::str::from_utf8(bytes);
        let text = text.map_err(|_| self.problem("has a text that is not UTF-8".to_owned()))?;
        self.push(Value::Text(text));
        Ok(())
    }

    fn short_tuple(&mut self, len: usize) -> Result<(), ImportError> {
        let mut items = (0..len).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.push(Value::Tuple(items));
        Ok(())
    }

    fn append(&mut self, items: Vec<Ref>) -> Result<(), ImportError> {
        let list = self.top()?;
        match self.values.get_mut(list.0) {
            Some(Value::List(list)) => list.extend(items),
            _ => return Err(self.problem("appends to what is no list".to_owned())),
        }
        Ok(())
    }

    fn insert(&mut self, items: &[Ref]) -> Result<(), ImportError> {
        let dict = self.top()?;
        let (pairs, odd) = items.as_chunks::<2>();
        match self.values.get_mut(dict.0) {
            Some(Value::Dict(dict)) if odd.is_empty() => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
            }
            _ => return Err(self.problem("inserts into what is no dictionary".to_owned())),
        }
        Ok(())
    }

    /// Entries are numbered in the order in which they are made.
    fn memo(&mut self, operation: u8) -> Result<(), ImportError> {
        let index = match operation {
            b'q' | b'h' => usize::from(u8::from_le_bytes(self.array()?)),
            _ => u32::from_le_bytes(self.array()?) as usize,
        };
        if matches!(operation, b'h' | b'j') {
            let known = self.memo.get(index).copied();
            let known = known.ok_or_else(|| self.problem("refers to an unknown value".to_owned()));
            self.stack.push(known?);
            return Ok(());
        }
        let top = self.top()?;
        if index != self.memo.len() {
            return Err(self.problem("numbers its values out of order".to_owned()));
        }
        self.memo.push(top);
        Ok(())
    }

    fn global(&mut self) -> Result<(), ImportError> {
        let (module, name) = (self.line()?, self.line()?);
        let known = GLOBALS.iter().find(|global| (global.0, global.1) == (module, name));
        let &(_, _, global) =
            known.ok_or_else(|| ImportError::Global(format!("{module}.{name}")))?;
        self.push(Value::Global(global));
        Ok(())
    }

    /// `("storage", type, key, device, elements)`; before PyTorch 1.6 with a sixth part, `None` but for views.
    fn storage(&mut self) -> Result<(), ImportError> {
        let id = self.pop_tuple()?;
        let parts: Vec<_> = id.iter().filter_map(|part| self.values.get(part.0)).collect();
        let storage = match parts[..] {
            [
                Value::Text("storage"),
                Value::Global(Global::Storage(dtype)),
                Value::Text(key),
                Value::Text(_),
                Value::Int(len),
            ]
            | [
                Value::Text("storage"),
                Value::Global(Global::Storage(dtype)),
                Value::Text(key),
                Value::Text(_),
                Value::Int(len),
                Value::None,
            ] => usize::try_from(*len).ok().map(|len| Storage { dtype: *dtype, key, len }),
            _ => None,
        };
        let storage = storage
            .ok_or_else(|| self.problem("refers to something else than a storage".to_owned()));
        self.push(Value::Storage(storage?));
        Ok(())
    }

    fn call(&mut self) -> Result<(), ImportError> {
        let arguments = self.pop_tuple()?;
        let callable = self.pop()?;
        let first = arguments.first().map(|first| (*first, self.values.get(first.0)));
        match (self.values.get(callable.0), first) {
            (Some(Value::Global(Global::OrderedDict)), None) => self.push(Value::Dict(vec![])),
            (Some(Value::Global(Global::RebuildTensor)), _) => {
                let tensor = self.tensor(&arguments).ok_or_else(|| {
                    self.problem("describes a tensor in a way that is not known".to_owned())
                })?;
                self.push(Value::Tensor(Box::new(tensor)));
            }
            (
                Some(Value::Global(Global::RebuildParameter)),
                Some((tensor, Some(Value::Tensor(_)))),
            ) => {
                self.stack.push(tensor);
            }
            (Some(Value::Global(Global::Scalar)), _) => self.push(Value::Other),
            _ => return Err(self.problem("calls something in a way that is not known".to_owned())),
        }
        Ok(())
    }

    /// `(storage, offset, shape, strides, ...)`.
    fn tensor(&self, arguments: &[Ref]) -> Option<Tensor<'a>> {
        let mut parts = arguments.iter().map(|part| self.values.get(part.0));
        let Value::Storage(storage) = parts.next()?? else { return None };
        let Value::Int(offset) = parts.next()?? else { return None };
        let mut extents = || {
            let Some(Value::Tuple(items)) = parts.next()? else { return None };
            if items.len() > MAX_PARTS {
                return None;
            }
            let extent = |item: &Ref| match self.values.get(item.0) {
                Some(&Value::Int(extent)) => usize::try_from(extent).ok(),
                _ => None,
            };
            items.iter().map(extent).collect::<Option<Vec<_>>>()
        };
        let (shape, strides) = (extents()?, extents()?);
        Some(Tensor { storage: *storage, offset: usize::try_from(*offset).ok()?, shape, strides })
    }

    /// Attributes of a dictionary, such as the versions that PyTorch keeps beside a state dict: nothing reads them.
    fn build(&mut self) -> Result<(), ImportError> {
        self.pop()?;
        let object = self.top()?;
        match self.values.get(object.0) {
            Some(Value::Dict(_) | Value::Other) => Ok(()),
            _ => Err(self.problem("sets attributes of what has none".to_owned())),
        }
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

    fn pop_tuple(&mut self) -> Result<Vec<Ref>, ImportError> {
        let tuple = self.pop()?;
        match self.values.get(tuple.0) {
            Some(Value::Tuple(items)) if items.len() <= MAX_PARTS => Ok(items.clone()),
            _ => Err(self.problem("has no short tuple where one is needed".to_owned())),
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

    fn line(&mut self) -> Result<&'a str, ImportError> {
        let end = self.rest.iter().take(MAX_NAME + 1).position(|&byte| byte == b'\n');
        let end = end.ok_or_else(|| self.problem("has a name without an end".to_owned()))?;
        let line = self.take(end)?;
        self.take(1)?;
        let name = std::str::from_utf8(line).ok().filter(|name| is_plain(name));
        name.ok_or_else(|| self.problem("has a name that is none".to_owned()))
    }

    fn problem(&self, problem: String) -> ImportError {
        ImportError::Pickle { at: self.bytes.len() - self.rest.len(), problem }
    }
}

/// Whether a name of the file can be shown in a message as it is.
pub(super) fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn cut_short() -> ImportError {
    ImportError::CutShort("its pickle".to_owned())
}
