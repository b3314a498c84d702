//! Weights that an ONNX file keeps in other files, as PyTorch's exporter writes them since 2.9, brought into it.
//!
//! The file is walked as the protobuf messages that lead to its tensors; whatever else it holds is copied as it is.
//! Numbers of fields are those of `onnx.proto`.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use onebit_files::{Error, count, shown};

/// Most bytes of a teacher's ONNX file, and of it with the weights of other files.
pub(super) const MAX_ONNX_BYTES: u64 = 2 << 30;

/// Deepest nesting of messages; a network without subgraphs has 4.
const MAX_DEPTH: usize = 24;

/// Why the weights cannot be brought in.
pub(super) enum Problem {
    /// What is wrong with the ONNX file.
    Refused(String),
    /// A file of weights that cannot be read.
    Weights(Error),
}

use Problem::{Refused, Weights};

/// The ONNX file `bytes`, which lies at `model`, with all weights in it; as it is if it has them already.
///
/// # Errors
/// No messages of protobuf, weights in a place that is not allowed, cut short or too large, or a file of weights that
/// cannot be read.
pub(super) fn inline(model: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, Problem> {
    let folder = model.parent().unwrap_or(Path::new("")).to_owned();
    let left = MAX_ONNX_BYTES.saturating_sub(bytes.len() as u64);
    let whole = Inliner { folder, left, open: None }.message(&bytes, Kind::Model, 0)?;
    Ok(whole.unwrap_or(bytes))
}

/// A message that holds tensors or messages that do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Model,
    Function,
    Graph,
    Node,
    Attribute,
    SparseTensor,
    Tensor,
}

impl Kind {
    /// What the field `number` of this message is, if it is on the way to a tensor.
    fn part(self, number: u64) -> Option<Kind> {
        Some(match (self, number) {
            (Kind::Model, 7) | (Kind::Attribute, 6 | 11) => Kind::Graph,
            (Kind::Model, 25) => Kind::Function,
            (Kind::Graph, 1) | (Kind::Function, 7) => Kind::Node,
            (Kind::Graph, 5) | (Kind::Attribute, 5 | 10) | (Kind::SparseTensor, 1 | 2) => {
                Kind::Tensor
            }
            (Kind::Graph, 15) | (Kind::Attribute, 22 | 23) => Kind::SparseTensor,
            (Kind::Node, 5) => Kind::Attribute,
            _ => return None,
        })
    }
}

/// `TensorProto.name`.
const NAME: u64 = 8;
/// `TensorProto.raw_data`.
const RAW_DATA: u64 = 9;
/// `TensorProto.external_data`, entries of a key (1) and a value (2).
const EXTERNAL_DATA: u64 = 13;
/// `TensorProto.data_location`.
const DATA_LOCATION: u64 = 14;
/// Its value for another file.
const EXTERNAL: u64 = 1;

struct Inliner {
    /// Where the ONNX file lies.
    folder: PathBuf,
    /// Bytes that the teacher may still grow by.
    left: u64,
    /// The file of weights that was read last.
    open: Option<Open>,
}

/// An open file of weights.
struct Open {
    location: String,
    file: File,
    len: u64,
}

impl Inliner {
    /// The message with all weights in it; `None` if it has them already.
    fn message(
        &mut self,
        bytes: &[u8],
        kind: Kind,
        depth: usize,
    ) -> Result<Option<Vec<u8>>, Problem> {
        if kind == Kind::Tensor {
            return self.tensor(bytes);
        }
        if depth > MAX_DEPTH {
            return Err(Refused(format!("its graphs are nested more than {MAX_DEPTH} deep")));
        }
        let mut changed: Option<Vec<u8>> = None;
        let mut before = 0;
        for field in Fields(bytes) {
            let field = field?;
            let part = match (kind.part(field.number), field.content) {
                (Some(part), Content::Bytes(content)) => self.message(content, part, depth + 1)?,
                _ => None,
            };
            match (part, &mut changed) {
                (Some(part), changed) => {
                    let to = changed.get_or_insert_with(|| bytes[..before].to_vec());
                    write_header(to, field.number, part.len());
                    to.extend(part);
                }
                (None, Some(to)) => to.extend(field.whole),
                (None, None) => {}
            }
            before += field.whole.len();
        }
        Ok(changed)
    }

    fn tensor(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Problem> {
        let mut external = false;
        for field in Fields(bytes) {
            if let Field { number: DATA_LOCATION, content: Content::Varint(location), .. } = field?
            {
                external = location == EXTERNAL;
            }
        }
        if !external {
            return Ok(None);
        }
        let (mut name, mut place) = (String::new(), Place::default());
        let mut tensor = Vec::new();
        for field in Fields(bytes) {
            let field = field?;
            match (field.number, field.content) {
                (EXTERNAL_DATA, Content::Bytes(entry)) => place.set(entry)?,
                (DATA_LOCATION | RAW_DATA, _) => {}
                (number, content) => {
                    if let (NAME, Content::Bytes(bytes)) = (number, content) {
                        name = shown(&String::from_utf8_lossy(bytes));
                    }
                    tensor.extend(field.whole);
                }
            }
        }
        self.weights(&name, &place, &mut tensor)?;
        Ok(Some(tensor))
    }

    /// Appends the field `raw_data` with what lies at `place`.
    fn weights(&mut self, name: &str, place: &Place, tensor: &mut Vec<u8>) -> Result<(), Problem> {
        let refused = |reason: String| Err(Refused(format!("its tensor `{name}` {reason}")));
        let Some(location) = &place.location else {
            return refused("is in another file, but names none".into());
        };
        let (file_name, offset) = (shown(location), place.offset);
        if !is_below(location) {
            return refused(format!(
                "is in the file `{file_name}`, expected one in the folder of the ONNX file or below it"
            ));
        }
        let path = self.folder.join(location);
        let failed = |source: io::Error| Weights(Error::Read { path: path.clone(), source });
        let (file, len) = open(&mut self.open, location, &path).map_err(failed)?;
        let wanted = place.length.or(len.checked_sub(offset)).unwrap_or(u64::MAX);
        if offset.checked_add(wanted).is_none_or(|end| end > len) {
            let wanted = place.length.map_or("what is".into(), |length| count(length, "byte"));
            return refused(format!(
                "needs {wanted} from byte {offset} of `{file_name}`, which has {}",
                count(len, "byte")
            ));
        }
        let left = self.left.checked_sub(wanted);
        let (Some(left), Ok(wanted)) = (left, usize::try_from(wanted)) else {
            return Err(Refused(format!(
                "the network and its weights are larger than the {MAX_ONNX_BYTES} bytes allowed"
            )));
        };
        self.left = left;
        write_header(tensor, RAW_DATA, wanted);
        append(file, offset, wanted, tensor).map_err(failed)
    }
}

/// The file of weights, and its length.
fn open<'o>(
    kept: &'o mut Option<Open>,
    location: &str,
    path: &Path,
) -> io::Result<(&'o mut File, u64)> {
    let opened = match kept.take_if(|open| open.location == location) {
        Some(open) => open,
        None => {
            // Before it is opened, since opening a pipe would wait.
            if !fs::metadata(path)?.is_file() {
                return Err(io::Error::other("it is no file"));
            }
            let file = File::open(path)?;
            let len = file.metadata()?.len();
            Open { location: location.to_owned(), file, len }
        }
    };
    let Open { file, len, .. } = kept.insert(opened);
    Ok((file, *len))
}

/// Appends `len` bytes of a file from `offset` on.
fn append(file: &mut File, offset: u64, len: usize, to: &mut Vec<u8>) -> io::Result<()> {
    to.try_reserve(len).map_err(io::Error::other)?;
    file.seek(SeekFrom::Start(offset))?;
    match file.take(len as u64).read_to_end(to)? {
        read if read == len => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Whether a location names a file in a folder or below it.
fn is_below(location: &str) -> bool {
    let mut components = Path::new(location).components().peekable();
    components.peek().is_some()
        && components.all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        && !location.contains(char::is_control)
}

/// Where the elements of a tensor are.
#[derive(Default)]
struct Place {
    location: Option<String>,
    /// First byte.
    offset: u64,
    /// Bytes; up to the end of the file if absent.
    length: Option<u64>,
}

impl Place {
    fn set(&mut self, entry: &[u8]) -> Result<(), Problem> {
        let (mut key, mut value) = (String::new(), String::new());
        for field in Fields(entry) {
            let field = field?;
            if let (1 | 2, Content::Bytes(bytes)) = (field.number, field.content) {
                let text = String::from_utf8(bytes.to_vec()).map_err(|_| damaged())?;
                *(if field.number == 1 { &mut key } else { &mut value }) = text;
            }
        }
        let number = || {
            let bad = || {
                let (key, value) = (shown(&key), shown(&value));
                Refused(format!("the {key} of one of its tensors is `{value}`, expected a number"))
            };
            value.parse::<u64>().map_err(|_| bad())
        };
        match key.as_str() {
            "location" => self.location = Some(value),
            "offset" => self.offset = number()?,
            "length" => self.length = Some(number()?),
            _ => {}
        }
        Ok(())
    }
}

/// A field of a message.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    pub(super) content: Content<'a>,
    /// All of its bytes.
    pub(super) whole: &'a [u8],
}

#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// 4 or 8 bytes.
    Fixed,
}

impl<'a> Field<'a> {
    /// The field at the start of `rest`, which becomes what is behind it.
    fn read(rest: &mut &'a [u8]) -> Option<Self> {
        let start = *rest;
        let tag = varint(rest)?;
        let content = match tag & 7 {
            0 => Content::Varint(varint(rest)?),
            1 => {
                take(rest, 8)?;
                Content::Fixed
            }
            2 => {
                let len = usize::try_from(varint(rest)?).ok()?;
                Content::Bytes(take(rest, len)?)
            }
            5 => {
                take(rest, 4)?;
                Content::Fixed
            }
            _ => return None,
        };
        let whole = start.get(..start.len() - rest.len())?;
        Some(Field { number: tag >> 3, content, whole })
    }
}

/// The fields of a message.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = Field::read(&mut self.0);
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(damaged))
    }
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = *take(rest, 1)?.first_chunk()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    Some(taken)
}

/// The start of a field of `len` bytes.
pub(super) fn write_header(to: &mut Vec<u8>, number: u64, len: usize) {
    for mut value in [number << 3 | 2, len as u64] {
        while value >= 0x80 {
            to.push(value as u8 & 0x7f | 0x80);
            value >>= 7;
        }
        to.push(value as u8);
    }
}

fn damaged() -> Problem {
    Refused("the file is no ONNX model that can be run: its messages are damaged".into())
}
