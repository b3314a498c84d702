//! What is printed: results on stdout, everything else on stderr, and no hidden character that comes from a file.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::plain;

/// Most characters of a cell.
const CELL: usize = 1000;
/// Most characters of a line on stderr, and of a sentence that says what went wrong.
pub(crate) const NOTE: usize = 2000;

/// Prints one JSON value and a line end on stdout.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut line = plain::json(serde_json::to_string(value)?);
    line.push('\n');
    write(&line)
}

/// Prints lines on stdout.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    write(&plain::lines(text))
}

/// Prints on stdout, as it is, what holds nothing from files or arguments.
pub(crate) fn own(text: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text)?;
    Ok(stdout.flush()?)
}

fn write(text: &str) -> anyhow::Result<()> {
    own(text.as_bytes())
}

/// Prints a line on stderr; a closed stderr leaves nowhere to say so.
pub(crate) fn note(line: &str) {
    _ = writeln!(io::stderr().lock(), "{}", plain::cut(&plain::line(line), NOTE));
}

/// Says how many binary weights are exactly 0, and what to do about it.
pub(crate) fn warn_of_ties(ties: usize, advice: &str) {
    let weights = match ties {
        0 => return,
        1 => "1 binary weight is".to_owned(),
        ties => format!("{} binary weights are", thousands(ties as u64)),
    };
    note(&format!(
        "warning: {weights} exactly 0; PyTorch's sign of 0 is 0, here it is -1, so that the network may compute something \
         else{advice}"
    ));
}

/// Side on which a column is aligned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows of text in aligned columns.
pub(crate) struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<'a>(header: impl IntoIterator<Item = (&'a str, Align)>) -> Self {
        let (names, columns) = header.into_iter().map(|(name, align)| (cell(name), align)).unzip();
        Table { columns, rows: vec![names] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|text| cell(&text)).collect());
    }

    /// The rows, each with a line end; a row of empty cells becomes a rule.
    pub(crate) fn render(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let total = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        let mut text = String::new();
        for row in &self.rows {
            let line = if row.iter().all(String::is_empty) {
                "-".repeat(total)
            } else {
                self.line(row, &widths)
            };
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, &width), align) in row.iter().zip(widths).zip(&self.columns) {
            let space = " ".repeat(width - cell.width().min(width));
            _ = match align {
                Align::Left => write!(line, "{cell}{space}  "),
                Align::Right => write!(line, "{space}{cell}  "),
            };
        }
        line
    }
}

fn cell(text: &str) -> String {
    plain::cut(&plain::line(text), CELL).into_owned()
}

/// Digits in groups of three: `1,234,567`.
pub(crate) fn thousands(n: impl Into<u128>) -> String {
    let digits = n.into().to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 epoch`, `10 epochs`, `1,000 classes`.
pub(crate) fn count(n: impl Into<u128>, thing: &str) -> String {
    let n = n.into();
    let ending = match (n, thing.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {thing}{ending}", thousands(n))
}

/// Bytes in the unit that leaves two to four digits: `1.4 MB`.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..10_000 => count(n, "byte"),
        10_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let shown = [0u64, 999, 1000, 1_234_567].map(thousands);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn one_thing_has_no_plural() {
        let shown = [0u64, 1, 2, 1000].map(|n| count(n, "epoch"));
        assert_eq!(shown, ["0 epochs", "1 epoch", "2 epochs", "1,000 epochs"]);
        assert_eq!([1u64, 10].map(|n| count(n, "class")), ["1 class", "10 classes"]);
    }

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new([("name", Align::Left), ("n", Align::Right)]);
        table.row(["a".to_owned(), "12".to_owned()]);
        table.row([String::new(), String::new()]);
        assert_eq!(table.render(), "name   n\na     12\n--------\n");
    }

    #[test]
    fn columns_are_aligned_by_what_a_terminal_shows() {
        let names = ["ab", "日本", "e\u{301}", "\u{200b}", "🍏"];
        let mut table = Table::new([("name", Align::Left), ("n", Align::Right)]);
        for name in names {
            table.row([name.to_owned(), "1".to_owned()]);
        }
        let shown = ["ab      ", "日本    ", "e\u{301}       ", "\\u{200b}", "🍏      "];
        let rows = shown.map(|name| format!("{name}  1\n")).concat();
        assert_eq!(table.render(), format!("name      n\n{rows}"));
    }

    #[test]
    fn a_cell_is_a_piece_of_one_line() {
        let mut table = Table::new([("a\u{1b}b", Align::Left), ("n", Align::Right)]);
        table.row(["c\nd".to_owned(), "x".repeat(5000)]);
        let text = table.render();
        assert!(text.starts_with("a\\u{1b}b  ") && text.contains("\nc\\nd"), "{text}");
        assert!(text.lines().count() == 2 && text.len() < 2100, "{text}");
    }

    #[test]
    fn bytes_have_a_unit() {
        assert_eq!([999, 12_345, 4_500_000].map(bytes), ["999 bytes", "12.3 kB", "4.50 MB"]);
    }
}
