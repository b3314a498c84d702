//! Logits that are no numbers: refused with the file of the network and the name of the image.

use std::path::Path;

use anyhow::Context;
use onebit::Error;

/// Refuses logits of the network at `path` that are not finite; `name` says what the image at a position is called.
pub(crate) fn check(
    path: &Path,
    logits: &[f32],
    classes: usize,
    name: impl Fn(usize) -> String,
) -> anyhow::Result<()> {
    match onebit::not_finite(logits, classes).first() {
        None => Ok(()),
        Some(&image) => {
            Err(Error::NotFinite { image: name(image) }).with_context(|| path.display().to_string())
        }
    }
}
