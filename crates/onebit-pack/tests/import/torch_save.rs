//! What `torch.save` writes, in the forms of many versions of PyTorch and Python, for the tensors of a fixture.

use std::collections::BTreeMap;

use safetensors::SafeTensors;

use super::fixture;

/// How a file is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// The pickle format's version.
    pub(super) protocol: u8,
    /// The container before PyTorch 1.6.
    pub(super) legacy: bool,
    /// Texts and ordered dictionaries as Python 2 writes them.
    pub(super) python2: bool,
    /// The folder in the zip container.
    pub(super) folder: &'static str,
}

pub(super) const FORM: Form =
    Form { protocol: 2, legacy: false, python2: false, folder: "archive" };

/// A float tensor: its elements and its view of them.
#[derive(Clone)]
pub(super) struct Tensor {
    pub(super) elements: Vec<f32>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

impl Tensor {
    pub(super) fn new(elements: Vec<f32>, shape: &[usize]) -> Self {
        let mut strides = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis];
        }
        Tensor { elements, offset: 0, shape: shape.to_vec(), strides }
    }
}

/// The float tensors of `reactnet.safetensors`, without `module.`
pub(super) fn tensors() -> BTreeMap<String, Tensor> {
    let bytes = fixture("reactnet.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let floats = file.tensors().into_iter().filter(|(_, t)| t.dtype() == safetensors::Dtype::F32);
    let floats = floats.map(|(name, view)| {
        let elements = view.data().as_chunks().0.iter().copied().map(f32::from_le_bytes);
        let name = name.strip_prefix("module.").unwrap().to_owned();
        (name, Tensor::new(elements.collect(), view.shape()))
    });
    floats.collect()
}

/// A pickle that is being written, and the storages that it refers to.
pub(super) struct Pickler {
    form: Form,
    bytes: Vec<u8>,
    memo: usize,
    storages: Vec<Vec<u8>>,
}

impl Pickler {
    pub(super) fn new(form: Form) -> Self {
        let mut bytes = vec![];
        if form.protocol >= 2 {
            bytes.extend([0x80, form.protocol]);
        }
        if form.protocol >= 4 {
            bytes.push(0x95);
            bytes.extend([0xff; 8]);
        }
        Pickler { form, bytes, memo: 0, storages: vec![] }
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        let len = text.len();
        match self.form {
            Form { python2: true, .. } if len < 256 => self.raw(&[b'U', len as u8]),
            Form { protocol: 4.., .. } if len < 256 => self.raw(&[0x8c, len as u8]),
            _ => {
                self.raw(b"X");
                self.raw(&(len as u32).to_le_bytes());
            }
        }
        self.raw(text.as_bytes());
        self.remember();
    }

    /// Numbers the value as every pickler does, though nothing refers to it.
    fn remember(&mut self) {
        match self.form.protocol {
            4.. => self.raw(&[0x94]),
            _ => {
                self.raw(b"r");
                self.raw(&(self.memo as u32).to_le_bytes());
            }
        }
        self.memo += 1;
    }

    pub(super) fn int(&mut self, value: usize) {
        match value {
            0..256 => self.raw(&[b'K', value as u8]),
            _ => {
                self.raw(b"J");
                self.raw(&(value as u32).to_le_bytes());
            }
        }
    }

    fn bool(&mut self, value: bool) {
        match (self.form.protocol, value) {
            (0 | 1, true) => self.raw(b"I01\n"),
            (0 | 1, false) => self.raw(b"I00\n"),
            (_, true) => self.raw(b"\x88"),
            (_, false) => self.raw(b"\x89"),
        }
    }

    fn ints(&mut self, values: &[usize]) {
        self.raw(b"(");
        values.iter().for_each(|&value| self.int(value));
        self.raw(b"t");
        self.remember();
    }

    pub(super) fn global(&mut self, module: &str, name: &str) {
        if self.form.protocol >= 4 {
            self.text(module);
            self.text(name);
            self.raw(b"\x93");
        } else {
            self.raw(format!("c{module}\n{name}\n").as_bytes());
        }
        self.remember();
    }

    /// The storage of some bytes.
    pub(super) fn storage(&mut self, kind: (&str, &str), bytes: &[u8], size: usize) {
        let key = self.storages.len().to_string();
        self.raw(b"(");
        self.text("storage");
        self.global(kind.0, kind.1);
        self.text(&key);
        self.text("cuda:0");
        self.int(bytes.len() / size);
        if self.form.legacy {
            self.raw(b"N");
        }
        self.raw(b"tQ");
        self.storages.push(bytes.to_vec());
    }

    /// `(storage, offset, shape, strides, requires_grad, hooks`, without the end of the tuple.
    pub(super) fn view(&mut self, tensor: &Tensor, storage: (&str, &str), size: usize) {
        let bytes: Vec<u8> = tensor.elements.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.raw(b"(");
        self.storage(storage, &bytes, size);
        self.int(tensor.offset);
        self.ints(&tensor.shape);
        self.ints(&tensor.strides);
        self.bool(false);
        self.ordered(0, |_, _| {});
    }

    pub(super) fn tensor(&mut self, tensor: &Tensor) {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.view(tensor, ("torch", "FloatStorage"), 4);
        self.raw(b"tR");
        self.remember();
    }

    /// An ordered dictionary of `len` entries, each of which `entry` writes: its key and its value.
    pub(super) fn ordered(&mut self, len: usize, mut entry: impl FnMut(&mut Self, usize)) {
        self.global("collections", "OrderedDict");
        if self.form.python2 {
            self.raw(b"](");
            for i in 0..len {
                self.raw(b"](");
                entry(self, i);
                self.raw(b"e");
            }
            self.raw(b"e\x85R");
        } else {
            self.raw(b")R");
            self.remember();
            self.raw(b"(");
            (0..len).for_each(|i| entry(self, i));
            self.raw(b"u");
        }
    }

    /// A plain dictionary.
    pub(super) fn dict(&mut self, entries: impl FnOnce(&mut Self)) {
        self.raw(b"}");
        self.remember();
        self.raw(b"(");
        entries(self);
        self.raw(b"u");
    }

    pub(super) fn state_dict(&mut self, tensors: &BTreeMap<String, Tensor>) {
        let all: Vec<_> = tensors.iter().collect();
        self.ordered(all.len(), |pickler, i| {
            pickler.text(all[i].0);
            pickler.tensor(all[i].1);
        });
        // What PyTorch keeps beside it.
        self.dict(|pickler| {
            pickler.text("_metadata");
            pickler.ordered(0, |_, _| {});
        });
        self.raw(b"b");
    }

    /// The whole file.
    pub(super) fn save(mut self) -> Vec<u8> {
        self.raw(b".");
        let Pickler { form, bytes, storages, .. } = self;
        match form.legacy {
            true => legacy(form, &bytes, &storages),
            false => {
                let data = format!("{}/data.pkl", form.folder);
                let mut entries = vec![
                    (data, bytes),
                    (format!("{}/.format_version", form.folder), b"1".to_vec()),
                    (format!("{}/byteorder", form.folder), b"little".to_vec()),
                ];
                for (key, storage) in storages.into_iter().enumerate() {
                    entries.push((format!("{}/data/{key}", form.folder), storage));
                }
                entries.push((format!("{}/.data/serialization_id", form.folder), b"1".to_vec()));
                zip(&entries, false)
            }
        }
    }
}

fn legacy(form: Form, object: &[u8], storages: &[Vec<u8>]) -> Vec<u8> {
    let mut file = match form.protocol {
        0 | 1 => b"L119547037146038801333356L\n.I1001\n.".to_vec(),
        p => {
            let magic = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
            let frame = [&[0x95][..], &[0xff; 8]].concat();
            let frame = if p >= 4 { frame } else { vec![] };
            [&[0x80, p], &frame[..], magic, &[0x80, p], &frame, b"M\xe9\x03."].concat()
        }
    };
    let mut machine = Pickler::new(form);
    machine.dict(|pickler| {
        pickler.text("little_endian");
        pickler.bool(true);
    });
    let mut keys = Pickler::new(form);
    keys.raw(b"](");
    for key in 0..storages.len() {
        keys.text(&key.to_string());
    }
    keys.raw(b"e");
    file.extend([&machine.bytes, &b"."[..], object, &keys.bytes, b"."].concat());
    for storage in storages {
        file.extend((storage.len() as u64 / 4).to_le_bytes());
        file.extend(storage);
    }
    file
}

/// A zip container of these entries; if `large`, every size is in the fields of 64 bits.
pub(super) fn zip(entries: &[(String, Vec<u8>)], large: bool) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    let u32s = |values: &[u32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let u64s = |values: &[u64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    for (name, content) in entries {
        let (start, len) = (file.len() as u32, content.len() as u32);
        let checksum = crc32(content);
        // Version, flags (a descriptor follows, UTF-8), method, time and date.
        let common = [20, 0, 8, 8, 0, 0, 0, 0, 0, 0];
        let name_len = (name.len() as u16).to_le_bytes();
        // Elements begin at a multiple of 64.
        let padding = (64 - (file.len() + 30 + name.len() + 4) % 64) % 64;
        let extra = [b"FB", &(padding as u16).to_le_bytes()[..], &vec![b'Z'; padding]].concat();
        file.extend(b"PK\x03\x04");
        file.extend([&common[..], &u32s(&[0; 3]), &name_len].concat());
        file.extend((extra.len() as u16).to_le_bytes());
        file.extend([name.as_bytes(), &extra, content].concat());
        file.extend([b"PK\x07\x08", &u32s(&[checksum, len, len])[..]].concat());
        directory.extend([b"PK\x01\x02\0\0", &common[..], &u32s(&[checksum])].concat());
        let sizes = if large { [u32::MAX; 2] } else { [len; 2] };
        let sizes64 = u64s(&[len.into(), len.into(), start.into()]);
        let extra = [&b"UT\x01\0\0\x01\0\x18\0"[..], &sizes64].concat();
        let extra = if large { extra } else { vec![] };
        directory.extend([&u32s(&sizes)[..], &name_len].concat());
        directory.extend((extra.len() as u16).to_le_bytes());
        directory.extend([0; 10]);
        directory.extend(u32s(&[if large { u32::MAX } else { start }]));
        directory.extend([name.as_bytes(), &extra].concat());
    }
    let (start, len, count) = (file.len() as u64, directory.len() as u64, entries.len() as u64);
    file.extend(directory);
    if large {
        let record = file.len() as u64;
        file.extend(b"PK\x06\x06");
        file.extend([&u64s(&[44])[..], &[0; 12], &u64s(&[count, count, len, start])].concat());
        file.extend([b"PK\x06\x07", &u32s(&[0])[..], &u64s(&[record]), &u32s(&[1])].concat());
    }
    let count = if large { u16::MAX } else { count as u16 };
    let sizes = if large { [u32::MAX; 2] } else { [len as u32, start as u32] };
    file.extend([b"PK\x05\x06\0\0\0\0", &count.to_le_bytes()[..], &count.to_le_bytes()].concat());
    file.extend([&u32s(&sizes)[..], &[0; 2]].concat());
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
    !bytes.iter().fold(!0u32, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| bit(crc)))
}
