//! Text from a file or a caller, as an error shows it.

use alloc::string::{String, ToString};
use core::fmt::{self, Display, Write as _};

/// Most characters of a name in an error.
const NAME: usize = 100;
/// Most characters of another program's sentence.
const SENTENCE: usize = 400;

/// A name, of which an error shows at most 100 characters, those that are not visible escaped as in Rust.
pub(crate) fn name(text: &str) -> impl Display + '_ {
    Quoted { text, most: NAME }
}

/// A sentence that quotes a file, of which an error shows at most 400 characters.
pub(crate) fn sentence(text: &str) -> impl Display + '_ {
    Quoted { text, most: SENTENCE }
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

struct Quoted<'a> {
    text: &'a str,
    most: usize,
}

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.text.chars().count();
        if count <= self.most {
            return escaped(self.text.chars(), f);
        }
        let end = self.most / 3;
        escaped(self.text.chars().take(self.most - end), f)?;
        f.write_char('…')?;
        escaped(self.text.chars().skip(count - end), f)
    }
}

fn escaped(chars: impl Iterator<Item = char>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for c in chars {
        match c {
            '\'' | '"' | '\\' => f.write_char(c)?,
            _ => write!(f, "{}", c.escape_debug())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn what_is_not_seen_is_escaped() {
        assert_eq!(name("größer \"x\" \\").to_string(), "größer \"x\" \\");
        assert_eq!(
            name("a\u{1b}[2J\n\u{202e}\u{200b}\u{9b}").to_string(),
            "a\\u{1b}[2J\\n\\u{202e}\\u{200b}\\u{9b}"
        );
    }

    #[test]
    fn what_is_long_is_cut_in_the_middle() {
        let text = format!("start{}end", "é".repeat(1000));
        let shown = name(&text).to_string();
        assert!(shown.starts_with("start") && shown.ends_with("end"), "{shown}");
        assert_eq!(shown.chars().count(), NAME + 1);
        assert_eq!(shape(&[1; 20]).to_string(), "1, 1, 1, 1, 1, 1, 1, 1, 1, ...");
        assert_eq!(shape(&[2, 3]).to_string(), "2, 3");
    }
}
