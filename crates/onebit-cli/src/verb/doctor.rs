//! `onebit doctor`: what this machine offers.

use std::path::PathBuf;

use onebit_engine::Isa;
use serde::Serialize;

use super::data::state_name;
use crate::arguments::Format;
use crate::kernel_speed::{self, Speed};
use crate::machine;
use crate::output::{Align, Table, bytes, thousands};

const EXAMPLES: &str = "\
Examples:
  onebit doctor
  onebit doctor --json | jq .kernel
  onebit doctor --json | jq '.speed[] | {isa, gmacs_per_second}'

The speed of each instruction set is measured on a few binary convolutions, in a third of a second.";

const DEBUG_BUILD: &str = "this is a debug build, whose speeds say nothing: build onebit with `--release`";

/// The chosen kernels are called slower than others below this share of their speed: less is noise.
const NEARLY_AS_FAST: f64 = 0.8;

/// Shows what this machine offers: CPU features, kernels and their speed, memory, threads, data sets, optional parts
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    cpu: String,
    features: Vec<Feature>,
    kernel: &'static str,
    kernels: Vec<&'static str>,
    speed: Vec<Speed>,
    warning: Option<String>,
    threads: usize,
    memory_bytes: Option<u64>,
    memory_available_bytes: Option<u64>,
    data_folder: Option<PathBuf>,
    data_sets: Vec<DataSet>,
    parts: Vec<Part>,
}

#[derive(Serialize)]
struct Feature {
    name: &'static str,
    present: bool,
}

#[derive(Serialize)]
struct DataSet {
    name: &'static str,
    state: &'static str,
}

#[derive(Serialize)]
struct Part {
    name: &'static str,
    present: bool,
    note: &'static str,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let report = report()?;
    args.format.print(&report, Report::text)
}

fn report() -> anyhow::Result<Report> {
    let features = machine::features().into_iter();
    let memory = machine::memory();
    let data_folder = onebit_data::data_dir().ok();
    let listings = data_folder.as_deref().map(onebit_data::list).unwrap_or_default();
    let kernels: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
    let kernel = kernels.last().copied().unwrap_or_default();
    let speed = kernel_speed::measure()?;
    Ok(Report {
        version: crate::VERSION,
        cpu: machine::cpu(),
        features: features.map(|(name, present)| Feature { name, present }).collect(),
        kernel,
        kernels,
        warning: warning(kernel, &speed),
        speed,
        threads: onebit::hardware_threads(),
        memory_bytes: memory.map(|(total, _)| total),
        memory_available_bytes: memory.map(|(_, available)| available),
        data_folder,
        data_sets: listings
            .iter()
            .map(|set| DataSet { name: set.name, state: state_name(&set.state) })
            .collect(),
        parts: parts(),
    })
}

/// A sentence if the speeds say nothing, or other kernels are faster than the chosen ones.
fn warning(kernel: &str, speed: &[Speed]) -> Option<String> {
    if cfg!(debug_assertions) { Some(DEBUG_BUILD.to_owned()) } else { slower(kernel, speed) }
}

fn slower(kernel: &str, speed: &[Speed]) -> Option<String> {
    let chosen = speed.iter().find(|speed| speed.isa == kernel)?.gmacs_per_second;
    let fastest = fastest(speed)?;
    let times = fastest.gmacs_per_second / chosen;
    (chosen < NEARLY_AS_FAST * fastest.gmacs_per_second).then(|| {
        let isa = fastest.isa;
        format!(
            "{isa} kernels are {times:.1} times as fast here as {kernel}, which is chosen: give `--isa {isa}`, \
             and report it if it stays so while nothing else runs"
        )
    })
}

fn fastest(speed: &[Speed]) -> Option<&Speed> {
    speed.iter().max_by(|a, b| a.gmacs_per_second.total_cmp(&b.gmacs_per_second))
}

fn parts() -> Vec<Part> {
    let train = cfg!(feature = "train");
    let note = if train {
        "train, demo, eval of a run, pack --verify"
    } else {
        "build onebit without --no-default-features to get it"
    };
    vec![
        Part { name: "training", present: train, note },
        Part { name: "gpu", present: false, note: "this version trains on the CPU only" },
    ]
}

impl Report {
    fn text(&self) -> String {
        let mut table = Table::new([("onebit", Align::Left), (self.version, Align::Left)]);
        let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
        row("CPU", self.cpu.clone());
        row("features", join(self.features.iter().filter(|f| f.present).map(|f| f.name)));
        let missing: Vec<_> = self.features.iter().filter(|f| !f.present).map(|f| f.name).collect();
        if !missing.is_empty() {
            row("not present", missing.join(" "));
        }
        row("kernel", format!("{} (chosen), all that run here: {}", self.kernel, self.kernels.join(" ")));
        for speed in &self.speed {
            row(&format!("  {}", speed.isa), self.speed_text(speed));
        }
        if let Some(warning) = &self.warning {
            row("warning", warning.clone());
        }
        row("threads", self.threads.to_string());
        if let (Some(total), Some(free)) = (self.memory_bytes, self.memory_available_bytes) {
            row("memory", format!("{}, {} available", bytes(total), bytes(free)));
        }
        match &self.data_folder {
            Some(folder) => row("data folder", folder.display().to_string()),
            None => row("data folder", "unknown: set ONEBIT_DATA to a folder".to_owned()),
        }
        for set in &self.data_sets {
            let state = match set.state {
                "absent" => format!("not here: onebit data fetch {}", set.name),
                state => state.to_owned(),
            };
            row(&format!("  {}", set.name), state);
        }
        for part in &self.parts {
            let state = if part.present { "yes" } else { "not built" };
            row(part.name, format!("{state}: {}", part.note));
        }
        table.render()
    }

    fn speed_text(&self, speed: &Speed) -> String {
        let rate = thousands(speed.gmacs_per_second.round() as u64);
        let chosen = if speed.isa == self.kernel { ", chosen" } else { "" };
        let is_fastest = fastest(&self.speed).is_some_and(|fastest| fastest.isa == speed.isa);
        let fastest = if is_fastest { ", the fastest" } else { "" };
        format!("{rate} G binary MAC/s on one thread{chosen}{fastest}")
    }
}

fn join(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slower_kernels_are_warned_of() {
        let speed = |isa, gmacs_per_second| Speed { isa, gmacs_per_second, convolutions: Vec::new() };
        let measured = [speed("avx2", 400.0), speed("avx512", 330.0)];
        assert_eq!(slower("avx2", &measured), None);
        assert_eq!(slower("avx512", &measured), None);
        let measured = [speed("avx2", 400.0), speed("avx512", 310.0)];
        let said = slower("avx512", &measured).expect("a warning");
        assert!(said.starts_with("avx2 kernels are 1.3 times as fast here as avx512"), "{said}");
    }
}
