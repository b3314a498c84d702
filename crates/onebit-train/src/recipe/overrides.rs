//! Values that take the place of a recipe's own.

use std::path::Path;

use onebit_data::Split;
use toml::{Table, Value};

use super::{MAX_RECIPE_BYTES, Recipe, parse};
use crate::{TrainError, text};
use onebit_model::quote::shown;

/// Changes to a recipe that belong together, such as one option of a command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    origin: String,
    /// Dotted keys and their values.
    values: Vec<(String, Value)>,
}

impl Override {
    /// One value, of a dotted key such as `train.epochs`. `origin` is what errors call it.
    #[must_use]
    pub fn set(key: &str, value: impl Into<Value>, origin: impl Into<String>) -> Self {
        Override { origin: shown(&origin.into()), values: vec![(key.to_owned(), value.into())] }
    }

    /// The two splits of another data set. `origin` is what errors call it.
    ///
    /// # Errors
    /// A spec that already names a split.
    pub fn data(spec: &str, origin: impl Into<String>) -> Result<Self, TrainError> {
        let origin = shown(&origin.into());
        let names_a_split = spec.rsplit_once(':').is_some_and(|(place, word)| {
            word.parse::<Split>().is_ok() && !["folder", "cifar", "idx"].contains(&place)
        });
        if names_a_split {
            let reason =
                "a run uses both splits of a data set; leave out the last colon and word".into();
            return Err(TrainError::Recipe { origin, reason });
        }
        let value = |key: &str, spec: String| (format!("data.{key}"), Value::String(spec));
        let [train, test] =
            [Split::Train, Split::Test].map(|split| format!("{spec}:{}", split.name()));
        // Of a folder that holds `val` and `test`, the default is `val`.
        let test = if spec.starts_with("folder:") { spec.to_owned() } else { test };
        Ok(Override { origin, values: vec![value("train", train), value("test", test)] })
    }

    /// Whether it gives the value of this dotted key.
    #[must_use]
    pub fn sets(&self, key: &str) -> bool {
        self.values.iter().any(|(own, _)| own == key)
    }
}

impl Recipe {
    /// Reads a recipe and changes it, the last of several changes to a value being the one that counts. Only the
    /// outcome needs to be allowed.
    ///
    /// # Errors
    /// As [`Recipe::load`]; what is wrong because of changes names those without which it would not be.
    pub fn load_with(path: &Path, overrides: &[Override]) -> Result<Self, TrainError> {
        let origin = path.display().to_string();
        let text = text::read(path, MAX_RECIPE_BYTES)
            .map_err(|error| error.expecting("a recipe (TOML)"))?;
        changed(&parse::table(&text, &origin)?, overrides, &origin)
    }

    /// Changes several values, which only together need to be allowed.
    ///
    /// # Errors
    /// As [`Recipe::load_with`]; then nothing is changed.
    pub fn apply(&mut self, overrides: &[Override]) -> Result<(), TrainError> {
        *self = changed(&parse::to_table(self)?, overrides, "recipe")?;
        Ok(())
    }

    /// Uses the two splits of another data set.
    ///
    /// # Errors
    /// A spec that already names a split.
    pub fn use_data(&mut self, spec: &str) -> Result<(), TrainError> {
        self.apply(&[Override::data(spec, format!("data `{spec}`"))?])
    }
}

/// The sections without which a file is no recipe.
const SECTIONS: [&str; 3] = ["data", "network", "train"];

/// The recipe that `base`, which errors call `origin`, becomes. What is wrong is told of as few overrides as it takes.
fn changed(base: &Table, overrides: &[Override], origin: &str) -> Result<Recipe, TrainError> {
    let all: Vec<&Override> = overrides.iter().collect();
    let error = match attempt(base, &all, "") {
        Ok(recipe) => return Ok(recipe),
        Err(error) => error.to_string(),
    };
    if SECTIONS.iter().any(|section| !base.contains_key(*section)) {
        attempt(base, &[], origin)?;
    }
    let mut guilty = all;
    for suspect in overrides {
        let others: Vec<_> =
            guilty.iter().copied().filter(|o| !std::ptr::eq(*o, suspect)).collect();
        if attempt(base, &others, "").is_err_and(|other| other.to_string() == error) {
            guilty = others;
        }
    }
    let named: Vec<&str> = guilty.iter().map(|guilty| guilty.origin.as_str()).collect();
    attempt(base, &guilty, if named.is_empty() { origin.to_owned() } else { named.join(" ") })
}

fn attempt(
    base: &Table,
    overrides: &[&Override],
    origin: impl Into<String>,
) -> Result<Recipe, TrainError> {
    let (mut table, origin) = (base.clone(), origin.into());
    for (key, value) in overrides.iter().flat_map(|o| &o.values) {
        parse::assign(&mut table, key, value.clone());
    }
    let recipe = parse::recipe(table, &origin)?;
    recipe.validate(&origin)?;
    Ok(recipe)
}
