//! Classes and functions of a pickle: tensors and dictionaries are built, everything else stays an opaque object.

use super::globals::{Global, Name};
use super::{Machine, Ref, Storage, Tensor, Value};
use crate::import::ImportError;
use crate::import::tensor::Dtype;

/// Most arguments of a call that is looked at.
const MAX_ARGUMENTS: usize = 16;

/// Most dimensions of a tensor, PyTorch's own limit.
const MAX_DIMENSIONS: usize = 64;

/// What PyTorch calls a storage and a class of modules in a persistent identifier.
const STORAGE: &str = "storage";
const MODULE: &str = "module";

impl<'a> Machine<'a> {
    pub(super) fn global(&mut self, operation: u8) -> Result<(), ImportError> {
        let (module, name) = match operation {
            b'c' => (self.line()?, self.line()?),
            _ => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.values.get(module.0), self.values.get(name.0)) {
                    (Some(&Value::Text(module)), Some(&Value::Text(name))) => (module, name),
                    _ => return Err(self.problem("has a name that is none".to_owned())),
                }
            }
        };
        self.named(module, name)
    }

    fn named(&mut self, module: &'a str, name: &'a str) -> Result<(), ImportError> {
        let global = Global::of(module, name);
        let hostile = || ImportError::Global(Name { module, name }.to_string());
        self.push(Value::Global(global.ok_or_else(hostile)?));
        Ok(())
    }

    /// `("storage", type, key, device, elements)`; before PyTorch 1.6 with a sixth part, `None` but for views. Whole
    /// modules have `("module", class, file, text)`.
    pub(super) fn persistent(&mut self) -> Result<(), ImportError> {
        let id = self.pop()?;
        let parts: Vec<_> = self.short(id).iter().filter_map(|part| self.get(*part)).collect();
        let value = match parts[..] {
            [
                Value::Text(STORAGE),
                Value::Global(kind),
                Value::Text(key),
                Value::Text(_),
                Value::Int(len),
            ]
            | [
                Value::Text(STORAGE),
                Value::Global(kind),
                Value::Text(key),
                Value::Text(_),
                Value::Int(len),
                Value::None,
            ] => match *kind {
                Global::Storage(dtype) => {
                    let len = usize::try_from(*len).ok();
                    len.map(|len| Value::Storage(Storage { dtype, key, len }))
                }
                Global::Other(name) => Some(Value::Object(name)),
                _ => None,
            },
            [Value::Text(MODULE), Value::Global(Global::Other(name)), ..] => {
                Some(Value::Global(Global::Other(*name)))
            }
            _ => None,
        };
        let value =
            value.ok_or_else(|| self.problem("refers to something else than a storage".to_owned()));
        self.push(value?);
        Ok(())
    }

    /// A call, or an object of a class.
    pub(super) fn construct(&mut self, operation: u8) -> Result<(), ImportError> {
        let (callable, arguments) = match operation {
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                let arguments = self.pop_to_mark()?;
                self.named(module, name)?;
                (self.pop()?, arguments)
            }
            b'o' => {
                let items = self.pop_to_mark()?;
                let parts = items.split_first();
                let (&class, arguments) = parts
                    .ok_or_else(|| self.problem("takes a value that is not there".to_owned()))?;
                (class, arguments.to_vec())
            }
            _ => {
                if operation == 0x92 {
                    self.pop()?;
                }
                let (arguments, callable) = (self.pop()?, self.pop()?);
                if !matches!(self.get(arguments), Some(Value::Tuple(_))) {
                    return Err(
                        self.problem("calls something without a tuple of arguments".to_owned())
                    );
                }
                (callable, self.short(arguments).to_vec())
            }
        };
        self.call(callable, &arguments)
    }

    fn call(&mut self, callable: Ref, arguments: &[Ref]) -> Result<(), ImportError> {
        let global = match self.get(callable) {
            Some(&Value::Global(global)) => global,
            Some(&Value::Object(name)) => Global::Other(name),
            _ => return Err(self.problem("calls something in a way that is not known".to_owned())),
        };
        match global {
            Global::Dictionary => self.dictionary(arguments),
            Global::TensorWithAttributes => {
                let &[function, _, inner] =
                    arguments.first_chunk().ok_or_else(|| self.unknown_tensor())?;
                let inner = self.short(inner).to_vec();
                match self.get(function) {
                    Some(&Value::Global(function)) => self.tensor_of(function, &inner),
                    _ => Err(self.unknown_tensor()),
                }
            }
            function @ (Global::Tensor | Global::TypedTensor | Global::SameTensor) => {
                self.tensor_of(function, arguments)
            }
            Global::Storage(_) | Global::Dtype(_) => {
                self.push(Value::Other);
                Ok(())
            }
            Global::Other(name) => {
                self.push(Value::Object(self.class(name, arguments)));
                Ok(())
            }
        }
    }

    /// The class of an object, which Python 2's constructor of all objects has as its first argument.
    fn class(&self, name: Name<'a>, arguments: &[Ref]) -> Name<'a> {
        let class = arguments.first().and_then(|&class| self.get(class));
        match (name.name, class) {
            ("_reconstructor", Some(&Value::Global(Global::Other(class)))) => class,
            _ => name,
        }
    }

    /// A dictionary: empty, or of another's entries, or, as Python 2 writes it, of a list of pairs.
    fn dictionary(&mut self, arguments: &[Ref]) -> Result<(), ImportError> {
        let last = arguments.last().copied();
        if let Some(Value::List(items)) = last.and_then(|last| self.get(last)) {
            // A list can be used many times.
            self.spend(items.len())?;
        }
        let entries = match last.and_then(|last| self.get(last)) {
            Some(Value::Dict(_)) => {
                self.stack.extend(last);
                return Ok(());
            }
            Some(Value::List(items)) => {
                let pair = |item: &Ref| match self.get(*item) {
                    Some(Value::List(pair) | Value::Tuple(pair)) => match pair[..] {
                        [key, value] => Some((key, value)),
                        _ => None,
                    },
                    _ => None,
                };
                items.iter().filter_map(pair).collect()
            }
            _ => vec![],
        };
        self.push(Value::Dict(entries));
        Ok(())
    }

    fn tensor_of(&mut self, function: Global<'a>, arguments: &[Ref]) -> Result<(), ImportError> {
        let first = arguments.first().copied();
        match (function, first.and_then(|first| self.get(first))) {
            (Global::SameTensor, Some(Value::Tensor(_) | Value::Object(_))) => {
                self.stack.extend(first);
                return Ok(());
            }
            // Of a storage whose type is not known.
            (Global::Tensor | Global::TypedTensor, Some(&Value::Object(name))) => {
                self.push(Value::Object(name));
                return Ok(());
            }
            _ => {}
        }
        let tensor = match function {
            Global::Tensor => self.tensor(arguments, None),
            Global::TypedTensor => match arguments.get(6).and_then(|&dtype| self.get(dtype)) {
                Some(&Value::Global(Global::Dtype(dtype))) => self.tensor(arguments, Some(dtype)),
                Some(&Value::Global(Global::Other(name))) => {
                    self.push(Value::Object(name));
                    return Ok(());
                }
                _ => None,
            },
            _ => None,
        };
        let tensor = tensor.ok_or_else(|| self.unknown_tensor())?;
        // The tuple of extents can be used many times.
        self.spend(tensor.shape.len() + tensor.strides.len())?;
        self.push(Value::Tensor(Box::new(tensor)));
        Ok(())
    }

    /// `(storage, offset, shape, strides, ...)`, of the type `dtype` or that of the storage.
    fn tensor(&self, arguments: &[Ref], dtype: Option<Dtype>) -> Option<Tensor<'a>> {
        let &[storage, offset, shape, strides] = arguments.first_chunk()?;
        let (Value::Storage(storage), Value::Int(offset)) = (self.get(storage)?, self.get(offset)?)
        else {
            return None;
        };
        let extents = |tuple: Ref| {
            let (Value::Tuple(items) | Value::List(items)) = self.get(tuple)? else { return None };
            if items.len() > MAX_DIMENSIONS {
                return None;
            }
            let extent = |item: &Ref| match self.get(*item) {
                Some(&Value::Int(extent)) => usize::try_from(extent).ok(),
                _ => None,
            };
            items.iter().map(extent).collect::<Option<Vec<_>>>()
        };
        Some(Tensor {
            storage: *storage,
            dtype: dtype.unwrap_or(storage.dtype),
            offset: usize::try_from(*offset).ok()?,
            shape: extents(shape)?,
            strides: extents(strides)?,
        })
    }

    /// Attributes, such as the versions that PyTorch keeps beside a state dict: nothing reads them.
    pub(super) fn build(&mut self) -> Result<(), ImportError> {
        self.pop()?;
        match self.get(self.top()?) {
            Some(Value::Dict(_) | Value::Object(_) | Value::Other | Value::Tensor(_)) => Ok(()),
            _ => Err(self.problem("sets attributes of what has none".to_owned())),
        }
    }

    fn get(&self, at: Ref) -> Option<&Value<'a>> {
        self.values.get(at.0)
    }

    /// The first parts of a tuple; none of anything else.
    fn short(&self, tuple: Ref) -> &[Ref] {
        match self.get(tuple) {
            Some(Value::Tuple(items)) => items.get(..items.len().min(MAX_ARGUMENTS)).unwrap_or(&[]),
            _ => &[],
        }
    }

    fn unknown_tensor(&self) -> ImportError {
        self.problem("describes a tensor in a way that is not known".to_owned())
    }
}
