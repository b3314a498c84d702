//! Names of classes in a text file.

use std::collections::BTreeMap;
use std::path::Path;

use onebit_files::shown;
use onebit_model::check_class_name;
use onebit_model::limits::MAX_CLASS_NAME_BYTES;

use crate::failure::Failure;
use crate::output::{self, count};

/// The longest file that a list of class names may be.
const MAX_NAMES_BYTES: u64 = 16 << 20;

/// What some editors put at the start of a text, and what is then within it where texts are joined.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// One name on each line; empty lines at the end do not count. `network` is what has so many classes.
pub(crate) fn read(path: &Path, classes: usize, network: &str) -> anyhow::Result<Vec<String>> {
    let text = onebit_files::read_text(path, MAX_NAMES_BYTES)
        .map_err(|error| error.expecting("the names of the classes, one on each line"))?;
    let names = text.trim_end().lines().map(|line| line.trim_start_matches(BYTE_ORDER_MARK).trim());
    let names: Vec<String> = names.map(str::to_owned).collect();
    if names.len() != classes {
        return Err(Failure::bad_data(format!(
            "{} names {}, {network} has {classes}: expected one name on each line",
            path.display(),
            count(names.len() as u64, "class")
        )));
    }
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    let mut twice = vec![];
    for (name, line) in names.iter().zip(1..) {
        if check_class_name(name).is_err() {
            return Err(Failure::bad_data(format!(
                "{}: line {line} is `{}`, expected a name of 1 to {MAX_CLASS_NAME_BYTES} bytes without control characters",
                path.display(),
                shown(name)
            )));
        }
        if let Some(first) = lines.insert(name, line) {
            twice.push((first, line, name));
        }
    }
    if let Some((first, line, name)) = twice.first() {
        output::note(&format!(
            "warning: {}: lines {first} and {line} are both `{}`{}: predictions of such classes look alike",
            path.display(),
            shown(name),
            match twice.len() {
                1 => String::new(),
                lines => format!(", and {lines} lines in all repeat an earlier name"),
            }
        ));
    }
    Ok(names)
}
