//! The run's `metrics.csv`: one row for each epoch.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::Serialize;

use crate::checkpoint::{TrainingStage, write_file};
use crate::{TrainError, text};
use onebit_model::quote::{count, shown};

/// First line of the file.
pub const HEADER: &str =
    "epoch,stage,step,lr,train_loss,train_top1,test_loss,test_top1,img_per_s,seconds";
const COLUMNS: usize = 10;
/// More than the rows of the longest run take.
const MAX_BYTES: u64 = 64 << 20;

/// What one epoch gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Epochs finished with this one, over all stages.
    pub epoch: usize,
    /// The stage.
    pub stage: TrainingStage,
    /// Steps made so far, over all stages.
    pub step: u64,
    /// Learning rate of the epoch's last step.
    pub lr: f64,
    /// Mean loss of the epoch's images as they were trained, label smoothing included.
    pub train_loss: f64,
    /// Share of them that were classified correctly.
    pub train_top1: f64,
    /// Mean cross-entropy of the test images after the epoch, without label smoothing.
    pub test_loss: f64,
    /// Share of them that are classified correctly.
    pub test_top1: f64,
    /// Training images per second, evaluation not counted.
    pub img_per_s: f64,
    /// Seconds of the epoch, evaluation included.
    pub seconds: f64,
}

impl Row {
    fn to_line(self) -> String {
        format!(
            "{},{},{},{},{:.6},{:.6},{:.6},{:.6},{:.1},{:.2}\n",
            self.epoch,
            self.stage.name(),
            self.step,
            self.lr,
            self.train_loss,
            self.train_top1,
            self.test_loss,
            self.test_top1,
            self.img_per_s,
            self.seconds
        )
    }

    fn from_line(line: &str) -> Result<Self, String> {
        let cells: Vec<&str> = line.split(',').collect();
        let cells: [&str; COLUMNS] = cells.try_into().map_err(|cells: Vec<_>| {
            format!("{}, expected {COLUMNS}", count(cells.len(), "column"))
        })?;
        let [epoch, stage, step, numbers @ ..] = cells;
        let mut values = [0.0; COLUMNS - 3];
        for (value, cell) in values.iter_mut().zip(numbers) {
            *value = cell.parse().map_err(|_| not_a_number(cell))?;
        }
        let [lr, train_loss, train_top1, test_loss, test_top1, img_per_s, seconds] = values;
        Ok(Row {
            epoch: epoch.parse().map_err(|_| not_a_number(epoch))?,
            stage: TrainingStage::from_name(stage)
                .ok_or_else(|| format!("`{}` is no stage", shown(stage)))?,
            step: step.parse().map_err(|_| not_a_number(step))?,
            lr,
            train_loss,
            train_top1,
            test_loss,
            test_top1,
            img_per_s,
            seconds,
        })
    }
}

fn not_a_number(cell: &str) -> String {
    format!("`{}` is not the number expected", shown(cell))
}

/// Starts the file anew, or keeps the rows of the first `epochs` of an interrupted run. A last line that was cut
/// short is dropped; a missing file begins without rows. Returns the number of those epochs that have no row.
///
/// # Errors
/// A file that cannot be read or written, or holds something else.
pub fn begin(path: &Path, epochs: usize) -> Result<usize, TrainError> {
    let mut rows = if epochs > 0 { read_whole_lines(path)? } else { Vec::new() };
    rows.retain(|row| row.epoch <= epochs);
    let lines = rows.iter().map(|row| row.to_line());
    let kept: String = std::iter::once(format!("{HEADER}\n")).chain(lines).collect();
    write_file(path, kept.as_bytes())?;
    Ok(epochs - rows.len())
}

/// Adds a row and waits until it is on the disk.
///
/// # Errors
/// A file that cannot be written.
pub fn append(path: &Path, row: Row) -> Result<(), TrainError> {
    let write = || {
        let mut file = OpenOptions::new().append(true).open(path)?;
        file.write_all(row.to_line().as_bytes())?;
        file.sync_data()
    };
    write().map_err(TrainError::write(path))
}

/// All rows of a run.
///
/// # Errors
/// A file that cannot be read, or whose lines are not those of this version; names the line.
pub fn read(path: &Path) -> Result<Vec<Row>, TrainError> {
    parse(path, &text::read(path, MAX_BYTES)?)
}

/// All rows but a last one that was cut short; none of a file that is not there.
pub(crate) fn read_whole_lines(path: &Path) -> Result<Vec<Row>, TrainError> {
    let text = match text::read(path, MAX_BYTES) {
        Ok(text) => text,
        Err(TrainError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    match text.rfind('\n') {
        Some(end) => parse(path, &text[..=end]),
        None => Ok(Vec::new()),
    }
}

fn parse(path: &Path, text: &str) -> Result<Vec<Row>, TrainError> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err(TrainError::damaged(path, format!("the first line is not `{HEADER}`")));
    }
    let mut rows: Vec<Row> = Vec::new();
    for (line, text) in (2..).zip(lines) {
        let row = Row::from_line(text).and_then(|row| match rows.last() {
            Some(before) if row.epoch <= before.epoch => {
                Err(format!("epoch {} after epoch {}", row.epoch, before.epoch))
            }
            _ if row.epoch == 0 => Err("epoch 0, expected 1 or more".into()),
            _ => Ok(row),
        });
        rows.push(row.map_err(|e| TrainError::damaged(path, format!("line {line}: {e}")))?);
    }
    Ok(rows)
}
