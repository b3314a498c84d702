//! 1-bit networks from ONNX files, compared with their own evaluation before anybody gets them.

use std::collections::BTreeMap;
use std::path::Path;

use onebit_engine::{Engine, Options};
use onebit_pack::PackError;
use onebit_pack::import::{ImportError, ImportedOnnx, OnnxOptions, read_onnx};
use serde::Serialize;

use crate::expectation::{self, TOLERANCE};
use crate::{Error, Model, memory};

/// Images of noise on which a network is compared with its ONNX graph.
const IMAGES: usize = 3;

/// What an import found.
#[derive(Clone, Debug, Serialize)]
pub struct OnnxReport {
    /// Operators that were read.
    pub operators: usize,
    /// Images of noise on which signs and logits were compared.
    pub images: usize,
    /// Signs of values on their thresholds that came out differently by rounding.
    pub flipped_signs: usize,
    /// The largest difference of a logit, as a share of the largest of its image.
    pub max_difference: f32,
    /// What was assumed or left out.
    pub notes: Vec<String>,
}

/// Reads a 1-bit network from the bytes of an ONNX file, which errors call `path`, and packs it.
///
/// The engine and naive loops over the ONNX graph compute images of noise; every sign must be the same but for values that
/// lie on their thresholds, and the logits must agree.
///
/// # Errors
/// No ONNX file, operators that cannot be read (all of them at once), or a network that computes something else.
pub fn import_onnx(
    bytes: &[u8],
    path: &Path,
    options: OnnxOptions,
) -> Result<(Model, OnnxReport), Error> {
    let failed = |source| Error::from(PackError::Import { path: path.to_owned(), source });
    let imported = read_onnx(bytes, options).map_err(failed)?;
    let model = Model::from(onebit_pack::lower(&imported.weights)?);
    let (flipped_signs, max_difference) = compare(&imported, &model, failed)?;
    let ImportedOnnx { operators, notes, .. } = imported;
    Ok((model, OnnxReport { operators, images: IMAGES, flipped_signs, max_difference, notes }))
}

fn compare(
    imported: &ImportedOnnx,
    model: &Model,
    failed: impl Fn(ImportError) -> Error,
) -> Result<(usize, f32), Error> {
    let differs = |problem: String| {
        failed(ImportError::Onnx(format!(
            "the network that was read computes something else: {problem}"
        )))
    };
    let engine = Engine::new(model.verified(), Options::default())?;
    let mut scratch = engine.scratch()?;
    let [channels, height, width] = model.input_shape();
    let pixels = height * width;
    let (mut nchw, mut nhwc) = (Vec::new(), Vec::new());
    memory::grow(&mut nchw, channels * pixels, "an image")?;
    memory::grow(&mut nhwc, channels * pixels, "an image")?;
    let mut logits = Vec::new();
    memory::grow(&mut logits, engine.classes(), "the logits")?;
    let (mut flipped, mut largest) = (0, 0.0f32);
    for image in 0..IMAGES {
        noise(image as u64, &mut nchw);
        for (i, &value) in nchw.iter().enumerate() {
            nhwc[i % pixels * channels + i / pixels] = value;
        }
        let mut bits: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        engine.run_observed(&nhwc, &mut logits, &mut scratch, &mut |name, words| {
            bits.insert(name.to_owned(), words.to_vec());
        })?;
        let found = imported.compare(&nchw, &bits).map_err(|error| differs(error.to_string()))?;
        if found.logits.len() != logits.len() {
            return Err(differs("another number of logits".to_owned()));
        }
        flipped += found.flipped;
        let report = expectation::compare(&logits, &found.logits, model.classes(), TOLERANCE)
            .map_err(|error| differs(error.to_string()))?;
        largest = largest.max(report.max_difference);
    }
    Ok((flipped, largest))
}

/// Numbers of -1.7 to 1.7, whose standard deviation is 1: SplitMix64 (Steele, Lea, Flood 2014).
fn noise(seed: u64, values: &mut [f32]) {
    let mut state = seed;
    for value in values {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        *value = 1.73 * ((z >> 40) as f32 / (1u64 << 23) as f32 - 1.0);
    }
}
