//! `--set KEY=VALUE`: a value in TOML, or a bare word.

use std::str::FromStr;

use onebit_model::arch::Config;
use onebit_model::explain::{key, refusal};
use onebit_model::quote::shown;
use toml::{Table, Value};

use crate::failure::Failure;

/// One override: the path of a key (`hyper.reduction`) and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Set {
    /// As it was given.
    pub(crate) text: String,
    /// The key, its parts separated by dots.
    pub(crate) key: String,
    /// The value.
    pub(crate) value: Value,
}

impl FromStr for Set {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
        let (key, value) = (key.trim(), value.trim());
        if key.split('.').any(str::is_empty) {
            return Err("expected KEY=VALUE, the KEY of words separated by dots".into());
        }
        Ok(Set { text: text.to_owned(), key: key.to_owned(), value: parse(value) })
    }
}

/// A value in TOML, or what is none as a text.
fn parse(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>();
    let alone = parsed.ok().filter(|table| table.len() == 1);
    let value = alone.and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Puts the value of a dotted key into a table. What stands in the way of a section is replaced by it, as in recipes.
fn assign(table: &mut Table, key: &str, value: Value) {
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

/// The network `arch` with these options, as the network section of a recipe has them. They are read together; an
/// error names the one without which it would not be there.
pub(crate) fn network(arch: &str, set: &[Set]) -> anyhow::Result<Config> {
    let error = match read(arch, set.iter()) {
        Ok(config) => return Ok(config),
        Err(error) => error,
    };
    let without = |left_out: usize| {
        let others = set.iter().enumerate().filter(move |(i, _)| *i != left_out);
        read(arch, others.map(|(_, set)| set))
    };
    let guilty = (0..set.len()).find(|&i| without(i).err().as_ref() != Some(&error));
    let named = guilty.map_or(String::new(), |i| format!(" {}", shown(&set[i].text)));
    Err(Failure::usage(format!("--set{named}: {error}")))
}

fn read<'a>(arch: &str, set: impl Iterator<Item = &'a Set>) -> Result<Config, String> {
    let mut table = Table::new();
    table.insert("arch".to_owned(), arch.into());
    for set in set {
        assign(&mut table, &set.key, set.value.clone());
    }
    table
        .try_into()
        .map_err(|error: toml::de::Error| refusal(error.message(), key(&error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Set {
        text.parse().expect(text)
    }

    #[test]
    fn words_numbers_and_lists() {
        let mut table = Table::new();
        for text in
            ["method=ftbnn", "groups=2", "hyper.reduction = 4", "widths=[8, 16]", "x=a\nb = 1"]
        {
            let Set { key, value, .. } = set(text);
            assign(&mut table, &key, value);
        }
        let expected = "method = \"ftbnn\"\ngroups = 2\nwidths = [8, 16]\nx = \"a\\nb = 1\"\nhyper.reduction = 4";
        assert_eq!(table, expected.parse::<Table>().expect("TOML"));
    }

    #[test]
    fn a_section_replaces_what_is_none() {
        let mut table: Table = "x = \"word\"\ny.z = 1".parse().expect("TOML");
        assign(&mut table, "x.inner", 2.into());
        assign(&mut table, "y.other", 3.into());
        let expected = "x.inner = 2\ny.z = 1\ny.other = 3";
        assert_eq!(table, expected.parse::<Table>().expect("TOML"));
    }

    #[test]
    fn a_key_is_needed() {
        for text in ["groups", "=2", "a..b=1"] {
            let error = text.parse::<Set>().expect_err(text);
            assert!(error.starts_with("expected KEY=VALUE"), "{error}");
        }
    }

    #[test]
    fn the_option_at_fault_is_named() {
        for (bad, expected) in [
            ("colour=red", "--set colour=red: unknown key `colour`; expected `arch`, "),
            ("method=xnor", "--set method=xnor: method is `xnor`, expected `bireal`, "),
            (
                "widht_multiplier=2",
                "--set widht_multiplier=2: unknown key `widht_multiplier`; did you mean `width_multiplier`?",
            ),
            (
                "hyper.reduction=x",
                "--set hyper.reduction=x: hyper.reduction: invalid type: text \"x\", expected a whole number of 0 or more",
            ),
            (
                "groups=1e308",
                "--set groups=1e308: groups: invalid type: number `1e308`, expected a whole number of 0 or more",
            ),
        ] {
            let sets = [set("blocks=[1, 1]"), set(bad), set("method=\"ftbnn\"")];
            let sets = if bad.starts_with("method") { &sets[..2] } else { &sets[..] };
            let error = network("resnet20", sets).expect_err(bad).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
