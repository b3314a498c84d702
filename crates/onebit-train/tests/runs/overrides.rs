//! Changes of a recipe, written as `key=value`.

use onebit_train::TrainError;
use onebit_train::recipe::{Override, Recipe};
use toml::Table;

/// Applies some changes together: keys with values in TOML, or with what is none as a text.
pub(crate) fn apply(recipe: &mut Recipe, assignments: &[&str]) -> Result<(), TrainError> {
    let set = |assignment: &&str| {
        let (key, text) = assignment.split_once('=').unwrap();
        let value = format!("value = {text}").parse::<Table>().ok();
        let value = value.and_then(|mut table| table.remove("value"));
        Override::set(key, value.unwrap_or_else(|| text.into()), *assignment)
    };
    recipe.apply(&assignments.iter().map(set).collect::<Vec<_>>())
}
