use std::path::PathBuf;
use std::time::{Duration, Instant};

use onebit_engine::{Engine, Isa, Options};
use serde::Serialize;

use crate::failure::{Code, Failure};
use crate::model_file::{self, Packed};
use crate::output::{self, Align, Table, bytes, thousands};
use crate::profile::Profile;
use crate::runner::{Runner, parse_isa, parse_threads};
use crate::size::show;

const EXAMPLES: &str = "\
Examples:
  onebit bench a.onebit                        one image on one thread
  onebit bench a.onebit --threads 2            one image on two threads
  onebit bench a.onebit --batch 64 --threads 8
  onebit bench a.onebit --isa portable --json
  onebit bench a.onebit --profile              which layer takes the time
  onebit bench a.onebit --profile --json | jq .profile_by_kind

A run is one batch. Every run must give the logits of the first.

A step of the profile is a layer with what is computed in the same pass. Its binary multiply-accumulates are
counted as one operation (G binary MAC/s), real ones as two (GFLOP/s), padded taps included.";

const WARM_UP: Duration = Duration::from_millis(300);
const MEASURED: Duration = Duration::from_secs(2);
const LEAST_RUNS: usize = 5;
const MOST_RUNS: usize = 1_000_000;
const MOST_PROFILED_RUNS: usize = 1000;

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
    /// Show the time of each step and of each kind of operation, one image on one thread
    #[arg(long)]
    profile: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
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

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let Packed { model, bytes: file_bytes } = model_file::read(&args.file)?;
    let options = Options { input: None, isa: args.isa };
    let mut runner = Runner::new(&args.file, &model, options, Some(args.threads))?;
    let mut times = measure(&mut runner, args.batch, args.runs)?;
    times.file_bytes = file_bytes;
    if args.profile {
        let runs = times.runs.clamp(LEAST_RUNS, MOST_PROFILED_RUNS);
        let image = made_up_images(runner.engine(), 1);
        times.profile = Some(Profile::measure(runner.engine(), &image, runs)?);
    }
    if args.json {
        return output::json(&times);
    }
    let shape = show(runner.engine().input_shape());
    let memory = runner.engine().memory();
    let mut text = times.table();
    text += &format!(
        "\n{} of {shape}, {} weights in memory, {} of working memory for each thread\n",
        model.graph.arch,
        bytes(memory.weights as u64),
        bytes(memory.scratch as u64)
    );
    if let Some(profile) = &times.profile {
        text += "\n";
        text += &profile.text();
    }
    output::text(&text)
}

/// Times runs of `batch` made-up images: `runs` of them, or two seconds.
pub(crate) fn measure(
    runner: &mut Runner,
    batch: usize,
    runs: Option<usize>,
) -> anyhow::Result<Times> {
    let images = made_up_images(runner.engine(), batch);
    let mut logits = vec![0.0; batch * runner.engine().classes()];
    runner.run(&images, &mut logits)?;
    let first = logits.clone();
    if first.iter().any(|logit| !logit.is_finite()) {
        return Err(Failure::bad_data("the network's logits are not finite numbers"));
    }
    let started = Instant::now();
    while started.elapsed() < WARM_UP {
        runner.run(&images, &mut logits)?;
    }
    let mut times = Vec::new();
    let started = Instant::now();
    while more(times.len(), runs, started) {
        let before = Instant::now();
        runner.run(&images, &mut logits)?;
        times.push(before.elapsed());
        if logits != first {
            return Err(Failure::with(Code::Software, "two runs of the same images give other logits"));
        }
    }
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    Ok(Times {
        median_ms: (ms(times[(times.len() - 1) / 2]) + ms(times[times.len() / 2])) / 2.0,
        p90_ms: ms(times[(times.len() * 9).div_ceil(10) - 1]),
        min_ms: ms(times[0]),
        runs: times.len(),
        threads: runner.threads(),
        batch,
        isa: runner.engine().isa().name(),
        file_bytes: 0,
        profile: None,
    })
}

fn more(done: usize, runs: Option<usize>, started: Instant) -> bool {
    match runs {
        Some(runs) => done < runs,
        None => done < LEAST_RUNS || (done < MOST_RUNS && started.elapsed() < MEASURED),
    }
}

fn made_up_images(engine: &Engine, batch: usize) -> Vec<f32> {
    let len: usize = batch * engine.input_shape().iter().product::<usize>();
    (0..len).map(|i| ((i as f32) * 0.37).sin() + 0.5 * ((i as f32) * 0.0113).cos()).collect()
}

impl Times {
    fn table(&self) -> String {
        use Align::{Left, Right};
        let mut table = Table::new([
            ("median ms", Right),
            ("p90 ms", Right),
            ("min ms", Right),
            ("runs", Right),
            ("threads", Right),
            ("batch", Right),
            ("images/s", Right),
            ("kernels", Left),
            ("file", Right),
        ]);
        table.row([
            format!("{:.3}", self.median_ms),
            format!("{:.3}", self.p90_ms),
            format!("{:.3}", self.min_ms),
            thousands(self.runs as u64),
            self.threads.to_string(),
            self.batch.to_string(),
            thousands((self.batch as f64 * 1e3 / self.median_ms) as u64),
            self.isa.to_owned(),
            bytes(self.file_bytes),
        ]);
        table.render()
    }
}

fn parse_runs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(runs @ 1..=MOST_RUNS) => Ok(runs),
        _ => Err(format!("expected 1 to {MOST_RUNS}")),
    }
}

fn parse_batch(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(batch @ 1..=4096) => Ok(batch),
        _ => Err("expected 1 to 4096".to_owned()),
    }
}
