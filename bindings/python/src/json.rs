//! Values between Rust and Python as JSON: dictionaries that are as the program prints them.

use pyo3::prelude::*;
use serde::Serialize;

use crate::error::value_error;

/// A value as dictionaries and lists.
pub(crate) fn to_python<'py>(
    py: Python<'py>,
    value: &impl Serialize,
) -> PyResult<Bound<'py, PyAny>> {
    let text = serde_json::to_string(value).map_err(value_error)?;
    py.import("json")?.call_method1("loads", (text,))
}

/// Dictionaries, lists, texts and numbers as JSON; tuples become lists.
pub(crate) fn from_python(value: &Bound<'_, PyAny>) -> PyResult<serde_json::Value> {
    let text: String = value.py().import("json")?.call_method1("dumps", (value,))?.extract()?;
    serde_json::from_str(&text).map_err(value_error)
}

/// Numbers as the shortest decimals that mean them, as JSON has them: 0.485, not 0.48500001430511475.
pub(crate) fn shortest(values: &[f32]) -> Vec<f64> {
    values
        .iter()
        .map(|value| value.to_string().parse().unwrap_or_else(|_| f64::from(*value)))
        .collect()
}
