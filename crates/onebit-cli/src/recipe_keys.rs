//! The reference of a recipe's keys, as text and as the page `docs/recipes.md`.

use onebit_train::recipe::{Key, Section};

/// What stands before the keys on the page.
const INTRODUCTION: &str = include_str!("recipes.md");
/// Columns of the text.
const WIDTH: usize = 100;

/// The keys for a terminal.
pub(crate) fn text(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        let optional = if section.required { "" } else { "  (may be left out)" };
        text += &format!("[{}]{optional}\n{}\n", section.name, wrapped(&section.about, 2));
        for key in &section.keys {
            text += &format!("  {}: {}\n{}", key.key, value(key), wrapped(&key.about, 6));
            let width = key.choices.iter().map(|choice| choice.value.len()).max().unwrap_or(0);
            let told = key.choices.iter().any(|choice| !choice.about.is_empty());
            for choice in key.choices.iter().filter(|_| told) {
                let about = wrapped(&choice.about, 8 + width);
                let about = about.trim_start();
                text += &format!("      {:width$}  {about}", choice.value);
            }
            if !told && !key.choices.is_empty() {
                let values: Vec<&str> = key.choices.iter().map(|c| c.value.as_str()).collect();
                text += &wrapped(&format!("one of {}", values.join(", ")), 6);
            }
        }
        text.push('\n');
    }
    text
}

/// The page `docs/recipes.md`.
pub(crate) fn markdown(sections: &[Section]) -> String {
    let mut page = INTRODUCTION.to_owned();
    for section in sections {
        page += &format!("\n### `[{}]`\n\n", section.name);
        page += &section.about;
        if !section.required {
            page += " The section may be left out.";
        }
        page += "\n\n| key | value | default | |\n|---|---|---|---|\n";
        for key in &section.keys {
            page += &row(key);
        }
    }
    page
}

fn row(key: &Key) -> String {
    let default = match (&key.default, key.required) {
        (Some(value), _) => format!("`{value}`"),
        (None, true) => "**required**".to_owned(),
        (None, false) => String::new(),
    };
    let mut about = key.about.clone();
    if key.choices.iter().all(|choice| choice.about.is_empty()) {
        let values: Vec<String> = key.choices.iter().map(|c| format!("`{}`", c.value)).collect();
        about += &match values.as_slice() {
            [] => String::new(),
            values => format!(" One of {}.", values.join(", ")),
        };
    } else {
        for choice in &key.choices {
            about += &format!("<br>`{}`: {}", choice.value, choice.about);
        }
    }
    let cells = [format!("`{}`", key.key), kind(key), default, about];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

/// `whole number, 1 or more, required`.
fn value(key: &Key) -> String {
    match (&key.default, key.required) {
        (Some(default), _) => format!("{}, default {default}", kind(key)),
        (None, true) => format!("{}, required", kind(key)),
        (None, false) => kind(key),
    }
}

fn kind(key: &Key) -> String {
    match &key.range {
        Some(range) => format!("{}, {range}", key.kind),
        None => key.kind.clone(),
    }
}

/// Lines of at most [`WIDTH`] columns, each behind `indent` spaces.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.len() - 1;
        let length = lines[line].chars().count();
        if length > 0 && indent + length + 1 + word.chars().count() > WIDTH {
            lines.push(word.to_owned());
        } else {
            let space = if length > 0 { " " } else { "" };
            lines[line] += &format!("{space}{word}");
        }
    }
    lines.iter().map(|line| format!("{}{line}\n", " ".repeat(indent))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_what_the_program_prints() {
        let page = include_str!("../../../docs/recipes.md");
        let expected = markdown(&onebit_train::recipe::sections());
        let differs = page.lines().zip(expected.lines()).find(|(page, expected)| page != expected);
        assert!(
            page == expected,
            "docs/recipes.md is not up to date: `cargo run -p onebit-cli -- train --keys --markdown > docs/recipes.md` \
             makes it; first difference: {differs:?}"
        );
    }

    #[test]
    fn long_lines_are_wrapped() {
        let text = wrapped(&"word ".repeat(60), 6);
        assert!(text.lines().all(|line| line.starts_with("      word") && line.len() <= WIDTH));
        assert!(text.lines().count() > 2);
    }
}
