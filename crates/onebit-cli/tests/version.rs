//! What the program says of itself.

mod common;

use common::onebit;

#[test]
fn the_version_names_commit_and_features() {
    let shown = onebit(&["--version"]);
    let shown = shown.succeeded().trim_end();
    let features = if cfg!(feature = "train") { "train" } else { "none" };
    let prefix = format!("onebit {} (", env!("CARGO_PKG_VERSION"));
    let inside = shown.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(')'));
    let inside = inside.unwrap_or_else(|| panic!("{shown}"));
    let commit = inside.strip_suffix(&format!("features: {features}")).expect("the features");
    let is_commit = |text: &str| text.len() >= 7 && text.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(commit.is_empty() || commit.strip_suffix(", ").is_some_and(is_commit), "{shown}");
    let doctor = onebit(&["doctor", "--json"]).json();
    assert_eq!(format!("onebit {}", doctor["version"].as_str().expect("a version")), shown);
}
