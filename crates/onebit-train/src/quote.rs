//! Text from files as errors show it.

/// Longest text that an error quotes, in characters.
const LONGEST: usize = 100;

/// `text` with control and other invisible characters escaped, cut to [`LONGEST`] characters.
pub(crate) fn quoted(text: &str) -> String {
    shown(text, LONGEST)
}

/// `text` with control and other invisible characters escaped, cut to `longest` characters.
pub(crate) fn shown(text: &str, longest: usize) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == longest {
            shown.push('…');
            break;
        }
        if is_hidden(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Characters that move the cursor, change the direction of text or have no width.
fn is_hidden(character: char) -> bool {
    let invisible = ['\u{ad}', '\u{61c}', '\u{180e}', '\u{2028}', '\u{2029}', '\u{feff}'];
    let ranges = ['\u{200b}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2060}'..='\u{206f}'];
    character.is_control()
        || invisible.contains(&character)
        || ranges.iter().any(|range| range.contains(&character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_escaped_and_what_is_long_is_cut() {
        assert_eq!(quoted("müde [x]"), "müde [x]");
        assert_eq!(quoted("\u{1b}[31m\n\u{202e}\u{200b}"), "\\u{1b}[31m\\n\\u{202e}\\u{200b}");
        assert_eq!(quoted(&"ä".repeat(100)), "ä".repeat(100));
        assert_eq!(quoted(&"ä".repeat(500_000)), "ä".repeat(100) + "…");
    }
}
