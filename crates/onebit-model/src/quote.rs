//! Text from a file or a caller, as an error shows it.

use alloc::string::{String, ToString};
use core::fmt::Display;

/// Most characters of a name in an error.
const NAME: usize = 100;
/// Most characters of another program's sentence.
const SENTENCE: usize = 400;

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

/// A sentence that quotes a file, of which an error shows at most 400 characters.
pub(crate) fn sentence(text: &str) -> String {
    shown_within(text, SENTENCE)
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
    use alloc::format;

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
