//! What needs the trainer, in a build without it: one sentence.

use std::path::Path;

use onebit::{Evaluation, Model};
use onebit_model::Verified;
use onebit_model::file::Weights;
use onebit_pack::agreement::Report;

use crate::failure::{Code, Failure};

/// Accuracy of a run, by the trainer.
pub(crate) fn eval(_: &Path, _: &str, _: Option<usize>, _: usize) -> anyhow::Result<Evaluation> {
    Err(missing("eval of a run"))
}

/// Comparison of the trainer and the engine on a data set.
pub(crate) fn agreement(
    _: &Path,
    _: &Verified<Weights>,
    _: &Model,
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
