//! The JSON schema of recipes, from the types that read them.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::{Map, Value, json};

use super::Recipe;

/// The JSON schema (draft 2020-12) of a recipe: what an editor needs to complete and check one. It refuses unknown
/// keys; conditions on several keys together are left to [`Recipe::validate`].
#[must_use]
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.transforms.push(Box::new(ForToml));
    });
    let mut schema = settings.into_generator().into_root_schema_for::<Recipe>();
    schema.insert("title".into(), json!("onebit recipe"));
    schema.to_value()
}

/// TOML has no null, and one kind of whole numbers and of fractions.
#[derive(Clone)]
struct ForToml;

impl Transform for ForToml {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(schema) = schema.as_object_mut() else { return };
        schema.remove("format");
        without_null(schema);
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = plain(text);
        }
    }
}

fn without_null(schema: &mut Map<String, Value>) {
    for list in ["type", "enum", "anyOf"] {
        if let Some(Value::Array(values)) = schema.get_mut(list) {
            values.retain(|value| !is_null(value));
        }
    }
    if let Some([only]) = schema.get("type").and_then(Value::as_array).map(Vec::as_slice) {
        let only = only.clone();
        schema.insert("type".into(), only);
    }
    if let Some([Value::Object(only)]) =
        schema.get("anyOf").and_then(Value::as_array).map(Vec::as_slice)
    {
        let only = only.clone();
        schema.remove("anyOf");
        for (key, value) in only {
            schema.entry(key).or_insert(value);
        }
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
}

fn is_null(value: &Value) -> bool {
    value.is_null() || value == "null" || value.get("type").is_some_and(|of| of == "null")
}

/// Documentation as plain text in one line: names of Rust items in backticks, without links.
fn plain(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace("[`", "`").replace("`]", "`")
}
