//! Text from a file or a caller, as an error shows it.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::{Display, LowerExp};

/// Most characters of a name in an error.
const NAME: usize = 100;
/// Most characters of another program's sentence.
const SENTENCE: usize = 400;
/// Digits of the largest whole number of 64 bits.
const MAX_DIGITS: usize = 20;

/// A name found in a file, as a message can show it: at most 100 characters, those that control a terminal or are
/// invisible escaped as in Rust.
#[must_use]
pub fn shown(name: &str) -> String {
    shown_within(name, NAME)
}

/// The same of a text of which `most` characters are shown, its beginning and its end, such as another library's message
/// that quotes a file.
#[must_use]
pub fn shown_within(text: &str, most: usize) -> String {
    let count = text.chars().count();
    let mut shown = String::new();
    if count <= most {
        escape(text.chars(), &mut shown);
        return shown;
    }
    let end = most / 3;
    escape(text.chars().take(most - end), &mut shown);
    shown.push('…');
    escape(text.chars().skip(count - end), &mut shown);
    shown
}

/// A number as short as it can be: with an exponent where it would have many zeros.
#[must_use]
pub fn number<F: Copy + Display + LowerExp + Into<f64>>(value: F) -> String {
    let size = value.into().abs();
    match size == 0.0 || !size.is_finite() || (1e-5..1e16).contains(&size) {
        true => value.to_string(),
        false => format!("{value:e}"),
    }
}

/// A number of things: `1 epoch`, `10 epochs`, `2 classes`, `2 entries`.
#[must_use]
pub fn count<N: Display + PartialEq + From<u8>>(n: N, thing: &str) -> String {
    let plural = match thing.strip_suffix('y') {
        _ if n == N::from(1) => return format!("1 {thing}"),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => return format!("{n} {stem}ies"),
        _ if thing.ends_with('s') => "es",
        _ => "s",
    };
    format!("{n} {thing}{plural}")
}

/// The message of a library that reads JSON or TOML, in the words of a user: no types of Rust, no long numbers. What it
/// quotes stays.
#[must_use]
pub fn plain(message: &str) -> String {
    let mut plain = String::new();
    let mut rest = message;
    while let Some(start) = rest.find(['`', '"']) {
        let (before, quoted) = rest.split_at(start);
        let mark = if quoted.starts_with('`') { '`' } else { '"' };
        let Some(end) = end_of(&quoted[1..], mark) else { break };
        let (inside, after) = quoted[1..].split_at(end);
        plain += &without_types(before);
        plain.push(mark);
        plain += &if mark == '`' { short(inside) } else { inside.to_string() };
        plain.push(mark);
        rest = &after[1..];
    }
    plain + &without_types(rest)
}

/// Where a quotation ends; behind a backslash, a quotation mark is part of it.
fn end_of(text: &str, mark: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let ends = c == mark && !escaped;
        escaped = mark == '"' && c == '\\' && !escaped;
        ends.then_some(at)
    })
}

/// A number with more digits than any whole number of 64 bits has, as [`number`] shows it.
fn short(text: &str) -> String {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    match text.parse::<f64>() {
        Ok(value) if digits > MAX_DIGITS => number(value),
        _ => text.to_string(),
    }
}

fn without_types(text: &str) -> String {
    let mut text = String::from(text);
    for (kind, words) in NAMED {
        text = replaced(&text, kind, |after| {
            let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
            (end > 0).then_some((words, end))
        });
    }
    for (name, words) in TYPES {
        text = with_word(&text, name, words);
    }
    text
}

/// The text with `words` wherever `name` stands as a word.
fn with_word(text: &str, name: &str, words: &str) -> String {
    replaced(text, name, |after| (!after.starts_with(char::is_alphanumeric)).then_some((words, 0)))
}

/// The text with other words wherever `name` begins a word and `words` gives them for what follows, with the number of
/// bytes that they replace of that.
fn replaced<'a>(
    text: &str,
    name: &str,
    words: impl Fn(&str) -> Option<(&'a str, usize)>,
) -> String {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        let found = words(after).filter(|_| !before.ends_with(char::is_alphanumeric));
        let (words, skipped) = found.unwrap_or((&rest[at..at + name.len()], 0));
        replaced += before;
        replaced += words;
        rest = &after[skipped..];
    }
    replaced + rest
}

/// Kinds of types, behind which serde puts the name of one, and what users call them.
const NAMED: [(&str, &str); 7] = [
    ("tuple variant ", "a list"),
    ("newtype variant ", "a value"),
    ("struct variant ", "a group of keys"),
    ("unit variant ", "a word"),
    ("tuple struct ", "a list"),
    ("struct ", "a group of keys"),
    ("enum ", "a word or a group of keys"),
];

/// How serde, TOML and JSON call what they read, and what users call it.
const TYPES: [(&str, &str); 34] = [
    ("invalid type: unit variant, expected string only", "expected one of its words in quotes"),
    ("wanted exactly 1 element, more than 1 element", "expected one key, found more"),
    ("fewer elements in array", "a shorter list"),
    ("any valid TOML value", "a number of at most 64 bits"),
    (" as i128", ""),
    (" as u128", ""),
    ("tuple variant", "list"),
    ("newtype variant", "value"),
    ("struct variant", "group of keys"),
    ("unit variant", "word"),
    ("newtype struct", "value"),
    ("string or map", "word or a group of keys"),
    ("integer", "whole number"),
    ("floating point", "number"),
    ("an array of length", "a list of length"),
    ("a tuple of size", "a list of length"),
    ("sequence", "list"),
    ("map", "group of keys"),
    ("a string", "text"),
    ("string", "text"),
    ("EOF", "the end of the text"),
    ("usize", "a whole number of 0 or more"),
    ("u64", "a whole number of 0 or more"),
    ("u32", "a whole number of 0 or more"),
    ("u16", "a whole number of 0 or more"),
    ("u8", "a whole number of 0 or more"),
    ("isize", "a whole number"),
    ("i64", "a whole number"),
    ("i32", "a whole number"),
    ("i8", "a whole number"),
    ("f32", "a number"),
    ("f64", "a number"),
    ("a boolean", "true or false"),
    ("bool", "true or false"),
];

/// A sentence of another library that quotes a file, in plain words, of which an error shows at most 400 characters.
pub fn sentence(text: &str) -> String {
    shown_within(&plain(text), SENTENCE)
}

/// The first extents of a shape.
pub(crate) fn shape(shape: &[usize]) -> impl Display + '_ {
    let mut text = String::new();
    for extent in shape.iter().take(9) {
        text += if text.is_empty() { "" } else { ", " };
        text += &extent.to_string();
    }
    if shape.len() > 9 {
        text += ", ...";
    }
    text
}

fn escape(chars: impl Iterator<Item = char>, to: &mut String) {
    for c in chars {
        match c {
            '\'' | '"' | '\\' => to.push(c),
            // Behind another letter, where an accent of its own is none to escape.
            _ => to.extend(String::from_iter(['a', c]).escape_debug().skip(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_escaped() {
        assert_eq!(shown("größer \"x\" \\ l'été"), "größer \"x\" \\ l'été");
        assert_eq!(shown("e\u{301}"), "e\u{301}");
        assert_eq!(
            shown("a\u{1b}[2J\n\u{202e}\u{200b}\u{9b}\u{feff}"),
            "a\\u{1b}[2J\\n\\u{202e}\\u{200b}\\u{9b}\\u{feff}"
        );
    }

    #[test]
    fn messages_of_other_libraries_are_in_the_words_of_a_user() {
        for (message, words) in [
            (
                "invalid type: integer `5`, expected struct Train",
                "invalid type: whole number `5`, expected a group of keys",
            ),
            (
                "invalid type: string \"u32 \\\" map\", expected usize",
                "invalid type: text \"u32 \\\" map\", expected a whole number of 0 or more",
            ),
            (
                "invalid value: integer `-1`, expected u32 at line 1",
                "invalid value: whole number `-1`, expected a whole number of 0 or more at line 1",
            ),
            ("invalid type: map, expected a string", "invalid type: group of keys, expected text"),
            (
                "invalid length 3, expected an array of length 2",
                "invalid length 3, expected a list of length 2",
            ),
            (
                "unknown field `map`, there are `f32` and `bool`",
                "unknown field `map`, there are `f32` and `bool`",
            ),
            (
                "invalid type: integer `5`, expected struct variant Estimator::Clip",
                "invalid type: whole number `5`, expected a group of keys",
            ),
            (
                "invalid type: unit variant, expected string only",
                "expected one of its words in quotes",
            ),
            ("roadmap of `", "roadmap of `"),
            (
                "duplicate field `enum A`; enum Estimator, then",
                "duplicate field `enum A`; a word or a group of keys, then",
            ),
        ] {
            assert_eq!(plain(message), words);
        }
        let long = format!("invalid type: floating point `{}.0`, expected usize", 1e308);
        let short = "invalid type: number `1e308`, expected a whole number of 0 or more";
        assert_eq!(plain(&long), short);
        assert_eq!(plain("`18446744073709551615`"), "`18446744073709551615`");
    }

    #[test]
    fn numbers_are_short() {
        for (value, shown) in [
            (0.0, "0"),
            (0.01, "0.01"),
            (-3.5, "-3.5"),
            (1e10, "10000000000"),
            (1e308, "1e308"),
            (-1.5e-300, "-1.5e-300"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(number(value), shown);
        }
        assert_eq!(number(1e38f32), "1e38");
        assert_eq!(
            ["epoch", "class", "entry", "day"].map(|thing| count(2usize, thing)),
            ["2 epochs", "2 classes", "2 entries", "2 days"]
        );
        assert_eq!(count(1u8, "class"), "1 class");
    }

    #[test]
    fn what_is_long_is_cut_in_the_middle() {
        let text = format!("start{}end", "é".repeat(500_000));
        let name = shown(&text);
        assert!(name.starts_with("start") && name.ends_with("end"), "{name}");
        assert_eq!(name.chars().count(), NAME + 1);
        assert_eq!(shown(&"n".repeat(100)), "n".repeat(100));
        assert_eq!(shape(&[1; 20]).to_string(), "1, 1, 1, 1, 1, 1, 1, 1, 1, ...");
        assert_eq!(shape(&[2, 3]).to_string(), "2, 3");
    }
}
