//! The keys of recipes, from their schema.

use serde::Serialize;
use serde_json::{Map, Value};

use super::schema;

/// A section of recipes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Section {
    /// Its dotted name, such as `train.augmentation`.
    pub name: String,
    /// Whether a recipe must have it.
    pub required: bool,
    /// What it is for.
    pub about: String,
    /// Its keys: those that a recipe must have first.
    pub keys: Vec<Key>,
}

/// A key of recipes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Key {
    /// Its name in the section.
    pub key: String,
    /// The kind of its value, in words.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether a recipe must have it.
    pub required: bool,
    /// Its value, in TOML, where a recipe does not have it; `None` if it then has none.
    pub default: Option<String>,
    /// The numbers allowed, in words; `None` if all are.
    pub range: Option<String>,
    /// The values allowed; empty if it is not one of a few.
    pub choices: Vec<Choice>,
    /// What it is for.
    pub about: String,
}

/// A value that a key may have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// The value, in TOML.
    pub value: String,
    /// What it means; may be empty.
    pub about: String,
}

/// All sections of a recipe with their keys.
#[must_use]
pub fn sections() -> Vec<Section> {
    let mut sections = Vec::new();
    if let Value::Object(root) = schema() {
        for name in ["data", "network", "train"] {
            if let Some(Value::Object(section)) =
                root.get("properties").and_then(|all| all.get(name))
            {
                add(name, section, is_required(&root, name), &mut sections);
            }
        }
    }
    sections
}

fn add(name: &str, section: &Map<String, Value>, required: bool, sections: &mut Vec<Section>) {
    let Some(Value::Object(properties)) = section.get("properties") else { return };
    let properties: Vec<(&String, &Map<String, Value>)> =
        properties.iter().filter_map(|(name, of)| Some((name, of.as_object()?))).collect();
    let (inner, leaves): (Vec<_>, Vec<_>) =
        properties.into_iter().partition(|(_, of)| of.contains_key("properties"));
    let mut keys: Vec<Key> =
        leaves.iter().map(|(name, of)| Key::new(name, of, is_required(section, name))).collect();
    keys.sort_by_key(|key| !key.required);
    sections.push(Section {
        name: name.to_owned(),
        required,
        about: text(section, "description"),
        keys,
    });
    for (key, of) in inner {
        add(&format!("{name}.{key}"), of, is_required(section, key), sections);
    }
}

impl Key {
    fn new(name: &str, of: &Map<String, Value>, required: bool) -> Self {
        Key {
            key: name.to_owned(),
            kind: kind(of),
            required,
            default: of.get("default").map(toml),
            range: range(of).or_else(|| range(of.get("items")?.as_object()?)),
            choices: choices(of),
            about: text(of, "description"),
        }
    }
}

/// The kind of value in words.
fn kind(of: &Map<String, Value>) -> String {
    let items = || match of.get("items").and_then(|items| items.get("type")).and_then(Value::as_str)
    {
        Some("integer") => "whole numbers",
        Some("number") => "numbers",
        _ => "values",
    };
    match of.get("type").and_then(Value::as_str) {
        Some("string") => "text".into(),
        Some("integer") => "whole number".into(),
        Some("number") => "number".into(),
        Some("boolean") => "true or false".into(),
        Some("array") => match of.get("minItems") {
            Some(count) if of.get("maxItems") == Some(count) => format!("{count} {}", items()),
            _ => format!("list of {}", items()),
        },
        _ if choices(of).iter().any(|choice| choice.value.starts_with('{')) => {
            "text or table".into()
        }
        _ => "text".into(),
    }
}

/// The numbers allowed, in words.
fn range(of: &Map<String, Value>) -> Option<String> {
    let bound = |name: &str| of.get(name).map(toml);
    let least = bound("minimum").or_else(|| Some(format!("above {}", bound("exclusiveMinimum")?)));
    let most = match bound("exclusiveMaximum") {
        Some(most) => Some(format!("below {most}")),
        None => bound("maximum").map(|most| format!("at most {most}")),
    };
    let (least, most) = (least?, most);
    Some(match (least.starts_with("above"), most) {
        (true, Some(most)) => format!("{least}, {most}"),
        (true, None) => least,
        (false, Some(most)) => match most.strip_prefix("at most ") {
            Some(most) => format!("{least} to {most}"),
            None => format!("from {least}, {most}"),
        },
        (false, None) => format!("{least} or more"),
    })
}

/// The values of which one is allowed.
fn choices(of: &Map<String, Value>) -> Vec<Choice> {
    let plain = of.get("enum").and_then(Value::as_array).into_iter().flatten();
    let plain = plain.map(|value| Choice { value: toml(value), about: String::new() });
    let told = of.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    plain.chain(told.filter_map(Value::as_object).flat_map(told_choices)).collect()
}

/// The alternatives of one part of an enumeration: a documented name, several names, or a table.
fn told_choices(of: &Map<String, Value>) -> Vec<Choice> {
    let about = text(of, "description");
    if let Some(value) = of.get("const") {
        return vec![Choice { value: toml(value), about }];
    }
    match of.get("properties") {
        Some(Value::Object(_)) => vec![Choice { value: table(of), about }],
        _ => choices(of),
    }
}

/// The form of a table: `{ clip = { bound = NUMBER } }`.
fn table(of: &Map<String, Value>) -> String {
    match of.get("properties") {
        Some(Value::Object(properties)) => {
            let fields = properties
                .iter()
                .filter_map(|(name, of)| Some(format!("{name} = {}", table(of.as_object()?))));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        _ => kind(of).to_uppercase(),
    }
}

/// A value in TOML, where a whole number may stand for a fraction.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name} = {}", toml(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Number(number) => match number.as_f64() {
            Some(whole) if number.is_f64() && whole.fract() == 0.0 => format!("{whole}"),
            _ => number.to_string(),
        },
        value => value.to_string(),
    }
}

fn is_required(section: &Map<String, Value>, key: &str) -> bool {
    let required = section.get("required").and_then(Value::as_array);
    required.is_some_and(|names| names.iter().any(|name| name == key))
}

fn text(of: &Map<String, Value>, name: &str) -> String {
    of.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
