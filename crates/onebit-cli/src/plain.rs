//! Text from files and arguments as it may be shown: nothing that a terminal obeys or that the eye does not see, and
//! not too much of it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal acts on the character, or it is invisible or turns the direction of what follows: controls (C0,
/// DEL, C1), marks and overrides of direction, characters without width, line separators, and tags.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text in one line, with every [hidden](is_hidden) character as its escape: `\n`, `\u{1b}`.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// The text with its line ends, and everything else as in [`line()`].
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\n')
}

fn escaped(text: &str, kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_shown = |c| kept(c) || !is_hidden(c);
    if text.chars().all(is_shown) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_shown(c) { escaped.push(c) } else { escaped.extend(c.escape_default()) }
    }
    Cow::Owned(escaped)
}

/// JSON, in which hidden characters stand in strings only, with their escapes in their place: the same value.
pub(crate) fn json(json: String) -> String {
    if !json.contains(is_hidden) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// The text, or its beginning and end around an ellipsis where it has more than `most` characters.
pub(crate) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    let count = text.chars().count();
    if count <= most {
        return Cow::Borrowed(text);
    }
    let kept = most.saturating_sub(1);
    let start: String = text.chars().take(kept - kept / 3).collect();
    let end: String = text.chars().skip(count - kept / 3).collect();
    Cow::Owned(format!("{start}…{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_escaped() {
        let cases = [
            ("plain, größer, 日本語, 🍏", "plain, größer, 日本語, 🍏"),
            ("\u{1b}]0;title\u{7}\u{1b}[2J", "\\u{1b}]0;title\\u{7}\\u{1b}[2J"),
            ("a\r\n\tb\u{7f}\u{9b}31m", "a\\r\\n\\tb\\u{7f}\\u{9b}31m"),
            ("\u{202e}gpj.exe\u{2066}\u{200f}", "\\u{202e}gpj.exe\\u{2066}\\u{200f}"),
            ("a\u{200b}b\u{feff}c\u{2028}d\u{61c}", "a\\u{200b}b\\u{feff}c\\u{2028}d\\u{61c}"),
        ];
        for (text, shown) in cases {
            assert_eq!(line(text), shown);
        }
        assert_eq!(lines("a\nb\u{1b}\n"), "a\nb\\u{1b}\n");
    }

    #[test]
    fn escaped_json_is_the_same_value() {
        let text = "a\u{1b}\u{9b}\u{202e}\u{7f}\u{e0041}\"\\ é";
        let plain = serde_json::to_string(text).expect("JSON");
        let escaped = json(plain);
        assert!(!escaped.contains(is_hidden), "{escaped}");
        assert_eq!(serde_json::from_str::<String>(&escaped).expect("JSON"), text);
    }

    #[test]
    fn long_text_keeps_its_ends() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefghijkl", 10), "abcdef…jkl");
        assert_eq!(cut(&"é".repeat(3000), 100).chars().count(), 100);
        assert_eq!(cut("abc", 0), "…");
    }
}
