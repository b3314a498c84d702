//! Binary weights in a file of version 2: the bits of a filter one behind the other, tap by tap, without the gaps that
//! [`bits`] has behind each tap.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::FileError;
use crate::op::{Param, Role};
use crate::{Data, Graph, GraphError, Node, NodeId, Tensor, bits, infer, packed_shape};

/// Binary parameters of a graph by full name.
pub(super) fn binary_params(
    graph: &Graph,
) -> Result<Vec<(alloc::string::String, Param)>, GraphError> {
    let shapes = infer::shapes(graph)?;
    let of_node = |(id, node): (NodeId, &Node)| {
        let params = graph.params(id, &shapes).into_iter();
        let binary = params.filter(|param| param.role == Role::Binary);
        binary.map(|param| (node.param_name(param.suffix), param)).collect::<Vec<_>>()
    };
    Ok(graph.ids().zip(&graph.nodes).flat_map(of_node).collect())
}

/// Whether a parameter takes fewer words without gaps.
pub(super) fn saves(param: &Param) -> bool {
    let Filters { taps, channels, .. } = Filters::of(param);
    bits::words(taps * channels) < taps * bits::words(channels)
}

/// The tensor of a file, of the tensor of a model.
pub(super) fn to_file(param: &Param, tensor: &Tensor) -> Result<Tensor, FileError> {
    let filters = Filters::of(param);
    let Data::U64(words) = &tensor.data else { return Ok(tensor.clone()) };
    let mut dense = filters.room(filters.file_words())?;
    let taps = words.chunks_exact(bits::words(filters.channels).max(1));
    for (i, tap) in taps.enumerate() {
        let filter = &mut dense[i / filters.taps * filters.file_words()..][..filters.file_words()];
        let first = i % filters.taps * filters.channels;
        for (w, &word) in tap.iter().enumerate() {
            put(filter, first + w * bits::WORD_BITS, word);
        }
    }
    Ok(Tensor { shape: vec![filters.count, filters.file_words()], data: Data::U64(dense) })
}

/// The tensor of a model, of the tensor of a file.
pub(super) fn to_model(name: &str, param: &Param, tensor: &Tensor) -> Result<Tensor, FileError> {
    let filters = Filters::of(param);
    let file_words = filters.file_words();
    let words = match &tensor.data {
        Data::U64(words) if tensor.shape == [filters.count, file_words] => words,
        data => {
            let found = alloc::format!("{} {:?}", data.dtype(), tensor.shape);
            let expected = alloc::format!("U64 {:?}", [filters.count, file_words]);
            let name = name.to_string();
            return Err(crate::ModelError::WrongTensor { name, found, expected }.into());
        }
    };
    let mask = bits::tail_mask(filters.taps * filters.channels);
    let tap_words = bits::words(filters.channels);
    let mut padded = filters.room(filters.taps * tap_words)?;
    for (filter, out) in
        words.chunks_exact(file_words).zip(padded.chunks_exact_mut(filters.taps * tap_words))
    {
        if filter.last().is_some_and(|last| last & !mask != 0) {
            return Err(crate::ModelError::TailBits(name.to_string()).into());
        }
        for (tap, out) in out.chunks_exact_mut(tap_words).enumerate() {
            for (w, word) in out.iter_mut().enumerate() {
                let bit = w * bits::WORD_BITS;
                *word = bits::word_at(filter, tap * filters.channels + bit);
                let rest = filters.channels - bit;
                if rest < bits::WORD_BITS {
                    *word &= bits::tail_mask(rest);
                }
            }
        }
    }
    Ok(Tensor { shape: packed_shape(&param.shape), data: Data::U64(padded) })
}

/// Filters of a binary parameter `[O, ..., channels]`.
#[derive(Clone, Copy)]
struct Filters {
    count: usize,
    taps: usize,
    channels: usize,
}

impl Filters {
    fn of(param: &Param) -> Self {
        match &param.shape[..] {
            [count, taps @ .., channels] => {
                Filters { count: *count, taps: taps.iter().product(), channels: *channels }
            }
            _ => Filters { count: 0, taps: 0, channels: 0 },
        }
    }

    /// Words of a filter in a file.
    fn file_words(&self) -> usize {
        bits::words(self.taps * self.channels)
    }

    /// So many words for each filter, zero.
    fn room(&self, each: usize) -> Result<Vec<u64>, FileError> {
        let (mut words, len) = (Vec::new(), self.count * each);
        words.try_reserve_exact(len).map_err(|_| FileError::OutOfMemory { bytes: 8 * len })?;
        words.resize(len, 0);
        Ok(words)
    }
}

/// Sets the bits of a word from the bit `first` on; those behind the end are zero.
fn put(words: &mut [u64], first: usize, word: u64) {
    let (index, shift) = (first / bits::WORD_BITS, first % bits::WORD_BITS);
    words[index] |= word << shift;
    if shift > 0
        && let Some(next) = words.get_mut(index + 1)
    {
        *next |= word >> (bits::WORD_BITS - shift);
    }
}
