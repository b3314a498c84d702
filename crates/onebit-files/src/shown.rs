/// Most characters of a name that are shown.
const MAX_SHOWN: usize = 100;

/// A name found in a file, as a message can show it: what controls a terminal or is invisible is escaped, and what is
/// longer than 100 characters is cut.
#[must_use]
pub fn shown(name: &str) -> String {
    shown_within(name, MAX_SHOWN)
}

/// The same of a text that may be `limit` characters long, such as another library's message that quotes a file.
#[must_use]
pub fn shown_within(text: &str, limit: usize) -> String {
    let mut shown = String::new();
    for (count, letter) in text.chars().enumerate() {
        if count == limit {
            shown.push_str("...");
            break;
        }
        match letter {
            '\'' | '"' => shown.push(letter),
            // Behind another letter, where an accent of its own is none to escape.
            _ => shown.extend(['a', letter].iter().collect::<String>().escape_debug().skip(1)),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_short_and_plain() {
        assert_eq!(shown("layer1.0.weight"), "layer1.0.weight");
        assert_eq!(shown("l'été \"3\""), "l'été \"3\"");
        assert_eq!(shown("e\u{301}"), "e\u{301}");
        assert_eq!(shown("\x1b]0;x\x07\n"), "\\u{1b}]0;x\\u{7}\\n");
        assert_eq!(shown("a\u{202e}b\u{200b}c\u{feff}"), "a\\u{202e}b\\u{200b}c\\u{feff}");
        assert_eq!(shown(&"n".repeat(100)), "n".repeat(100));
        assert_eq!(shown(&"n".repeat(500_000)), format!("{}...", "n".repeat(100)));
    }
}
