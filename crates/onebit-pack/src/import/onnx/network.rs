//! An ONNX file: operators, constants, and the shapes of all values for one image.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use onebit_model::limits::{MAX_ELEMENTS, MAX_EXTENT};
use prost::Message;

use super::array::{Array, product};
use super::evaluate::evaluate;
use super::operator::Operator;
use crate::import::Problems;
use crate::onnx_proto::{GraphProto, ModelProto, OperatorSetIdProto, ValueInfoProto};

/// Most products of numbers for an image: a dozen times those of the largest networks here, and some minutes.
const MAX_PRODUCTS: u64 = 1 << 36;
/// Most elements of all constants, computed ones included.
const MAX_STORED: usize = 1 << 29;
/// Versions of ONNX's operators: in older ones arithmetic does not broadcast.
const OPSETS: RangeInclusive<i64> = 7..=28;
/// Most operators.
const MAX_OPERATORS: usize = 1 << 16;

/// An ONNX graph with one input and one output.
pub(super) struct Network {
    pub(super) operators: Vec<Operator>,
    pub(super) constants: BTreeMap<String, Array>,
    pub(super) input: String,
    /// Extents behind the batch, those that are free as `None`.
    pub(super) input_shape: Vec<Option<usize>>,
    pub(super) output: String,
    pub(super) metadata: BTreeMap<String, String>,
}

impl Network {
    /// Decodes a file.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut model =
            ModelProto::decode(bytes).map_err(|error| format!("it is no ONNX file: {error}"))?;
        let metadata = std::mem::take(&mut model.metadata_props)
            .into_iter()
            .map(|entry| (entry.key, entry.value))
            .collect();
        let graph = model.graph.take().ok_or("it is no ONNX file: it has no graph")?;
        let GraphProto { node, initializer, input, output, .. } = graph;
        if node.len() > MAX_OPERATORS {
            return Err(format!("it has {} operators, more than {MAX_OPERATORS}", node.len()));
        }
        let versions = model.opset_import.iter().filter(|opset| opset.domain() == "");
        if let Some(version) =
            versions.map(OperatorSetIdProto::version).find(|v| !OPSETS.contains(v))
        {
            return Err(format!(
                "it is of opset {version}, expected {} to {}",
                OPSETS.start(),
                OPSETS.end()
            ));
        }
        let mut constants = BTreeMap::new();
        let mut problems = vec![];
        for tensor in initializer {
            match Array::read(&tensor) {
                Err(error) => problems.push(format!("`{}`: {error}", tensor.name)),
                Ok(array) => {
                    if constants.insert(tensor.name.clone(), array).is_some() {
                        problems.push(format!("`{}`: there are two of that name", tensor.name));
                    }
                }
            }
        }
        let mut outputs = BTreeSet::new();
        for name in node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty()) {
            if constants.contains_key(name) || !outputs.insert(name.clone()) {
                problems.push(format!("`{name}`: two operators or constants give it"));
            }
        }
        if !problems.is_empty() {
            return Err(Problems::of(problems).shown("value is", "values are", "not read"));
        }
        let inputs: Vec<ValueInfoProto> =
            input.into_iter().filter(|input| !constants.contains_key(&input.name)).collect();
        let ([input], [output]) = (&inputs[..], &output[..]) else {
            return Err(format!(
                "it has {} inputs and {} outputs, expected one of each",
                inputs.len(),
                output.len()
            ));
        };
        Ok(Network {
            operators: node.into_iter().map(Operator::new).collect(),
            constants,
            input: input.name.clone(),
            input_shape: extents(input).ok_or("its input has no shape")?,
            output: output.name.clone(),
            metadata,
        })
    }

    /// Leaves out what makes a decision of logits at the end; says what that was.
    pub(super) fn without_decision(&mut self) -> Vec<String> {
        let mut notes = vec![];
        while let Some(at) = self
            .operators
            .iter()
            .position(|operator| operator.outputs.contains(&self.output) && is_decision(operator))
        {
            let operator = self.operators.remove(at);
            notes.push(format!(
                "`{}` ({}) is left out: the network gives logits",
                operator.name, operator.kind
            ));
            self.output = operator.inputs.into_iter().next().unwrap_or_default();
        }
        notes
    }

    /// Channels, height and width of its images; `given` where its input does not say, or is a vector.
    pub(super) fn image(&self, given: Option<[usize; 3]>) -> Result<[usize; 3], String> {
        let image = self.declared_image(given)?;
        match product(&image).is_some()
            && image.iter().all(|&extent| (1..=MAX_EXTENT).contains(&extent))
        {
            true => Ok(image),
            false => Err(format!(
                "its images are {}x{}x{}, expected extents of 1 to {MAX_EXTENT} and at most {MAX_ELEMENTS} values",
                image[0], image[1], image[2]
            )),
        }
    }

    fn declared_image(&self, given: Option<[usize; 3]>) -> Result<[usize; 3], String> {
        let shown: Vec<String> =
            self.input_shape.iter().map(|e| e.map_or("?".to_owned(), |e| e.to_string())).collect();
        let refused = |why: &str| Err(format!("its input is [N, {}]{why}", shown.join(", ")));
        match (&self.input_shape[..], given) {
            (&[Some(c), Some(h), Some(w)], None) => Ok([c, h, w]),
            (&[c, h, w], Some(given)) => {
                let fits = [c, h, w].iter().zip(given).all(|(e, g)| e.is_none_or(|e| e == g));
                if fits { Ok(given) } else { refused(", not of the size that was given") }
            }
            (&[Some(len)], None) => Ok([len, 1, 1]),
            (&[Some(len)], Some(given)) if product(&given) == Some(len) => Ok(given),
            (&[_, _, _] | &[_], _) => {
                refused(": channels, height and width of its images have to be given")
            }
            _ => refused(", expected images [N, C, H, W] or vectors"),
        }
    }

    /// The shape of one image as the graph reads it.
    pub(super) fn batch_of_one(&self, image: [usize; 3]) -> Vec<usize> {
        match self.input_shape.len() {
            1 => vec![1, image.iter().product()],
            _ => [&[1][..], &image].concat(),
        }
    }

    /// Shapes of all values, and those that depend on no image; what operators cannot be computed, with the reason.
    pub(super) fn survey(&mut self, image: Array) -> (BTreeMap<String, Vec<usize>>, Vec<String>) {
        let mut problems = vec![];
        let mut shapes: BTreeMap<String, Vec<usize>> = self
            .constants
            .iter()
            .map(|(name, array)| (name.clone(), array.shape.clone()))
            .collect();
        let mut constants = std::mem::take(&mut self.constants);
        let mut known: BTreeMap<String, Array> =
            BTreeMap::from([(self.input.clone(), image.clone())]);
        shapes.insert(self.input.clone(), image.shape);
        let mut stored: usize = constants.values().map(|array| array.values.len()).sum();
        let mut work = 0u64;
        let last_uses = self.last_uses();
        let mut unreadable: BTreeSet<&str> = BTreeSet::new();
        for (at, operator) in self.operators.iter().enumerate() {
            let names = operator.inputs.iter().filter(|name| !name.is_empty());
            let is_constant =
                operator.kind == "Shape" || names.clone().all(|name| constants.contains_key(name));
            if names.clone().any(|name| unreadable.contains(name.as_str())) {
                problems.extend(operator.unknown());
                unreadable.extend(operator.outputs.iter().map(String::as_str));
                continue;
            }
            let inputs: Vec<Option<&Array>> = operator
                .inputs
                .iter()
                .map(|name| known.get(name).or_else(|| constants.get(name)))
                .collect();
            let missing =
                operator.inputs.iter().zip(&inputs).find(|(n, i)| !n.is_empty() && i.is_none());
            work = work.saturating_add(products(operator, &inputs));
            let outputs = match missing {
                Some((name, _)) => Err(format!("nothing before it gives `{name}`")),
                None if work > MAX_PRODUCTS => {
                    Err(format!("an image takes more than {MAX_PRODUCTS} products"))
                }
                None if inputs.iter().flatten().any(|array| array.values.is_empty()) => {
                    Err("it reads a value of no elements".to_owned())
                }
                None if stored > MAX_STORED => {
                    Err(format!("constants of more than {MAX_STORED} elements"))
                }
                None => evaluate(operator, &inputs),
            };
            match outputs {
                Err(problem) => {
                    problems.push(operator.problem(&problem));
                    unreadable.extend(operator.outputs.iter().map(String::as_str));
                }
                Ok(outputs) => {
                    for (name, array) in operator.outputs.iter().zip(outputs) {
                        stored += if is_constant { array.values.len() } else { 0 };
                        shapes.insert(name.clone(), array.shape.clone());
                        if is_constant { &mut constants } else { &mut known }
                            .insert(name.clone(), array);
                    }
                }
            }
            known.retain(|name, _| last_uses.get(name.as_str()).is_some_and(|&last| last > at));
        }
        self.constants = constants;
        (shapes, problems)
    }

    /// For each value the last operator that reads it.
    pub(super) fn last_uses(&self) -> BTreeMap<&str, usize> {
        let mut uses = BTreeMap::new();
        for (at, operator) in self.operators.iter().enumerate() {
            uses.extend(operator.inputs.iter().map(|name| (name.as_str(), at)));
        }
        uses.insert(self.output.as_str(), usize::MAX);
        uses
    }
}

/// Whether an operator makes the best classes, or probabilities, of `[1, classes]`.
fn is_decision(operator: &Operator) -> bool {
    let axis = match operator.kind.as_str() {
        "Softmax" | "LogSoftmax" | "TopK" => operator.int("axis", -1),
        "ArgMax" => operator.int("axis", 0),
        _ => return false,
    };
    matches!(axis, 1 | -1) && operator.int("largest", 1) != 0
}

/// About how many products an operator computes; at most one for each element of what it reads where they are few.
fn products(operator: &Operator, inputs: &[Option<&Array>]) -> u64 {
    let len =
        |at: usize| inputs.get(at).copied().flatten().map_or(0, |array| array.values.len() as u64);
    let extent = |at: usize, axis: usize| {
        let array = inputs.get(at).copied().flatten();
        array.and_then(|array| array.shape.get(axis)).map_or(1, |&extent| extent.max(1) as u64)
    };
    match operator.kind.as_str() {
        // Every weight meets each pixel, padded ones included.
        "Conv" => len(1).saturating_mul(pixels(operator, inputs)),
        "MaxPool" | "AveragePool" => {
            let window = operator.ints("kernel_shape").unwrap_or_default().iter();
            let taps = window.fold(1u64, |n, &side| n.saturating_mul(side.unsigned_abs()));
            pixels(operator, inputs).saturating_mul(taps).saturating_mul(extent(0, 1))
        }
        "MatMul" | "Gemm" => len(0).saturating_mul(len(1) / extent(1, 0)),
        _ => len(0).saturating_add(len(1)),
    }
}

/// Pixels of the padded map that an operator reads, of all images.
fn pixels(operator: &Operator, inputs: &[Option<&Array>]) -> u64 {
    let Some([images, _, height, width]) = inputs.first().copied().flatten().map(|x| &x.shape[..])
    else {
        return 0;
    };
    let pads = operator.ints("pads").unwrap_or_default().iter();
    let pads = pads.fold(0u64, |sum, &pad| sum.saturating_add(pad.unsigned_abs()));
    let side = |extent: usize| (extent as u64).saturating_add(pads);
    (*images as u64).saturating_mul(side(*height)).saturating_mul(side(*width))
}

fn extents(value: &ValueInfoProto) -> Option<Vec<Option<usize>>> {
    let shape = value.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?;
    let extent = |dim: i64| usize::try_from(dim).ok().filter(|&extent| extent > 0);
    Some(shape.dim.iter().skip(1).map(|dim| dim.dim_value.and_then(extent)).collect())
}
