//! 1-bit networks from ONNX files, compared with their own evaluation before anybody gets them.

use std::collections::BTreeMap;
use std::path::Path;

use onebit_engine::{Engine, Options};
use onebit_pack::PackError;
use onebit_pack::import::{ImportError, ImportedOnnx, OnnxOptions, read_onnx};
use serde::Serialize;

use crate::expectation::{self, TOLERANCE};
use crate::{Error, Model, channels_last, memory};

/// Images of noise on which a network is compared with its ONNX graph.
const IMAGES: usize = 3;

/// Share of the signs that may be 0 in ONNX, which 1-bit values cannot be.
const MAX_ZERO_SIGNS: f64 = 1e-3;

/// What an import found.
#[derive(Clone, Debug, Serialize)]
pub struct OnnxReport {
    /// Operators that were read.
    pub operators: usize,
    /// Images of noise on which signs and logits were compared.
    pub images: usize,
    /// Signs of values on their thresholds that came out differently by rounding.
    pub flipped_signs: usize,
    /// Signs that are 0 in ONNX and -1 here, since the values are 0.
    pub zero_signs: usize,
    /// The largest difference of a logit, as a share of the largest of its image.
    pub max_difference: f32,
    /// What was assumed or left out.
    pub notes: Vec<String>,
}

/// Reads a 1-bit network from the bytes of an ONNX file, which errors call `path`, and packs it.
///
/// `progress` gets the steps done and all of them.
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
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(Model, OnnxReport), Error> {
    let failed = |source| Error::from(PackError::Import { path: path.to_owned(), source });
    progress(0, 1 + IMAGES);
    let imported = read_onnx(bytes, options).map_err(failed)?;
    let model = Model::from(onebit_pack::lower(&imported.weights)?);
    let model = model.with_origin(imported.origin.clone())?;
    let mut report = OnnxReport {
        operators: imported.operators,
        images: IMAGES,
        flipped_signs: 0,
        zero_signs: 0,
        max_difference: 0.0,
        notes: imported.notes.clone(),
    };
    compare(&imported, &model, failed, progress, &mut report)?;
    Ok((model, report))
}

fn compare(
    imported: &ImportedOnnx,
    model: &Model,
    failed: impl Fn(ImportError) -> Error,
    progress: &mut dyn FnMut(usize, usize),
    report: &mut OnnxReport,
) -> Result<(), Error> {
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
    let mut signs = 0;
    for image in 0..IMAGES {
        progress(1 + image, 1 + IMAGES);
        noise(image as u64, &mut nchw);
        channels_last(&nchw, channels, &mut nhwc);
        let mut bits: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        engine.run_observed(&nhwc, &mut logits, &mut scratch, &mut |name, words| {
            bits.insert(name.to_owned(), words.to_vec());
        })?;
        let found = imported.compare(&nchw, &bits).map_err(|error| differs(error.to_string()))?;
        if found.logits.len() != logits.len() {
            return Err(differs("another number of logits".to_owned()));
        }
        report.flipped_signs += found.flipped;
        report.zero_signs += found.zeros;
        signs += found.signs;
        let expected = expectation::compare(&logits, &found.logits, model.classes(), TOLERANCE)
            .map_err(|error| differs(error.to_string()))?;
        report.max_difference = report.max_difference.max(expected.max_difference);
    }
    progress(1 + IMAGES, 1 + IMAGES);
    match report.zero_signs {
        0 => Ok(()),
        zeros if zeros as f64 > MAX_ZERO_SIGNS * signs as f64 => {
            Err(failed(ImportError::Onnx(format!(
                "{zeros} of {signs} signs on {IMAGES} images of noise are 0 by ONNX's `Sign`, which 1-bit values cannot be: the network \
             is no 1-bit one; `Where` of a comparison says which of +1 and -1 they are"
            ))))
        }
        zeros => {
            report.notes.push(format!(
                "warning: {zeros} of {signs} signs on {IMAGES} images of noise are 0 by ONNX's `Sign` and -1 here"
            ));
            Ok(())
        }
    }
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
