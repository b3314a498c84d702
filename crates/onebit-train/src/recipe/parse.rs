//! From TOML to a recipe, with errors that name the key.

use toml::{Table, Value};

use super::{Recipe, sections};
use crate::TrainError;
use onebit_model::explain::{alternatives, key, refusal, sentence};
use onebit_model::quote::{number, shown};

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
    let given = Value::Table(table.clone());
    table.try_into().map_err(|error: toml::de::Error| {
        let text = error.to_string();
        let key = key(&text);
        let reason = none_of_few(&given, key).unwrap_or_else(|| refusal(error.message(), key));
        TrainError::Recipe { origin: origin.to_owned(), reason }
    })
}

/// What is wrong with a value of `key` that is none of the few that the key takes.
fn none_of_few(given: &Value, key: &str) -> Option<String> {
    let (section, name) = key.rsplit_once('.')?;
    let section = sections().into_iter().find(|known| known.name == section)?;
    let known = section.keys.into_iter().find(|known| known.key == name)?;
    let choices: Vec<&str> =
        known.choices.iter().map(|choice| choice.value.trim_matches('"')).collect();
    let found = match key.split('.').try_fold(given, |value, part| value.get(part))? {
        Value::String(word) => shown(word),
        value => worded(Some(value)),
    };
    let expected = alternatives(&choices);
    (!choices.is_empty()).then(|| format!("{key} is `{found}`, expected {expected}"))
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

/// Sets the value of a dotted key. What stands in the way of a section, such as `activation_estimator =
/// "approx_sign"` in that of `activation_estimator.clip.bound`, is replaced by it.
pub(super) fn assign(table: &mut Table, key: &str, value: Value) {
    let Some((section, rest)) = key.split_once('.') else {
        table.insert(key.to_owned(), value);
        return;
    };
    let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if !inner.is_table() {
        *inner = Value::Table(Table::new());
    }
    if let Value::Table(inner) = inner {
        assign(inner, rest, value);
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

fn worded(value: Option<&Value>) -> String {
    match value {
        None => "not set".into(),
        Some(Value::Float(value)) => number(*value),
        Some(value) => shown(&value.to_string()),
    }
}
