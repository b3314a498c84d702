//! The recipes that come with the program can be read, and their networks built.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use onebit_model::arch::{Task, build};
use onebit_train::Recipe;

#[test]
fn every_recipe_is_valid_and_says_what_it_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let mut found = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let recipe = Recipe::load(&path).unwrap();
        build(&recipe.network, &task(&recipe.data.train)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# "), "{} begins with a comment", path.display());
        found += 1;
    }
    assert!(found >= 15, "found {found} recipes");
}

/// Images and classes of a recipe's data.
fn task(spec: &str) -> Task {
    match spec.split(':').next() {
        Some("folder") => Task::unnamed([3, 224, 224], 1000),
        Some("cifar10") => Task::unnamed([3, 32, 32], 10),
        _ => Task::unnamed([1, 28, 28], 10),
    }
}
