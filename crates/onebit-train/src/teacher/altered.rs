//! `nchw.onnx`, altered: its weights in another file, or a softmax at its end.

use super::external::{Content, Fields, write_header};

/// Numbers of fields of a model, a graph and a tensor.
const GRAPH: u64 = 7;
const NODE: u64 = 1;
const INITIALIZER: u64 = 5;
const GRAPH_OUTPUT: u64 = 12;
const RAW_DATA: u64 = 9;

/// A field that holds bytes.
pub(super) fn part(number: u64, content: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    write_header(&mut field, number, content.len());
    field.extend(content);
    field
}

/// A message whose fields `number` are what `change` makes of their content.
fn with(message: &[u8], number: u64, mut change: impl FnMut(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut changed = Vec::new();
    for field in Fields(message).map(|field| field.ok().expect("a field")) {
        match field.content {
            Content::Bytes(content) if field.number == number => changed.extend(change(content)),
            _ => changed.extend(field.whole),
        }
    }
    changed
}

/// The model with a softmax behind its logits.
pub(super) fn with_softmax(model: &[u8]) -> Vec<u8> {
    let softmax = [part(1, b"logits"), part(2, b"probabilities"), part(4, b"Softmax")].concat();
    let output = part(GRAPH_OUTPUT, &part(1, b"probabilities"));
    with(model, GRAPH, |graph| {
        let graph = with(graph, GRAPH_OUTPUT, |_| output.clone());
        part(GRAPH, &[graph, part(NODE, &softmax)].concat())
    })
}

/// The model with the elements of its tensors in another file, and that file; `place` gives the entries of
/// `external_data` for the number of a tensor, its offset and its length.
pub(super) fn external(
    model: &[u8],
    place: impl Fn(usize, usize, usize) -> Vec<(&'static str, String)>,
) -> (Vec<u8>, Vec<u8>) {
    let (mut data, mut tensors) = (vec![0xff; 16], 0);
    let model = with(model, GRAPH, |graph| {
        let graph = with(graph, INITIALIZER, |tensor| {
            let mut entries = Vec::new();
            let tensor = with(tensor, RAW_DATA, |raw| {
                for (key, value) in place(tensors, data.len(), raw.len()) {
                    let entry = [part(1, key.as_bytes()), part(2, value.as_bytes())].concat();
                    entries.extend(part(13, &entry));
                }
                // `data_location`, a number: external.
                entries.extend([14 << 3, 1]);
                data.extend(raw);
                Vec::new()
            });
            tensors += 1;
            part(INITIALIZER, &[tensor, entries].concat())
        });
        part(GRAPH, &graph)
    });
    (model, data)
}
