//! An imported network's bits and logits against those of its ONNX graph.

use std::collections::BTreeMap;
use std::fmt;

use onebit_model::bits;

use super::array::Array;
use super::evaluate::evaluate;
use super::value::Limit;
use super::{ImportedOnnx, SignSource};

/// Share of the largest value of a map within which a value lies on its threshold: a few roundings of 32-bit floats.
const ON_THRESHOLD: f32 = 1e-4;

/// What a comparison found.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The ONNX graph's logits, computed from the engine's signs where a value lies on its threshold.
    pub logits: Vec<f32>,
    /// Signs of values that lie on their thresholds, and came out differently by rounding.
    pub flipped: usize,
    /// Signs that are 0 in ONNX, since their values are, and -1 here.
    pub zeros: usize,
    /// All signs.
    pub signs: usize,
}

/// Signs that were compared.
#[derive(Default)]
struct Counts {
    flipped: usize,
    zeros: usize,
    signs: usize,
}

/// A sign that no rounding explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    node: String,
    different: usize,
    all: usize,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { node, different, all } = self;
        write!(f, "{different} of the {all} signs of `{node}` differ from those of the ONNX graph")
    }
}

impl std::error::Error for Mismatch {}

impl ImportedOnnx {
    /// Computes the ONNX graph on one normalised image `[channels, height, width]` by naive loops; `bits` are what an engine
    /// computed at each sign of the imported network: pixel by pixel, each starting a new word.
    ///
    /// # Errors
    /// Signs that differ although their values do not lie on their thresholds.
    pub fn compare(
        &self,
        image: &[f32],
        bits: &BTreeMap<String, Vec<u64>>,
    ) -> Result<Comparison, Mismatch> {
        let network = &self.network;
        let shape = network.batch_of_one(self.weights.graph.input_shape());
        let array = Array { shape, values: image.to_vec() };
        let mut known = BTreeMap::from([(network.input.clone(), array)]);
        let mut kept = network.last_uses();
        for sign in &self.signs {
            let mut keep = |name: &str| {
                if let Some((name, _)) = kept.get_key_value(name) {
                    let name = *name;
                    kept.insert(name, usize::MAX);
                }
            };
            keep(&sign.above.of);
            if let Limit::Dynamic(limit) = &sign.above.limit {
                keep(limit);
            }
        }
        let mut counts = Counts::default();
        for (at, operator) in network.operators.iter().enumerate() {
            if operator.outputs.iter().all(|name| network.constants.contains_key(name)) {
                continue;
            }
            let inputs: Vec<Option<&Array>> = operator
                .inputs
                .iter()
                .map(|name| known.get(name).or_else(|| network.constants.get(name)))
                .collect();
            // `read_onnx` has computed every operator once.
            let outputs = evaluate(operator, &inputs).unwrap_or_default();
            for (name, mut array) in operator.outputs.iter().zip(outputs) {
                for sign in self.signs.iter().filter(|sign| sign.value == *name) {
                    if let Some(words) = bits.get(&sign.name) {
                        self.settle(sign, &known, words, &mut array, &mut counts)?;
                    }
                }
                known.insert(name.clone(), array);
            }
            known.retain(|name, _| kept.get(name.as_str()).is_some_and(|&last| last > at));
        }
        let logits = known.remove(&network.output).map(|array| array.values).unwrap_or_default();
        let Counts { flipped, zeros, signs } = counts;
        Ok(Comparison { logits, flipped, zeros, signs })
    }

    /// Puts the engine's bits in the place of those that differ, where their values lie on their thresholds.
    fn settle(
        &self,
        sign: &SignSource,
        known: &BTreeMap<String, Array>,
        words: &[u64],
        array: &mut Array,
        counts: &mut Counts,
    ) -> Result<(), Mismatch> {
        let channels = sign.channels;
        let pixels = (array.values.len() / channels.max(1)).max(1);
        let number = |set: bool, c: usize| {
            let numbers = &sign.numbers[usize::from(!set)];
            numbers[c % numbers.len()] as f32
        };
        let per_pixel = bits::words(channels);
        let mut differing = vec![];
        for (i, value) in array.values.iter_mut().enumerate() {
            let (c, pixel) = (i / pixels, i % pixels);
            let set = bits::value(&words[pixel * per_pixel..], c) > 0.0;
            let engine = number(set, c);
            counts.signs += 1;
            if *value == engine {
                continue;
            }
            // Neither of the two: ONNX's sign of 0.
            match *value == number(!set, c) {
                true => differing.push((i, c)),
                false => counts.zeros += 1,
            }
            *value = engine;
        }
        if differing.is_empty() {
            return Ok(());
        }
        let distances = self.distances(sign, known);
        let far = differing.iter().filter(|&&(i, _)| !distances.get(i).is_some_and(|&near| near));
        match far.count() {
            0 => {
                counts.flipped += differing.len();
                Ok(())
            }
            different => {
                Err(Mismatch { node: sign.name.clone(), different, all: array.values.len() })
            }
        }
    }

    /// Whether each value that a sign looks at lies on its threshold; nothing where that is not known.
    fn distances(&self, sign: &SignSource, known: &BTreeMap<String, Array>) -> Vec<bool> {
        let Some(x) = known.get(&sign.above.of) else { return vec![] };
        let mut x = x.clone();
        for &at in &sign.above.pools {
            let pooled = evaluate(&self.network.operators[at], &[Some(&x)]);
            let Some(pooled) = pooled.ok().and_then(|mut arrays| arrays.pop()) else {
                return vec![];
            };
            x = pooled;
        }
        let limits = match &sign.above.limit {
            Limit::Static(limits) => limits,
            Limit::Dynamic(name) => match known.get(name) {
                Some(limit) => &limit.values,
                None => return vec![],
            },
        };
        let largest = x.values.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let pixels = (x.values.len() / sign.channels.max(1)).max(1);
        let near = |(i, &value): (usize, &f32)| {
            let limit = limits[i / pixels % limits.len()];
            (value - limit).abs() <= ON_THRESHOLD * largest.max(limit.abs())
        };
        x.values.iter().enumerate().map(near).collect()
    }
}
