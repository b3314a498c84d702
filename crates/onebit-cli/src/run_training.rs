//! A training run as `train` and `demo` show it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use onebit_train::checkpoint::Best;
use onebit_train::metrics::{self, Row};
use onebit_train::{Event, Recipe, RunPaths, Summary, TrainOptions, train};

use crate::failure::{Code, Failure};
use crate::output::{self, count};
use crate::picture;
use crate::progress::Progress;
use crate::remarks;

static STOP: AtomicBool = AtomicBool::new(false);
const INTERRUPTED: i32 = 130;

/// Whether a run starts or goes on.
#[derive(Clone, Copy)]
pub(crate) struct Mode {
    /// It goes on.
    pub(crate) resume: bool,
    /// Perhaps to another number of epochs.
    pub(crate) change_epochs: bool,
}

/// Trains and shows how it goes on stderr. The first Ctrl-C stops after the current step with a checkpoint, the second
/// at once.
pub(crate) fn run(
    recipe: Recipe,
    out: &Path,
    mode: Mode,
    threads: usize,
) -> anyhow::Result<Summary> {
    onebit::check_thread()?;
    stop_on_signal()?;
    onebit::start_shared_pool()?;
    let pool = onebit::thread_pool(threads)?;
    let (out, data_dir) = (out.to_path_buf(), None);
    let Mode { resume, change_epochs } = mode;
    let mut reporter = Reporter { out: out.clone(), ..Reporter::default() };
    let options = TrainOptions { recipe, out, resume, change_epochs, stop: &STOP, data_dir };
    Ok(pool.install(|| train(&options, &mut |event| reporter.event(event)))?)
}

/// Draws the run's metrics next to them; the paths of the pictures, none if no epoch is finished.
pub(crate) fn draw_curves(out: &Path, title: &str) -> anyhow::Result<Vec<PathBuf>> {
    let rows = metrics::read(&RunPaths::new(out).metrics())?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let (svg, png) = (out.join("curve.svg"), out.join("curve.png"));
    picture::curve_svg(&svg, title, &rows)?;
    picture::curve_png(&png, title, &rows)?;
    Ok(vec![svg, png])
}

/// The error that ends an interrupted command, with exit code 130.
pub(crate) fn interrupted(summary: &Summary, how_to_go_on: &str) -> anyhow::Error {
    let Summary { epoch, epochs, .. } = summary;
    let epochs = count(*epochs as u64, "epoch");
    let message = format!("interrupted after {epoch} of {epochs}; {how_to_go_on}");
    Failure::with(Code::Interrupted, message)
}

fn stop_on_signal() -> anyhow::Result<()> {
    let handler = || {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED);
        }
        output::note(
            "stopping after this step, with a checkpoint; press Ctrl-C again to stop at once",
        );
    };
    ctrlc::set_handler(handler)
        .map_err(|e| Failure::with(Code::Software, format!("Ctrl-C cannot be caught: {e}")))
}

#[derive(Default)]
struct Reporter {
    out: PathBuf,
    epoch: Option<(usize, Progress)>,
    epochs: usize,
}

impl Reporter {
    fn event(&mut self, event: Event) {
        match &event {
            Event::Started { epochs, .. } => self.epochs = *epochs,
            Event::Step { .. } => self.step(&event),
            Event::Epoch { row, best } => self.end_of_epoch(row, *best),
            Event::Interrupted { .. } => self.epoch = None,
            Event::Resumed { .. }
            | Event::Warning(_)
            | Event::AlreadyFinished { .. }
            | Event::EpochsChanged { .. }
            | Event::BestDamaged { .. }
            | Event::RowsMissing { .. }
            | Event::Teacher { .. }
            | Event::Initialized { .. }
            | Event::InitChanged { .. }
            | Event::StageStarted { .. }
            | Event::Checkpoint { .. } => {}
        }
        for line in remarks::lines(&self.out, self.epochs, &event) {
            output::note(&line);
        }
    }

    fn step(&mut self, event: &Event) {
        let Event::Step { epoch, epochs, step, steps, loss, top1, images_per_second, seconds_left } =
            *event
        else {
            return;
        };
        if self.epoch.as_ref().is_none_or(|(shown, _)| *shown != epoch) {
            let label = format!("epoch {epoch}/{epochs}");
            self.epoch = Some((epoch, Progress::new(label, steps as u64)));
        }
        let text = format!(
            "loss {loss:.3}  top-1 {:.1}%  {:.0} img/s  {} left",
            100.0 * top1,
            images_per_second,
            duration(seconds_left)
        );
        if let Some((_, progress)) = &mut self.epoch {
            progress.at(step as u64, &text);
        }
    }

    fn end_of_epoch(&mut self, row: &Row, best: bool) {
        self.epoch = None;
        let best = if best { "  best" } else { "" };
        output::note(&format!(
            "epoch {:>3}/{}  train loss {:.3} top-1 {:5.2}%  test loss {:.3} top-1 {:5.2}%  {:.0} img/s  {}{best}",
            row.epoch,
            self.epochs,
            row.train_loss,
            100.0 * row.train_top1,
            row.test_loss,
            100.0 * row.test_top1,
            row.img_per_s,
            duration(row.seconds),
        ));
    }
}

/// The best result in words.
pub(crate) fn best_text(best: Option<Best>) -> String {
    match best {
        Some(Best { epoch, top1 }) => {
            format!("best top-1 {:.2}% after epoch {epoch}", 100.0 * top1)
        }
        None => "no epoch with binary weights is finished".to_owned(),
    }
}

/// `1 h 02 min`, `3 min 20 s`, `4.2 s`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_in_words() {
        let words = [4.24, 59.0, 200.0, 3725.0].map(duration);
        assert_eq!(words, ["4.2 s", "59 s", "3 min 20 s", "1 h 02 min"]);
    }
}
