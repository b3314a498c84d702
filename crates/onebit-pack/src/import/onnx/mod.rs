//! 1-bit networks in ONNX: read, turned into our graph, and computed as ONNX says for comparison.

mod array;
mod builder;
mod convert;
mod evaluate;
mod network;
mod operator;
mod reference;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;

use onebit_model::description::numbered;
use onebit_model::file::Weights;
use onebit_model::{
    Data, Graph, NodeId, Normalization, Op, Origin, Precision, Preprocessing, Tensor, Verified,
    quantization, quote,
};

use self::array::Array;
use self::convert::Converter;
use self::network::Network;
use self::value::Above;
use super::ImportError;

pub use self::reference::{Comparison, Mismatch};

/// The note on a file that does not say how pixels are normalised.
pub const NOT_NORMALISED: &str =
    "the file does not say how pixels are normalised: 0 to 1 is assumed";

/// What an ONNX file does not say, or says otherwise.
#[derive(Clone, Debug, Default)]
pub struct OnnxOptions {
    /// Channels, height and width of the images.
    pub input: Option<[usize; 3]>,
    /// How pixels are normalised.
    pub normalization: Option<Normalization>,
    /// Names of the classes.
    pub classes: Option<Vec<String>>,
    /// Name of the architecture.
    pub arch: Option<String>,
}

/// A network read from an ONNX file.
pub struct ImportedOnnx {
    /// The network and its weights.
    pub weights: Verified<Weights>,
    /// Where it comes from, as `onebit export` writes it.
    pub origin: Origin,
    /// What was assumed or left out.
    pub notes: Vec<String>,
    /// Operators that were read.
    pub operators: usize,
    network: Network,
    signs: Vec<SignSource>,
}

/// Where the bits of a sign are in the ONNX graph.
#[derive(Clone, Debug)]
struct SignSource {
    node: NodeId,
    /// The node's name.
    name: String,
    /// Name of the value that is one of two numbers where the bit is set or not.
    value: String,
    above: Above,
    numbers: [Vec<f64>; 2],
    channels: usize,
}

/// Reads a network from the bytes of an ONNX file.
///
/// # Errors
/// No such file, or all operators that cannot be read, at once, with their names.
pub fn read_onnx(bytes: &[u8], options: OnnxOptions) -> Result<ImportedOnnx, ImportError> {
    let mut network = Network::read(bytes).map_err(ImportError::Onnx)?;
    let image = network.image(options.input).map_err(ImportError::Images)?;
    let channels = image[0];
    let mut notes = network.without_decision();
    let normalization = match options.normalization.or_else(|| stored_normalization(&network)) {
        Some(normalization) => normalization.spread(channels),
        None => {
            notes.push(NOT_NORMALISED.to_owned());
            Normalization { mean: vec![0.0; channels], std: vec![1.0; channels] }
        }
    };
    let shape = network.batch_of_one(image);
    let len = shape.iter().product();
    let (shapes, problems) = network.survey(Array { shape, values: vec![0.5; len] });
    if !problems.is_empty() {
        return Err(ImportError::Operators(super::Problems::of(problems)));
    }
    if let Some(extents @ [_, _, spatial @ ..]) = shapes.get(&network.output).map(Vec::as_slice)
        && spatial.iter().product::<usize>() > 1
    {
        return Err(ImportError::Onnx(format!(
            "its output `{}` has the shape {extents:?}: expected one logit for each class, as behind a Flatten or GlobalAveragePool",
            onebit_files::shown(&network.output)
        )));
    }
    let mut converter = Converter::new(&network, &shapes, image);
    let last = converter.run();
    let Converter { mut builder, problems, notes: said, signs, .. } = converter;
    let Some(last) = last else {
        return Err(ImportError::Operators(super::Problems::of(problems)));
    };
    notes.extend(said);
    let outputs = shapes.get(&network.output).map_or(0, |shape| shape.iter().product());
    let classes = match options.classes.or_else(|| stored_classes(&network, outputs)) {
        Some(classes) => classes,
        None => numbered(outputs).map_err(onebit_model::ModelError::from)?,
    };
    let arch = options.arch.or_else(|| network.metadata.get("arch").cloned());
    let graph = Graph {
        arch: arch.unwrap_or_else(|| "onnx".to_owned()),
        normalization,
        preprocessing: stored_preprocessing(&network, image, &mut notes),
        classes,
        nodes: vec![],
    };
    builder.name_hyper_functions();
    let (mut graph, tensors) = builder.finish(last, graph);
    recognize_integers(&mut graph, &tensors);
    let weights = Verified::<Weights>::new(Weights { graph, tensors })?;
    let kept = |sign: &SignSource| weights.graph.nodes.iter().any(|node| node.name == sign.name);
    let signs = signs.into_iter().filter(kept).collect();
    let operators = network.operators.len();
    let origin = stored_origin(&network);
    Ok(ImportedOnnx { weights, origin, notes, operators, network, signs })
}

/// The words on where it comes from that `onebit export` writes.
fn stored_origin(network: &Network) -> Origin {
    let text = |key: &str| network.metadata.get(key).cloned();
    Origin {
        licence: text("licence"),
        source: text("source"),
        authors: text("authors"),
        description: text("description"),
        metrics: text("metrics"),
    }
}

/// Layers of hyper functions whose weights are 8-bit integers times a factor for each row keep them as such.
fn recognize_integers(graph: &mut Graph, tensors: &BTreeMap<String, Tensor>) {
    for node in &mut graph.nodes {
        let name = node.param_name("weight");
        let (Op::HyperTrunk { precision, .. } | Op::HyperHead { precision, .. }) = &mut node.op
        else {
            continue;
        };
        if let Some(Tensor { shape, data: Data::F32(values) }) = tensors.get(&name)
            && let &[_, columns] = &shape[..]
        {
            let rows = quantization::quantize(values, columns);
            if quantization::expand(&rows.integers, &rows.scale) == *values {
                *precision = Precision::I8;
            }
        }
    }
}

/// The normalization that `onebit export` writes.
fn stored_normalization(network: &Network) -> Option<Normalization> {
    let numbers = |key: &str| serde_json::from_str(network.metadata.get(key)?).ok();
    Some(Normalization { mean: numbers("mean")?, std: numbers("std")? })
}

/// The preprocessing that `onebit export` writes; another program's, or one for smaller images, is left out with a note.
fn stored_preprocessing(
    network: &Network,
    image: [usize; 3],
    notes: &mut Vec<String>,
) -> Preprocessing {
    let Some(text) = network.metadata.get("preprocessing") else { return Preprocessing::default() };
    let read = serde_json::from_str(text).map_err(|error| error.to_string());
    let fits = |found: Preprocessing| match found.check(image) {
        Ok(()) => Ok(found),
        Err(error) => Err(error.to_string()),
    };
    read.and_then(fits).unwrap_or_else(|problem| {
        notes.push(format!(
            "warning: the file's metadata `preprocessing` is left out: {}",
            quote::sentence(&problem)
        ));
        Preprocessing::default()
    })
}

/// The names that `onebit export` writes.
fn stored_classes(network: &Network, outputs: usize) -> Option<Vec<String>> {
    let names: Vec<String> = serde_json::from_str(network.metadata.get("classes")?).ok()?;
    (names.len() == outputs).then_some(names)
}
