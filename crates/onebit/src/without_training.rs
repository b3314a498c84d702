//! What needs the trainer, in a build without it: one sentence.

use std::path::Path;

use onebit_model::file::Weights;
use onebit_model::{Model, Verified};
use onebit_pack::prove::Report;

use crate::accuracy::Accuracy;
use crate::failure::{Code, Failure};

/// Accuracy of a run, by the trainer, and the classes that were evaluated.
pub(crate) fn eval(
    _: &Path,
    _: &str,
    _: Option<usize>,
    _: Option<usize>,
) -> anyhow::Result<(Accuracy, usize)> {
    Err(missing("eval of a run"))
}

/// Comparison of the trainer and the engine on a data set.
pub(crate) fn agreement(
    _: &Path,
    _: &Verified<Weights>,
    _: &Verified<Model>,
    _: &str,
) -> anyhow::Result<Report> {
    Err(missing("pack --verify"))
}

/// The answer to a verb or option that this build does not have.
pub(crate) fn missing(what: &str) -> anyhow::Error {
    let message = format!(
        "{what} needs the trainer, which is not in this build of onebit; build it with its default features"
    );
    Failure::with(Code::Unavailable, message)
}
