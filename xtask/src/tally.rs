//! Runs `cargo test` and counts what its test programs report.

use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::ops::AddAssign;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{announce, say};

/// Tests that were run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

impl Tally {
    /// Prints the totals as the last line of all tests.
    pub(crate) fn report(self) {
        let Tally { passed, failed, ignored } = self;
        let skipped = if ignored > 0 { format!(", {ignored} skipped") } else { String::new() };
        say(&format!("\n{passed} passed, {failed} failed{skipped}"));
    }

    /// The counts in a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    fn of_line(line: &str) -> Option<Self> {
        let counts = line.trim().strip_prefix("test result: ")?;
        let count = |word: &str| {
            let (before, _) = counts.split_once(word)?;
            before.trim_end().rsplit([' ', '.', ';']).next()?.parse().ok()
        };
        Some(Tally {
            passed: count("passed")?,
            failed: count("failed")?,
            ignored: count("ignored")?,
        })
    }
}

/// Runs a `cargo test` whose arguments end before those of the test programs, passes its output on, and adds what it
/// counts to `tally`.
///
/// # Errors
/// It cannot be started, or a test fails: then `advice` is part of the error, and the totals are printed before.
pub(crate) fn test(mut command: Command, tally: &mut Tally, advice: &str) -> Result<()> {
    let line = announce(&command);
    if io::stdout().is_terminal() {
        command.args(["--", "--color", "always"]);
    }
    let started = command.stdout(Stdio::piped()).spawn();
    let mut child = started.with_context(|| format!("{line} cannot be started"))?;
    let output = child.stdout.take().context("the output of the tests is not piped")?;
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    while output.read_until(b'\n', &mut bytes)? > 0 {
        let mut stdout = io::stdout().lock();
        stdout.write_all(&bytes)?;
        stdout.flush()?;
        if let Some(counted) = Tally::of_line(&plain(&bytes)) {
            *tally += counted;
        }
        bytes.clear();
    }
    if !child.wait()?.success() {
        tally.report();
        bail!("`{line}` failed: {advice}");
    }
    Ok(())
}

/// Text without the escape sequences that colour it.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).map_or(part.len(), |at| at + 1);
        text + &part[end..]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        let ok = "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(Tally::of_line(ok), Some(Tally { passed: 12, failed: 0, ignored: 3 }));
        let failed =
            "test result: FAILED. 1 passed; 20 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(Tally::of_line(failed), Some(Tally { passed: 1, failed: 20, ignored: 0 }));
        assert_eq!(Tally::of_line("test a::b ... ok"), None);
    }

    #[test]
    fn colours_are_left_out() {
        let line = b"test result: \x1b[32mok\x1b(B\x1b[m. 2 passed; 0 failed; 0 ignored;\n";
        let counted = Tally::of_line(&plain(line));
        assert_eq!(counted, Some(Tally { passed: 2, failed: 0, ignored: 0 }));
    }
}
