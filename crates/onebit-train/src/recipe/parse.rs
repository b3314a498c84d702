//! From TOML to a recipe, with errors that name the key.

use toml::{Table, Value};

use super::Recipe;
use crate::TrainError;
use onebit_model::quote::{number, plain, shown, shown_within};

/// Longest message of the TOML library that is passed on, in characters.
const LONGEST_MESSAGE: usize = 400;
/// Longest word for which a similar known one is sought, in bytes.
const LONGEST_WORD: usize = 100;

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

/// Key and value of `dotted.key=value`.
pub(super) fn assignment(assignment: &str) -> Option<(String, Value)> {
    let (key, text) = assignment.split_once('=')?;
    Some((key.trim().to_owned(), value(text.trim())))
}

/// Sets the value of a dotted key. What stands in the way of a section, such as `activation_estimator =
/// "approx_sign"` in that of `activation_estimator.clip.bound`, is replaced by it.
pub(super) fn assign(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => _ = table.insert(key.to_owned(), value),
        Some((section, rest)) => {
            let mut inner = match table.remove(section) {
                Some(Value::Table(inner)) => inner,
                _ => Table::new(),
            };
            assign(&mut inner, rest, value);
            table.insert(section.to_owned(), Value::Table(inner));
        }
    }
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
            (ours, theirs) => Some((path, worded(ours), worded(theirs))),
        }
    })
}

fn value(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>();
    let parsed = parsed.ok().filter(|table| table.len() == 1);
    let parsed = parsed.and_then(|mut table| table.remove("value"));
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn worded(value: Option<&Value>) -> String {
    match value {
        None => "not set".into(),
        Some(Value::Float(value)) => number(*value),
        Some(value) => shown(&value.to_string()),
    }
}

/// Turns serde's message into a sentence; serde puts names in backticks.
fn explain(error: &toml::de::Error, origin: &str) -> TrainError {
    let message = error.message();
    let section = shown(&section(error));
    let (unknown, known) = unknown_and_known(message);
    let key = |name: &str| {
        let name = shown(name);
        if section.is_empty() { name } else { format!("{section}.{name}") }
    };
    let reason = match unknown {
        Some(unknown) if message.starts_with("unknown field") => {
            let hint = hint(unknown, &known, key);
            return TrainError::UnknownKey { origin: origin.to_owned(), key: key(unknown), hint };
        }
        Some(missing) if message.starts_with("missing field") && section.is_empty() => {
            format!("the section [{missing}] is missing")
        }
        Some(missing) if message.starts_with("missing field") => {
            format!("{} is missing", key(missing))
        }
        Some(unknown) if message.starts_with("unknown variant") => {
            format!("{section} is `{}`, expected {}", shown(unknown), alternatives(&known))
        }
        _ if section.is_empty() => sentence(message),
        _ => format!("{section}: {}", sentence(message)),
    };
    TrainError::Recipe { origin: origin.to_owned(), reason }
}

/// The name in backticks, which may hold anything, and those behind it of which one was expected.
fn unknown_and_known(message: &str) -> (Option<&str>, Vec<&str>) {
    let (unknown, known) = message.rsplit_once("`, expected ").unwrap_or((message, ""));
    let unknown = unknown.split_once('`').map(|(_, name)| name.strip_suffix('`').unwrap_or(name));
    (unknown, known.split('`').skip(1).step_by(2).collect())
}

/// The dotted key of the value that was being read; the error shows it only in its last line.
fn section(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let line = text.lines().rev().find_map(|line| line.strip_prefix("in `"));
    line.and_then(|line| line.strip_suffix('`')).unwrap_or_default().to_owned()
}

fn hint(unknown: &str, known: &[&str], key: impl Fn(&str) -> String) -> String {
    let comparable = known.iter().filter(|_| unknown.len() <= LONGEST_WORD);
    let nearest = comparable.map(|name| (distance(unknown, name), name)).min();
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

/// A message in one line and in plain words, cut where it quotes what is long.
fn sentence(message: &str) -> String {
    shown_within(&plain(&message.split_whitespace().collect::<Vec<_>>().join(" ")), LONGEST_MESSAGE)
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
