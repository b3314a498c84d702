//! From TOML to a recipe, with errors that name the key.

use toml::{Table, Value};

use super::Recipe;
use crate::TrainError;

/// Reads a text as TOML.
pub(super) fn table(text: &str, origin: &str) -> Result<Table, TrainError> {
    text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| {
            1 + text.bytes().take(span.start).filter(|&byte| byte == b'\n').count()
        });
        let reason = format!("line {line} is not valid TOML: {}", sentence(error.message()));
        TrainError::Recipe { origin: origin.to_owned(), reason }
    })
}

/// Reads a table as a recipe.
pub(super) fn recipe(table: Table, origin: &str) -> Result<Recipe, TrainError> {
    table.try_into().map_err(|error: toml::de::Error| explain(&error, origin))
}

/// A recipe as a table.
pub(super) fn to_table(recipe: &Recipe) -> Result<Table, TrainError> {
    Table::try_from(recipe).map_err(|e| unwritable(&e))
}

/// The error for a recipe that TOML cannot hold.
pub(super) fn unwritable(error: &toml::ser::Error) -> TrainError {
    let reason = format!("cannot be written as TOML: {}", sentence(&error.to_string()));
    TrainError::Recipe { origin: "recipe".into(), reason }
}

/// Sets the value that `assignment`, `dotted.key=value`, names.
pub(super) fn assign(table: &mut Table, assignment: &str, origin: &str) -> Result<(), TrainError> {
    let refuse = |reason: String| TrainError::Recipe { origin: origin.to_owned(), reason };
    let (key, text) = assignment
        .split_once('=')
        .ok_or_else(|| refuse("expected KEY=VALUE, such as train.epochs=5".into()))?;
    let mut path: Vec<&str> = key.trim().split('.').collect();
    let last = path.pop().unwrap_or_default();
    let mut section = table;
    for (depth, word) in path.iter().enumerate() {
        let inner = section.entry(*word).or_insert_with(|| Value::Table(Table::new()));
        if !inner.is_table() {
            // Such as `activation_estimator = "approx_sign"`, of which `activation_estimator.clip.bound` is no part.
            *inner = Value::Table(Table::new());
        }
        section = inner
            .as_table_mut()
            .ok_or_else(|| refuse(format!("`{}` is no section", path[..=depth].join("."))))?;
    }
    section.insert(last.to_owned(), value(text.trim()));
    Ok(())
}

/// The first leaf that differs between two tables, with both values.
pub(super) fn difference(
    prefix: &str,
    ours: &Table,
    theirs: &Table,
) -> Option<(String, String, String)> {
    let mut keys: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter().find_map(|key| {
        let path = format!("{prefix}{key}");
        match (ours.get(key), theirs.get(key)) {
            (Some(Value::Table(ours)), Some(Value::Table(theirs))) => {
                difference(&format!("{path}."), ours, theirs)
            }
            (ours, theirs) if ours == theirs => None,
            (ours, theirs) => Some((path, shown(ours), shown(theirs))),
        }
    })
}

fn value(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>();
    let parsed = parsed.ok().filter(|table| table.len() == 1);
    let parsed = parsed.and_then(|mut table| table.remove("value"));
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "not set".into(), ToString::to_string)
}

/// Turns serde's message into a sentence; serde puts names in backticks.
fn explain(error: &toml::de::Error, origin: &str) -> TrainError {
    let message = sentence(error.message());
    let section = section(error);
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let key = |name: &str| {
        if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
    };
    let reason = match names.as_slice() {
        [unknown, known @ ..] if message.starts_with("unknown field") => {
            let hint = hint(unknown, known, key);
            return TrainError::UnknownKey { origin: origin.to_owned(), key: key(unknown), hint };
        }
        [missing, ..] if message.starts_with("missing field") && section.is_empty() => {
            format!("the section [{missing}] is missing")
        }
        [missing, ..] if message.starts_with("missing field") => {
            format!("{} is missing", key(missing))
        }
        [unknown, known @ ..] if message.starts_with("unknown variant") => {
            format!("{section} is `{unknown}`, expected {}", alternatives(known))
        }
        _ => format!("{section}: {}", plain_types(&message)),
    };
    TrainError::Recipe { origin: origin.to_owned(), reason }
}

/// The dotted key of the value that was being read; the error shows it only in its last line.
fn section(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let line = text.lines().rev().find_map(|line| line.strip_prefix("in `"));
    line.and_then(|line| line.strip_suffix('`')).unwrap_or_default().to_owned()
}

fn hint(unknown: &str, known: &[&str], key: impl Fn(&str) -> String) -> String {
    let nearest = known.iter().map(|name| (distance(unknown, name), name)).min();
    match nearest {
        Some((edits, name)) if edits <= 1 + unknown.len() / 4 => {
            format!("did you mean `{}`?", key(name))
        }
        _ => format!("expected {}", alternatives(known)),
    }
}

fn alternatives(known: &[&str]) -> String {
    match known {
        [] => "no key here".into(),
        [only] => format!("`{only}`"),
        [first @ .., last] => format!("`{}` or `{last}`", first.join("`, `")),
    }
}

fn plain_types(message: &str) -> String {
    let words = message.split(' ').map(|word| match word {
        "usize" | "u64" => "a whole number of 0 or more",
        "f32" | "f64" => "a number",
        "bool" => "true or false",
        word => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

fn sentence(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in
            [("", "abc", 3), ("epoch", "epochs", 1), ("kitten", "sitting", 3), ("lr", "lr", 0)]
        {
            assert_eq!(distance(a, b), edits, "{a} {b}");
            assert_eq!(distance(b, a), edits, "{b} {a}");
        }
    }

    #[test]
    fn a_value_is_toml_or_a_string() {
        assert_eq!(value("5"), Value::Integer(5));
        assert_eq!(value("1e-3"), Value::Float(1e-3));
        assert_eq!(value("[1, 2]"), Value::Array(vec![Value::Integer(1), Value::Integer(2)]));
        assert_eq!(value("two"), Value::String("two".into()));
        assert_eq!(value("a\nb = 1"), Value::String("a\nb = 1".into()));
    }
}
