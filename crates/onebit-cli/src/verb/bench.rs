//! `onebit bench`: the time that packed models take.

use std::path::{Path, PathBuf};
use std::iter;
use std::time::{Duration, Instant};

use anyhow::Context;
use onebit::{Isa, Model, Session};
use onebit_engine::Engine;
use serde::Serialize;

use crate::arguments::{self, Format, parse_isa, parse_threads};
use crate::failure::{Code, Failure};
use crate::finite;
use crate::memory;
use crate::model_file::{self, Packed};
use crate::output::{Align, Table, bytes, thousands};
use crate::profile::Profile;
use crate::size::show;

const EXAMPLES: &str = "\
Examples:
  onebit bench a.onebit                        one image on one thread
  onebit bench a.onebit --threads 2            one image on two threads
  onebit bench a.onebit --batch 64 --threads 8
  onebit bench a.onebit --isa portable --json
  onebit bench a.onebit --profile              which layer takes the time
  onebit bench a.onebit --profile --json | jq .profile_by_kind
  onebit bench a.onebit --against b.onebit     which of two models is faster, and by how much

A run is one batch. Every run must give the logits of the first.

Models that are compared take turns, run by run, so that what else the machine does slows all of
them. Under 'of first' stands the median over the turns of a model's time over that of the first in
the same turn.

A step of the profile is a layer with what is computed in the same pass. Its binary
multiply-accumulates are counted as one operation (G binary MAC/s), real ones as two (GFLOP/s),
padded taps included.";

const WARM_UP: Duration = Duration::from_millis(300);
const MEASURED: Duration = Duration::from_secs(2);
const MIN_RUNS: usize = 5;
const MAX_RUNS: usize = 1_000_000;
const MAX_PROFILED_RUNS: usize = 1000;

/// Measures the time of a packed model
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Packed model
    file: PathBuf,
    /// Threads that share the images of a batch, or the rows of fewer images
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_threads)]
    threads: usize,
    /// Runs to measure [default: 2 seconds of them]
    #[arg(long, value_name = "N", value_parser = parse_runs)]
    runs: Option<usize>,
    /// Images in a run
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_batch)]
    batch: usize,
    /// Kernels to use [default: the fastest that this CPU has]
    #[arg(long, value_name = "NAME", value_parser = parse_isa)]
    isa: Option<Isa>,
    /// Another packed model, which takes turns with the first; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "profile")]
    against: Vec<PathBuf>,
    /// Show the time of each step and of each kind of operation, one image on one thread
    #[arg(long)]
    profile: bool,
    #[command(flatten)]
    format: Format,
}

/// What `bench` measures.
#[derive(Serialize)]
pub(crate) struct Times {
    pub(crate) median_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) min_ms: f64,
    pub(crate) runs: usize,
    pub(crate) threads: usize,
    pub(crate) batch: usize,
    pub(crate) isa: &'static str,
    pub(crate) file_bytes: u64,
    #[serde(flatten)]
    profile: Option<Profile>,
}

/// Models in turns: the first, and the others with their times over its.
#[derive(Serialize)]
struct Turns {
    #[serde(flatten)]
    first: Times,
    against: Vec<Against>,
}

/// A model that took turns with another.
#[derive(Serialize)]
struct Against {
    file: PathBuf,
    /// Median over the turns of its time over that of the first model.
    ratio: f64,
    #[serde(flatten)]
    times: Times,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if !args.against.is_empty() {
        return run_in_turns(&args);
    }
    let Packed { model, bytes: file_bytes } = model_file::read(&args.file)?;
    let mut session = arguments::session(&args.file, &model, args.threads, args.isa)?;
    let mut times = measure(&args.file, &mut session, args.batch, args.runs)?;
    times.file_bytes = file_bytes;
    if args.profile {
        let runs = times.runs.clamp(MIN_RUNS, MAX_PROFILED_RUNS);
        let image = made_up_images(session.engine(), 1)?;
        times.profile = Some(Profile::measure(session.engine(), &image, runs)?);
    }
    args.format.print(&times, |times| text(times, &model, &session))
}

/// The times, sizes, and the profile if there is one.
fn text(times: &Times, model: &Model, session: &Session) -> String {
    let shape = show(session.engine().input_shape());
    let memory = session.engine().memory();
    let mut text = times.table();
    text += &format!(
        "\n{} of {shape}, {} weights in memory, {} of working memory for each thread\n",
        model.arch(),
        bytes(memory.weights as u64),
        bytes(memory.scratch as u64)
    );
    if let Some(profile) = &times.profile {
        text += "\n";
        text += &profile.text();
    }
    text
}

fn run_in_turns(args: &Args) -> anyhow::Result<()> {
    let files: Vec<&PathBuf> = iter::once(&args.file).chain(&args.against).collect();
    let (mut sessions, mut sizes) = (Vec::new(), Vec::new());
    for file in &files {
        let Packed { model, bytes } = model_file::read(file)?;
        sessions.push((*file, arguments::session(file, &model, args.threads, args.isa)?));
        sizes.push(bytes);
    }
    let courses = take_turns(sessions.iter_mut().map(|(file, session)| (file.as_path(), session)), args.batch, args.runs)?;
    let ratios: Vec<f64> = courses.iter().map(|course| course.over(&courses[0])).collect();
    let mut times = courses.into_iter().zip(sizes).map(|(course, file_bytes)| Times {
        file_bytes,
        ..course.times(args.batch)
    });
    let first = times.next().context("nothing was measured")?;
    let others = args.against.iter().zip(&ratios[1..]).zip(times);
    let against =
        others.map(|((file, &ratio), times)| Against { file: file.clone(), ratio, times });
    let turns = Turns { first, against: against.collect() };
    args.format.print(&turns, |turns| turns.table(&args.file))
}

/// Times runs of `batch` made-up images: `runs` of them, or two seconds.
pub(crate) fn measure(
    path: &Path,
    session: &mut Session,
    batch: usize,
    runs: Option<usize>,
) -> anyhow::Result<Times> {
    let mut courses = take_turns(iter::once((path, session)), batch, runs)?;
    let course = courses.pop().context("nothing was measured")?;
    Ok(course.times(batch))
}

/// Times runs of `batch` made-up images, one of every model in each turn: `runs` turns, or two seconds for each.
fn take_turns<'a>(
    sessions: impl Iterator<Item = (&'a Path, &'a mut Session)>,
    batch: usize,
    runs: Option<usize>,
) -> anyhow::Result<Vec<Course<'a>>> {
    let courses = sessions.map(|(path, session)| Course::new(path, session, batch));
    let mut courses: Vec<Course<'_>> = courses.collect::<anyhow::Result<_>>()?;
    let count = u32::try_from(courses.len())?;
    let started = Instant::now();
    while started.elapsed() < count * WARM_UP {
        for course in &mut courses {
            course.run()?;
        }
    }
    let started = Instant::now();
    let mut done = 0;
    while more(done, runs, started, count * MEASURED) {
        for course in &mut courses {
            let time = course.run()?;
            course.turns.push(time);
        }
        done += 1;
    }
    Ok(courses)
}

/// A model while it is measured.
struct Course<'a> {
    session: &'a mut Session,
    images: Vec<f32>,
    /// Logits of the first run, which all others must give.
    first: Vec<f32>,
    logits: Vec<f32>,
    turns: Vec<Duration>,
}

impl<'a> Course<'a> {
    fn new(path: &'a Path, session: &'a mut Session, batch: usize) -> anyhow::Result<Self> {
        let images = made_up_images(session.engine(), batch)?;
        let classes = session.engine().classes();
        let mut first = memory::zeros(batch * classes, "the logits")?;
        let logits = memory::zeros(first.len(), "the logits")?;
        session.run(&images, &mut first)?;
        finite::check(path, &first, classes, made_up_name)?;
        Ok(Course { session, images, first, logits, turns: Vec::new() })
    }

    fn run(&mut self) -> anyhow::Result<Duration> {
        let before = Instant::now();
        self.session.run(&self.images, &mut self.logits)?;
        let time = before.elapsed();
        if self.logits != self.first {
            return Err(Failure::with(Code::Software, "two runs of the same images give other logits"));
        }
        Ok(time)
    }

    /// Median over the turns of its time over the other's.
    fn over(&self, other: &Course<'_>) -> f64 {
        let pairs = self.turns.iter().zip(&other.turns);
        let ratio = |(a, b): (&Duration, &Duration)| a.as_secs_f64() / b.as_secs_f64().max(1e-9);
        let mut ratios: Vec<f64> = pairs.map(ratio).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        median(&ratios)
    }

    fn times(self, batch: usize) -> Times {
        let ms = |time: &Duration| time.as_secs_f64() * 1e3;
        let mut times: Vec<f64> = self.turns.iter().map(ms).collect();
        times.sort_unstable_by(f64::total_cmp);
        Times {
            median_ms: median(&times),
            p90_ms: times[(times.len() * 9).div_ceil(10) - 1],
            min_ms: times[0],
            runs: times.len(),
            threads: self.session.threads(),
            batch,
            isa: self.session.engine().isa().name(),
            file_bytes: 0,
            profile: None,
        }
    }
}

fn median(sorted: &[f64]) -> f64 {
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

fn more(done: usize, runs: Option<usize>, started: Instant, longest: Duration) -> bool {
    match runs {
        Some(runs) => done < runs,
        None => done < MIN_RUNS || (done < MAX_RUNS && started.elapsed() < longest),
    }
}

fn made_up_images(engine: &Engine, batch: usize) -> anyhow::Result<Vec<f32>> {
    let len = batch * engine.input_shape().iter().product::<usize>();
    let mut images = memory::zeros(len, "the images")?;
    for (i, value) in images.iter_mut().enumerate() {
        *value = ((i as f32) * 0.37).sin() + 0.5 * ((i as f32) * 0.0113).cos();
    }
    Ok(images)
}

fn made_up_name(image: usize) -> String {
    format!("made-up image {image} (counted from 0)")
}

const COLUMNS: [(&str, Align); 9] = [
    ("median ms", Align::Right),
    ("p90 ms", Align::Right),
    ("min ms", Align::Right),
    ("runs", Align::Right),
    ("threads", Align::Right),
    ("batch", Align::Right),
    ("images/s", Align::Right),
    ("kernels", Align::Left),
    ("file", Align::Right),
];

impl Times {
    fn table(&self) -> String {
        let mut table = Table::new(COLUMNS);
        table.row(self.cells());
        table.render()
    }

    fn cells(&self) -> [String; 9] {
        [
            format!("{:.3}", self.median_ms),
            format!("{:.3}", self.p90_ms),
            format!("{:.3}", self.min_ms),
            thousands(self.runs as u64),
            self.threads.to_string(),
            self.batch.to_string(),
            thousands((self.batch as f64 * 1e3 / self.median_ms) as u64),
            self.isa.to_owned(),
            bytes(self.file_bytes),
        ]
    }
}

impl Turns {
    fn table(&self, first: &Path) -> String {
        let [model, of_first] = [("model", Align::Left), ("of first", Align::Right)];
        let mut table = Table::new([model, of_first].into_iter().chain(COLUMNS));
        let mut row = |file: &Path, ratio: Option<f64>, times: &Times| {
            let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.3}"));
            table.row([file.display().to_string(), ratio].into_iter().chain(times.cells()));
        };
        row(first, None, &self.first);
        for Against { file, ratio, times } in &self.against {
            row(file, Some(*ratio), times);
        }
        table.render()
    }
}

fn parse_runs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(runs @ 1..=MAX_RUNS) => Ok(runs),
        _ => Err(format!("expected 1 to {MAX_RUNS}")),
    }
}

fn parse_batch(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(batch @ 1..=4096) => Ok(batch),
        _ => Err("expected 1 to 4096".to_owned()),
    }
}
