//! `--set key=value`: a value in TOML, or a bare word.

use std::str::FromStr;

use onebit_model::arch::Config;
use onebit_model::quote::{self, number, plain};
use toml::{Table, Value};

use crate::failure::Failure;

/// One override: the path of a key (`hyper.reduction`) and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Set {
    /// The key, its parts separated by dots.
    pub(crate) key: String,
    /// The value.
    pub(crate) value: Value,
}

impl FromStr for Set {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, such as groups=2")?;
        let (key, value) = (key.trim(), value.trim());
        if key.split('.').any(str::is_empty) {
            return Err("expected a KEY of words separated by dots, such as hyper.reduction".into());
        }
        let parsed: Result<Table, _> = format!("value = {value}").parse();
        let parsed = parsed.ok().and_then(|mut table| table.remove("value"));
        let value = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
        Ok(Set { key: key.to_owned(), value })
    }
}

impl Set {
    /// Puts the value into `table`, making the tables on the way.
    pub(crate) fn apply(&self, table: &mut Table) -> Result<(), String> {
        let (path, last) = self.key.rsplit_once('.').unwrap_or(("", &self.key));
        let mut place = table;
        for part in path.split('.').filter(|part| !part.is_empty()) {
            let next = place.entry(part).or_insert_with(|| Value::Table(Table::new()));
            place = next
                .as_table_mut()
                .ok_or_else(|| format!("`{part}` in {} is not a section", self.key))?;
        }
        place.insert(last.to_owned(), self.value.clone());
        Ok(())
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
    let named =
        guilty.map_or(String::new(), |i| format!(" {}={}", set[i].key, shown(&set[i].value)));
    Err(Failure::usage(format!("--set{named}: {error}")))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Float(value) => number(*value),
        value => quote::shown(&value.to_string()),
    }
}

fn read<'a>(arch: &str, set: impl Iterator<Item = &'a Set>) -> Result<Config, String> {
    let mut table = Table::new();
    table.insert("arch".to_owned(), arch.into());
    for set in set {
        set.apply(&mut table)?;
    }
    table.try_into().map_err(|error: toml::de::Error| plain(error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_numbers_and_lists() {
        let mut table = Table::new();
        for text in ["method=ftbnn", "groups=2", "hyper.reduction = 4", "widths=[8, 16]"] {
            let set: Set = text.parse().expect(text);
            set.apply(&mut table).expect(text);
        }
        let expected = "method = \"ftbnn\"\ngroups = 2\nwidths = [8, 16]\nhyper.reduction = 4";
        assert_eq!(table, expected.parse::<Table>().expect("TOML"));
    }

    #[test]
    fn a_key_is_needed() {
        for text in ["groups", "=2", "a..b=1"] {
            assert!(text.parse::<Set>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_option_at_fault_is_named() {
        let sets: Vec<Set> = ["groups=2", "colour=\"red\"", "method=\"ftbnn\""]
            .iter()
            .map(|text| text.parse().expect("a setting"))
            .collect();
        let error = network("resnet20", &sets).expect_err("colour is no option").to_string();
        assert!(error.starts_with("--set colour=\"red\": unknown field `colour`"), "{error}");
        let huge = ["groups=1e308".parse().expect("a setting")];
        let error = network("resnet20", &huge).expect_err("no whole number").to_string();
        let expected = "--set groups=1e308: invalid type: number `1e308`, expected a whole number of 0 or more";
        assert_eq!(error, expected);
    }

    #[test]
    fn a_value_is_not_a_section() {
        let mut table: Table = "groups = 2".parse().expect("TOML");
        let set: Set = "groups.x=1".parse().expect("a setting");
        assert!(set.apply(&mut table).is_err());
    }
}
