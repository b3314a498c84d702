//! The one test that asserts a speed: `cargo xtask nightly` runs it in a release build, by itself.
#![cfg(not(debug_assertions))]

mod common;

use common::onebit;
use serde_json::Value;

/// The chosen kernels must reach this share of the speed of the fastest.
const SHARE_OF_FASTEST: f64 = 0.8;
/// Another program can slow down the chosen kernels in some tries, but hardly in all.
const TRIES: usize = 5;

#[test]
fn the_chosen_kernels_are_within_a_fifth_of_the_fastest() {
    let mut warnings = Vec::new();
    for _ in 0..TRIES {
        let doctor = onebit(&["doctor", "--json"]).json();
        let rate = |speed: &Value| speed["gmacs_per_second"].as_f64().expect("a number");
        let speeds = doctor["speed"].as_array().expect("speeds");
        let chosen = speeds.iter().find(|speed| speed["isa"] == doctor["kernel"]);
        let fastest = speeds.iter().map(rate).fold(0.0, f64::max);
        if rate(chosen.expect("the chosen kernels are measured")) >= SHARE_OF_FASTEST * fastest {
            assert!(doctor["warning"].is_null(), "{doctor}");
            return;
        }
        warnings.push(doctor["warning"].as_str().expect("a warning").to_owned());
    }
    panic!("slower kernels are chosen, {TRIES} times in a row: {warnings:#?}");
}
