//! Why TOML is refused, in the words of its keys.

use alloc::format;
use alloc::string::String;

use alloc::vec::Vec;

use crate::quote::{plain, shown, shown_within};

/// Longest message of the TOML library that is passed on, in characters.
const LONGEST_MESSAGE: usize = 400;
/// Longest word for which a similar known one is sought, in bytes.
const LONGEST_WORD: usize = 100;

/// What is wrong with a value, by the message of the library that reads TOML, which puts names in backticks, and the
/// dotted key of the value; without a key, the whole file is the value.
#[must_use]
pub fn refusal(message: &str, key: &str) -> String {
    let section = shown(key);
    let (unknown, known) = unknown_and_known(message);
    let key = |name: &str| {
        let name = shown(name);
        if section.is_empty() { name } else { format!("{section}.{name}") }
    };
    match unknown {
        Some(unknown) if message.starts_with("unknown field") => {
            format!("unknown key `{}`; {}", key(unknown), hint(unknown, &known, key))
        }
        Some(missing) if message.starts_with("missing field") && section.is_empty() => {
            format!("the section [{missing}] is missing")
        }
        Some(missing) if message.starts_with("missing field") => {
            format!("{} is missing", key(missing))
        }
        Some(unknown) if message.starts_with("unknown variant") => {
            format!("{section} is `{}`, expected {}", shown(unknown), alternatives(&known))
        }
        _ if section.is_empty() => sentence(message),
        _ => format!("{section}: {}", sentence(message)),
    }
}

/// The dotted key of the value that was being read, which the whole text of an error shows in its last line.
#[must_use]
pub fn key(text: &str) -> &str {
    let line = text.lines().rev().find_map(|line| line.strip_prefix("in `"));
    line.and_then(|line| line.strip_suffix('`')).unwrap_or_default()
}

/// A message in one line and in [plain] words, cut where it quotes what is long.
#[must_use]
pub fn sentence(message: &str) -> String {
    shown_within(&plain(&message.split_whitespace().collect::<Vec<_>>().join(" ")), LONGEST_MESSAGE)
}

/// The name in backticks, which may hold anything, and those behind it of which one was expected.
fn unknown_and_known(message: &str) -> (Option<&str>, Vec<&str>) {
    let (unknown, known) = message.rsplit_once("`, expected ").unwrap_or((message, ""));
    let unknown = unknown.split_once('`').map(|(_, name)| name.strip_suffix('`').unwrap_or(name));
    (unknown, known.split('`').skip(1).step_by(2).collect())
}

fn hint(unknown: &str, known: &[&str], key: impl Fn(&str) -> String) -> String {
    let comparable = known.iter().filter(|_| unknown.len() <= LONGEST_WORD);
    let nearest = comparable.map(|name| (distance(unknown, name), name)).min();
    match nearest {
        Some((edits, name)) if edits <= 1 + unknown.len() / 4 => {
            format!("did you mean `{}`?", key(name))
        }
        _ => format!("expected {}", alternatives(known)),
    }
}

/// Values of which one is expected.
#[must_use]
pub fn alternatives(known: &[&str]) -> String {
    match known {
        [] => "no key here".into(),
        [only] => format!("`{only}`"),
        [first @ .., last] => format!("`{}` or `{last}`", first.join("`, `")),
    }
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in
            [("", "abc", 3), ("epoch", "epochs", 1), ("kitten", "sitting", 3), ("lr", "lr", 0)]
        {
            assert_eq!(distance(a, b), edits, "{a} {b}");
            assert_eq!(distance(b, a), edits, "{b} {a}");
        }
    }

    #[test]
    fn a_refusal_names_the_key_and_what_was_expected() {
        for (message, at, expected) in [
            (
                "unknown field `epoch`, expected one of `epochs`, `batch`",
                "train",
                "unknown key `train.epoch`; did you mean `train.epochs`?",
            ),
            (
                "unknown field `colour`, expected `method` or `groups`",
                "",
                "unknown key `colour`; expected `method` or `groups`",
            ),
            ("missing field `train`", "", "the section [train] is missing"),
            ("missing field `lr`", "train", "train.lr is missing"),
            (
                "unknown variant `xnor`, expected `bireal` or `dybnn`",
                "method",
                "method is `xnor`, expected `bireal` or `dybnn`",
            ),
            (
                "invalid type: string \"x\", expected usize",
                "groups",
                "groups: invalid type: text \"x\", expected a whole number of 0 or more",
            ),
            (
                "invalid type: map,\n expected a string",
                "",
                "invalid type: group of keys, expected text",
            ),
        ] {
            assert_eq!(refusal(message, at), expected);
        }
        assert_eq!(key("unknown field `a`\nin `train.augmentation`\n"), "train.augmentation");
        assert_eq!(key("no place"), "");
    }
}
