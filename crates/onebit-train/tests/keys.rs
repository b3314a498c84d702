//! The reference of a recipe's keys is what the parser takes.

#![allow(clippy::unwrap_used)]

#[path = "runs/overrides.rs"]
mod overrides;

use std::fs;
use std::path::Path;

use onebit_train::recipe::{Key, Recipe, Section, schema, sections};
use overrides::apply;
use serde_json::Value as Json;
use toml::{Table, Value};

const SMALLEST: &str = r#"
[data]
train = "fashion-mnist-sample:train"
test = "fashion-mnist-sample:test"
[network]
arch = "resnet20"
[train]
epochs = 3
batch = 32
lr = 0.001
"#;

fn keys() -> Vec<(Section, Key)> {
    let of =
        |section: Section| section.keys.clone().into_iter().map(move |key| (section.clone(), key));
    sections().into_iter().flat_map(of).collect()
}

fn smallest() -> Recipe {
    Recipe::from_toml(SMALLEST, "smallest").unwrap()
}

/// The error of one override, if any.
fn refused(key: &str, value: &str) -> Option<String> {
    apply(&mut smallest(), &[&format!("{key}={value}")]).err().map(|error| error.to_string())
}

#[test]
fn every_default_is_what_the_parser_gives() {
    let recipe = smallest();
    let text: Table = recipe.to_toml().unwrap().parse().unwrap();
    for (section, key) in keys() {
        let path = format!("{}.{}", section.name, key.key);
        let mut value = Some(&Value::Table(text.clone())).cloned();
        for part in path.split('.') {
            value = value.and_then(|value| value.get(part).cloned());
        }
        if key.required || section.name == "train.teacher" {
            continue;
        }
        let expected =
            key.default.map(|text| format!("x = {text}").parse::<Table>().unwrap()["x"].clone());
        let number = |value: &Value| value.as_float().or(value.as_integer().map(|n| n as f64));
        match (&value, &expected) {
            (Some(value), Some(expected)) if number(value).is_some() => {
                assert_eq!(number(value), number(expected), "{path}");
            }
            // A table with one field, `{ clip = { bound = 1 } }`.
            (Some(Value::Table(_)), Some(expected)) => {
                let mut again = smallest();
                apply(&mut again, &[&format!("{path}={expected}")]).unwrap();
                assert_eq!(again, recipe, "{path}");
            }
            _ => assert_eq!(value, expected, "{path}"),
        }
    }
}

#[test]
fn every_choice_is_accepted_and_others_are_not() {
    for (section, key) in keys() {
        let path = format!("{}.{}", section.name, key.key);
        let teacher = section.name == "train.teacher";
        for choice in &key.choices {
            let value = choice.value.replace("NUMBER", "1.5");
            let mut recipe = smallest();
            let set = format!("{path}={value}");
            let sets =
                if teacher { vec!["train.teacher.path=t", &set] } else { vec![set.as_str()] };
            let error = apply(&mut recipe, &sets).err().map(|error| error.to_string());
            let depends =
                error.as_ref().is_some_and(|error| error.contains("where train.stages is"));
            assert!(error.is_none() || depends, "{path} = {value}: {error:?}");
            assert!(!value.is_empty());
        }
        if !key.choices.is_empty() {
            assert!(refused(&path, "nonsense").is_some(), "{path}");
        }
        assert!(!key.about.is_empty() && !key.about.contains('\n'), "{path}: {}", key.about);
    }
}

#[test]
fn every_key_is_known_and_takes_values_of_its_type() {
    for (section, key) in keys() {
        let path = format!("{}.{}", section.name, key.key);
        let wrong = match key.kind.as_str() {
            "text" | "text or table" => "3",
            _ => "\"three\"",
        };
        let error = refused(&path, wrong).unwrap_or_else(|| panic!("{path} = {wrong} is accepted"));
        assert!(!error.contains("unknown key"), "{path}: {error}");
    }
}

#[test]
fn the_bounds_are_those_of_the_parser() {
    for (section, key) in keys() {
        let path = format!("{}.{}", section.name, key.key);
        let Some(range) = &key.range else { continue };
        if section.name == "train.teacher" || section.name == "network" || key.kind.contains("list")
        {
            continue;
        }
        let below = if range.starts_with('1') { "0" } else { "-1" };
        let pair = key.kind.starts_with('2');
        let value = if pair { format!("[{below}, {below}]") } else { below.to_owned() };
        let accepted = refused(&path, &value).is_none();
        assert!(!accepted || path.starts_with("network."), "{path} = {value} is accepted");
    }
}

#[test]
fn the_schema_is_of_draft_2020_12_and_refuses_unknown_keys() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["type"], "object");
    fn check(place: &str, schema: &Json) {
        let Json::Object(fields) = schema else { return };
        if let Some(Json::Object(properties)) = fields.get("properties") {
            assert_eq!(fields["additionalProperties"], false, "{place}");
            for name in fields.get("required").and_then(Json::as_array).into_iter().flatten() {
                assert!(properties.contains_key(name.as_str().unwrap()), "{place}: {name}");
            }
            for (name, property) in properties {
                check(&format!("{place}.{name}"), property);
            }
        }
        for key in ["$ref", "$defs", "nullable", "format"] {
            assert!(!fields.contains_key(key), "{place}: {key}");
        }
        let nothing = |list: &str| {
            fields.get(list).and_then(Json::as_array).is_some_and(|l| l.iter().any(Json::is_null))
        };
        assert!(!nothing("enum") && fields.get("type") != Some(&"null".into()), "{place}");
        let known = [
            "$schema",
            "title",
            "description",
            "type",
            "properties",
            "required",
            "additionalProperties",
            "default",
            "enum",
            "const",
            "oneOf",
            "items",
            "minItems",
            "maxItems",
            "minLength",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
        ];
        for key in fields.keys() {
            assert!(known.contains(&key.as_str()), "{place}: {key}");
        }
        for part in fields.get("oneOf").and_then(Json::as_array).into_iter().flatten() {
            check(&format!("{place}|"), part);
        }
    }
    check("recipe", &schema);
}

/// Whether a schema of the form above allows a value.
fn allows(schema: &Json, value: &Json) -> bool {
    let number = |name: &str| schema.get(name).and_then(Json::as_f64);
    let bounds = value.as_f64().is_none_or(|value| {
        number("minimum").is_none_or(|least| value >= least)
            && number("maximum").is_none_or(|most| value <= most)
            && number("exclusiveMinimum").is_none_or(|least| value > least)
            && number("exclusiveMaximum").is_none_or(|most| value < most)
    });
    let kind = match schema.get("type").and_then(Json::as_str) {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some(other) => panic!("type {other}"),
        None => true,
    };
    let one_of = |list: &str| schema.get(list).and_then(Json::as_array);
    let fields = match (schema.get("properties"), value) {
        (Some(Json::Object(properties)), Json::Object(fields)) => {
            fields
                .iter()
                .all(|(name, value)| properties.get(name).is_some_and(|of| allows(of, value)))
                && one_of("required")
                    .into_iter()
                    .flatten()
                    .all(|name| fields.contains_key(name.as_str().unwrap()))
        }
        _ => true,
    };
    let items = match (schema.get("items"), value) {
        (Some(items), Json::Array(values)) => values.iter().all(|value| allows(items, value)),
        _ => true,
    };
    bounds
        && kind
        && fields
        && items
        && schema.get("const").is_none_or(|only| only == value)
        && one_of("enum").is_none_or(|values| values.contains(value))
        && one_of("oneOf")
            .is_none_or(|parts| parts.iter().filter(|part| allows(part, value)).count() == 1)
}

#[test]
fn every_recipe_that_comes_with_the_program_fits_the_schema() {
    let schema = schema();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let read: Json = toml::from_str(&text).unwrap();
        assert!(allows(&schema, &read), "{}", path.display());
        let whole = Recipe::from_toml(&text, "recipe").unwrap().to_toml().unwrap();
        let whole: Json = toml::from_str(&whole).unwrap();
        assert!(allows(&schema, &whole), "{}, with its defaults", path.display());
        for wrong in ["epoch", "learning_rate"] {
            let mut read = read.clone();
            read["train"][wrong] = 3.into();
            assert!(!allows(&schema, &read), "{wrong}");
        }
    }
}
