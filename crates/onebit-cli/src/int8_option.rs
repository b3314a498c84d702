//! 8-bit layers on the command line, and what is said of them.

use std::path::Path;

use anyhow::Context;
use onebit::calibration::{Phase, Report, Request, with_8_bit_layers};
use onebit::{Error, Model, hardware_threads};
use onebit_pack::PackError;
use onebit_pack::int8_layers::{Bounds, Changes, Layers};
use serde::Serialize;

use crate::dataset;
use crate::failure::Failure;
use crate::output::{self, count};
use crate::progress::Progress;

/// What 8-bit layers change, and save.
#[derive(Serialize)]
pub(crate) struct Saved {
    #[serde(flatten)]
    pub(crate) report: Report,
    /// Bytes of the file without 8-bit layers, less those with them.
    pub(crate) bytes_saved: i64,
}

/// The network from the file `path` with 8-bit layers, measured and compared on the data `spec`.
pub(crate) fn quantize(
    path: &Path,
    model: &Model,
    spec: &str,
    layers: Layers,
    bounds: Bounds,
) -> anyhow::Result<(Model, Report)> {
    let request = Request { spec, layers, bounds, threads: hardware_threads() };
    let data = dataset::open_labelled(model.graph(), spec, None)?;
    let mut shown: Option<(Phase, Progress)> = None;
    let mut progress = |phase, done, all| {
        if shown.as_ref().is_none_or(|(last, _)| *last != phase) {
            let name = match phase {
                Phase::Calibrate => "calibrate",
                Phase::Compare => "compare",
            };
            shown = Some((phase, Progress::new(name, all)));
        }
        if let Some((_, progress)) = &mut shown {
            progress.at(done, "");
        }
    };
    match with_8_bit_layers(model, &request, &data, &mut progress) {
        Ok((model, report)) => {
            for left in &report.left {
                output::note(&format!("`{}` keeps 32-bit floats: {}", left.node, left.reason));
            }
            Ok((model, report))
        }
        Err(Error::Pack(error @ PackError::Int8Changes { .. })) => Err(Failure::bad_data(format!(
            "{error}; --int8-layers last keeps the first layer, --int8-max-changed allows more"
        ))),
        Err(Error::Pack(error @ PackError::Int8Loses { .. })) => Err(Failure::bad_data(format!(
            "{error}; --int8-layers last keeps the first layer, --int8-max-lost allows more"
        ))),
        Err(error @ Error::NotFinite { .. }) => {
            Err(error).with_context(|| path.display().to_string())
        }
        Err(error) => Err(error.into()),
    }
}

impl Saved {
    pub(crate) fn text(&self) -> String {
        let Changes { images, changed, changed_allowed, top1_float, top1_int8, .. } =
            self.report.changes;
        let allowed =
            changed_allowed.map_or_else(String::new, |allowed| format!(" (allowed: {allowed})"));
        format!(
            "8 bits for {}: {changed} of {} changed{allowed}, top-1 {:.2}% \
             (floats: {:.2}%), logits within {:.1e} of their standard deviation, bytes saved: {}\n",
            self.report.nodes.join(", "),
            count(images, "prediction"),
            100.0 * top1_int8,
            100.0 * top1_float,
            self.report.changes.max_logit_difference,
            self.bytes_saved,
        )
    }
}

/// Layers on the command line.
pub(crate) fn parse_layers(text: &str) -> Result<Layers, String> {
    match text {
        "all" => Ok(Layers::All),
        "first" => Ok(Layers::First),
        "last" => Ok(Layers::Last),
        _ => Err("expected all, first or last".to_owned()),
    }
}

/// A share on the command line.
pub(crate) fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a share of all images, 0 to 1".to_owned()),
    }
}
