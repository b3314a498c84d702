//! A graph that a file describes.

use std::path::Path;

use onebit_model::Description;

use crate::failure::Failure;

/// The longest description: a graph of the most nodes with the longest names, and class names.
const MAX_BYTES: u64 = 16 << 20;

/// Whether a path is that of a description, by its name.
pub(crate) fn is_description(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

/// Reads a description and checks its graph.
pub(crate) fn read(path: &Path) -> anyhow::Result<Description> {
    let text = onebit_files::read_text(path, MAX_BYTES)
        .map_err(|error| error.expecting("a graph in JSON (docs/bring-your-own.md)"))?;
    Description::from_json(&text)
        .map_err(|error| Failure::bad_data(format!("{}: {error}", path.display())))
}
