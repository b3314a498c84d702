//! Progress on stderr: a bar on a terminal, now and then a plain line elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;
use crate::plain;

const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// Progress of one piece of work.
pub(crate) struct Progress {
    label: String,
    total: u64,
    bar: Option<ProgressBar>,
    next_line: Instant,
}

impl Progress {
    pub(crate) fn new(label: impl Into<String>, total: u64) -> Self {
        let label = label.into();
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} {msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total)
                .with_style(style.progress_chars("=> "))
                .with_prefix(plain::line(&label).into_owned())
        });
        Progress { label, total, bar, next_line: Instant::now() + PLAIN_INTERVAL }
    }

    /// Shows how much is done, and `text` behind it.
    pub(crate) fn at(&mut self, done: u64, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(plain::line(text).into_owned());
        } else if Instant::now() >= self.next_line {
            self.next_line = Instant::now() + PLAIN_INTERVAL;
            output::note(&format!("{} {done}/{} {text}", self.label, self.total));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
